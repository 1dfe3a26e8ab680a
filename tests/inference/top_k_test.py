# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The largest numbers, against a stable sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.inference.top_k import BLOCK, top_k


def _sorted(x, k):
    order = np.argsort(-x, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(x, order, -1), order


@pytest.mark.parametrize("round_", [np.copy, np.floor], ids=["distinct", "many equal"])
@pytest.mark.parametrize("vocab_size", [5, 3 * BLOCK, 9 * BLOCK + 1, 20 * BLOCK - 1])
def test_is_a_stable_sort(vocab_size, round_):
    rng = np.random.default_rng(vocab_size)
    x = round_(rng.normal(size=(2, 3, vocab_size)).astype(np.float32))
    for k in (1, 2, 5):
        values, ids = jax.jit(top_k, static_argnums=1)(x, k)
        want_values, want_ids = _sorted(x, k)
        np.testing.assert_array_equal(values, want_values)
        np.testing.assert_array_equal(ids, want_ids)
        assert ids.dtype == jnp.int32 and values.shape == (2, 3, k)


def test_padding_is_never_chosen():
    """A vocabulary that is no multiple of the block, of which almost all is forbidden."""
    x = np.full((1, 6 * BLOCK + 2), -np.inf, np.float32)
    x[0, -1] = 1
    for k in (2, 6):
        ids = np.asarray(top_k(jnp.asarray(x), k)[1])[0]
        assert ids.tolist() == [6 * BLOCK + 1, *range(k - 1)]
