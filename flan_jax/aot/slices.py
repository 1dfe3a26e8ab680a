# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""TPU slices by their usual names, and what one device of each generation is and holds.

A name counts cores on v2 to v4, v5p and TPU7x, chips on v5e (`v5litepod-`) and v6e. A *device* is
what jax sees: a core on v2, v3 and TPU7x, a chip elsewhere (both cores of a v4 or v5p chip work as
one, "megacore").
"""

import dataclasses
from typing import Any

from flan_jax.core import errors

GIB = 1 << 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generation:
    """A TPU generation, in numbers of one jax device."""

    topology: str  # what the compiler calls it
    # Dense bfloat16: the vendor's number of a chip (docs.cloud.google.com/tpu/docs/v3, v4, v5e,
    # v5p, v6e, tpu7x), divided by its devices. v2 has no such page: 45 TFLOP/s, as the press had.
    peak_flops: float
    # What the compiler lets a program use (libtpu 0.0.42.1); a little less than the chip has.
    hbm_bytes: int
    # Bytes/s. Of the same pages, but for v2 and TPU7x: from memory, for estimates only.
    hbm_bandwidth: float
    # Bytes/s to all neighbours, one direction: half of the vendor's number for both. v4 and TPU7x
    # from memory; None: not known, and estimates leave it out.
    ici_bandwidth: float | None
    # How names count: devices for one in the name. None of them has a fraction of a device.
    devices_per_count: float
    options: tuple[tuple[str, Any], ...] = ()  # of jax's get_topology_desc


GENERATIONS = {
    "v2": Generation(
        topology="v2", peak_flops=45e12 / 2, hbm_bytes=int(7.48 * GIB), hbm_bandwidth=700e9 / 2,
        ici_bandwidth=None, devices_per_count=1,
    ),
    "v3": Generation(
        topology="v3", peak_flops=123e12 / 2, hbm_bytes=int(15.48 * GIB), hbm_bandwidth=900e9 / 2,
        ici_bandwidth=None, devices_per_count=1,
    ),
    "v4": Generation(
        topology="v4", peak_flops=275e12, hbm_bytes=int(30.75 * GIB), hbm_bandwidth=1200e9,
        ici_bandwidth=150e9, devices_per_count=1 / 2,
        options=(("chip_config_name", "megacore"),),  # the compiler's default is a device a core
    ),
    "v5litepod": Generation(
        topology="v5e", peak_flops=197e12, hbm_bytes=int(15.75 * GIB), hbm_bandwidth=819e9,
        ici_bandwidth=200e9, devices_per_count=1,
    ),
    "v5p": Generation(
        topology="v5p", peak_flops=459e12, hbm_bytes=int(95.74 * GIB), hbm_bandwidth=2765e9,
        ici_bandwidth=600e9, devices_per_count=1 / 2,
    ),
    "v6e": Generation(
        topology="v6e", peak_flops=918e12, hbm_bytes=int(31.25 * GIB), hbm_bandwidth=1638e9,
        ici_bandwidth=400e9, devices_per_count=1,
    ),
    "tpu7x": Generation(
        topology="tpu7x", peak_flops=2307e12 / 2, hbm_bytes=int(94.75 * GIB),
        hbm_bandwidth=7380e9 / 2, ici_bandwidth=600e9 / 2, devices_per_count=1,
    ),
}  # fmt: skip

# The number in a slice's name -> the shape of its chips. The large shapes are those that Google
# lists, or the nearest to a cube; a pod may be cut otherwise, at the same memory.
_TORUS_2D = {8: "2x2", 32: "4x4", 64: "4x8", 128: "8x8", 256: "8x16", 512: "16x16"}
_TORUS_3D = {
    8: "2x2x1", 16: "2x2x2", 32: "2x2x4", 64: "2x4x4", 128: "4x4x4", 256: "4x4x8", 512: "4x8x8",
    1024: "8x8x8", 1536: "8x8x12", 2048: "8x8x16", 3072: "8x12x16", 4096: "8x16x16",
}  # fmt: skip
_CHIPS_2D = {
    1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16",
}  # fmt: skip
SHAPES = {
    "v2": _TORUS_2D,
    "v3": _TORUS_2D | {1024: "16x32", 2048: "32x32"},
    "v4": _TORUS_3D,
    "v5litepod": _CHIPS_2D,
    "v5p": _TORUS_3D | {6144: "12x16x16", 8192: "16x16x16", 12288: "16x16x24"},
    "v6e": _CHIPS_2D,
    "tpu7x": _TORUS_3D,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """One or several equal slices that a job runs on."""

    name: str
    shape: str  # of the chips of one slice, such as 2x2x4
    generation: Generation
    devices_per_slice: int
    num_slices: int = 1

    @property
    def num_devices(self) -> int:
        """Devices of all slices."""
        return self.devices_per_slice * self.num_slices

    @property
    def shown(self) -> str:
        """The name for people: `2 x v4-32` for two slices."""
        return self.name if self.num_slices == 1 else f"{self.num_slices} x {self.name}"

    @property
    def topology(self) -> tuple[str, dict[str, Any]]:
        """Name and options of the topology, for jax's `get_topology_desc`."""
        options = dict(self.generation.options)
        if self.devices_per_slice == 1:
            options["chips_per_host_bounds"] = (1, 1, 1)  # else a host is taken to have four
        if self.num_slices > 1:
            options["num_slices"] = self.num_slices
        return f"{self.generation.topology}:{self.shape}", options


def names() -> list[str]:
    """Returns the names of all slices, the smaller of a generation first."""
    return [f"{generation}-{count}" for generation, shapes in SHAPES.items() for count in shapes]


def find(name: str, num_slices: int = 1) -> Slice:
    """Returns the slice of that name, `num_slices` times.

    Raises:
        UsageError: there is none of that name; the closest are named.

    Example:
        >>> found = find("v4-32")
        >>> found.num_devices, found.topology
        (16, ('v4:2x2x4', {'chip_config_name': 'megacore'}))
    """
    if name not in names():
        spelled = name.lower().replace("v5e-", "v5litepod-").replace("v7x-", "tpu7x-")
        remedy = "(v2 to v4, v5p and tpu7x count cores, the others chips)"
        if spelled in names():
            raise errors.UsageError(f"unknown slice {name!r}; did you mean {spelled!r}? {remedy}")
        raise errors.unknown_name("slice", spelled, names(), remedy)
    if num_slices < 1:
        raise errors.UsageError(f"num_slices must be >= 1, got {num_slices}")
    generation, count = name.rsplit("-", 1)
    found = GENERATIONS[generation]
    return Slice(
        name=name,
        shape=SHAPES[generation][int(count)],
        generation=found,
        devices_per_slice=round(int(count) * found.devices_per_count),
        num_slices=num_slices,
    )
