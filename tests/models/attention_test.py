# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Attention against loops over heads and queries; ready keys and values; its dropout."""

import jax
import numpy as np
import pytest

from flan_jax.models.attention import Attention
from flan_jax.models.cached_attention import Part

HEADS, HEAD_DIM, EMB = 2, 3, 5


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def params():
    joined = HEADS * HEAD_DIM
    shapes = dict(query=(EMB, joined), key=(EMB, joined), value=(EMB, joined), out=(joined, EMB))
    return {n: {"kernel": _normal(*s, seed=i)} for i, (n, s) in enumerate(shapes.items())}


def _module(dropout_rate=0.0, **settings):
    return Attention(HEADS, HEAD_DIM, EMB, dropout_rate, **settings)


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
    y = _module().apply({"params": params}, x, source, mask, bias)
    np.testing.assert_allclose(y, _reference(params, x, source, mask, bias), rtol=2e-5, atol=2e-5)


def test_a_masked_key_has_no_influence(params):
    x, source = _normal(1, 2, EMB), _normal(1, 3, EMB, seed=1)
    mask = np.array([True, True, False])[None, None, None, :]
    changed = source.copy()
    changed[:, 2] = 1e3
    first, second = (
        _module().apply({"params": params}, x, s, mask, None) for s in (source, changed)
    )
    np.testing.assert_array_equal(first, second)


def test_a_query_with_nothing_to_look_at_stays_finite(params):
    x = _normal(1, 2, EMB)
    mask = np.zeros((1, 1, 1, 2), bool)
    y = _module().apply({"params": params}, x, x, mask, None)
    assert np.isfinite(y).all()


def test_looking_at_ready_keys_and_values_is_attending_to_their_source(params):
    """Two members of each row, which look at one source and at what is their own."""
    module, variables = _module(), {"params": params}
    x, source = _normal(2, 6, EMB, seed=8), _normal(2, 4, EMB, seed=9)  # members of length 3
    own = module.apply(variables, x, 2, method="keys_values")
    assert own[0].shape == (2, HEADS, 2, 3, HEAD_DIM)
    shared = module.apply(variables, source, method="keys_values")
    assert shared[0].shape == (2, HEADS, 4, HEAD_DIM)
    causal = np.tril(np.ones((3, 3), bool))
    parts = [Part(shared), Part(own, causal[None, None, None, None])]
    found = module.apply(variables, x, parts, 2, method="look")
    for member in range(2):
        at = slice(3 * member, 3 * member + 3)
        both = np.concatenate([source, x[:, at]], axis=1)
        mask = np.concatenate([np.ones((3, 4), bool), causal], axis=1)[None, None]
        mask = np.broadcast_to(mask, (2, 1, 3, 7))
        want = _reference(params, x[:, at], both, mask, np.zeros((1, HEADS, 3, 7)))
        np.testing.assert_allclose(found[:, at], want, rtol=2e-5, atol=2e-5)


def test_dropping_a_key_takes_its_weight_from_every_query(params):
    x, source = _normal(1, 3, EMB), _normal(1, 4, EMB, seed=1)
    mask = np.ones((1, 1, 1, 1), bool)
    kept = np.ones((1, HEADS, 1, 4), bool)
    kept[..., 2] = False
    y = _module(0.25).apply({"params": params}, x, source, mask, None, kept)
    # Without renormalizing: the other keys keep their weights, all scaled by 1 / 0.75.
    kernel = {name: p["kernel"] for name, p in params.items()}
    want = np.zeros((3, HEADS * HEAD_DIM))
    for h in range(HEADS):
        at = slice(h * HEAD_DIM, (h + 1) * HEAD_DIM)
        scores = (x[0] @ kernel["query"][:, at]) @ (source[0] @ kernel["key"][:, at]).T
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True) / 0.75
        weights[:, 2] = 0
        want[:, at] = weights @ (source[0] @ kernel["value"][:, at])
    np.testing.assert_allclose(y[0], want @ kernel["out"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-6), ("bfloat16", 1e-2)])
def test_the_fused_form_equals_the_plain_one(params, dtype, bound, with_bias):
    x, source = _normal(2, 3, EMB, seed=8), _normal(2, 4, EMB, seed=9)
    bias = _normal(1, HEADS, 3, 4, seed=10) if with_bias else None
    mask = np.random.default_rng(0).random((2, 1, 3, 4)) < 0.6
    mask[0, 0, 1] = False  # nothing to look at
    plain, fused = (
        np.asarray(_module(dtype=dtype, fused=f).apply({"params": params}, x, source, mask, bias))
        for f in (False, True)
    )
    assert plain.dtype == fused.dtype
    difference = np.abs(plain.astype(np.float32) - fused.astype(np.float32)).max()
    assert difference <= bound * np.abs(plain.astype(np.float32)).max()


def test_the_fused_form_serves_where_nothing_is_dropped(params):
    x, mask = _normal(1, 3, EMB), np.ones((1, 1, 1, 3), bool)
    kept = np.ones((1, HEADS, 1, 3), bool)

    def program(x, kept, fused):
        arguments = {"params": params}, x, x, mask[..., : x.shape[1]], None, kept
        return str(jax.make_jaxpr(_module(0.1, fused=fused).apply)(*arguments))

    def uses_it(x, kept):
        return program(x, kept, True) != program(x, kept, False)

    assert uses_it(x, None)
    assert not uses_it(x, kept)
    assert not uses_it(x[:, :1], None)  # a step of decoding
