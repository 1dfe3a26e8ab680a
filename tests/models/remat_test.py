# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Remat changes what is kept for the backward pass and no number."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.core.tree import flatten
from flan_jax.models import remat
from flan_jax.models.t5 import T5, T5Config

CONFIG = T5Config(
    vocab_size=32, emb_dim=16, num_heads=2, head_dim=8, num_encoder_layers=2,
    num_decoder_layers=2, mlp_dim=24, dtype="float32", dropout_rate=0.2,
)  # fmt: skip
BATCH = {
    f"{side}_input_tokens": np.random.default_rng(0).integers(1, 32, (2, length), np.int32)
    for side, length in (("encoder", 12), ("decoder", 6))
}


def gradient(model):
    def loss(params):
        logits = model.apply(params, BATCH, train=True, dropout_key=jax.random.key(1))
        return jnp.sum(jax.nn.logsumexp(logits, axis=-1))

    return jax.jit(jax.grad(loss))


def with_policy(policy, scan_layers):
    return T5(dataclasses.replace(CONFIG, remat_policy=policy, scan_layers=scan_layers))


@functools.cache
def expected(scan_layers):
    """Parameters, and their gradient without remat."""
    model = with_policy("none", scan_layers)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: rng.normal(0.0, 0.2, leaf.shape).astype(np.float32), shapes)
    return params, gradient(model)(params)


@pytest.mark.slow  # compiles a gradient per policy, with and without scan
@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("policy", ["minimal", "full"])
def test_gradients_with_dropout_are_those_without_remat(policy, scan_layers):
    params, want = expected(scan_layers)
    got = gradient(with_policy(policy, scan_layers))(params)
    assert got.keys() == want.keys()
    for path, leaf in flatten(want).items():
        error = np.abs(flatten(got)[path] - leaf).max()
        assert error <= 1e-6 * np.abs(leaf).max(), path


@pytest.mark.parametrize("scan_layers", [False, True])
def test_a_stricter_policy_multiplies_more_and_keeps_less(scan_layers):
    programs = {}
    for policy in remat.POLICIES:
        model = with_policy(policy, scan_layers)
        lowered = gradient(model).lower(jax.eval_shape(model.init, jax.random.key(0)))
        programs[policy] = lowered.as_text().count("dot_general")
    # A layer of the encoder has 4 + 3 products with weights and 2 of attention, one of the decoder
    # 8 + 3 and 4. The last of a layer, `wo`, need not be computed again.
    encoder, decoder, layers = (2, 8), (4, 14), 1 if scan_layers else 2
    assert programs["minimal"] - programs["none"] == layers * (encoder[0] + decoder[0])
    assert programs["full"] - programs["none"] == layers * (encoder[1] + decoder[1])


def test_parameters_are_the_same_under_any_policy():
    for scan_layers in (False, True):
        names = [with_policy(policy, scan_layers).logical_axes() for policy in remat.POLICIES]
        assert names[0] == names[1] == names[2]
    # Its class is another, which flax makes a part of the names that nobody gave.
    shapes = jax.eval_shape(with_policy("full", True).init, jax.random.key(0))
    assert shapes == jax.eval_shape(with_policy("none", True).init, jax.random.key(0))


def test_an_unknown_policy_is_refused():
    with pytest.raises(UsageError, match="unknown remat policy 'minimum'; did you mean 'minimal'"):
        dataclasses.replace(CONFIG, remat_policy="minimum")
