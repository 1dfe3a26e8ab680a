# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Nested dicts of arrays and their flat form, keyed by `a/b/c` paths as T5X names parameters."""

from collections.abc import Mapping
from typing import Any

PyTree = Any


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns `{"a/b": leaf}` for a nested dict, keys sorted.

    Example:
        >>> flatten({"b": 1, "a": {"x": 2}})
        {'a/x': 2, 'b': 1}
    """
    flat: dict[str, Any] = {}
    for key in sorted(tree):
        value, path = tree[key], f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{path}/"))
        else:
            flat[path] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the nested dict of `{"a/b": leaf}`; the inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *folders, name = path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = value
    return tree
