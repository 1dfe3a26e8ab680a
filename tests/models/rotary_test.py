# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rotary positions against complex multiplication, and what they promise."""

import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models import rotary

HEAD_DIM, THETA = 8, 100.0


def _x(length):
    return np.random.default_rng(0).normal(size=(2, length, 3, HEAD_DIM)).astype(np.float32)


def _turned(x, positions, pairing):
    return np.asarray(rotary.rotate(x, rotary.rotation(positions, HEAD_DIM, THETA), pairing))


def _pairs(x, pairing):
    """Returns the pairs as complex numbers."""
    if pairing == rotary.INTERLEAVED:
        return x[..., 0::2] + 1j * x[..., 1::2]
    return x[..., : HEAD_DIM // 2] + 1j * x[..., HEAD_DIM // 2 :]


@pytest.mark.parametrize("pairing", rotary.PAIRINGS)
def test_pairs_turn_as_complex_numbers(pairing):
    x, positions = _x(5), np.array([[0, 1, 2, 3, 4], [7, 0, 30, 2, 2]])
    angles = positions[..., None] * THETA ** (-2 * np.arange(HEAD_DIM // 2) / HEAD_DIM)
    want = _pairs(x, pairing) * np.exp(1j * angles)[:, :, None, :]
    got = _pairs(_turned(x, positions, pairing), pairing)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pairing", rotary.PAIRINGS)
def test_products_depend_on_the_distance_alone(pairing):
    x, y = np.broadcast_to(_x(2)[:, :, None], (2, 2, 6, 3, HEAD_DIM)).transpose(1, 0, 2, 3, 4)
    near, far = np.arange(6)[None].repeat(2, 0), 50 + np.arange(6)[None].repeat(2, 0)
    products = [(_turned(x, p, pairing) * _turned(y, p + 3, pairing)).sum(-1) for p in (near, far)]
    np.testing.assert_allclose(products[0], products[1], rtol=1e-4, atol=1e-4)
    shifted = (_turned(x, near, pairing) * _turned(y, near + 4, pairing)).sum(-1)
    assert np.abs(shifted - products[0]).max() > 0.1


def test_late_positions_keep_their_angle_in_bfloat16():
    x, positions = jnp.asarray(_x(1), jnp.bfloat16), np.full((2, 1), 8191)
    got = rotary.rotate(x, rotary.rotation(positions, HEAD_DIM, THETA), rotary.HALVES)
    want = _turned(np.asarray(x, np.float32), positions, rotary.HALVES)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(got, np.float32), want, rtol=2**-8, atol=2**-8)
