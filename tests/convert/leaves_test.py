# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Leaves in either layout: the same numbers, whole or in part, and no more read than asked for."""

import numpy as np
import pytest

from flan_jax.convert.leaves import Arrays, is_stacked, laid_out
from flan_jax.core.errors import FlanError, UsageError


class Counting(Arrays):
    """Leaves that record what is read of them."""

    def __init__(self, arrays):
        super().__init__(arrays)
        self.reads = []

    def read(self, name, index=None):
        self.reads.append((name, index))
        return super().read(name, index)


def apart(layers=11):
    arrays = {"embedding": np.arange(6.0).reshape(3, 2)}
    for i in range(layers):
        arrays[f"decoder/layers_{i}/kernel"] = np.arange(6.0).reshape(2, 3) + 10 * i
        arrays[f"decoder/layers_{i}/scale"] = np.arange(2.0) + 10 * i
    return arrays


def stacked(layers=11):
    one = apart(layers)
    return {
        "embedding": one["embedding"],
        "decoder/layers/kernel": np.stack(
            [one[f"decoder/layers_{i}/kernel"] for i in range(layers)], axis=1
        ),
        "decoder/layers/scale": np.stack(
            [one[f"decoder/layers_{i}/scale"] for i in range(layers)], axis=1
        ),
    }


@pytest.mark.parametrize("make_from, make_to", [(apart, stacked), (stacked, apart)])
def test_layers_are_laid_out_either_way(make_from, make_to):
    leaves, wanted = laid_out(Arrays(make_from()), stacked=make_to is stacked), make_to()
    assert leaves.shapes.keys() == wanted.keys()
    assert is_stacked(leaves.shapes) == (make_to is stacked)
    for name, array in wanted.items():
        assert leaves.shapes[name].shape == array.shape
        np.testing.assert_array_equal(leaves.read(name), array)
        part = (slice(1, 2),) * array.ndim
        np.testing.assert_array_equal(leaves.read(name, part), array[part])


def test_a_part_of_a_stack_reads_the_same_part_of_its_layers_only():
    source = Counting(apart())
    part = laid_out(source, stacked=True).read(
        "decoder/layers/kernel", (slice(0, 1), slice(9, 11), slice(None))
    )
    np.testing.assert_array_equal(part, [[[90, 91, 92], [100, 101, 102]]])
    rest = (slice(0, 1), slice(None))
    assert source.reads == [("decoder/layers_9/kernel", rest), ("decoder/layers_10/kernel", rest)]


def test_going_through_the_layers_reads_each_stack_once():
    source = Counting(stacked())
    leaves = laid_out(source, stacked=False)
    for name in leaves.shapes:
        leaves.read(name)
    assert sorted(name for name, _ in source.reads) == sorted(stacked())


def test_leaves_of_the_wanted_layout_are_left_alone():
    leaves = Arrays(apart())
    assert laid_out(leaves, stacked=False) is leaves


def test_a_layer_that_is_missing_or_differs_is_named():
    arrays = apart(4)
    del arrays["decoder/layers_2/scale"]
    with pytest.raises(FlanError, match="decoder/layers_2/scale is missing, though .*_3/scale is"):
        laid_out(Arrays(arrays), stacked=True)
    arrays = apart(2) | {"decoder/layers_1/scale": np.zeros(3, np.float32)}
    with pytest.raises(FlanError, match=r"layers_1/scale is float32\[3\] but .* float64\[2\]"):
        laid_out(Arrays(arrays), stacked=True)


def test_an_unknown_name_lists_the_closest():
    with pytest.raises(UsageError, match="did you mean 'embedding'"):
        Arrays(apart()).read("embeding")
