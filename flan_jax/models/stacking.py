# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers each apart (`layers_0`, `layers_1`, ...) or stacked (`layers`): one form from the other.

For parameters, optimizer state, or any tree with such paths. Which dimension of a stacked array
counts the layers, its logical axes say.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from flan_jax.core import axes
from flan_jax.core.tree import PyTree, flatten, unflatten

Names = Mapping[str, tuple[str | None, ...]]  # path of a stacked array -> its logical axes

_LAYER = re.compile(r"(^|/)layers_(\d+)/")
_STACK = re.compile(r"(^|/)layers/")


def stack(tree: Mapping[str, Any], names: Names) -> PyTree:
    """Returns a tree whose layers are stacked, of one that has each apart.

    Args:
        tree: nested dict of arrays with `layers_<i>` in their paths.
        names: path in the result -> logical axes; the dimension `layers` is the one to stack on.
    """
    flat = flatten(tree)
    each: dict[str, dict[int, jax.Array]] = {}
    whole: dict[str, jax.Array] = {}
    for path, leaf in flat.items():
        if found := _LAYER.search(path):
            each.setdefault(_LAYER.sub(r"\1layers/", path), {})[int(found[2])] = leaf
        else:
            whole[path] = leaf
    for path, layers in each.items():
        at = names[path].index(axes.LAYERS)
        whole[path] = jnp.stack([layers[i] for i in range(len(layers))], axis=at)
    return unflatten(whole)


def unstack(tree: Mapping[str, Any], names: Names) -> PyTree:
    """Returns a tree that has each layer apart, of one whose layers are stacked: `stack` undone."""
    apart: dict[str, jax.Array] = {}
    for path, leaf in flatten(tree).items():
        if axes.LAYERS not in names.get(path, ()):
            apart[path] = leaf
            continue
        at = names[path].index(axes.LAYERS)
        for i in range(leaf.shape[at]):
            apart[_STACK.sub(rf"\g<1>layers_{i}/", path)] = jnp.take(leaf, i, axis=at)
    return unflatten(apart)
