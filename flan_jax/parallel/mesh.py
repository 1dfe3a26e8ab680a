# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The device mesh: three axes, `slice`, `data` and `model`.

The devices of one slice are joined by the fast network of a TPU pod (or of a GPU host), slices by
the data center's. What lies along `slice` should talk once a step: the sum of the gradients.

This is the only place that makes a mesh. Its axes are of type Auto: jax's own default, Explicit,
makes flax.linen's layers and plain indexing fail.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from flan_jax.core import axes
from flan_jax.core.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshShape:
    """How many devices lie along each mesh axis; -1 on one within a slice: all that are left."""

    num_slices: int = 1  # parts of the batch, each on a slice with parameters of its own
    data: int = -1  # in each slice: parts of the batch, and of parameters under FSDP
    model: int = 1  # tensor parallelism

    def __post_init__(self):
        if type(self.num_slices) is not int or self.num_slices < 1:
            raise UsageError(
                f"num_slices must be an integer >= 1, got {self.num_slices!r}; 1 is one slice"
            )
        for name, size in self._sizes().items():
            if type(size) is not int or (size != -1 and size < 1):
                raise UsageError(
                    f"mesh axis {name!r} has size {size!r}; give a positive size, or -1 on one "
                    "axis for all devices that are left"
                )
        if self.data == self.model == -1:
            raise UsageError(
                "mesh axes 'data' and 'model' are both -1; give one of them a positive size"
            )

    def _sizes(self) -> dict[str, int]:
        return {axes.SLICE: self.num_slices, axes.DATA: self.data, axes.MODEL: self.model}

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
            remedy = f"make the product of the other sizes a divisor of {num_devices}"
        else:
            left, fits = 1, known == num_devices
            remedy = f"make the product of its sizes {num_devices}, or set one axis to -1"
        if not fits:
            raise UsageError(
                f"a mesh of {sizes} does not cover {num_devices} device(s) exactly; {remedy}"
            )
        return tuple(left if sizes[name] == -1 else sizes[name] for name in axes.MESH_AXES)


def make_mesh(shape: MeshShape = MeshShape(), devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of `shape` over `devices` (all devices of all hosts when None).

    Enter it with `jax.set_mesh(mesh)`, as a statement or a context.

    Raises:
        UsageError: the sizes do not cover the devices, or TPU slices are not what the shape says.
    """
    devices = jax.devices() if devices is None else list(devices)
    num_slices, *sizes = shape.resolve(len(devices))
    # Within a slice jax follows the torus, and splits one of its axes only where no other way fits.
    grids = [
        mesh_utils.create_device_mesh(sizes, part, allow_split_physical_axes=True)
        for part in _slices(devices, num_slices)
    ]
    return Mesh(np.stack(grids), axes.MESH_AXES, axis_types=(AxisType.Auto,) * len(axes.MESH_AXES))


def _slices(devices: Sequence[jax.Device], num_slices: int) -> list[list[jax.Device]]:
    """Returns the devices of each slice: TPUs as they are wired, others in consecutive blocks."""
    if devices[0].platform != "tpu":
        size = len(devices) // num_slices
        return [list(devices[at : at + size]) for at in range(0, len(devices), size)]
    found: dict[int, list[jax.Device]] = {}
    for device in devices:
        found.setdefault(getattr(device, "slice_index", 0), []).append(device)
    if len(found) != num_slices or len({len(part) for part in found.values()}) != 1:
        there = ", ".join(f"{len(found[index])}" for index in sorted(found))
        raise UsageError(
            f"num_slices is {num_slices}, but the devices lie in {len(found)} slice(s) of {there} "
            "devices; set MeshShape.num_slices to their number, and use slices of one size"
        )
    return [found[index] for index in sorted(found)]
