# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dropout masks: their shapes, their rate, and what they do to an array."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models import dropout

SHAPES = {"hidden": (1, 300), "weights": (2, 1, 50), "stack": (3, 1, 40)}


@pytest.fixture(scope="module")
def masks():
    return dropout.draw(jax.random.key(0), 0.25, 8, SHAPES)


def test_each_place_gets_a_mask_of_its_own(masks):
    assert {name: mask.shape for name, mask in masks.items()} == {
        name: (8, *shape) for name, shape in SHAPES.items()
    }
    assert {mask.dtype for mask in masks.values()} == {jnp.dtype(bool)}
    rows = [np.asarray(masks["hidden"][i, 0]) for i in range(8)] + list(
        np.asarray(masks["stack"][0, :, 0])
    )
    assert len({row.tobytes() for row in rows}) == len(rows), "examples and layers differ"


def test_the_rate_is_the_probability_of_a_zero(masks):
    dropped = 1 - np.concatenate([np.asarray(mask).ravel() for mask in masks.values()])
    # Four standard deviations of the mean of this many draws.
    assert dropped.mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / dropped.size) ** 0.5)


def test_masks_follow_the_key(masks):
    again = dropout.draw(jax.random.key(0), 0.25, 8, SHAPES)
    other = dropout.draw(jax.random.key(1), 0.25, 8, SHAPES)
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, again[name])
        assert (mask != other[name]).any()


def test_drop_zeroes_and_scales_up():
    x = jnp.arange(1.0, 13.0).reshape(1, 3, 4)
    kept = jnp.array([[[True, False, True, True]]])
    want = np.asarray(x) * [1.25, 0, 1.25, 1.25]
    np.testing.assert_allclose(dropout.drop(x, kept, 0.2), want, rtol=1e-6)
    half = dropout.drop(x.astype(jnp.bfloat16), kept, 0.2)
    assert half.dtype == jnp.bfloat16


def test_no_mask_is_no_dropout():
    x = jnp.ones((2, 3))
    assert dropout.drop(x, None, 0.9) is x
