# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mesh covers the devices exactly and has Auto axes."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from flan_jax.core.errors import UsageError
from flan_jax.parallel.mesh import MeshShape, make_mesh


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        (MeshShape(), (1, 8, 1)),
        (MeshShape(data=-1, model=2), (1, 4, 2)),
        (MeshShape(data=2, model=-1), (1, 2, 4)),
        (MeshShape(data=1, model=8), (1, 1, 8)),
        (MeshShape(num_slices=2, model=2), (2, 2, 2)),
        (MeshShape(num_slices=8), (8, 1, 1)),
    ],
)
def test_sizes_fill_all_devices(shape, sizes):
    mesh = make_mesh(shape)
    assert mesh.axis_names == ("slice", "data", "model")
    assert mesh.devices.shape == sizes
    assert set(mesh.devices.flat) == set(jax.devices())
    assert mesh.axis_types == (AxisType.Auto,) * 3


def test_given_devices_are_used():
    mesh = make_mesh(MeshShape(), devices=jax.devices()[2:4])
    assert list(mesh.devices.flat) == jax.devices()[2:4]


def test_slices_of_other_devices_are_consecutive_blocks():
    mesh = make_mesh(MeshShape(num_slices=2, model=2))
    assert [device.id for device in mesh.devices[1].flat] == [4, 5, 6, 7]


@dataclasses.dataclass(frozen=True)
class Chip:
    """What a mesh asks of a TPU of a 2x2x1 slice."""

    id: int
    slice_index: int
    coords: tuple[int, int, int]
    platform: str = "tpu"
    device_kind: str = "TPU v4"
    process_index: int = 0
    core_on_chip: int = 0


def chips(num_slices):
    """Returns the chips of so many slices, those of different slices taking turns."""
    coords = [(x, y, 0) for y in range(2) for x in range(2)]
    return [
        Chip(4 * index + at, index, coords[at]) for at in range(4) for index in range(num_slices)
    ]


def test_slices_of_tpus_are_as_they_are_wired(monkeypatch):
    # A jax mesh interns real devices; what counts here is the grid it is given.
    monkeypatch.setattr("flan_jax.parallel.mesh.Mesh", lambda grid, *_, **__: grid)
    grid = make_mesh(MeshShape(num_slices=2, data=2, model=2), chips(2))
    indices = np.vectorize(lambda chip: chip.slice_index)(grid)
    np.testing.assert_array_equal(indices, np.broadcast_to([[[0]], [[1]]], (2, 2, 2)))


@pytest.mark.parametrize(
    ("num_slices", "devices", "message"),
    [
        (1, chips(2), r"num_slices is 1, but the devices lie in 2 slice\(s\) of 4, 4 devices"),
        (2, chips(1), r"num_slices is 2, but the devices lie in 1 slice\(s\) of 4 devices"),
        (2, [c for c in chips(2) if c.id not in (2, 3)], r"2 slice\(s\) of 2, 4 devices.*one size"),
    ],
)
def test_slices_of_tpus_must_be_what_the_shape_says(num_slices, devices, message):
    with pytest.raises(UsageError, match=message):
        make_mesh(MeshShape(num_slices=num_slices), devices)


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        (dict(data=3), "product of its sizes 8, or set one axis to -1"),
        (dict(num_slices=2, data=8), "product of its sizes 8, or set one axis to -1"),
        (dict(data=-1, model=3), "product of the other sizes a divisor of 8"),
        (dict(data=16, model=-1), "product of the other sizes a divisor of 8"),
        (dict(num_slices=3), "product of the other sizes a divisor of 8"),
    ],
)
def test_sizes_that_do_not_cover_the_devices_are_refused(shape, remedy):
    with pytest.raises(
        UsageError, match=rf"does not cover 8 device\(s\) exactly; make the {remedy}"
    ):
        make_mesh(MeshShape(**shape))


@pytest.mark.parametrize("size", [0, -2, 1.5, "2"])
def test_a_size_must_be_positive(size):
    with pytest.raises(UsageError, match=f"'model' has size {size!r}; give a positive"):
        MeshShape(model=size)


def test_the_number_of_slices_is_not_inferred():
    for num in (-1, "2"):
        with pytest.raises(UsageError, match=f"must be an integer >= 1, got {num!r}; 1 is one sli"):
            MeshShape(num_slices=num)


def test_only_one_size_is_inferred():
    with pytest.raises(UsageError, match="both -1"):
        MeshShape(data=-1, model=-1)
