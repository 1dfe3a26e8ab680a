# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shapes of programs: hand-made values."""

import jax
import pytest

from flan_jax.inference import shapes
from flan_jax.parallel import rules
from tests.models.one_device import mesh_of


@pytest.mark.parametrize(
    ("longest", "buckets"),
    [
        (1, (1,)),
        (64, (64,)),
        (65, (64, 65)),
        (128, (64, 96, 128)),
        (600, (64, 96, 128, 192, 256, 384, 512, 600)),
    ],
)
def test_default_buckets_grow_by_halves_up_to_the_longest(longest, buckets):
    assert shapes.buckets(longest) == buckets


def test_chosen_buckets_are_sorted_and_end_with_the_longest():
    assert shapes.buckets(12, [9, 4, 9, 12, 20]) == (4, 9, 12)
    assert shapes.buckets(12, [20]) == (12,)


def test_the_least_bucket_that_is_enough():
    assert [shapes.bucket(length, (4, 9, 12)) for length in (1, 4, 5, 12)] == [4, 4, 9, 12]


def test_power_of_two_is_the_least_that_is_enough():
    assert [shapes.power_of_two(num) for num in (1, 2, 3, 4, 5, 8, 9)] == [1, 2, 4, 4, 8, 8, 16]


def test_few_prompts_get_few_rows():
    assert [shapes.num_rows(num, 12, None) for num in (1, 3, 8, 9, 500)] == [1, 4, 8, 12, 12]


def test_rows_divide_over_the_parts_of_a_batch():
    with jax.set_mesh(mesh_of((2, 2, 2))):
        assert shapes.num_parts(rules.TENSOR) == 4
        assert [shapes.num_rows(num, 10, rules.TENSOR) for num in (1, 5, 99)] == [4, 8, 12]
        assert shapes.num_parts(None) == 1
