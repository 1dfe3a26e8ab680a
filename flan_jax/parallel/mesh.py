# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The device mesh: two axes, `data` and `model`.

This is the only place that makes a mesh. Its axes are of type Auto: jax's own default, Explicit,
makes flax.linen's layers and plain indexing fail.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

from flan_jax.core import axes
from flan_jax.core.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshShape:
    """How many devices lie along each mesh axis; -1 on one axis means all that are left."""

    data: int = -1  # batch, and parameters under FSDP
    model: int = 1  # tensor parallelism

    def __post_init__(self):
        for name, size in self._sizes().items():
            if size != -1 and size < 1:
                raise UsageError(
                    f"mesh axis {name!r} has size {size}; give a positive size, or -1 on one axis "
                    "for all devices that are left"
                )
        if self.data == self.model == -1:
            raise UsageError(
                "mesh axes 'data' and 'model' are both -1; give one of them a positive size"
            )

    def _sizes(self) -> dict[str, int]:
        return {axes.DATA: self.data, axes.MODEL: self.model}

    def resolve(self, num_devices: int) -> tuple[int, ...]:
        """Returns the sizes in the order of `axes.MESH_AXES`, with -1 filled in.

        Raises:
            UsageError: the sizes do not make up exactly `num_devices`.
        """
        sizes = self._sizes()
        known = math.prod(size for size in sizes.values() if size != -1)
        if -1 in sizes.values():
            left = num_devices // known
            fits = left >= 1 and left * known == num_devices
        else:
            left, fits = 1, known == num_devices
        if not fits:
            raise UsageError(
                f"a mesh of {sizes} does not cover {num_devices} device(s) exactly; make the "
                f"product of its sizes {num_devices}, or set one axis to -1"
            )
        return tuple(left if sizes[name] == -1 else sizes[name] for name in axes.MESH_AXES)


def make_mesh(shape: MeshShape = MeshShape(), devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of `shape` over `devices` (all devices of all hosts when None).

    Enter it with `jax.set_mesh(mesh)`, as a statement or a context.
    """
    devices = jax.devices() if devices is None else list(devices)
    return jax.make_mesh(
        shape.resolve(len(devices)),
        axes.MESH_AXES,
        axis_types=(AxisType.Auto,) * len(axes.MESH_AXES),
        devices=devices,
    )
