# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A harness gets what the scorer and the engine give, for texts cut into tokens its way."""

import dataclasses

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.harness.answering import MAX_LENGTH, MAX_TEXTS, Answering, decode_config
from flan_jax.inference.decode_config import DecodeConfig
from tests.harness import harness_models

PAIRS = (
    ("Anna has two cats.", " Yes"),
    ("Anna has two cats.", " No, three"),
    ("", "Anna"),
    ("Go on", " step by step."),
)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return harness_models.load(harness_models.write_t5(tmp_path_factory.mktemp("t5") / "hf"))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder") / "hf"
    return harness_models.load(harness_models.write_decoder(folder))


def scored(predictor, prompt, tokens):
    ((score,),) = predictor.scorer.score([prompt], [[tokens]])
    return score


def test_likelihoods_after_an_encoder_are_the_scorers(t5):
    found = Answering(t5).loglikelihoods(PAIRS)
    for (prompt, text), (logprob, is_greedy) in zip(PAIRS, found, strict=True):
        # The prompt has its EOS; the text has none, nor a space before it.
        ids = [*t5.vocabulary.encode(prompt), t5.vocabulary.eos_id]
        score = scored(t5, ids, t5.vocabulary.encode(text.strip()))
        assert logprob == pytest.approx(score.logprob, rel=1e-5)
        assert is_greedy is score.is_greedy
    assert len({logprob for logprob, _ in found}) == len(PAIRS)


@pytest.mark.parametrize(
    ("prompt", "text", "before", "after"),
    [
        ("hello", " well", "hello", " well"),
        ("hello ", "well", "hello", " well"),  # the space is the text's
        ("hello", "o", "hello", "o"),
        ("", "well", None, "well"),
    ],
)
def test_a_text_goes_on_where_the_prompt_of_a_decoder_ends(decoder, prompt, text, before, after):
    encode, answering = decoder.vocabulary.encode, Answering(decoder)
    got = answering.encode_pair(prompt, text)
    first = [decoder.vocabulary.eos_id] if before is None else encode(before)
    assert got == (first, encode(after)) and encode(after)
    score = scored(decoder, *got)
    assert answering.loglikelihoods([(prompt, text)]) == [
        (pytest.approx(score.logprob, rel=1e-5), score.is_greedy)
    ]


def test_a_prompt_and_a_text_are_cut_together(decoder):
    # "hell" is one token, so after "he" a text "ll" is no token of its own.
    encode = decoder.vocabulary.encode
    assert len(encode("hell")) == 1
    before, after = Answering(decoder).encode_pair("well he", "llo")
    assert before == encode("well he")
    assert after == encode("well hello")[len(before) :] or after == encode("llo")


@pytest.mark.slow  # compiles a decoding loop
def test_what_greedy_decoding_says_is_greedy(t5):
    vocabulary, answering = t5.vocabulary, Answering(t5)
    prompts = [f"Anna has {n} cats." for n in ("two", "three", "no", "many", "nine", "some")]
    engine = t5.new_engine(with_logprobs=False)
    answers = engine.generate([t5.encode(p) for p in prompts], DecodeConfig(max_length=1))
    pairs = [
        (prompt, answer.texts[0])
        for prompt, answer in zip(prompts, answers, strict=True)
        if vocabulary.encode(answer.texts[0]) == answer.tokens[0].tolist()
    ]
    assert pairs
    assert all(is_greedy for _, is_greedy in answering.loglikelihoods(pairs))


def test_many_texts_of_a_prompt_and_texts_without_tokens(t5):
    pairs = [("Anna", f" cat {n}") for n in range(2 * MAX_TEXTS + 1)] + [("Anna", "")]
    found = Answering(t5).loglikelihoods(pairs)
    assert found[-1] == (0.0, True)
    alone = Answering(t5).loglikelihoods(pairs[MAX_TEXTS : MAX_TEXTS + 1])
    assert found[MAX_TEXTS][0] == pytest.approx(alone[0][0], rel=1e-5)


def test_windows_are_apart_and_see_as_much_as_fits(t5, decoder):
    eos = decoder.vocabulary.eos_id
    windows = Answering(dataclasses.replace(decoder, max_input_length=4)).windows
    assert list(windows(list(range(10)))) == [
        ([eos], [0, 1, 2, 3]), ([3], [4, 5, 6, 7]), ([5, 6, 7], [8, 9])
    ]  # fmt: skip
    assert list(windows([])) == []
    # The EOS after what an encoder reads takes a place.
    assert list(Answering(dataclasses.replace(t5, max_input_length=3)).windows([5, 6, 7])) == [
        ([], [5, 6]), ([5, 6], [7])
    ]  # fmt: skip


@pytest.mark.slow  # compiles for windows of its own
@pytest.mark.parametrize("name", ["t5", "decoder"])
def test_whole_texts_are_scored_by_window(request, name):
    predictor = dataclasses.replace(request.getfixturevalue(name), max_input_length=9)
    texts = ["hello well hello well hello", "well"]
    answering, encode = Answering(predictor), predictor.vocabulary.encode
    assert len(list(answering.windows(encode(texts[0])))) > 1
    end = [predictor.vocabulary.eos_id] if name == "t5" else []
    want = [
        sum(scored(predictor, [*b, *end], t).logprob for b, t in answering.windows(encode(text)))
        for text in texts
    ]
    assert answering.rolling_loglikelihoods(texts) == pytest.approx(want, rel=1e-5)
    assert answering.num_shortened == 0


@pytest.mark.slow  # compiles a decoding loop
@pytest.mark.parametrize("name", ["t5", "decoder"])
def test_answers_are_the_engines(request, name):
    predictor = request.getfixturevalue(name)
    prompts = ["hello well", "well"]
    greedy = {"until": [], "max_gen_toks": 6, "do_sample": False}
    got = Answering(predictor).generate([(prompt, greedy) for prompt in prompts])
    want = predictor.new_engine(with_logprobs=False).generate(
        [predictor.encode_as_is(prompt) for prompt in prompts], DecodeConfig(max_length=6)
    )
    assert got == [answer.texts[0] for answer in want] and all(got)
    stop = got[0][2]
    shorter = Answering(predictor).generate([(prompts[0], greedy | {"until": stop})])
    assert shorter == [got[0].partition(stop)[0]]


@pytest.mark.slow  # compiles a decoding loop
def test_samples_of_one_prompt_differ_and_come_again(t5):
    requests = [("Anna", {"do_sample": True, "max_gen_toks": 5})] * 3
    first, other = Answering(t5, seed=1), Answering(t5, seed=7)
    samples = first.generate(requests)
    assert len(set(samples)) == 3 and samples == Answering(t5, seed=1).generate(requests)
    assert samples != other.generate(requests)


def test_what_is_too_long_loses_its_beginning_and_that_is_said(t5, decoder, capsys):
    short = Answering(dataclasses.replace(t5, max_input_length=4))
    tokens = t5.encode_as_is("Anna has two cats. Go on")
    assert short._fitting(tokens) == tokens[-4:]
    (found,) = short.loglikelihoods([("Anna has two cats. Go on", "Yes")])
    want = scored(t5, tokens[-4:], t5.vocabulary.encode("Yes")).logprob
    assert found[0] == pytest.approx(want, rel=1e-5)
    assert "1 of 1 prompts lost their beginning, as they are above 4" in capsys.readouterr().err
    assert (short.num_prompts, short.num_shortened) == (2, 2)

    source = dataclasses.replace(decoder.source, bos_id=7)
    with_bos = Answering(dataclasses.replace(decoder, source=source, max_input_length=4))
    assert with_bos._fitting([7, 2, 3, 4, 5, 6]) == [7, 4, 5, 6]


def test_messages_become_a_prompt(tmp_path, t5):
    path = harness_models.write_decoder(tmp_path / "hf", harness_models.TEMPLATE)
    answering = Answering(harness_models.load(path))
    assert answering.chat_template == harness_models.TEMPLATE
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "It is "},
    ]
    begun = "<system>Be brief.</system><user>1+1?</user>"
    assert answering.render(messages[:2]) == f"{begun}<assistant>"
    assert answering.render(messages, False) == f"{begun}<assistant>It is"
    with pytest.raises(UsageError, match="no chat template; leave out --apply_chat_template"):
        Answering(t5).render(messages)
    path = harness_models.write_decoder(tmp_path / "b", "{{ raise_exception('no system') }}")
    with pytest.raises(DataError, match="no system"):
        Answering(harness_models.load(path)).render(messages)


@pytest.mark.parametrize(
    ("settings", "want"),
    [
        ({}, {"max_length": MAX_LENGTH}),
        ({"until": "END"}, {"stop": ("END",), "max_length": MAX_LENGTH}),
        ({"until": ["\n", ""], "max_gen_toks": 3}, {"stop": ("\n",), "max_length": 3}),
        ({"max_new_tokens": 4, "max_tokens": 9}, {"max_length": 4}),
        ({"do_sample": False, "temperature": 0.7, "max_tokens": 2}, {"max_length": 2}),
        ({"temperature": 0.7, "max_tokens": 2}, {"max_length": 2, "temperature": 0.7}),
        ({"do_sample": True, "max_tokens": 2}, {"max_length": 2, "temperature": 1.0}),
        (
            {"do_sample": True, "temperature": "0.5", "top_p": 0.9, "top_k": 5, "max_tokens": 2},
            {"max_length": 2, "temperature": 0.5, "top_p": 0.9, "top_k": 5},
        ),
    ],
)
def test_what_a_task_says_of_answers(settings, want):
    assert decode_config(settings, 3) == DecodeConfig(seed=3, **want)


def test_what_is_not_known_is_named():
    with pytest.raises(UsageError, match="'temprature'; did you mean 'temperature'"):
        decode_config({"temprature": 1.0}, 0)
