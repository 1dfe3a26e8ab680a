# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The parameters of a checkpoint read one at a time, whatever its format.

Every reader of a format returns `Leaves`, every writer takes them and reads leaf by leaf, so no
model is ever whole in a host's memory. Names are ours, which are T5X's (`encoder/layers_0/mlp/`).
Layers may be stored apart or stacked; `laid_out` gives either as the other, lazily.
"""

import functools
import re
from collections.abc import Mapping
from typing import Protocol

import jax
import numpy as np

from flan_jax.core.errors import FlanError, unknown_name

Index = tuple[slice, ...]

STACK_AXIS = 1  # of a stacked array, as T5X's scalable_t5 stores it

_LAYER = re.compile(r"(^|/)layers_(\d+)/")
_STACK = re.compile(r"(^|/)layers/")


class Leaves(Protocol):
    """The parameters of one checkpoint, read one at a time."""

    @property
    def shapes(self) -> Mapping[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each parameter, as stored, by its name with '/'."""
        ...

    def read(self, name: str, index: Index | None = None) -> np.ndarray:
        """Returns one parameter, or the part of it at `index`; nothing else is read.

        Args:
            name: a key of `shapes`.
            index: one slice per dimension, steps of 1; None for all of it.
        """
        ...


class Arrays:
    """Leaves that are in memory."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self._arrays = arrays

    @functools.cached_property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each array."""
        return {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in self._arrays.items()}

    def read(self, name: str, index: Index | None = None) -> np.ndarray:
        """Returns one array, or the part of it at `index`."""
        check_name(name, self.shapes)
        return self._arrays[name] if index is None else self._arrays[name][index]


def check_name(name: str, known: Mapping[str, object]) -> None:
    """Raises a `UsageError` with the closest names if `name` is not known."""
    if name not in known:
        raise unknown_name("parameter", name, known)


def check_whole(shapes: Mapping[str, object]) -> None:
    """Raises a `FlanError` if a layer lacks what another layer of its stack has."""
    layers: dict[str, dict[int, set[str]]] = {}  # what is before a layer's number -> by number
    for name in shapes:
        if found := _LAYER.search(name):
            stack = layers.setdefault(name[: found.end(1)], {})
            stack.setdefault(int(found[2]), set()).add(name[found.end() :])
    for before, stack in layers.items():
        every = set().union(*stack.values())
        for i in range(max(stack) + 1):
            if missing := sorted(every - stack.get(i, set())):
                there = max(j for j, names in stack.items() if missing[0] in names)
                raise FlanError(
                    f"{before}layers_{i}/{missing[0]} is missing, though {before}layers_{there}/"
                    f"{missing[0]} is there; the checkpoint is not whole"
                )


def is_stacked(shapes: Mapping[str, object]) -> bool:
    """Returns whether the layers are stacked, of the parameters of these names."""
    return any(_STACK.search(name) for name in shapes)


def laid_out(leaves: Leaves, *, stacked: bool) -> Leaves:
    """Returns the same leaves with the layers stacked, or each apart; read as lazily.

    Raises:
        FlanError: layers to be stacked are not 0, 1, 2, ..., or not alike, or there are none in
            a stack.
    """
    if is_stacked(leaves.shapes) == stacked:
        return leaves
    return _Stacked(leaves) if stacked else _Apart(leaves)


class _Stacked:
    """Leaves stacked from those of layers stored apart."""

    def __init__(self, leaves: Leaves):
        self._leaves = leaves
        self._layers: dict[str, list[str]] = {}  # name of a stack -> the names of its layers
        for name in leaves.shapes:
            if _LAYER.search(name):
                self._layers.setdefault(_LAYER.sub(r"\1layers/", name), []).append(name)
        check_whole(leaves.shapes)
        for names in self._layers.values():
            names.sort(key=lambda name: int(_LAYER.search(name)[2]))
            self._check_alike(names)

    def _check_alike(self, names: list[str]) -> None:
        first = self._leaves.shapes[names[0]]
        for name in names[1:]:
            leaf = self._leaves.shapes[name]
            if (leaf.shape, leaf.dtype) != (first.shape, first.dtype):
                raise FlanError(
                    f"{name} is {leaf.dtype}{list(leaf.shape)} but {names[0]} is "
                    f"{first.dtype}{list(first.shape)}; layers that differ cannot be stacked"
                )

    @functools.cached_property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each parameter, stacked."""
        shapes = {n: s for n, s in self._leaves.shapes.items() if not _LAYER.search(n)}
        for stack, names in self._layers.items():
            one = self._leaves.shapes[names[0]]
            shape = (*one.shape[:STACK_AXIS], len(names), *one.shape[STACK_AXIS:])
            shapes[stack] = jax.ShapeDtypeStruct(shape, one.dtype)
        return dict(sorted(shapes.items()))

    def read(self, name: str, index: Index | None = None) -> np.ndarray:
        """Returns one parameter or a part of it, each layer read into its place."""
        check_name(name, self.shapes)
        if name not in self._layers:
            return self._leaves.read(name, index)
        whole = self.shapes[name]
        index = index or (slice(None),) * len(whole.shape)
        ranges = [range(*part.indices(size)) for part, size in zip(index, whole.shape, strict=True)]
        result = np.empty([len(r) for r in ranges], whole.dtype)
        rest = (*index[:STACK_AXIS], *index[STACK_AXIS + 1 :])
        before = (slice(None),) * STACK_AXIS
        for place, layer in enumerate(ranges[STACK_AXIS]):
            result[(*before, place)] = self._leaves.read(self._layers[name][layer], rest)
        return result


class _Apart:
    """Leaves of single layers, cut from those of stacks; the stack read last is kept."""

    def __init__(self, leaves: Leaves):
        self._leaves = leaves
        self._stacks: dict[str, tuple[str, int]] = {}  # name of a layer's -> its stack's, its place
        shapes: dict[str, jax.ShapeDtypeStruct] = {}
        # In the order of the stacks: one that goes through the names reads each stack once.
        for stack, leaf in leaves.shapes.items():
            if not _STACK.search(stack):
                shapes[stack] = leaf
                continue
            if len(leaf.shape) <= STACK_AXIS:
                raise FlanError(
                    f"{stack} is of shape {list(leaf.shape)}, with no axis {STACK_AXIS} of layers"
                )
            shape = (*leaf.shape[:STACK_AXIS], *leaf.shape[STACK_AXIS + 1 :])
            for i in range(leaf.shape[STACK_AXIS]):
                name = _STACK.sub(rf"\g<1>layers_{i}/", stack)
                shapes[name] = jax.ShapeDtypeStruct(shape, leaf.dtype)
                self._stacks[name] = stack, i
        self._shapes = shapes
        self._kept: tuple[str, np.ndarray] | None = None

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each parameter, layers apart."""
        return self._shapes

    def read(self, name: str, index: Index | None = None) -> np.ndarray:
        """Returns one layer's parameter or a part of it."""
        check_name(name, self._shapes)
        if name not in self._stacks:
            return self._leaves.read(name, index)
        stack, i = self._stacks[name]
        if self._kept is None or self._kept[0] != stack:
            self._kept = None  # lets go of the last stack before the next is read
            self._kept = stack, self._leaves.read(stack)
        layer = self._kept[1][(slice(None),) * STACK_AXIS + (i,)]
        return np.asarray(layer if index is None else layer[index], order="C")
