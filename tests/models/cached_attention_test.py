# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cached attention against loops, and the steps of all models against full forward passes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.core.tree import flatten
from flan_jax.models.cached_attention import At, Part, attend, turned, write
from flan_jax.models.decoder import DecoderLM
from tests.inference.tiny_models import (
    MODELS,
    PALM,
    full_logits,
    padded,
    params_of,
    prompts_of,
    sharp_params,
)

MEMBERS, LENGTH, SLOTS = 2, 7, 8
PROMPTS = padded(prompts_of((5, 1, 3)), 5)
TOKENS = np.random.default_rng(2).integers(2, 32, (3, MEMBERS, LENGTH)).astype(np.int32)


@functools.cache
def _ready(name):
    """Returns a model for decoding, its parameters, and its compiled step."""
    model, params = MODELS[name].for_decoding(params_of(name))
    return model, params, jax.jit(model.decode_step), jax.jit(model.prompt_cache)(params, PROMPTS)


@functools.cache
def _full(name):
    """Returns the logits `[batch, members, length, vocab]` of forward passes without a cache."""
    each = np.repeat(np.arange(3), MEMBERS)
    answers = TOKENS.reshape(-1, LENGTH)
    logits = full_logits(MODELS[name], params_of(name), PROMPTS[each], answers)
    return logits.reshape(3, MEMBERS, LENGTH, -1)


def _own_cache(model, fill=7.0):
    """Returns a cache of members full of what other answers left behind."""
    return jax.tree.map(lambda leaf: leaf + fill, model.own_cache(3, MEMBERS, SLOTS))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("first_slot", [0, 5])
def test_steps_give_the_logits_of_the_full_forward_pass(name, first_slot):
    """Rows begin at different steps, in a ring of slots that is full of other numbers."""
    model, params, step, prompts = _ready(name)
    own, first = _own_cache(model), np.asarray(model.first_tokens(prompts, MEMBERS))
    begins, seen = np.array([0, 3, 1]), 0
    for i in range(LENGTH + 3):
        position = i - begins
        tokens = np.array(first)
        for row in np.flatnonzero((position > 0) & (position < LENGTH)):
            tokens[row] = TOKENS[row, :, position[row] - 1]
        slot = jnp.int32((first_slot + i) % SLOTS)
        at = At(slot, jnp.asarray(np.clip(position, 0, SLOTS - 1), jnp.int32))
        logits, own = step(params, prompts, own, tokens, at)
        assert logits.dtype == jnp.float32
        for row in np.flatnonzero((position >= 0) & (position < LENGTH)):
            want = _full(name)[row, :, position[row]]
            np.testing.assert_allclose(logits[row], want, rtol=2e-5, atol=2e-5)
            seen += 1
    assert seen == 3 * LENGTH


@pytest.mark.parametrize("name", MODELS)
def test_following_tokens_gives_the_logits_of_the_full_forward_pass(name):
    model, params, _, prompts = _ready(name)

    @jax.jit
    def logits(params, prompts, tokens):
        features = model.follow(params, prompts, tokens)
        return model.logits(params, features.reshape(-1, *features.shape[2:]))

    found = np.asarray(logits(params, prompts, TOKENS)).reshape(3, MEMBERS, LENGTH, -1)
    np.testing.assert_allclose(found, _full(name), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["palm", "llama_scanned"])
def test_a_shared_beginning_changes_nothing(name):
    model, params, _, _ = _ready(name)
    begun = PROMPTS.copy()
    prompts = np.concatenate([np.broadcast_to(PROMPTS[0, :4], (3, 4)), begun], axis=1)

    @jax.jit
    def logits(params, first, rest, tokens):
        prompts = model.prompt_cache(params, rest, model.prefix_cache(params, first))
        features = model.follow(params, prompts, tokens)
        return model.logits(params, features.reshape(-1, *features.shape[2:]))

    found = np.asarray(logits(params, prompts[0, :4], prompts[:, 4:], TOKENS))
    each = np.repeat(np.arange(3), MEMBERS)
    want = full_logits(MODELS[name], params_of(name), prompts[each], TOKENS.reshape(-1, LENGTH))
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["t5", "palm"])
def test_taking_over_the_past_of_another_member_is_a_copy_of_its_cache(name):
    model, params, step, prompts = _ready(name)
    rng = np.random.default_rng(4)
    shared, copied = _own_cache(model), _own_cache(model)
    ancestors = np.zeros((3, MEMBERS, SLOTS), np.int32)
    tokens = np.asarray(model.first_tokens(prompts, MEMBERS))
    past = np.zeros((3, MEMBERS, 0), np.int32)
    for i in range(LENGTH):
        slot = (5 + i) % SLOTS
        ancestors[:, :, slot] = np.arange(MEMBERS)
        at = At(jnp.int32(slot), jnp.full(3, i, jnp.int32))
        want, copied = step(params, prompts, copied, tokens, at)
        logits, shared = step(
            params, prompts, shared, tokens, dataclasses.replace(at, ancestors=ancestors)
        )
        np.testing.assert_allclose(logits, want, rtol=2e-5, atol=2e-5)
        parents = rng.integers(0, MEMBERS, (3, MEMBERS))
        ancestors = np.take_along_axis(ancestors, parents[:, :, None], axis=1)
        of_members = parents[:, None, :, None, None]
        copied = jax.tree.map(
            lambda leaf, at=of_members: np.take_along_axis(np.asarray(leaf), at, axis=2), copied
        )
        past = np.take_along_axis(past, parents[:, :, None], axis=1)
        logits = np.take_along_axis(np.asarray(logits), parents[:, :, None], axis=1)
        tokens = rng.integers(2, 32, (3, MEMBERS)).astype(np.int32)
        past = np.concatenate([past, tokens[:, :, None]], axis=2)
    each = np.repeat(np.arange(3), MEMBERS)
    full = full_logits(MODELS[name], params_of(name), PROMPTS[each], past.reshape(-1, LENGTH))
    np.testing.assert_allclose(logits.reshape(6, -1), full[:, -1], rtol=2e-5, atol=2e-5)


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_attending_to_several_parts_equals_loops():
    """One part of all rows, one of each row, one of each member; masks, a bias and a scale."""
    batch, groups, members, heads, length, kv = 2, 2, 3, 2, 2, 4
    query = _normal(batch, groups, members, heads, length, kv)
    of_all = [_normal(1, groups, 3, kv, seed=i) for i in (1, 2)]
    of_rows = [_normal(batch, groups, 4, kv, seed=i) for i in (3, 4)]
    of_members = [_normal(batch, groups, members, 5, kv, seed=i) for i in (5, 6)]
    bias = _normal(1, groups, 1, 1, 1, 5, seed=7)
    masks = [np.random.default_rng(0).random((batch, 1, 1, 1, 1, 4)) < 0.7]
    masks.append(np.random.default_rng(9).random((batch, 1, members, 1, 1, 5)) < 0.7)
    parts = [Part(tuple(of_all)), Part(turned(tuple(of_rows)), masks[0], is_turned=True)]
    parts.append(Part(tuple(of_members), masks[1], bias))
    found = attend(query, parts, 0.5)
    for b, g, m, h, q in np.ndindex(query.shape[:-1]):
        keys, values = (
            np.concatenate([a[0, g], r[b, g], o[b, g, m]]).astype(np.float64)
            for a, r, o in zip(of_all, of_rows, of_members, strict=True)
        )
        seen = np.concatenate([np.ones(3, bool), masks[0][b, 0, 0, 0, 0], masks[1][b, 0, m, 0, 0]])
        scores = 0.5 * keys @ query[b, g, m, h, q]
        scores[7:] += bias[0, g, 0, 0, 0]
        weights = np.where(seen, np.exp(scores - scores.max()), 0)
        want = weights / weights.sum() @ values
        np.testing.assert_allclose(found[b, g, m, h, q], want, rtol=1e-4, atol=1e-5)


def test_the_age_of_a_slot_is_how_many_steps_ago_it_was_filled():
    assert At(jnp.int32(2), jnp.zeros(1, jnp.int32)).ages(5).tolist() == [2, 1, 0, 4, 3]


def _cache(batch, members, slots):
    return tuple(jnp.zeros((batch, 1, members, slots, 3)) for _ in range(2))


def test_a_row_sees_the_slots_it_has_filled_and_its_step():
    at = At(jnp.int32(1), jnp.array([0, 2], jnp.int32))
    new = _cache(2, 1, 1)
    old, step = at.own(_cache(2, 1, 4), new, jnp.array([[5.0, 6.0, 7.0, 8.0]]))
    assert old.mask.reshape(2, 4).tolist() == [[False] * 4, [True, False, False, True]]
    assert old.bias.ravel().tolist() == [6, 5, 8, 7], "by age: of slot 0 one step, of slot 3 two"
    assert step.keys_values is new and step.mask is None and step.bias.ravel().tolist() == [5]


def test_members_see_the_slots_of_their_ancestors():
    ancestors = jnp.array([[[0, 0, 0], [0, 1, 1]]], jnp.int32)
    at = At(jnp.int32(1), jnp.array([2], jnp.int32), ancestors)
    old, _ = at.own(_cache(1, 2, 3), _cache(1, 2, 1), jnp.array([[5.0, 6.0, 7.0]]))
    assert old.keys_values[0].shape == (1, 1, 6, 3)
    of_first, of_second = old.mask.reshape(2, 2, 3).tolist()
    assert of_first == [[True, False, True], [False, False, False]]
    assert of_second == [[True, False, False], [False, False, True]]
    assert old.bias.ravel().tolist() == [6, 5, 7, 6, 5, 7]


def test_writing_changes_one_slot_of_all_layers():
    own = [tuple(jnp.zeros((1, 1, 2, 3, 1)) for _ in range(2)) for _ in range(2)]
    new = [tuple(jnp.full((1, 1, 2, 1, 1), 5.0 + i) for i in range(2)) for _ in range(2)]
    at = At(jnp.int32(1), jnp.zeros(1, jnp.int32))
    for keys, values in write(own, new, at, after=jnp.ones((1, 2))):
        assert keys.reshape(2, 3).tolist() == [[0, 5, 0], [0, 5, 0]]
        assert values.reshape(2, 3).tolist() == [[0, 6, 0], [0, 6, 0]]


@pytest.mark.parametrize("name", ["t5_scanned", "palm", "llama_scanned"])
def test_kernels_made_ready_give_bit_equal_logits(name):
    config = dataclasses.replace(MODELS[name].config, dtype="bfloat16", scan_layers=False)
    apart = type(MODELS[name])(config)
    drawn = sharp_params(apart)
    model, params = apart.for_decoding(drawn)
    for path, leaf in flatten(params).items():
        is_kernel = path.endswith("kernel") and "logits_dense" not in path
        assert leaf.dtype == (jnp.bfloat16 if is_kernel else jnp.float32), path

    @jax.jit
    def logits(params):
        prompts = model.prompt_cache(params, PROMPTS)
        features = model.follow(params, prompts, TOKENS)
        return model.logits(params, features.reshape(-1, *features.shape[2:]))

    np.testing.assert_array_equal(logits(params), logits(drawn))
    assert np.asarray(logits(params)).std() > 0.1


def test_a_model_with_its_layers_apart_in_float32_is_ready():
    model, params = MODELS["palm"].for_decoding(params_of("palm"))
    assert model is MODELS["palm"] and params is params_of("palm")


def test_a_prompt_ends_with_its_last_token_that_is_not_0_if_nothing_else_is_said():
    prompts = np.array([[5, 0, 7, 0], [4, 0, 0, 0], [0, 0, 0, 0]], np.int32)
    model = MODELS["palm"]
    known = jax.jit(model.prompt_cache)(params_of("palm"), prompts)
    assert model.first_tokens(known, 2).tolist() == [[7, 7], [4, 4], [0, 0]]
    assert known.lengths.tolist() == [3, 1, 0]
    known = jax.jit(lambda *given: model.prompt_cache(*given[:2], (), given[2]))(
        params_of("palm"), prompts, np.array([4, 1, 2], np.int32)
    )
    assert model.first_tokens(known, 1).tolist() == [[0], [4], [0]]
    assert known.lengths.tolist() == [4, 1, 2]


def test_where_a_prompt_is_read_as_a_whole_no_beginning_is_shared():
    t5, u_palm = MODELS["t5"], DecoderLM(dataclasses.replace(PALM, prefix_lm=True))
    assert not t5.has_prefix_cache and not u_palm.has_prefix_cache
    assert MODELS["palm"].has_prefix_cache
    for model in (t5, u_palm):
        with pytest.raises(UsageError, match="sees a prompt only as a whole"):
            model.prefix_cache({}, PROMPTS[0])
    with pytest.raises(UsageError, match="an encoder reads a prompt as a whole; give no prefix"):
        t5.prompt_cache({}, PROMPTS, [()])


@pytest.mark.parametrize("num_shared", [0, 2])
@pytest.mark.parametrize("name", ["palm", "llama_scanned"])
def test_a_decoder_may_begin_with_its_prompt(name, num_shared):
    """As decoders from elsewhere do: the full forward pass is of prompt and answer alone."""
    model, params = MODELS[name].for_decoding(params_of(name))
    model = dataclasses.replace(model, begins_with_prompt=True)
    lengths = np.array([5, 3, 4])
    prompts = np.where(np.arange(5) < lengths[:, None], 9 + np.arange(15).reshape(3, 5), 0)
    prompts[:, :2] = prompts[0, :2]

    @jax.jit
    def logits(params, prompts, tokens):
        prefix = model.prefix_cache(params, prompts[0, :num_shared]) if num_shared else ()
        cache = model.prompt_cache(params, prompts[:, num_shared:], prefix, lengths - num_shared)
        features = model.follow(params, cache, tokens)
        return model.logits(params, features.reshape(-1, *features.shape[2:]))

    @jax.jit
    def full(params, tokens):
        features = model.features(params, {"decoder_input_tokens": tokens}, train=False)
        return model.logits(params, features)

    found = np.asarray(logits(params, prompts, TOKENS)).reshape(3, MEMBERS, LENGTH, -1)
    whole = np.zeros((3, MEMBERS, 5 + LENGTH), np.int32)
    for row, length in enumerate(lengths):
        whole[row, :, :length] = prompts[row, :length]
        whole[row, :, length : length + LENGTH] = TOKENS[row]
    want = np.asarray(full(params, whole.reshape(3 * MEMBERS, -1))).reshape(*whole.shape, -1)
    for row, length in enumerate(lengths):
        of_answers = want[row, :, length - 1 : length - 1 + LENGTH]
        np.testing.assert_allclose(found[row], of_answers, rtol=2e-5, atol=2e-5)


def test_an_empty_prompt_begins_with_token_0():
    plain = MODELS["palm"]
    model = dataclasses.replace(plain, begins_with_prompt=True)
    params = params_of("palm")

    @functools.partial(jax.jit, static_argnums=0)
    def features(model, params, length):
        prompts = jnp.zeros((3, 4), jnp.int32)
        cache = model.prompt_cache(params, prompts, (), jnp.full(3, length))
        return model.follow(params, cache, TOKENS)

    np.testing.assert_allclose(
        features(model, params, 0), features(plain, params, 0), rtol=2e-5, atol=2e-5
    )
