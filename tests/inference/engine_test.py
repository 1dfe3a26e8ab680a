# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers against full forward passes without a cache, whatever they are decoded together with."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.core.errors import DataError, FlanError, UsageError
from flan_jax.inference import decode, engine, lane
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Engine
from flan_jax.parallel import arrays, rules
from tests.inference.tiny_models import (
    EOS_ID,
    FAMILIES,
    MODELS,
    Letters,
    engine_of,
    full_logits,
    greedy_without_cache,
    padded,
    params_of,
    prompts_of,
    sharp_params,
)
from tests.models.one_device import mesh_of

PROMPTS = prompts_of((3, 12, 1, 5, 7, 2, 9, 4, 4, 6, 11))
LENGTH = 12  # of answers
FIRST_SLOTS = 8


ONE_WIDTH = dict(length_buckets=(12,))  # of prompts: fewer programs
ONE_ROW = ONE_WIDTH | dict(num_rows=1)


@pytest.fixture
def few_slots(monkeypatch):
    """Makes answers outgrow their first slots, which takes more programs."""
    monkeypatch.setattr(lane, "FIRST_SLOTS", FIRST_SLOTS)


@functools.cache
def _greedy(name, eos_id=EOS_ID):
    model, params = MODELS[name], params_of(name)
    return greedy_without_cache(model, params, PROMPTS, LENGTH, eos_id)


def _eos_id(name):
    """Returns a token with which some of the answers end, as the first."""
    return int(_greedy(name, -1)[0][5])


def _check(answer, wanted, eos_id=EOS_ID):
    """Checks the only sample of an answer against tokens, the end of sequence included."""
    wanted = list(wanted)
    ended = bool(wanted) and wanted[-1] == eos_id
    kept = wanted[:-1] if ended else wanted
    assert answer.tokens[0].tolist() == kept
    assert answer.texts == (Letters(eos_id).decode(kept),)
    assert answer.finish_reasons == ("stop" if ended else "length",)
    assert len(answer.logprobs[0]) == len(wanted)


def _check_logprobs(name, prompts, answers, eos_id=EOS_ID):
    """Checks the log-probabilities of all tokens against full forward passes."""
    each, rows, found = [], [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        for tokens, logprobs in zip(answer.tokens, answer.logprobs, strict=True):
            ended = len(logprobs) > len(tokens)
            each.append(prompt)
            rows.append([*tokens, *[eos_id] * ended])
            found.append(logprobs)
    tokens = padded(rows, LENGTH)
    logits = full_logits(MODELS[name], params_of(name), padded(each, 12), tokens)
    logprobs = np.asarray(jax.nn.log_softmax(logits))
    for row, want, got in zip(rows, logprobs, found, strict=True):
        want = want[np.arange(len(row)), row]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.slow  # compiles some programs
@pytest.mark.parametrize("name", MODELS)
def test_greedy_is_the_argmax_of_full_forward_passes(name, few_slots):
    """More prompts than rows, two widths of prompts, and slots that do not suffice at first."""
    free = _greedy(name, -1)
    assert len(np.unique(free)) > 5, "a model that always says the same would test nothing"
    eos_id = _eos_id(name)
    answers = engine_of(name, eos_id=eos_id).generate(PROMPTS, DecodeConfig(max_length=LENGTH))
    for answer, wanted in zip(answers, _greedy(name, eos_id), strict=True):
        _check(answer, wanted, eos_id)
        assert answer.scores == (pytest.approx(answer.logprobs[0].sum()),)
    _check_logprobs(name, PROMPTS, answers, eos_id)
    assert {answer.finish_reasons for answer in answers} == {("stop",), ("length",)}


@pytest.mark.slow  # compiles some programs
@pytest.mark.parametrize(
    ("name", "num_rows", "buckets"),
    [("t5", 1, (12,)), ("t5", 16, ()), ("t5", 2, (2, 6, 20)), ("palm", 2, (2, 6, 20))],
)
def test_rows_and_padding_change_no_answer(name, num_rows, buckets):
    eos_id = _eos_id(name)
    model = engine_of(name, eos_id=eos_id, num_rows=num_rows, length_buckets=buckets)
    answers = model.generate(PROMPTS, DecodeConfig(max_length=LENGTH))
    for answer, wanted in zip(answers, _greedy(name, eos_id), strict=True):
        _check(answer, wanted, eos_id)


SETTINGS = (
    DecodeConfig(max_length=LENGTH),
    DecodeConfig(max_length=7, temperature=0.8, top_k=5, top_p=0.8, seed=3),
    DecodeConfig(max_length=LENGTH, repetition_penalty=1.5, min_length=6, forced_prefix=(5, 6, 7)),
    DecodeConfig(max_length=10, temperature=1.5, no_repeat_ngram=2, stop=("b", "eC")),
    DecodeConfig(max_length=LENGTH, temperature=1.5, num_samples=2),
    DecodeConfig(max_length=9, num_beams=2, num_samples=2),
)


@functools.cache
def _alone(prompt, config):
    """Returns the answer of a program with one row and all the room, which can nothing else."""
    model = engine_of("t5", eos_id=_eos_id("t5"), **ONE_ROW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lane, "FIRST_SLOTS", LENGTH)
        return model.generate([PROMPTS[prompt]], SETTINGS[config])[0]


def _assert_same(found, wanted):
    assert found.texts == wanted.texts
    assert found.finish_reasons == wanted.finish_reasons
    for got, want in zip(found.tokens, wanted.tokens, strict=True):
        np.testing.assert_array_equal(got, want)
    for got, want in zip(found.logprobs, wanted.logprobs, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-4, atol=1e-4)


REQUESTS = st.tuples(st.integers(0, len(PROMPTS) - 1), st.integers(0, len(SETTINGS) - 1))


@pytest.mark.slow  # compiles the programs of all settings
def test_an_answer_depends_on_its_request_alone(few_slots):
    together = engine_of("t5", eos_id=_eos_id("t5"))
    everything = [(i, i) for i in range(len(SETTINGS))] * 2  # as many rows and the same programs

    # Derandomized: one token in a million is so close that rounding may decide.
    @settings(max_examples=6, deadline=None, derandomize=True, database=None)
    @given(st.lists(REQUESTS, max_size=8), st.randoms(use_true_random=False))
    def check(more, random):
        requests = [*everything, *more]
        random.shuffle(requests)
        answers = together.generate(
            [PROMPTS[prompt] for prompt, _ in requests], [SETTINGS[at] for _, at in requests]
        )
        for answer, request in zip(answers, requests, strict=True):
            _assert_same(answer, _alone(*request))

    check()


@pytest.mark.slow  # compiles some programs
@pytest.mark.parametrize("name", FAMILIES)
def test_log_probabilities_are_of_the_model_whatever_chose_the_tokens(name):
    model, prompts = engine_of(name, eos_id=_eos_id(name), **ONE_ROW), PROMPTS[:4]
    for config in (SETTINGS[2], *SETTINGS[-2:]):  # of T5 programs as of `_alone`
        answers = model.generate(prompts, config)
        _check_logprobs(name, prompts, answers, _eos_id(name))
        for answer in answers:
            sums = [float(logprobs.sum()) for logprobs in answer.logprobs]
            if config.num_beams > 1:  # length_penalty is 1
                sums = [each / len(of) for each, of in zip(sums, answer.logprobs, strict=True)]
                assert sums == sorted(sums, reverse=True)
            np.testing.assert_allclose(answer.scores, sums, rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # compiles some programs
def test_samples_of_a_prompt_differ_and_the_first_ones_do_not_depend_on_their_number():
    few, many = (
        engine_of("t5", eos_id=_eos_id("t5"), **ONE_ROW).generate(
            PROMPTS[:4], DecodeConfig(max_length=LENGTH, temperature=1.5, num_samples=num)
        )
        for num in (2, 4)
    )
    for two, four in zip(few, many, strict=True):
        assert two.texts == four.texts[:2]
        assert len(set(four.texts)) > 2


@pytest.mark.slow  # compiles some programs
def test_a_beginning_that_all_prompts_share_changes_no_answer(monkeypatch):
    prompts = [[5, 9, 7, *rest] for rest in prompts_of((1, 3, 9, 4, 2, 7))]
    configs = [SETTINGS[0], DecodeConfig(max_length=7, temperature=0.8, seed=3)] * 3
    apart = engine_of("palm", **ONE_WIDTH).generate(prompts, configs)
    monkeypatch.setattr(engine, "LEAST_PREFIX", 3)
    begun = engine_of("palm", **ONE_WIDTH)
    assert begun._num_shared([np.array(prompt) for prompt in prompts]) == 3
    for found, wanted in zip(begun.generate(prompts, configs), apart, strict=True):
        _assert_same(found, wanted)


@pytest.mark.slow  # compiles some programs
def test_a_decoder_reads_token_0_at_the_end_of_a_prompt(monkeypatch):
    """Where an end of sequence or a character has that id; with a shared beginning, too."""
    monkeypatch.setattr(engine, "LEAST_PREFIX", 2)
    prompts, config = [[7, 5, 0], [7, 5, 9, 0]], DecodeConfig(max_length=LENGTH)
    answers = engine_of("palm", eos_id=-1, **ONE_ROW).generate(prompts, config)
    answers += engine_of("palm", eos_id=-1, **ONE_ROW).generate(prompts[:1], config)
    for prompt, answer in zip([*prompts, prompts[0]], answers, strict=True):
        row = {"decoder_input_tokens": np.array([[0, *prompt, *answer.tokens[0]]], np.int32)}
        logits = MODELS["palm"].apply(params_of("palm"), row, train=False)[0]
        assert answer.tokens[0].tolist() == logits[len(prompt) : -1].argmax(-1).tolist()


def test_what_of_prompts_is_read_once():
    def num_shared(name, *prompts):
        return engine_of(name)._num_shared([np.array(prompt) for prompt in prompts])

    long = list(range(2, 22))
    assert num_shared("palm", long[:19], long[:19]) == 18  # but for the last token
    assert num_shared("palm", [*long[:18], 5], [*long[:18], 6], long) == 18
    assert num_shared("palm", [*long[:16], 5, 6], [*long[:16], 6, 6]) == 16
    assert num_shared("palm", [*long[:15], 5, 6], [*long[:15], 6, 6]) == 0  # not worth it
    assert num_shared("palm", long) == 0
    # Few lengths, as each is a compilation: 1001, 1001 and 1111 in binary, then zeros.
    assert [num_shared("palm", [7] * n, [7] * n) for n in (20, 600, 2000)] == [18, 576, 1920]
    assert num_shared("t5", long, long) == num_shared("u_palm_scanned", long, long) == 0


@pytest.mark.slow  # compiles some programs
def test_lengths_are_exact(few_slots):
    """One token, as many as there are slots at first, one more, and twice as many."""
    lengths = (1, FIRST_SLOTS, FIRST_SLOTS + 1, 2 * FIRST_SLOTS)
    configs = [DecodeConfig(max_length=length) for length in lengths]
    answers = engine_of("t5", eos_id=-1, **ONE_WIDTH).generate(PROMPTS[:4], configs)
    for answer, length, wanted in zip(answers, lengths, _greedy("t5", -1), strict=False):
        _check(answer, answer.tokens[0], eos_id=-1)
        assert len(answer.tokens[0]) == length
        at = min(length, LENGTH)
        assert answer.tokens[0][:at].tolist() == wanted[:at].tolist()


@pytest.mark.slow  # compiles some programs
def test_the_end_of_sequence_ends_an_answer_but_not_too_early():
    free = _greedy("t5", -1)
    eos_id = int(free[0][2])  # so that the first answer ends at its third token, or before
    model = engine_of("t5", eos_id=eos_id, **ONE_WIDTH)
    found = model.generate(PROMPTS, DecodeConfig(max_length=LENGTH))
    for answer, row in zip(found, free, strict=True):
        hits = np.flatnonzero(row == eos_id)
        _check(answer, row[: hits[0] + 1] if len(hits) else row, eos_id)
    later = model.generate(PROMPTS[:1], DecodeConfig(max_length=LENGTH, min_length=5))[0]
    before = int(np.flatnonzero(free[0] == eos_id)[0])
    assert later.tokens[0][:before].tolist() == free[0][:before].tolist()
    assert len(later.tokens[0]) >= 5 and eos_id not in later.tokens[0]
    # Where the end was forbidden, the likeliest of the others came.
    row = padded([[*later.tokens[0]]], LENGTH)
    logits = np.array(full_logits(MODELS["t5"], params_of("t5"), padded(PROMPTS[:1], 12), row)[0])
    logits[:5, eos_id] = -np.inf
    assert logits[:5].argmax(-1).tolist() == later.tokens[0][:5].tolist()


@pytest.mark.slow  # compiles some programs
def test_a_forced_beginning_is_followed_by_what_comes_after_it():
    forced = (5, 9, 5, 30)
    answers = engine_of("t5", eos_id=-1, **ONE_WIDTH).generate(
        PROMPTS[:3], DecodeConfig(max_length=LENGTH, forced_prefix=forced)
    )
    rows = np.stack([answer.tokens[0] for answer in answers])
    assert (rows[:, :4] == forced).all()
    logits = full_logits(MODELS["t5"], params_of("t5"), padded(PROMPTS[:3], 12), rows)
    np.testing.assert_array_equal(rows[:, 4:], logits[:, 4:].argmax(-1))


@pytest.mark.slow  # compiles some programs
@pytest.mark.parametrize("num_steps", [1, 3, 100])
def test_an_answer_ends_before_a_stop_text(num_steps, monkeypatch):
    """The stop begins within a token, and only one of two samples has it."""
    monkeypatch.setattr(engine, "STEPS_BETWEEN_STOPS", num_steps)
    model, vocabulary = engine_of("t5", eos_id=-1, **ONE_WIDTH), Letters(-1)
    config = DecodeConfig(max_length=LENGTH, temperature=1.0, num_samples=2)
    free = model.generate(PROMPTS[:3], config)
    first, second = (free[0].tokens[i].tolist() for i in range(2))
    at = next(i for i in range(2, 8) if len(vocabulary.decode(first[i : i + 1])) == 2)
    stop = vocabulary.decode(first[at : at + 2])[1:3]
    stopped = model.generate(PROMPTS[:3], dataclasses.replace(config, stop=stop))
    for before, after in zip(free, stopped, strict=True):
        for i in range(2):
            tokens, whole = before.tokens[i].tolist(), before.texts[i]
            if stop not in whole:
                assert after.texts[i] == whole and after.finish_reasons[i] == "length"
                continue
            num = next(n for n in range(LENGTH + 1) if stop in vocabulary.decode(tokens[:n]))
            assert after.texts[i] == whole[: whole.index(stop)]
            assert after.tokens[i].tolist() == tokens[:num]
            assert after.finish_reasons[i] == "stop"
            np.testing.assert_array_equal(after.logprobs[i], before.logprobs[i][:num])
            assert after.scores[i] == pytest.approx(after.logprobs[i].sum())
    assert stopped[0].finish_reasons[0] == "stop"
    assert "length" in {reason for answer in stopped for reason in answer.finish_reasons}


def _positions_of_runs(monkeypatch):
    """Returns a list that grows by the number of positions of each run of a program."""
    run, counts = decode.run, []

    def counted(model, strategy, params, state, *rest):
        before = np.array(state.position)
        state = run(model, strategy, params, state, *rest)
        # A row that is at work at the last position is so from the first.
        counts.append(int((np.array(state.position) - before).max()))
        return state

    monkeypatch.setattr(decode, "run", counted)
    return counts


def _of_lengths(num_rows, lengths):
    """Returns the order in which answers of these lengths come, longer prompts later."""
    prompts = prompts_of(range(1, len(lengths) + 1))
    model = engine_of("t5", eos_id=-1, **ONE_WIDTH | dict(num_rows=num_rows))
    configs = [DecodeConfig(max_length=length) for length in lengths]
    answers = list(model.stream(prompts, configs))
    assert all(len(answer.tokens[0]) == lengths[i] for i, answer in answers)
    return [i for i, _ in answers]


@pytest.mark.slow  # compiles some programs
def test_a_long_answer_does_not_hold_up_a_batch(monkeypatch):
    counts = _positions_of_runs(monkeypatch)
    # In batches of two: max(8, 2) + max(2, 2) + 2 positions.
    assert _of_lengths(2, (8, 2, 2, 2, 2)) == [1, 2, 3, 0, 4]
    assert counts == [2, 2, 2, 2]


@pytest.mark.slow  # compiles some programs
def test_rows_are_refilled_some_at_a_time_and_decoding_ends_with_the_last(monkeypatch):
    counts = _positions_of_runs(monkeypatch)
    # Eight rows are refilled by two: after two positions, and nothing is left to wait for.
    order = _of_lengths(8, (1, 2, 3, 4, 5, 6, 7, 8, 1, 1))
    assert counts == [2, 6]
    assert order[:2] == [0, 1] and set(order[2:]) == set(range(2, 10))


def test_answers_may_come_without_log_probabilities():
    model = engine_of("t5", with_logprobs=False, **ONE_ROW)
    answer = model.generate(PROMPTS[:1], DecodeConfig(max_length=LENGTH))[0]
    assert answer.tokens[0].tolist() == [i for i in _greedy("t5")[0].tolist() if i != EOS_ID]
    assert len(answer.logprobs[0]) == 0


@pytest.mark.slow  # compiles some programs
def test_settings_that_are_numbers_need_no_program_of_their_own():
    model = engine_of("t5", **ONE_ROW)

    def generate(**numbers):
        model.generate(PROMPTS[:3], DecodeConfig(max_length=LENGTH, **numbers))

    generate(temperature=1.0, top_p=0.9, top_k=7, min_length=2, repetition_penalty=1.1)
    before = decode.run._cache_size(), decode.admit._cache_size()
    generate(temperature=0.3, top_p=0.5, top_k=5, min_length=4, repetition_penalty=1.7, seed=9)
    assert (decode.run._cache_size(), decode.admit._cache_size()) == before


def test_nothing_is_answered_with_nothing():
    assert engine_of("t5").generate([], DecodeConfig()) == []


def test_mistakes_in_prompts_are_named():
    model = engine_of("t5")
    with pytest.raises(DataError, match="prompt 1 has no tokens; give at least one"):
        model.generate([[3], []], DecodeConfig())
    with pytest.raises(DataError, match="prompt 2 has 13 tokens, above the 12 that are taken"):
        model.generate([[3], [4], [5] * 13], DecodeConfig())
    with pytest.raises(DataError, match="prompt 0 has the token 32, and the model has 32"):
        model.generate([[3, 32]], DecodeConfig())
    with pytest.raises(DataError, match="prompt 0 has the token -1"):
        model.generate([[3, -1]], DecodeConfig())
    with pytest.raises(DataError, match=f"prompt 0 has the token {2**70}"):
        model.generate([[2**70]], DecodeConfig())
    with pytest.raises(DataError, match="prompt 1 ends with the token 0, which is padding; leave"):
        model.generate([[0, 3], [3, 0]], DecodeConfig())
    with pytest.raises(UsageError, match="forced_prefix has the token 32, and the model has 32"):
        model.generate([[3]], DecodeConfig(forced_prefix=(3, 32)))
    with pytest.raises(UsageError, match="2 prompts but 1 configs; give one each, or one for all"):
        model.generate([[3], [4]], [DecodeConfig()])
    with pytest.raises(UsageError, match="Engine.num_rows must be >= 1, got 0"):
        engine_of("t5", num_rows=0)
    with pytest.raises(UsageError, match="Engine.length_buckets must be >= 1, got 0"):
        engine_of("t5", length_buckets=(8, 0))


@pytest.mark.slow  # compiles the programs that answers alone have
@pytest.mark.parametrize("config", [SETTINGS[0], SETTINGS[-1]], ids=["greedy", "beams"])
def test_logits_that_are_no_numbers_are_an_error(config):
    params, begin = params_of("t5"), int(_greedy("t5")[0][0])
    assert begin not in PROMPTS[0] and begin in PROMPTS[1]
    table = params["token_embedder"]["embedding"].copy()
    table[begin] = np.nan
    broken = params | {"token_embedder": {"embedding": table}}
    broken = Engine(MODELS["t5"], broken, Letters(_eos_id("t5")), max_input_length=12, **ONE_ROW)
    message = "logits for token {} of the answer to prompt {} are NaN or infinite; see whether"
    with pytest.raises(FlanError, match=message.format(2, 0)):
        broken.generate(PROMPTS[:1], config)
    with pytest.raises(FlanError, match=message.format(1, 0)):
        broken.generate(PROMPTS[1:2], config)


@pytest.mark.slow  # compiles partitioned programs
@pytest.mark.parametrize(
    ("name", "sizes", "preset"),
    [
        pytest.param("t5", (1, 4, 2), "fsdp_tensor", marks=pytest.mark.large),
        ("palm", (1, 2, 4), "tensor"),
    ],
)
def test_a_mesh_gives_the_answers_of_one_device(name, sizes, preset):
    config = dataclasses.replace(MODELS[name].config, num_heads=4)
    alone = type(MODELS[name])(config)
    params, chosen, mesh = sharp_params(alone), rules.preset(preset), mesh_of(sizes)
    spread = dataclasses.replace(alone, rules=chosen)
    shardings = arrays.params_sharding(params, alone.logical_axes(), chosen, mesh)
    given = dict(max_input_length=12, num_rows=8, length_buckets=(12,))
    configs = [*SETTINGS[-2:] * 5, SETTINGS[-1]]  # samples and beams
    wanted = Engine(alone, params, Letters(), **given).generate(PROMPTS, configs)
    with jax.set_mesh(mesh):
        model = Engine(spread, jax.device_put(params, shardings), Letters(), **given)
        found = model.generate(PROMPTS, configs)
    for got, want in zip(found, wanted, strict=True):
        _assert_same(got, want)
