# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoding with a cache against the full forward pass, position by position."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.core.tree import flatten, unflatten
from flan_jax.inference import decode
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.t5 import T5, T5Config

CONFIG = T5Config(
    vocab_size=32, emb_dim=16, num_heads=2, head_dim=8, num_encoder_layers=1, num_decoder_layers=2,
    mlp_dim=24, dtype="float32",
)  # fmt: skip
PALM = DecoderConfig(
    vocab_size=32, emb_dim=16, num_heads=2, head_dim=8, num_layers=2, mlp_dim=24, dtype="float32"
)
LLAMA = dataclasses.replace(
    PALM, num_heads=4, num_kv_heads=2, block="serial", norm="rms", rotary_pairing="halves",
    logits_via_embedding=False, scale_logits=False,
)  # fmt: skip
MODELS = {
    "t5": T5(CONFIG),
    "t5_scanned": T5(dataclasses.replace(CONFIG, scan_layers=True)),
    "palm": DecoderLM(PALM),
    "u_palm_scanned": DecoderLM(dataclasses.replace(PALM, prefix_lm=True, scan_layers=True)),
    "llama_scanned": DecoderLM(dataclasses.replace(LLAMA, scan_layers=True)),
}
LENGTH = 9


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def params(model):
    rng = np.random.default_rng(1)
    apart = model.other_layout if model.config.scan_layers else model
    shapes = flatten(jax.eval_shape(apart.init, jax.random.key(0)))
    draw = {path: rng.normal(size=leaf.shape).astype(np.float32) for path, leaf in shapes.items()}
    # Sharp attention and logits, so that the greedy tokens vary with inputs and position.
    tree = unflatten({path: leaf * leaf.shape[0] ** -0.4 for path, leaf in draw.items()})
    return model.from_other_layout(tree) if model.config.scan_layers else tree


_apply = jax.jit(
    lambda model, params, batch: model.apply(params, batch, train=False), static_argnums=0
)


def _full(model, params, inputs, decoder_inputs):
    """Returns the logits after each of `decoder_inputs`, whose first are the `first_tokens`."""
    if isinstance(model, T5):
        batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": decoder_inputs}
        return np.asarray(_apply(model, params, batch))
    rows = np.zeros((len(inputs), 1 + inputs.shape[1] + LENGTH), np.int32)
    num_tokens = (inputs > 0).sum(1)
    for row, prompt, n, rest in zip(rows, inputs, num_tokens, decoder_inputs, strict=True):
        row[1 : n + 1], row[n + 1 : n + LENGTH] = prompt[:n], rest[1:]
    prefix = (np.arange(rows.shape[1]) <= num_tokens[:, None]).astype(np.int32)
    batch = {"decoder_input_tokens": rows, "decoder_causal_attention": prefix}
    logits = np.asarray(_apply(model, params, batch))
    return np.stack([row[n : n + LENGTH] for row, n in zip(logits, num_tokens, strict=True)])


def _inputs():
    rows = np.random.default_rng(1).integers(2, 32, (6, 7)).astype(np.int32)
    for i in range(6):
        rows[i, 7 - i :] = 0
    return rows


def _by_full_forward(model, params, inputs, eos_id):
    """Greedy decoding without a cache: one full forward pass per position."""
    shown = np.zeros((len(inputs), LENGTH + 1), np.int32)
    shown[:, 0] = model.first_tokens(inputs)
    ended = np.zeros(len(inputs), bool)
    for i in range(LENGTH):
        logits = _full(model, params, inputs, shown[:, :LENGTH])
        chosen = np.where(ended, 0, logits[:, i].argmax(-1))
        shown[:, i + 1] = chosen
        ended |= chosen == eos_id
    return shown[:, 1:]


def test_cached_steps_give_the_logits_of_the_full_forward_pass(model, params):
    inputs = _inputs()
    decoder_inputs = np.random.default_rng(2).integers(2, 32, (6, LENGTH)).astype(np.int32)
    decoder_inputs[:, 0] = model.first_tokens(inputs)
    full = _full(model, params, inputs, decoder_inputs)
    cache = jax.jit(lambda p, x: model.init_cache(p, x, max_length=LENGTH))(params, inputs)
    step = jax.jit(model.decode_step)
    for i in range(LENGTH):
        logits, cache = step(params, cache, decoder_inputs[:, i])
        assert logits.dtype == jnp.float32
        np.testing.assert_allclose(logits, full[:, i], rtol=1e-5, atol=1e-5)


def test_greedy_is_the_argmax_of_full_forward_passes(model, params):
    inputs = _inputs()
    free = _by_full_forward(model, params, inputs, eos_id=-1)
    assert len(np.unique(free)) > 5, "a model that always says the same would test nothing"
    tokens = decode.greedy(model, params, inputs, max_length=LENGTH, eos_id=31)
    np.testing.assert_array_equal(tokens, _by_full_forward(model, params, inputs, eos_id=31))
    assert tokens.shape == (6, LENGTH) and tokens.dtype == jnp.int32


def test_after_its_end_a_row_is_padding(model, params):
    inputs = _inputs()
    free = _by_full_forward(model, params, inputs, eos_id=-1)
    eos_id = int(free[0, 2])  # so that row 0 ends at its third position, or before
    tokens = np.asarray(decode.greedy(model, params, inputs, max_length=LENGTH, eos_id=eos_id))
    ends = []
    for row, unended in zip(tokens, free, strict=True):
        hits = np.flatnonzero(unended == eos_id)
        end = hits[0] + 1 if hits.size else LENGTH
        np.testing.assert_array_equal(row[:end], unended[:end])
        assert not row[end:].any()
        ends.append(end)
    assert min(ends) < LENGTH == max(ends), "some rows must end early and some not"


def test_the_loop_stops_when_all_rows_have_ended(model, params):
    """Counts the positions that were chosen, by a selection that reports each."""
    seen = []

    def first_then_end(logits, position):
        jax.debug.callback(lambda p: seen.append(int(p)), position)
        return jnp.where(position < 2, 5, 1) * jnp.ones(logits.shape[0], jnp.int32)

    tokens = decode.generate(model, params, _inputs(), first_then_end, max_length=LENGTH, eos_id=1)
    jax.effects_barrier()
    assert np.asarray(tokens)[0].tolist() == [5, 5, 1] + [0] * (LENGTH - 3)
    assert sorted(seen) == [0, 1, 2]


def test_more_padding_of_inputs_changes_no_token(model, params):
    inputs = _inputs()
    wider = np.pad(inputs, ((0, 0), (0, 4)))
    first, second = (
        decode.greedy(model, params, x, max_length=LENGTH, eos_id=31) for x in (inputs, wider)
    )
    np.testing.assert_array_equal(first, second)


def test_one_shape_compiles_once(model, params):
    decode.greedy(model, params, _inputs(), max_length=LENGTH, eos_id=31)
    before = decode.generate._cache_size()
    again = type(model)(dataclasses.replace(model.config))  # equal, not identical
    decode.greedy(again, params, _inputs()[::-1], max_length=LENGTH, eos_id=31)
    assert decode.generate._cache_size() == before


def test_a_prompt_ends_with_its_last_token_that_is_not_0():
    prompts = np.array([[5, 0, 7, 0], [4, 0, 0, 0], [0, 0, 0, 0]], np.int32)
    model = DecoderLM(PALM)
    assert model.first_tokens(prompts).tolist() == [7, 4, 0]
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    assert model.init_cache(zeros, prompts, max_length=2).prompt_lengths.tolist() == [3, 1, 0]


def test_best_takes_the_lowest_id_among_equals():
    logits = jnp.array([[0.0, 2.0, 2.0], [3.0, 1.0, 2.0]])
    assert decode.best(logits, jnp.int32(0)).tolist() == [1, 0]


def test_misuse_is_named(model, params):
    with pytest.raises(
        UsageError, match=r"prompts must be \[batch, length\], got shape \(6, 7, 1\)"
    ):
        decode.greedy(model, params, _inputs()[..., None], max_length=3, eos_id=1)
    with pytest.raises(UsageError, match="max_length must be at least 1, got 0"):
        decode.greedy(model, params, _inputs(), max_length=0, eos_id=1)
