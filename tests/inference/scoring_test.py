# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores against full forward passes of one text each, whatever they are batched with."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from flan_jax.convert import huggingface
from flan_jax.convert.leaves import Arrays
from flan_jax.core.errors import DataError, FlanError, UsageError
from flan_jax.core.tree import flatten, unflatten
from flan_jax.inference import scoring
from flan_jax.inference.scoring import Score, Scorer, rank
from flan_jax.models.decoder import DecoderLM
from flan_jax.parallel import arrays, rules
from tests.inference.tiny_models import MODELS, PALM, full_logits, padded
from tests.models.drawn import drawn_params
from tests.models.one_device import mesh_of

PROMPT_LENGTHS = (3, 16, 1, 7, 4, 5, 8, 12)
CHOICE_LENGTHS = ((1, 2), (5,), (9, 1, 4), (3, 8, 8, 2), (13, 1), (1,), (9, 16), (2, 2, 2))


def _params(model):
    # PaLM scales its logits down, as its embedding is of size one.
    is_palm = getattr(model.config, "scale_logits", False)
    if not model.config.scan_layers:
        return unflatten(drawn_params(model, unit_embedding=is_palm))
    return model.from_other_layout(_params(model.other_layout))


@functools.cache
def _params_of(name):
    """Returns the parameters of one of `MODELS`."""
    return _params(MODELS[name])


@functools.cache
def _scored(name):
    """Returns a model, its parameters, and the scores of all texts."""
    model, params = MODELS[name], _params_of(name)
    return model, params, _scorer(model, params).score(*_texts())


def _scorer(model, params):
    """Returns one that scores all texts as one batch, so that it compiles one program."""
    return Scorer(model, params, max_input_length=16, num_rows=8)


def _texts():
    rng = np.random.default_rng(0)
    prompts = [rng.integers(2, 32, length) for length in PROMPT_LENGTHS]
    choices = [[rng.integers(0, 32, n) for n in lengths] for lengths in CHOICE_LENGTHS]
    return prompts, choices


def _by_full_forward(model, params, prompt, choice):
    """Returns the log-probability of each token of one choice; one forward pass, no cache."""
    logits = full_logits(model, params, padded([prompt], 16), padded([choice], 16))
    logits = logits[0, : len(choice)].astype(np.float64)
    return logits[np.arange(len(choice)), choice] - np.log(np.exp(logits).sum(axis=-1))


def _assert_equal(scores, others):
    for row, other_row in zip(scores, others, strict=True):
        for score, other in zip(row, other_row, strict=True):
            logprobs = getattr(other, "token_logprobs", other)
            assert score.token_logprobs.dtype == np.float32
            assert score.token_logprobs.shape == logprobs.shape
            np.testing.assert_allclose(score.token_logprobs, logprobs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_those_of_full_forward_passes(name):
    model, params, scores = _scored(name)
    prompts, choices = _texts()
    want = [
        [_by_full_forward(model, params, prompt, choice) for choice in of_prompt]
        for prompt, of_prompt in zip(prompts, choices, strict=True)
    ]
    other = _by_full_forward(model, params, prompts[1], choices[7][0])
    assert np.abs(other - want[7][0]).max() > 0.05, "a prompt that does not matter tests nothing"
    _assert_equal(scores, want)


@pytest.mark.parametrize("name", ["t5", "palm"])
def test_a_score_says_whether_decoding_would_give_the_text(name):
    model, params, _ = _scored(name)
    prompt, likeliest = _texts()[0][3], []
    for length in range(1, 4):
        logits = full_logits(model, params, padded([prompt], 16), padded([[*likeliest, 2]], 16))
        likeliest.append(int(logits[0, length - 1].argmax()))
    others = [[*likeliest[:i], likeliest[i] ^ 1, *likeliest[i + 1 :]] for i in range(3)]
    (scores,) = _scorer(model, params).score([prompt], [[likeliest, likeliest[:1], *others]])
    assert [score.is_greedy for score in scores] == [True, True, False, False, False]


@pytest.mark.parametrize("name", ["t5", "u_palm_scanned"])
def test_neither_batch_nor_order_nor_padding_changes_a_score(name):
    model, params, scores = _scored(name)
    prompts, choices = _texts()
    order = np.random.default_rng(1).permutation(len(prompts))
    other = Scorer(model, params, max_input_length=19, num_rows=4, length_buckets=[5])
    shuffled = other.score([prompts[i] for i in order], [choices[i][::-1] for i in order])
    _assert_equal(shuffled, [scores[i][::-1] for i in order])
    alone = Scorer(model, params, max_input_length=16, num_rows=1)
    _assert_equal(alone.score(prompts[3:4], [choices[3][1:2]]), [scores[3][1:2]])


def test_the_parts_that_are_computed_at_a_time_change_no_score():
    rng = np.random.default_rng(2)
    prompts, choices = rng.integers(2, 32, (2, 6)), rng.integers(0, 32, (2, 5, 7))
    ready = MODELS["t5"].for_decoding(_params_of("t5"))
    whole, *others = (
        scoring.token_logprobs(
            *ready, prompts, choices, positions_at_once=positions, logits_at_once=logits
        )
        for positions, logits in ((10**6, 10**6), (30, 6), (1, 1))
    )
    for got in others:
        assert got.shape == (*choices.shape, 2)
        np.testing.assert_allclose(got, whole, rtol=1e-5, atol=1e-5)


def _lowered(model, shape_of_prompts, shape_of_choices):
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    tokens = (jax.ShapeDtypeStruct(s, np.int32) for s in (shape_of_prompts, shape_of_choices))
    return scoring.token_logprobs.lower(model, shapes, *tokens)


def _num_bytes(lowered):
    """Returns what a program needs besides its arguments and results."""
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", ["t5", "palm"])
def test_the_logits_are_never_held_all_at_once(name):
    config = dataclasses.replace(MODELS[name].config, vocab_size=8192)
    lowered = _lowered(type(MODELS[name])(config), (4, 8), (4, 64, 16))
    whole = 4 * 64 * 16 * 8192 * 4
    assert _num_bytes(lowered) < 0.4 * whole  # of 8 parts, one up to three times


def test_many_choices_do_not_look_at_the_prompt_all_at_once():
    lowered = _lowered(MODELS["t5"], (4, 256), (4, 1024, 8))
    attention = 4 * 1024 * 8 * 256 * MODELS["t5"].config.num_heads * 4
    assert _num_bytes(lowered) < 0.4 * attention  # of 8 parts, one up to three times


@pytest.mark.parametrize("name", ["t5", "palm"])
def test_more_choices_do_not_read_the_prompt_again(name):
    one, eight = (
        _lowered(MODELS[name], (2, 128), (2, members, 8)).cost_analysis()["flops"]
        for members in (1, 8)
    )
    assert eight < 2 * one


def test_few_programs_and_the_least_bucket_that_holds_a_prompt():
    model = DecoderLM(dataclasses.replace(PALM, num_layers=1))  # programs of this test alone
    scorer = Scorer(model, _params(model), max_input_length=12, num_rows=2, length_buckets=[6])

    def programs(prompt_lengths, choice_lengths):
        before = scoring.token_logprobs._cache_size()
        choices = [[5] * n for n in choice_lengths]
        scorer.score([[3] * n for n in prompt_lengths], [choices] * len(prompt_lengths))
        return scoring.token_logprobs._cache_size() - before

    assert programs([6, 1, 3], [1, 8, 2, 5]) == 1  # two batches of one shape
    assert programs([6, 6, 6, 6, 2], [3, 1, 1]) == 0  # padded in number and length
    assert programs([7, 5], [1, 1, 1]) == 1  # the next bucket
    assert programs([12, 9], [1, 1, 1, 1]) == 0
    assert programs([5, 5], [1, 9, 1]) == 1  # longer choices
    assert programs([5, 5], [16, 9, 1, 1]) == 0
    assert programs([5], [16, 9, 1, 1]) == 1  # a prompt alone has a row alone


@pytest.mark.parametrize(
    ("name", "preset", "with_rules"),
    [("t5", "fsdp_tensor", True), ("llama_scanned", "tensor", False)],
)
def test_devices_of_a_mesh_share_the_work_and_each_has_the_scores(name, preset, with_rules):
    prompts, choices = _texts()
    model, chosen, mesh = MODELS[name], rules.preset(preset), mesh_of((1, 4, 2))
    params, want = _params_of(name), _scored(name)[2]
    model = dataclasses.replace(model, rules=chosen if with_rules else None)
    shardings = arrays.params_sharding(params, model.logical_axes(), chosen, mesh)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(params, shardings)
        got = _scorer(model, sharded).score(prompts, choices)
        tokens = np.ones((8, 4, 16), np.int32)  # the same program
        logprobs = scoring.token_logprobs(*model.for_decoding(sharded), tokens[:, 0], tokens)
    _assert_equal(got, want)
    assert logprobs.sharding.is_fully_replicated


def test_a_score_sums_and_averages_its_tokens():
    score = Score(np.log(np.array([0.5, 0.25, 0.5], np.float32)))
    assert score.num_tokens == 3
    assert score.logprob == pytest.approx(math.log(1 / 16))
    assert score.mean == pytest.approx(math.log(1 / 16) / 3)
    assert score.perplexity == pytest.approx(16 ** (1 / 3))
    assert Score(np.array([-2000.0], np.float32)).perplexity == math.inf


def test_rank_takes_the_likeliest_or_the_likeliest_per_token():
    short, long, same = (
        Score(np.array(logprobs, np.float32))
        for logprobs in ([-1.0], [-0.75, -0.75], [-0.25, -0.75])
    )
    assert rank([long, short]) == 1
    assert rank([long, short], "sum") == 1
    assert rank([short, long], "mean") == 1
    assert rank([long, short, same]) == 1, "the first among equals"
    assert rank([long, short, same], "mean") == 2


def test_perplexity_weighs_each_token_alike():
    scores = [Score(np.log(np.array(p, np.float32))) for p in ([0.5] * 3, [1 / 32])]
    got = scoring.perplexity(iter(scores))
    assert got.value == pytest.approx(4.0)  # 2^-8 over four tokens
    assert (got.num_tokens, got.num_texts) == (4, 2)


def test_progress_is_shown_when_asked(capsys):
    scorer = _scorer(MODELS["palm"], _params_of("palm"))
    scorer.score(*_texts())
    assert capsys.readouterr().err == ""
    scorer.score(*_texts(), progress="rank")
    assert "rank: 8/8" in capsys.readouterr().err


def test_nothing_to_score_gives_nothing():
    assert _scorer(MODELS["palm"], _params_of("palm")).score([], []) == []


@pytest.mark.parametrize(
    ("prompts", "choices", "error", "message"),
    [
        ([[3]], [], UsageError, "1 prompts but choices for 0; pass a list"),
        ([[3], [4]], [[[5]], []], UsageError, "prompt 1 has no choices; give it one"),
        ([[3]], [[[5], []]], UsageError, "choice 1 of prompt 0 is empty; give it a token"),
        ([[3], [4] * 17], [[[5]]] * 2, DataError, "prompt 1 has 17 tokens, max_input_length is 16"),
        ([[3, 32]], [[[5]]], UsageError, "prompt 0 .* ids from 3 to 32, the model's are 0 to 31"),
        ([[3, 2**70]], [[[5]]], UsageError, "prompt 0 .* ids from 3 to 1180591620717411303424"),
        ([[3]], [[[5], [-1]]], UsageError, "prompt 0 .* ids from -1 to 5"),
    ],
)
def test_misuse_is_named(prompts, choices, error, message):
    with pytest.raises(error, match=message):
        _scorer(MODELS["palm"], _params_of("palm")).score(prompts, choices)


def test_other_misuse_is_named():
    model, params = MODELS["t5"], _params_of("t5")
    with pytest.raises(DataError, match="prompt 0 is empty; an encoder needs a token"):
        Scorer(model, params, max_input_length=16).score([[]], [[[5]]])
    with pytest.raises(DataError, match="prompt 0 ends with the token 0, which is padding; leave"):
        Scorer(model, params, max_input_length=16).score([[3, 0]], [[[5]]])
    with pytest.raises(UsageError, match="Scorer.max_input_length must be >= 1, got 0"):
        Scorer(model, params, max_input_length=0)
    with pytest.raises(UsageError, match="Scorer.length_buckets must be >= 1, got 0"):
        Scorer(model, params, max_input_length=4, length_buckets=[3, 0])
    score = Score(np.zeros(1, np.float32))
    with pytest.raises(UsageError, match="unknown normalization 'means'; did you mean 'mean'?"):
        rank([score], "means")
    with pytest.raises(UsageError, match="rank: there are no scores"):
        rank([])
    with pytest.raises(UsageError, match="perplexity: there are no texts"):
        scoring.perplexity([])


def test_a_score_that_is_no_number_is_an_error():
    broken = jax.tree.map(lambda leaf: leaf * np.nan, _params_of("palm"))
    with pytest.raises(FlanError, match=r"choice 0 of prompt \d is not a number; see whether"):
        _scorer(MODELS["palm"], broken).score(*_texts())


def test_a_decoder_scores_texts_without_a_prompt():
    model, params, scores = _scored("palm")
    prompts, choices = _texts()
    got = _scorer(model, params).score([prompts[0], prompts[1], [], *prompts[3:]], choices)
    _assert_equal(got[2:3], [[_by_full_forward(model, params, [], c) for c in choices[2]]])
    _assert_equal(got[:2] + got[3:], scores[:2] + scores[3:])


def test_a_decoder_reads_token_0_at_the_end_of_a_prompt():
    model, params, _ = _scored("palm")
    (score,) = Scorer(model, params, max_input_length=16, num_rows=1).score([[7, 0]], [[[4, 3]]])[0]
    row = {"decoder_input_tokens": np.array([[0, 7, 0, 4]], np.int32)}
    logprobs = jax.nn.log_softmax(model.apply(params, row, train=False)[0])
    want = [logprobs[2, 4], logprobs[3, 3]]
    np.testing.assert_allclose(score.token_logprobs, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["t5", "llama_scanned"])
def test_perplexity_is_that_of_transformers(name, tmp_path):
    torch = pytest.importorskip("torch", reason="compares with transformers")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    model, params, (prompts, choices) = MODELS[name], _params_of(name), _texts()
    huggingface.write(tmp_path / "hf", Arrays(flatten(params)), model.config)
    kind = "AutoModelForSeq2SeqLM" if name == "t5" else "AutoModelForCausalLM"
    theirs = getattr(transformers, kind).from_pretrained(tmp_path / "hf").eval()

    def loss(prompt, text):
        # A decoder-only model of ours begins with token 0, and predicts the first from it.
        inputs, labels = prompt, text
        if name == "llama_scanned":
            inputs, labels = np.concatenate([[0], prompt, text]), text
            labels = np.concatenate([np.full(len(inputs) - len(text), -100), text])
        rows = (torch.tensor(x, dtype=torch.long)[None] for x in (inputs, labels))
        with torch.no_grad():
            return theirs(**dict(zip(("input_ids", "labels"), rows, strict=True))).loss.item()

    texts = [[of_prompt[0]] for of_prompt in choices]
    scores = [row[0] for row in _scorer(model, params).score(prompts, texts)]
    losses = [loss(prompt, text) for prompt, (text,) in zip(prompts, texts, strict=True)]
    np.testing.assert_allclose([-score.mean for score in scores], losses, rtol=1e-5)
    num_tokens = [len(text) for (text,) in texts]
    want = math.exp(np.average(losses, weights=num_tokens))
    assert scoring.perplexity(scores).value == pytest.approx(want, rel=1e-5)
