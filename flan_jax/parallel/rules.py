# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From logical axis names to mesh axes: one strict resolver, and a preset per strategy.

Model code names the axes of its arrays (`batch`, `embed`, ...); a `ShardingRules` says on which
mesh axis, or axes, each name lies. Two tables are kept apart: how parameters are stored, and how
activations lie while computing. Under FSDP `embed` is split over `data` when stored while `batch`
is when computing; one table could not say both.

Nothing becomes replicated by accident: an unknown name, a mesh axis used twice, a dimension that
does not divide or a missing mesh is an error, where flax and jax quietly drop the axis.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from flan_jax.core import axes, errors

OnMesh = str | tuple[str, ...] | None  # a mesh axis; several, the outermost first; or none
AxisRules = tuple[tuple[str, OnMesh], ...]  # (logical axis, where it lies) pairs


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardingRules:
    """Where each logical axis lies; an axis left out of a table is unknown there, not replicated.

    Frozen and hashable, so it can be part of a static argument of `jax.jit`.
    """

    name: str  # shown in error messages
    params: AxisRules  # parameters and optimizer state, as stored
    activations: AxisRules  # arrays while computing

    @property
    def gathered(self) -> AxisRules:
        """Where parameters lie while they are computed with: as stored, but whole along `data`."""
        return tuple((name, None if on == axes.DATA else on) for name, on in self.params)

    def __post_init__(self):
        for table in (self.params, self.activations):
            for logical, on_mesh in table:
                if logical not in axes.LOGICAL_AXES:
                    raise errors.unknown_name("logical axis", logical, axes.LOGICAL_AXES)
                for mesh_axis in _as_tuple(on_mesh):
                    if mesh_axis not in axes.MESH_AXES:
                        raise errors.unknown_name("mesh axis", mesh_axis, axes.MESH_AXES)


def _as_tuple(on_mesh: OnMesh) -> tuple[str, ...]:
    if on_mesh is None:
        return ()
    return (on_mesh,) if isinstance(on_mesh, str) else on_mesh


def _table(**on_mesh: OnMesh) -> AxisRules:
    return tuple((name, on_mesh.get(name)) for name in axes.LOGICAL_AXES)


# Parameters lie in each slice whole: gathering them over the data center's network at every layer
# would take longer than computing with them.
_DATA = {axes.BATCH: (axes.SLICE, axes.DATA)}
_FSDP = {axes.EMBED: axes.DATA}
_TENSOR = {name: axes.MODEL for name in (axes.MLP, axes.HEADS, axes.JOINED_KV, axes.VOCAB)}

# Parameters whole on every device, batch split over `slice` and `data`, as in all of these.
REPLICATED = ShardingRules(name="replicated", params=_table(), activations=_table(**_DATA))
# Parameters stored in slices over `data`, gathered when used.
FSDP = ShardingRules(name="fsdp", params=_table(**_FSDP), activations=_table(**_DATA))
# Heads, MLP and vocabulary split over `model`.
TENSOR = ShardingRules(
    name="tensor", params=_table(**_TENSOR), activations=_table(**_DATA, **_TENSOR)
)
FSDP_TENSOR = ShardingRules(
    name="fsdp_tensor",
    params=_table(**_FSDP, **_TENSOR),
    activations=_table(**_DATA, **_TENSOR),
)
# The hidden numbers between layers split over `model` too, which T5X calls 2D activations: less of
# what remat keeps, and each layer gathers them. By the TPU compiler, T5 1.1 XL on v4-32 (data 4,
# model 4, remat full) peaks at 8.43 GiB a device instead of 10.80, and gathers 52 GB a step instead
# of 3.4.
FSDP_TENSOR_2D = ShardingRules(
    name="fsdp_tensor_2d",
    params=FSDP_TENSOR.params,
    activations=_table(**_DATA, **_TENSOR, **{axes.EMBED: axes.MODEL}),
)

PRESETS = {rules.name: rules for rules in (REPLICATED, FSDP, TENSOR, FSDP_TENSOR, FSDP_TENSOR_2D)}


def preset(name: str) -> ShardingRules:
    """Returns the preset called `name`, a key of `PRESETS`."""
    if name not in PRESETS:
        raise errors.unknown_name("sharding preset", name, PRESETS)
    return PRESETS[name]


def resolve(
    names: Sequence[str | None],
    rules: AxisRules,
    shape: Sequence[int],
    mesh: Mesh | AbstractMesh | None,
    *,
    what: str = "array",
) -> PartitionSpec:
    """Returns how an array with these logical axes is split over `mesh`.

    Args:
        names: one logical axis name per dimension; None for a dimension that has no name and is
            never split.
        rules: the table to look the names up in, `ShardingRules.params` or `.activations`.
        shape: the array's shape.
        mesh: the mesh, with the axes that `rules` speaks of.
        what: the array's name for error messages.

    Raises:
        UsageError: no mesh, another number of names than dimensions, an unknown name, a mesh axis
            that is missing or used twice, or a dimension that the mesh axes do not divide.
    """
    where = f"{what} with logical axes {tuple(names)} and shape {tuple(shape)}"
    if mesh is None or mesh.empty:
        raise errors.UsageError(
            f"{where}: no mesh is set; enter one with jax.set_mesh(make_mesh(...)), "
            "or use the model without sharding rules"
        )
    if len(names) != len(shape):
        raise errors.UsageError(
            f"{where}: {len(names)} names for {len(shape)} dimensions; name each dimension"
        )
    table, sizes = dict(rules), dict(mesh.shape)
    used: set[str] = set()
    spec: list[OnMesh] = []
    for name, dim in zip(names, shape, strict=True):
        if name is not None and name not in table:
            raise errors.unknown_name("logical axis", name, table, remedy=f"(in {where})")
        mesh_axes = () if name is None else _as_tuple(table[name])
        for mesh_axis in mesh_axes:
            if mesh_axis not in sizes:
                raise errors.UsageError(
                    f"{where}: {name!r} goes to mesh axis {mesh_axis!r}, but the mesh has only "
                    f"{tuple(sizes)}; make it with flan_jax.parallel.mesh.make_mesh"
                )
            if mesh_axis in used:
                raise errors.UsageError(
                    f"{where}: mesh axis {mesh_axis!r} is used twice, the second time for "
                    f"{name!r}; change the rules so that one of the two is not split"
                )
            used.add(mesh_axis)
        entry = _entry(mesh_axes, sizes)
        num_parts = math.prod(sizes[mesh_axis] for mesh_axis in mesh_axes)
        if dim % num_parts:
            over = f"mesh axis {entry!r}" if isinstance(entry, str) else f"mesh axes {entry}"
            raise errors.UsageError(
                f"{where}: dimension {name!r} of {dim} does not divide over the {num_parts} devices"
                f" of {over}; change that dimension, the mesh, or the sharding preset"
            )
        spec.append(entry)
    return PartitionSpec(*spec)


def _entry(mesh_axes: tuple[str, ...], sizes: Mapping[str, int]) -> OnMesh:
    """Returns a dimension's part of a spec; of several mesh axes, those of size 1 are left out.

    So one slice gives the specs, messages and programs of a mesh that has no slices.
    """
    if len(mesh_axes) > 1:
        mesh_axes = tuple(axis for axis in mesh_axes if sizes[axis] > 1) or mesh_axes[-1:]
    return mesh_axes if len(mesh_axes) > 1 else next(iter(mesh_axes), None)


def constrain(x: jax.Array, names: Sequence[str | None], rules: ShardingRules | None) -> jax.Array:
    """Tells the compiler how `x` lies on the mesh that `jax.set_mesh` set.

    Args:
        x: an array inside a jitted function.
        names: one logical axis name per dimension.
        rules: the rules in use; None returns `x` as it is (a model without rules).

    Raises:
        UsageError: as `resolve`.
    """
    if rules is None:
        return x
    return _constrain(x, names, rules.activations, "activation")


def gather(x: jax.Array, names: Sequence[str | None], rules: ShardingRules | None) -> jax.Array:
    """Returns a parameter as it is computed with: whole along `data`, so its gradient too.

    Left to itself the compiler keeps a kernel in its parts under FSDP and passes them around, a
    product of a part at a time, each of which reads and writes the whole result. By the TPU
    compiler, a step of T5 1.1 XL on v5litepod-32 moves 2.02 TB a device that way and 0.67 TB with
    kernels gathered; with its gradients kept in parts, 1.09 TB.

    Args:
        x: a parameter inside a jitted function, in the dtype to send.
        names: one logical axis name per dimension.
        rules: as of `constrain`.
    """
    if rules is None or rules.gathered == rules.params:
        return x
    return _constrain(x, names, rules.gathered, "parameter")


def _constrain(x: jax.Array, names: Sequence[str | None], table: AxisRules, what: str) -> jax.Array:
    spec = resolve(names, table, x.shape, jax.sharding.get_abstract_mesh(), what=what)
    return jax.lax.with_sharding_constraint(x, spec)
