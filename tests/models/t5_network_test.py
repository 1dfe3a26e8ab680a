# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where dropout acts: a mask that drops everything at a place silences what flows there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models.t5_network import (
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    T5Config,
    dropout_masks,
)

CONFIG = T5Config(
    vocab_size=32, emb_dim=24, num_heads=3, head_dim=8, num_encoder_layers=2,
    num_decoder_layers=3, mlp_dim=40, dtype="float32", dropout_rate=0.2,
)  # fmt: skip
X = np.random.default_rng(0).normal(size=(2, 7, 24)).astype(np.float32)
ENCODED = np.random.default_rng(1).normal(size=(2, 5, 24)).astype(np.float32)
OPEN, BIAS = np.ones((1, 1, 1, 1), bool), np.zeros((1, 3, 1, 1), np.float32)
ALL = np.zeros((1, 1, 1), bool)  # drops everything


def _variables(module, *arguments):
    shapes = jax.eval_shape(module.init, jax.random.key(0), *arguments)["params"]
    rng = np.random.default_rng(2)
    draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32) * 0.2  # noqa: E731
    return {"params": jax.tree.map(draw, shapes)}


@pytest.fixture(scope="module")
def encoder_layer():
    layer = EncoderLayer(CONFIG)
    variables = _variables(layer, X, {}, OPEN, BIAS)
    return jax.jit(lambda kept: layer.apply(variables, X, kept, OPEN, BIAS)[0])


@pytest.fixture(scope="module")
def decoder_layer():
    layer = DecoderLayer(CONFIG)
    variables = _variables(layer, X, {}, ENCODED, OPEN, BIAS, OPEN)
    return jax.jit(lambda kept: layer.apply(variables, X, kept, ENCODED, OPEN, BIAS, OPEN)[0])


def _silent(layer, place, out):
    weights = ALL if place == "mlp" else ALL[None]
    inner, outer, plain = (layer(kept) for kept in ({place: weights}, {out: ALL}, {}))
    np.testing.assert_allclose(inner, outer, rtol=1e-6)
    assert np.abs(inner - plain).max() > 0.01


@pytest.mark.parametrize("place", ["attention", "mlp"])
def test_an_encoder_layer_drops_weights_and_outputs(encoder_layer, place):
    _silent(encoder_layer, place, f"{place}_out")


@pytest.mark.parametrize("place", ["self_attention", "cross_attention", "mlp"])
def test_a_decoder_layer_drops_weights_and_outputs(decoder_layer, place):
    _silent(decoder_layer, place, f"{place}_out")


def test_with_all_branches_dropped_a_layer_returns_its_input(encoder_layer, decoder_layer):
    np.testing.assert_array_equal(encoder_layer({"attention_out": ALL, "mlp_out": ALL}), X)
    kept = {f"{place}_out": ALL for place in ("self_attention", "cross_attention", "mlp")}
    np.testing.assert_array_equal(decoder_layer(kept), X)


@pytest.mark.parametrize("stack", [Encoder, Decoder])
def test_a_stack_drops_its_input_and_output(stack):
    masks = (OPEN,) if stack is Encoder else (ENCODED, OPEN, OPEN)
    module = stack(CONFIG)
    variables = _variables(module, X, *masks, {})
    run = jax.jit(lambda x, kept: module.apply(variables, x, *masks, kept))
    np.testing.assert_array_equal(run(X, {"embedded": ALL}), run(jnp.zeros_like(X), {}))
    np.testing.assert_array_equal(run(X, {"output": ALL}), np.zeros_like(X))


def test_every_place_of_every_layer_has_a_mask():
    kept = dropout_masks(CONFIG, jax.random.key(0), 4, 12, 7)
    hidden, hidden_mlp = (4, 1, 24), (4, 1, 40)
    to_inputs, to_targets = (4, 3, 1, 12), (4, 3, 1, 7)
    encoder = dict(attention=to_inputs, attention_out=hidden, mlp=hidden_mlp, mlp_out=hidden)
    decoder = dict(
        self_attention=to_targets, self_attention_out=hidden, cross_attention=to_inputs,
        cross_attention_out=hidden, mlp=hidden_mlp, mlp_out=hidden,
    )  # fmt: skip
    assert jax.tree.map(jnp.shape, kept) == {
        # Single numbers drop only in the encoder's output.
        "encoder": {"embedded": hidden, "layers": [encoder] * 2, "output": (4, 12, 24)},
        "decoder": {"embedded": hidden, "layers": [decoder] * 3, "output": hidden},
    }
