# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Beam search against the plain one: on tables of tokens, and on models by full forward passes."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.tree import unflatten
from flan_jax.inference import lane, processors
from flan_jax.inference.beam import Beam
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Engine
from flan_jax.inference.lane import Request, row_settings
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.t5 import T5, T5Config
from tests.inference.beam_reference import beam_search
from tests.models.drawn import drawn_params

VOCAB = 13
EOS = 1
LENGTH = 7

# Tables: logits depend on the row, the position and the last token.


def _table(seed, batch_size, eos_bias=0.0):
    logits = np.random.default_rng(seed).normal(size=(batch_size, LENGTH, VOCAB, VOCAB)) * 1.5
    logits[..., EOS] += eos_bias
    return logits.astype(np.float32)


def _logits(table, tokens, position):
    """Returns `[batch, members, vocab]` after `tokens`; of rows that are done, any."""
    last = np.take_along_axis(tokens, np.maximum(position - 1, 0)[:, None, None], axis=2)[..., 0]
    last = np.where(position[:, None] == 0, 0, last)
    at = np.minimum(position, LENGTH - 1)
    return table[np.arange(len(table))[:, None], at[:, None], last]


def _rows(configs):
    key, prompt = np.zeros(2, np.uint32), np.ones(1, np.int32)
    return row_settings([Request(prompt=prompt, config=c, key=key) for c in configs])


@functools.partial(jax.jit, static_argnums=0)
def _choose(beam, *args):
    return beam.choose(*args)


def _search(beam, table, configs, begins=None):
    """Returns the answers of a beam search.

    Row i begins at call `begins[i]`, as a row that the loop gives to another prompt.
    """
    batch_size, rows = len(table), _rows(configs)
    begins = np.zeros(batch_size, int) if begins is None else begins
    fresh = jax.device_get(beam.start(batch_size, LENGTH))
    state = jax.tree.map(lambda leaf: leaf + 1, fresh)  # what another prompt left behind
    tokens = np.full((batch_size, beam.num_members, LENGTH), 5, np.int32)
    position = np.full(batch_size, 1, np.int32)
    ended = np.ones((batch_size, beam.num_members), bool)
    call = 0
    while call <= begins.max() or not ended.all():
        for i in np.flatnonzero(begins == call):
            for leaf, new in zip(jax.tree.leaves(state), jax.tree.leaves(fresh), strict=True):
                leaf[i] = new[i]
            tokens[i], position[i], ended[i] = 0, 0, False
        logits = _logits(table, tokens, position)
        choice = _choose(beam, logits, state, rows, tokens, position, ended)
        for i in np.flatnonzero(~ended.all(axis=1)):
            tokens[i] = tokens[i, np.asarray(choice.parents)[i]]
            tokens[i, :, position[i]] = np.asarray(choice.tokens)[i]
            position[i] += 1
        state, ended = jax.tree.map(np.array, (choice.state, choice.ended))
        call += 1
    return beam.result(state, rows, tokens, None, position)


def _log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _processed(gained, tokens, config):
    """What a request asks of log-probabilities, in plain lists."""
    gained, n = gained.copy(), config.no_repeat_ngram
    for token in set(tokens):
        gained[token] *= config.repetition_penalty
    for i in range(len(tokens) - n + 1) if n else ():
        *begin, last = tokens[i : i + n]
        if n == 1 or list(tokens[1 - n :]) == begin:
            gained[last] = -np.inf
    if len(tokens) < config.min_length:
        gained[EOS] = -np.inf
    if len(tokens) < len(config.forced_prefix):
        gained[:] = -np.inf
        gained[config.forced_prefix[len(tokens)]] = 0
    return gained


def _assert_plain(answers, row, table, config, num_beams):
    """Checks that a row's answers are those of the plain search, in tokens and scores."""

    def log_probabilities(tokens):
        gained = _log_softmax(table[len(tokens), tokens[-1] if tokens else 0])
        return _processed(gained, tokens, config)

    want = beam_search(
        log_probabilities, num_beams=num_beams, length_penalty=config.length_penalty,
        max_length=config.max_length, eos_id=EOS,
    )  # fmt: skip
    assert len(want) == num_beams
    for i, (tokens, score) in enumerate(want):
        length = answers.lengths[row, i]
        assert tuple(answers.tokens[row, i, :length]) == tokens
        assert not answers.tokens[row, i, length:].any()
        np.testing.assert_allclose(answers.scores[row, i], score, rtol=1e-5)


@pytest.mark.parametrize("eos_bias", [-4.0, 0.0, 2.0])
@pytest.mark.parametrize("num_beams", [1, 2, 3, 4, 5])
def test_equals_the_plain_search_on_tables(num_beams, eos_bias):
    """Forty rows of one program: penalties, lengths and starting times of all kinds."""
    configs = [
        DecodeConfig(length_penalty=penalty, max_length=max_length)
        for penalty in (0.0, 0.6, 1.0, 2.0)
        for max_length in (LENGTH, 1, 2, 5, LENGTH) * 2
    ]
    table = _table(num_beams, 40, eos_bias)
    begins = np.random.default_rng(0).integers(0, 4, 40)
    answers = _search(Beam(num_beams=num_beams, eos_id=EOS), table, configs, begins)
    for row, config in enumerate(configs):
        _assert_plain(answers, row, table[row], config, num_beams)


@pytest.mark.parametrize("num_beams", [1, 4])
def test_processors_change_log_probabilities(num_beams):
    asked = [
        dict(min_length=3),
        dict(no_repeat_ngram=1),
        dict(no_repeat_ngram=2),
        dict(repetition_penalty=1.8),
        dict(forced_prefix=(4, 4, 9)),
        dict(repetition_penalty=1.3, no_repeat_ngram=2, min_length=5, forced_prefix=(2,)),
        dict(),
    ]
    configs = [DecodeConfig(max_length=LENGTH, **one) for one in asked] * 4
    beam = Beam(num_beams=num_beams, eos_id=EOS, features=processors.Features.of(configs))
    table = _table(11, len(configs), 1.0)
    answers = _search(beam, table, configs)
    for row, config in enumerate(configs):
        _assert_plain(answers, row, table[row], config, num_beams)


def test_token_logprobs_are_the_models_own():
    """With a processor, whose log-probabilities only the scores are made of."""
    config = DecodeConfig(max_length=LENGTH, length_penalty=0.6, repetition_penalty=2.0)
    features = processors.Features.of([config])
    beam = Beam(num_beams=3, eos_id=EOS, features=features, with_logprobs=True)
    table, differ = _table(7, 6), 0
    answers = _search(beam, table, [config] * 6)
    for row, member in np.ndindex(6, 3):
        length = answers.lengths[row, member]
        tokens = answers.tokens[row, member, :length]
        index = np.arange(length)
        own = _log_softmax(table[row, index, [0, *tokens[:-1]]])[index, tokens]
        logprobs = answers.logprobs[row, member]
        np.testing.assert_allclose(logprobs[:length], own, rtol=1e-4, atol=1e-5)
        assert not logprobs[length:].any()
        score = own.sum() / length**0.6
        assert answers.scores[row, member] < score + 1e-5
        differ += abs(answers.scores[row, member] - score) > 0.1
    assert differ > 5


def test_one_beam_is_greedy():
    table = _table(8, 30)
    config = DecodeConfig(max_length=LENGTH, length_penalty=0.0)
    answers = _search(Beam(num_beams=1, eos_id=EOS), table, [config] * 30)
    for row in range(30):
        tokens = []
        while len(tokens) < LENGTH and tokens[-1:] != [EOS]:
            tokens.append(int(table[row, len(tokens), tokens[-1] if tokens else 0].argmax()))
        assert answers.tokens[row, 0, : len(tokens)].tolist() == tokens
        assert answers.lengths[row, 0] == len(tokens)


def test_a_choice_says_which_beam_each_token_continues():
    """The running beams of a search without an end are the answers of one that is shorter."""
    beam = Beam(num_beams=4, eos_id=-1, with_logprobs=True)
    table, config = _table(9, 5), DecodeConfig(max_length=LENGTH, length_penalty=0.0)
    rows, state = _rows([config] * 5), beam.start(5, LENGTH)
    tokens, ended = np.zeros((5, 4, LENGTH), np.int32), np.zeros((5, 4), bool)
    logprobs = np.zeros((5, 4, LENGTH), np.float32)
    for i in range(LENGTH - 1):
        position = np.full(5, i, np.int32)
        logits = _logits(table, tokens, position)
        choice = _choose(beam, logits, state, rows, tokens, position, ended)
        assert choice.tokens.dtype == choice.parents.dtype == jnp.int32
        parents = np.asarray(choice.parents)[..., None]
        tokens, logprobs = (np.take_along_axis(a, parents, 1) for a in (tokens, logprobs))
        tokens[..., i], logprobs[..., i] = choice.tokens, choice.logprobs
        state = choice.state
        assert not np.asarray(choice.ended).any()
    shorter = DecodeConfig(max_length=LENGTH - 1, length_penalty=0.0)
    want = _search(beam, table, [shorter] * 5)
    np.testing.assert_array_equal(tokens, want.tokens)
    np.testing.assert_array_equal(logprobs, want.logprobs)
    np.testing.assert_allclose(logprobs.sum(-1), want.scores, rtol=1e-5)


def test_a_row_at_work_is_broken_by_logits_that_are_no_numbers():
    beam, logits = Beam(num_beams=2, eos_id=EOS), np.zeros((4, 2, VOCAB), np.float32)
    logits[0, 1, 4], logits[1, 0, 3], logits[2] = np.nan, np.inf, np.nan
    tokens, ended = np.zeros((4, 2, LENGTH), np.int32), np.zeros((4, 2), bool)
    ended[2] = True
    rows = _rows([DecodeConfig(num_beams=2)] * 4)
    position = np.zeros(4, np.int32)
    choice = _choose(beam, logits, beam.start(4, LENGTH), rows, tokens, position, ended)
    assert choice.broken.tolist() == [True, True, False, False]


# Models, by `Engine`: a cache, rows that are refilled, members that share a prompt.

TINY = dict(vocab_size=24, emb_dim=16, num_heads=2, head_dim=8, mlp_dim=24, dtype="float32")
MODELS = {
    "t5": T5(T5Config(num_encoder_layers=1, num_decoder_layers=2, **TINY)),
    "palm": DecoderLM(DecoderConfig(num_layers=2, **TINY)),
}
OFTEN = {"t5": 19, "palm": 9}  # a token that the answers of these weights have at any position
_apply = jax.jit(lambda model, p, batch: model.apply(p, batch, train=False), static_argnums=0)


def _by_full_forward(model, params, prompt, tokens):
    """Returns the log-probabilities after a prompt and some tokens of an answer."""
    if isinstance(model, T5):
        shown = np.zeros((1, LENGTH), np.int32)
        shown[0, 1 : 1 + len(tokens)] = tokens
        batch, at = {"encoder_input_tokens": prompt[None], "decoder_input_tokens": shown}, 0
    else:
        shown = np.zeros((1, 1 + 5 + LENGTH), np.int32)
        shown[0, 1 : 1 + len(prompt) + len(tokens)] = [*prompt, *tokens]
        batch, at = {"decoder_input_tokens": shown}, len(prompt)
    return _log_softmax(_apply(model, params, batch)[0, at + len(tokens)])


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_plain_search_on_models(name, monkeypatch):
    monkeypatch.setattr(lane, "FIRST_SLOTS", 4)  # so that the state of a search grows
    model, eos_id = MODELS[name], OFTEN[name]
    params = unflatten({path: 2 * leaf for path, leaf in drawn_params(model).items()})
    rng = np.random.default_rng(3)
    prompts = [rng.integers(2, 24, n).astype(np.int32) for n in (5, 5, 3, 5, 3, 5)]
    configs = [
        DecodeConfig(num_beams=3, num_samples=3, max_length=LENGTH, length_penalty=penalty)
        for penalty in (0.0, 1.0, 2.0) * 2
    ]
    vocabulary = types.SimpleNamespace(eos_id=eos_id, decode=str)
    engine = Engine(model, params, vocabulary, max_input_length=5, num_rows=6)
    found = engine.generate(prompts, configs)
    lengths = set()
    for prompt, config, answer in zip(prompts, configs, found, strict=True):
        want = beam_search(
            functools.partial(_by_full_forward, model, params, prompt), num_beams=3,
            length_penalty=config.length_penalty, max_length=LENGTH, eos_id=eos_id,
        )  # fmt: skip
        for i, (tokens, score) in enumerate(want):
            ended = tokens[-1] == eos_id
            assert tuple(answer.tokens[i]) == tokens[: len(tokens) - ended]
            assert answer.finish_reasons[i] == ("stop" if ended else "length")
            assert len(answer.logprobs[i]) == len(tokens)
            np.testing.assert_allclose(answer.scores[i], score, rtol=1e-4)
            lengths.add(len(tokens))
    assert len(lengths) > 3
