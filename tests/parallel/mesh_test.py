# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mesh covers the devices exactly and has Auto axes."""

import jax
import pytest
from jax.sharding import AxisType

from flan_jax.core.errors import UsageError
from flan_jax.parallel.mesh import MeshShape, make_mesh


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        (MeshShape(), (8, 1)),
        (MeshShape(data=-1, model=2), (4, 2)),
        (MeshShape(data=2, model=-1), (2, 4)),
        (MeshShape(data=1, model=8), (1, 8)),
    ],
)
def test_sizes_fill_all_devices(shape, sizes):
    mesh = make_mesh(shape)
    assert mesh.axis_names == ("data", "model")
    assert mesh.devices.shape == sizes
    assert set(mesh.devices.flat) == set(jax.devices())
    assert mesh.axis_types == (AxisType.Auto, AxisType.Auto)


def test_given_devices_are_used():
    mesh = make_mesh(MeshShape(), devices=jax.devices()[2:4])
    assert list(mesh.devices.flat) == jax.devices()[2:4]


@pytest.mark.parametrize("shape", [dict(data=3), dict(data=-1, model=3), dict(data=16, model=-1)])
def test_sizes_that_do_not_cover_the_devices_are_refused(shape):
    with pytest.raises(UsageError, match=r"does not cover 8 device\(s\).*product of its sizes 8"):
        make_mesh(MeshShape(**shape))


@pytest.mark.parametrize("size", [0, -2])
def test_a_size_must_be_positive(size):
    with pytest.raises(UsageError, match=f"'model' has size {size}; give a positive"):
        MeshShape(model=size)


def test_only_one_size_is_inferred():
    with pytest.raises(UsageError, match="both -1"):
        MeshShape(data=-1, model=-1)
