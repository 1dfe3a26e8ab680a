# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Relative position buckets against a scalar rewriting of T5's rule, and their layout."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models.positions import RelativePositionBias, relative_bucket, spread


def _bucket(distance: int, bidirectional: bool, num_buckets: int, max_distance: int) -> int:
    base = 0
    if bidirectional:
        num_buckets //= 2
        base = num_buckets if distance > 0 else 0
        back = abs(distance)
    else:
        back = max(-distance, 0)
    exact = num_buckets // 2
    if back < exact:
        return base + back
    # A nudge stands for float32's rounding at exact powers.
    step = math.log(back / exact * (1 + 1e-6)) / math.log(max_distance / exact)
    return base + min(exact + int(step * (num_buckets - exact)), num_buckets - 1)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (16, 40)])
def test_buckets_of_all_distances(bidirectional, num_buckets, max_distance):
    distances = np.arange(-600, 601)
    got = relative_bucket(
        distances,
        bidirectional=bidirectional,
        num_buckets=num_buckets,
        max_distance=max_distance,
    )
    want = [_bucket(d, bidirectional, num_buckets, max_distance) for d in distances.tolist()]
    np.testing.assert_array_equal(got, want)


def test_known_buckets():
    # T5's defaults: 8 exact distances each way, then 11 is still in the bucket of 8, 12 is not.
    rule = dict(num_buckets=32, max_distance=128)
    distances = np.array([0, -1, -7, -8, -11, -12, -127, -128, 1, 7, 500])
    got = relative_bucket(distances, bidirectional=True, **rule)
    assert got.tolist() == [0, 1, 7, 8, 8, 9, 15, 15, 17, 23, 31]
    got = relative_bucket(distances, bidirectional=False, **rule)
    assert got.tolist() == [0, 1, 7, 8, 11, 12, 31, 31, 0, 0, 0]


@pytest.mark.parametrize(
    ("q_length", "kv_length"), [(1, 1), (1, 4), (4, 1), (2, 2), (3, 5), (5, 3)]
)
def test_spread_is_constant_along_diagonals(q_length, kv_length):
    values = np.arange(2 * (q_length + kv_length - 1), dtype=np.float32).reshape(2, -1)
    index = np.arange(kv_length)[None, :] - np.arange(q_length)[:, None] + q_length - 1
    got = spread(jnp.asarray(values), q_length, kv_length)
    np.testing.assert_array_equal(got, values[:, index])


def test_the_gradient_of_spread_sums_each_diagonal():
    weights = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    values = jnp.zeros((2, 6))
    got = jax.grad(lambda v: jnp.sum(spread(v, 3, 4) * weights))(values)
    sums = np.zeros((2, 6), np.float32)
    for q in range(3):
        for k in range(4):
            sums[:, k - q + 2] += weights[:, q, k]
    np.testing.assert_allclose(got, sums, rtol=1e-6)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_bias_reads_the_table_by_bucket(bidirectional):
    table = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)
    module = RelativePositionBias(num_heads=2, bidirectional=bidirectional)
    variables = {"params": {"rel_embedding": table}}
    bias = np.asarray(module.apply(variables, 5, 5))
    assert bias.shape == (1, 2, 5, 5)
    for q in range(5):
        for k in range(5):
            bucket = _bucket(k - q, bidirectional, 32, 128)
            np.testing.assert_array_equal(bias[0, :, q, k], table[:, bucket])
