# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Attention against loops over heads and queries; its cache; its dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models.attention import Attention

HEADS, HEAD_DIM, EMB = 2, 3, 5


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def params():
    joined = HEADS * HEAD_DIM
    shapes = dict(query=(EMB, joined), key=(EMB, joined), value=(EMB, joined), out=(joined, EMB))
    return {n: {"kernel": _normal(*s, seed=i)} for i, (n, s) in enumerate(shapes.items())}


def _module(dropout_rate=0.0):
    return Attention(HEADS, HEAD_DIM, EMB, dropout_rate)


def _reference(params, x, source, mask, bias):
    """Attention by loops, in float64."""
    kernel = {name: p["kernel"].astype(np.float64) for name, p in params.items()}
    out = np.zeros(x.shape[:2] + (EMB,))
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            mixed = []
            for h in range(HEADS):
                at = slice(h * HEAD_DIM, (h + 1) * HEAD_DIM)
                query = x[b, i] @ kernel["query"][:, at]
                keys, values = (source[b] @ kernel[n][:, at] for n in ("key", "value"))
                scores = keys @ query + bias[0, h, i]  # no 1/sqrt(d)
                weights = np.where(mask[b, 0, i], np.exp(scores - scores.max()), 0.0)
                mixed.append(weights / weights.sum() @ values)
            out[b, i] = np.concatenate(mixed) @ kernel["out"]
    return out


def test_attention_equals_loops(params):
    x, source = _normal(2, 3, EMB, seed=8), _normal(2, 4, EMB, seed=9)
    bias = _normal(1, HEADS, 3, 4, seed=10)
    mask = np.random.default_rng(0).random((2, 1, 3, 4)) < 0.6
    mask[..., 0] = True
    y = _module().apply({"params": params}, x, source, mask, bias, train=False)
    np.testing.assert_allclose(y, _reference(params, x, source, mask, bias), rtol=2e-5, atol=2e-5)


def test_a_masked_key_has_no_influence(params):
    x, source = _normal(1, 2, EMB), _normal(1, 3, EMB, seed=1)
    mask = np.array([True, True, False])[None, None, None, :]
    changed = source.copy()
    changed[:, 2] = 1e3
    first, second = (
        _module().apply({"params": params}, x, s, mask, None, train=False)
        for s in (source, changed)
    )
    np.testing.assert_array_equal(first, second)


def test_a_query_with_nothing_to_look_at_stays_finite(params):
    x = _normal(1, 2, EMB)
    mask = np.zeros((1, 1, 1, 2), bool)
    y = _module().apply({"params": params}, x, x, mask, None, train=False)
    assert np.isfinite(y).all()


def test_extending_a_cache_gives_the_keys_and_values_of_the_whole(params):
    module, variables = _module(), {"params": params}
    x = _normal(2, 3, EMB)
    whole = module.apply(variables, x, method="keys_values")
    cache = (jnp.zeros((2, HEADS, 3, HEAD_DIM)),) * 2
    for i in range(3):
        cache = module.apply(variables, x[:, i : i + 1], cache, i, method="extend")
    for got, want in zip(cache, whole, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_dropout_of_weights_is_shared_by_all_queries(params):
    # Equal queries give equal outputs under dropout only if they lose the same keys.
    x = np.repeat(_normal(1, 1, EMB), 6, axis=1)
    source, mask = _normal(1, 40, EMB, seed=1), np.ones((1, 1, 1, 1), bool)
    module, variables = _module(0.5), {"params": params}
    keys = [jax.random.key(i) for i in (0, 1)]
    ys = [
        module.apply(variables, x, source, mask, None, train=True, rngs={"dropout": key})
        for key in keys
    ]
    np.testing.assert_allclose(ys[0], np.repeat(ys[0][:, :1], 6, axis=1), rtol=1e-5, atol=1e-6)
    assert np.abs(ys[0] - ys[1]).max() > 0.01
