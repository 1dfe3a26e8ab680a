# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Requests that come and go get the answers they would get alone, piece by piece."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.collection.vocabularies import ByteVocabulary
from flan_jax.core.errors import DataError, UsageError
from flan_jax.inference import lane
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Engine
from flan_jax.inference.session import Session
from flan_jax.models.t5 import T5
from tests.inference.tiny_models import (
    T5_CONFIG,
    Letters,
    engine_of,
    prompts_of,
    sharp_params,
)

PROMPTS = prompts_of((3, 12, 1, 5, 7, 2))
LENGTH = 12
# Few programs: those of greedy requests alone, and of greedy and sampled ones.
SETTINGS = (
    DecodeConfig(max_length=LENGTH),
    DecodeConfig(max_length=5),
    DecodeConfig(max_length=LENGTH, temperature=1.0, seed=3),
    DecodeConfig(max_length=9, temperature=1.5, seed=4),
    DecodeConfig(max_length=LENGTH, stop=("bC", "e")),
    DecodeConfig(max_length=8, temperature=1.5, num_samples=3),
)


@pytest.fixture(autouse=True)
def slots_that_do_not_grow(monkeypatch):
    monkeypatch.setattr(lane, "FIRST_SLOTS", 16)  # half as many programs


def _engine(**settings):
    return engine_of("t5", **dict(eos_id=-1) | settings)


@functools.cache
def _alone(prompt, config):
    """Returns the answer of a program of its own."""
    engine = _engine(num_rows=4, length_buckets=(12,))
    return engine.generate([PROMPTS[prompt]], SETTINGS[config])[0]


def _session(**settings):
    return Session(_engine(**settings), max_length=LENGTH)


def _run(session, shown=None):
    """Returns the answer of each request that is done, after checking what came before it."""
    shown, answers = {} if shown is None else shown, {}
    while session.num_active or session.num_waiting:
        for update in session.step():
            before = shown.get((update.id, update.member), "")
            assert before is not None, "an answer that is done has no news"
            assert update.text.startswith(before)
            assert update.done or len(update.text) > len(before), "news are new"
            shown[update.id, update.member] = None if update.done else update.text
            if update.answer is not None:
                answers[update.id] = update.answer
                assert update.answer.texts[update.member] == update.text
    return answers


def _assert_same(found, wanted):
    assert found.texts == wanted.texts
    assert found.finish_reasons == wanted.finish_reasons
    assert len(found.tokens) == len(wanted.tokens)
    for got, want in zip(found.tokens, wanted.tokens, strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-4, atol=1e-4)


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=6
)  # prompt, settings, steps before the next


@pytest.mark.slow  # compiles the programs of all settings
def test_an_answer_is_the_same_whenever_its_request_comes():
    session, shown = _session(length_buckets=(12,)), {}

    # Derandomized: one token in a million is so close that rounding may decide.
    @settings(max_examples=5, deadline=None, derandomize=True, database=None)
    @given(ARRIVALS)
    def check(arrivals):
        names, answers = {}, {}
        for prompt, config, num_steps in arrivals:
            names[session.add(PROMPTS[prompt], SETTINGS[config])] = prompt, config
            for _ in range(num_steps):
                for update in session.step():
                    shown[update.id, update.member] = None if update.done else update.text
                    if update.answer is not None:
                        answers[update.id] = update.answer
        answers |= _run(session, shown)
        assert answers.keys() == names.keys()
        for id_, request in names.items():
            _assert_same(answers[id_], _alone(*request))

    check()


@pytest.mark.slow  # compiles some programs
def test_texts_come_piece_by_piece(monkeypatch):
    monkeypatch.setattr(lane, "FIRST_SLOTS", 8)
    session = Session(_engine(), max_length=LENGTH, num_steps=5)
    session.add(PROMPTS[0], SETTINGS[0])
    first, second, third = (session.step() for _ in range(3))
    tokens = _alone(0, 0).tokens[0].tolist()
    # Room for eight tokens is full before there is more of it.
    for updates, num in ((first, 5), (second, 8), (third, 12)):
        assert [update.text for update in updates] == [Letters(-1).decode(tokens[:num])]
    assert [first[0].done, second[0].done, third[0].done] == [False, False, True]
    assert session.step() == [] and session.num_active == 0


@pytest.mark.slow  # compiles some programs
def test_requests_that_find_no_row_wait():
    session = _session(num_rows=2)
    ids = [session.add(PROMPTS[i], SETTINGS[1]) for i in range(3)]
    assert (session.num_active, session.num_waiting) == (0, 3)
    session.step()
    assert (session.num_active, session.num_waiting) == (2, 1)
    answers = _run(session)
    assert list(answers) == ids
    for i, id_ in enumerate(ids):
        _assert_same(answers[id_], _alone(i, 1))


@pytest.mark.slow  # compiles some programs
def test_what_is_cancelled_frees_its_rows_and_leaves_the_queue():
    session = _session(num_rows=2)
    ids = [session.add(PROMPTS[i], SETTINGS[0]) for i in range(4)]
    beams = session.add(PROMPTS[0], DecodeConfig(max_length=4, num_beams=2))
    session.cancel(beams)
    session.step()
    session.cancel(ids[0])  # at work
    session.cancel(ids[3])  # waits
    session.cancel(ids[0])  # again, and one that never was
    session.cancel(99)
    assert (session.num_active, session.num_waiting) == (1, 1)
    shown = {}
    answers = _run(session, shown)
    assert list(answers) == [ids[1], ids[2]]
    assert {id_ for id_, _ in shown} == {ids[1], ids[2]}
    for i in (1, 2):
        _assert_same(answers[ids[i]], _alone(i, 0))


@pytest.mark.slow  # compiles some programs
def test_cancelling_several_samples_frees_all_their_rows():
    session = _session()
    id_ = session.add(PROMPTS[0], SETTINGS[5])
    session.step()
    assert session.num_active == 3
    session.cancel(id_)
    assert (session.num_active, session.num_waiting) == (0, 0)
    assert session.step() == []


@pytest.mark.slow  # compiles some programs
def test_samples_are_told_apart_and_their_answer_comes_with_the_last():
    session = _session(num_rows=2)  # so that the third sample waits
    id_ = session.add(PROMPTS[0], SETTINGS[5])
    updates = []
    while session.num_active or session.num_waiting:
        updates += session.step()
    done = [update for update in updates if update.done]
    assert sorted(update.member for update in done) == [0, 1, 2]
    assert [update.answer is None for update in done] == [True, True, False]
    assert {update.id for update in updates} == {id_}
    _assert_same(done[-1].answer, _alone(0, 5))


@pytest.mark.slow  # compiles some programs
def test_beams_come_at_once_beside_others():
    session = _session()
    config = DecodeConfig(max_length=6, num_beams=2, num_samples=2)
    other, id_ = session.add(PROMPTS[1], SETTINGS[0]), session.add(PROMPTS[0], config)
    assert session.num_waiting == 2
    updates = session.step()
    beams = [update for update in updates if update.id == id_]
    assert [(update.member, update.done) for update in beams] == [(0, True), (1, True)]
    assert beams[0].answer is None
    _assert_same(beams[1].answer, _engine().generate([PROMPTS[0]], config)[0])
    assert tuple(update.text for update in beams) == beams[1].answer.texts
    _assert_same(_run(session, {(other, 0): ""})[other], _alone(1, 0))


@pytest.mark.slow  # compiles some programs
def test_an_idle_session_takes_longer_prompts():
    session = _session()
    for prompt in (2, 1, 2):  # of 1 token, 12 and 1 again
        id_ = session.add(PROMPTS[prompt], SETTINGS[0])
        _assert_same(_run(session)[id_], _alone(prompt, 0))


@pytest.mark.slow  # compiles some programs
def test_a_character_of_several_tokens_is_shown_whole():
    text = "né日本\N{GRINNING FACE}."
    vocabulary = ByteVocabulary()
    model = T5(dataclasses.replace(T5_CONFIG, vocab_size=384, num_decoder_layers=1))
    engine = Engine(model, sharp_params(model), vocabulary, max_input_length=4, num_rows=1)
    forced = vocabulary.encode(text)
    session = Session(engine, max_length=20, num_steps=1)
    session.add([5, 6], DecodeConfig(max_length=len(forced) + 1, forced_prefix=forced))
    shown = []
    while session.num_active or session.num_waiting:
        shown += [update.text for update in session.step()]
    assert shown[:6] == [text[: i + 1] for i in range(6)]


def test_mistakes_are_named():
    session = _session()
    with pytest.raises(DataError, match="the prompt has 13 tokens, above the 12 that are taken"):
        session.add([5] * 13, DecodeConfig(max_length=4))
    with pytest.raises(DataError, match="the prompt has no tokens"):
        session.add([], DecodeConfig(max_length=4))
    with pytest.raises(UsageError, match="max_length 13 is above the 12 that are taken"):
        session.add([5], DecodeConfig(max_length=13))
    assert session.num_waiting == 0 and session.step() == []
