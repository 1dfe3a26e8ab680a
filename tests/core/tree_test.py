# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Flat paths and nested dicts are two forms of one thing."""

from flan_jax.core import tree


def test_flatten_and_back():
    nested = {"b": {"y": 1, "x": {"k": 2}}, "a": 3}
    flat = tree.flatten(nested)
    assert list(flat.items()) == [("a", 3), ("b/x/k", 2), ("b/y", 1)]
    assert tree.unflatten(flat) == nested
