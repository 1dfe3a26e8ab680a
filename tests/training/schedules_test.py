# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Schedules against their formulas, and their promises at any step."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.core.errors import UsageError
from flan_jax.training.schedules import (
    MIN_LEARNING_RATE,
    Constant,
    Cosine,
    LinearDecay,
    RSqrt,
)

ALL = [
    Constant(learning_rate=5e-4),
    Constant(learning_rate=5e-4, warmup_steps=10, offset=100),
    RSqrt(learning_rate=1.0, warmup_steps=50, offset=7),
    LinearDecay(learning_rate=1e-3, decay_steps=200, warmup_steps=20, final_fraction=0.1),
    Cosine(learning_rate=1e-3, decay_steps=200, warmup_steps=20),
]


def test_constant_is_constant_after_its_warmup():
    schedule = Constant(learning_rate=0.4, warmup_steps=4, offset=10)
    got = [float(schedule(step)) for step in (0, 10, 11, 12, 14, 10_000)]
    np.testing.assert_allclose(got, [1e-8, 1e-8, 0.1, 0.2, 0.4, 0.4], rtol=1e-6)


def test_rsqrt_is_t5s():
    schedule = RSqrt(learning_rate=2.0, warmup_steps=10_000)
    for step in (0, 1, 9_999, 10_000, 40_000, 1_100_000):
        assert float(schedule(step)) == pytest.approx(2.0 / math.sqrt(max(step, 10_000)), rel=1e-6)


def test_linear_and_cosine_hit_their_corners():
    for kind in (LinearDecay, Cosine):
        schedule = kind(learning_rate=1.0, decay_steps=110, warmup_steps=10, final_fraction=0.2)
        got = [float(schedule(step)) for step in (5, 10, 60, 110, 1_000)]
        np.testing.assert_allclose(got, [0.5, 1.0, 0.6, 0.2, 0.2], rtol=1e-6)
    cosine = Cosine(learning_rate=1.0, decay_steps=100)
    assert float(cosine(25)) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)), rel=1e-6)


def test_steps_beyond_float32_integers_are_still_told_apart():
    schedule = Constant(learning_rate=1.0, warmup_steps=4, offset=2**25)
    got = [float(schedule(2**25 + i)) for i in range(1, 5)]
    np.testing.assert_allclose(got, [0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)
def test_traced_step_gives_the_same_rate(schedule):
    rate = jax.jit(schedule)(np.int32(123))
    assert rate.dtype == np.float32 and rate.shape == ()
    assert float(rate) == pytest.approx(float(schedule(123)), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(ALL), st.integers(0, 400))
def test_rates_are_positive_bounded_and_change_gently(schedule, step):
    rate, after = float(schedule(step)), float(schedule(step + 1))
    assert MIN_LEARNING_RATE * 0.999 <= rate <= schedule.learning_rate * 1.0001
    assert abs(after - rate) <= schedule.learning_rate / 9


def test_schedules_are_static_arguments():
    assert hash(Constant(learning_rate=0.1)) == hash(Constant(learning_rate=0.1))
    assert Constant(learning_rate=0.1) != Constant(learning_rate=0.2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Constant(learning_rate=0.0), "learning_rate must be > 0, got 0.0"),
        (lambda: Constant(learning_rate=1.0, warmup_steps=-1), "warmup_steps must be >= 0"),
        (lambda: RSqrt(warmup_steps=0), "warmup_steps must be >= 1, got 0"),
        (lambda: Cosine(learning_rate=1.0, decay_steps=5, warmup_steps=5), "must exceed warmup"),
        (
            lambda: LinearDecay(learning_rate=1.0, decay_steps=5, final_fraction=2.0),
            r"within \[0, 1\], got 2.0",
        ),
    ],
)
def test_wrong_values_are_refused(make, text):
    with pytest.raises(UsageError, match=text):
        make()
