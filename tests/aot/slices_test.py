# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Slices by name: their chips multiply to what the name counts, and mistakes name the nearest."""

import math

import pytest

from flan_jax.aot import slices
from flan_jax.core import errors

CHIPS_PER_COUNT = {  # cores on v2-v4, v5p and TPU7x (two a chip), else chips
    "v2": 2, "v3": 2, "v4": 2, "v5p": 2, "tpu7x": 2, "v5litepod": 1, "v6e": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", slices.names())
def test_the_shape_has_the_chips_that_the_name_counts(name):
    generation, count = name.split("-")
    found = slices.find(name)
    chips = math.prod(map(int, found.shape.split("x")))
    assert chips * CHIPS_PER_COUNT[generation] == int(count)
    assert len(found.shape.split("x")) == (3 if generation in ("v4", "v5p", "tpu7x") else 2)
    assert found.num_devices == chips * (2 if generation in ("v2", "v3", "tpu7x") else 1)


def test_topologies_are_spelled_as_the_compiler_does():
    assert slices.find("v4-32").topology == ("v4:2x2x4", {"chip_config_name": "megacore"})
    assert slices.find("v5litepod-16").topology == ("v5e:4x4", {})
    assert slices.find("v6e-1").topology == ("v6e:1x1", {"chips_per_host_bounds": (1, 1, 1)})
    two = slices.find("v5litepod-16", num_slices=2)
    assert two.topology == ("v5e:4x4", {"num_slices": 2})
    assert (two.num_devices, two.shown) == (32, "2 x v5litepod-16")


def test_numbers_are_of_one_device():
    # A v3 chip: 123 TFLOP/s and 32 GiB; jax sees its two cores.
    v3 = slices.GENERATIONS["v3"]
    assert v3.peak_flops == 61.5e12 and v3.hbm_bytes < 16 * slices.GIB
    assert slices.GENERATIONS["v4"].peak_flops == 275e12
    assert slices.GENERATIONS["tpu7x"].peak_flops == 1153.5e12


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("v4-33", "'v4-32'"),
        ("v5e-16", "'v5litepod-16'"),
        ("v7x-8", "'tpu7x-8'"),
        ("V4-32", "'v4-32'"),
        ("v5litepod16", "'v5litepod-16'"),
    ],
)
def test_an_unknown_slice_names_the_nearest(name, near):
    with pytest.raises(errors.UsageError, match=r"did you mean .*" + near):
        slices.find(name)


def test_no_slices_are_refused():
    with pytest.raises(errors.UsageError, match="num_slices must be >= 1, got 0"):
        slices.find("v4-8", num_slices=0)
