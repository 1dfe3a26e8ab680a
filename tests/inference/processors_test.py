# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Processors of logits, against values made by hand and against transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.inference import processors
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.lane import Request, row_settings
from flan_jax.inference.processors import BANNED, Features

EOS_ID = 1


def _after(configs, logits, tokens, position) -> np.ndarray:
    """Returns what all processors of these requests, one a row, make of the logits."""
    key, prompt = np.zeros(2, np.uint32), np.ones(1, np.int32)
    requests = [Request(prompt=prompt, config=config, key=key) for config in configs]
    changed = jax.jit(processors.apply, static_argnames=("features", "eos_id"))(
        Features.of(configs), jnp.asarray(logits, jnp.float32), row_settings(requests),
        jnp.asarray(tokens, jnp.int32), jnp.asarray(position, jnp.int32), eos_id=EOS_ID,
    )  # fmt: skip
    return np.asarray(changed)


def test_a_program_contains_what_its_requests_use():
    assert Features.of([DecodeConfig()] * 2) == Features()
    assert Features.of([]) == Features()
    configs = [
        DecodeConfig(no_repeat_ngram=3, forced_prefix=[4, 5]),
        DecodeConfig(no_repeat_ngram=2, repetition_penalty=0.5),
        DecodeConfig(no_repeat_ngram=3, min_length=2, forced_prefix=[4]),
    ]
    features = Features.of(configs)
    assert features == Features(repetition=True, ngrams=(2, 3), min_length=True, forced=True)
    assert hash(features) == hash(Features.of(configs[::-1]))


def test_no_processor_changes_nothing():
    logits = np.random.default_rng(0).normal(size=(1, 2, 7)).astype(np.float32)
    np.testing.assert_array_equal(_after([DecodeConfig()], logits, [[[3, 4], [5, 6]]], [2]), logits)


def test_repeat_less():
    """Divides 2 and multiplies -2 once, however often they came; slot 3 is not of the answer."""
    config = DecodeConfig(repetition_penalty=2.0)
    logits = [[[8.0, 2.0, -2.0, 4.0, 0.0]]]
    after = _after([config], logits, [[[1, 2, 1, 3]]], [3])
    assert after.tolist() == [[[8.0, 1.0, -4.0, 4.0, 0.0]]]


def test_rows_have_their_own_penalty_and_members_their_own_answer():
    configs = [DecodeConfig(repetition_penalty=2.0), DecodeConfig()]
    logits = np.full((2, 2, 3), 4.0)
    after = _after(configs, logits, [[[0], [2]], [[0], [2]]], [1, 1])
    assert after.tolist() == [[[2, 4, 4], [4, 4, 2]], [[4, 4, 4], [4, 4, 4]]]


@pytest.mark.parametrize(
    ("answer", "size", "banned"),
    [
        ([5, 6, 7, 5, 6], 3, {7}),
        ([5, 6, 7, 5, 6], 2, {7}),
        ([5, 6, 5, 7, 5], 2, {6, 7}),
        ([5, 6, 7, 5, 6], 4, set()),
        ([5, 5, 5], 2, {5}),
        ([5, 6, 7], 1, {5, 6, 7}),
        ([5], 2, set()),
        ([], 2, set()),
        ([5, 6, 7, 5, 6], 9, set()),  # more than there are slots
        ([0, 0, 5, 0], 2, {0, 5}),  # 0 is a token like others where it was decoded
    ],
)
def test_no_repeat_ngram(answer, size, banned):
    tokens = [[[*answer, *[0] * (8 - len(answer))]]]
    after = _after([DecodeConfig(no_repeat_ngram=size)], np.ones((1, 1, 9)), tokens, [len(answer)])
    assert set(np.flatnonzero(after[0, 0] == BANNED)) == banned
    assert set(np.unique(after)) <= {1.0, np.float32(BANNED)}


def test_rows_have_their_own_ngram():
    configs = [DecodeConfig(no_repeat_ngram=n) for n in (0, 1, 2, 3)]
    tokens = np.tile([3, 4, 3, 3, 4, 0], (4, 1, 1))
    after = _after(configs, np.zeros((4, 1, 6)), tokens, [5] * 4)
    banned = [np.flatnonzero(row[0] == BANNED).tolist() for row in after]
    assert banned == [[], [3, 4], [3], [3]]


def test_at_least():
    config = DecodeConfig(min_length=2)
    after = _after([config] * 3, np.zeros((3, 1, 3)), np.zeros((3, 1, 4)), [0, 1, 2])
    assert after[:, 0, EOS_ID].tolist() == [np.float32(BANNED)] * 2 + [0.0]
    assert not after[:, 0, [0, 2]].any()


def test_forced():
    """Also the end of sequence below the minimum length: a prefix is what the request says."""
    configs = [DecodeConfig(forced_prefix=[3, EOS_ID, 2], min_length=9), DecodeConfig()]
    for position, token in enumerate([3, EOS_ID, 2]):
        after = _after(configs, np.full((2, 1, 4), 7.0), np.zeros((2, 1, 4)), [position] * 2)
        assert np.flatnonzero(after[0, 0] > BANNED).tolist() == [token]
        assert after[1].tolist() == [[7.0] * 4]
    after = _after(configs, np.full((2, 1, 4), 7.0), np.zeros((2, 1, 4)), [3] * 2)
    assert np.flatnonzero(after[0, 0] == BANNED).tolist() == [EOS_ID]


def test_a_row_of_banned_tokens_is_no_nan():
    config = DecodeConfig(no_repeat_ngram=1, repetition_penalty=1.5)
    after = _after([config], np.zeros((1, 1, 3)), [[[0, 1, 2]]], [3])
    assert after.tolist() == [[[np.float32(BANNED)] * 3]]
    assert np.isfinite(jax.nn.log_softmax(after)).all()


@pytest.mark.parity
def test_agrees_with_transformers():
    torch = pytest.importorskip("torch", reason="live comparison")
    transformers = pytest.importorskip("transformers", reason="live comparison")
    rng = np.random.default_rng(1)
    num_slots, vocab_size = 12, 6  # so few tokens that n-grams come again
    for position in range(num_slots):
        for size in (1, 2, 3):
            config = DecodeConfig(repetition_penalty=1.3, no_repeat_ngram=size, min_length=7)
            logits = rng.normal(size=(1, 8, vocab_size)).astype(np.float32)
            tokens = rng.integers(0, vocab_size, (1, 8, num_slots))
            after = _after([config], logits, tokens, [position])[0]

            answers = torch.from_numpy(tokens[0, :, :position])
            expected = torch.from_numpy(logits[0].copy())
            for process in (
                transformers.RepetitionPenaltyLogitsProcessor(1.3),
                transformers.NoRepeatNGramLogitsProcessor(size),
                transformers.MinNewTokensLengthLogitsProcessor(0, 7, EOS_ID, device="cpu"),
            ):
                if position or not isinstance(process, transformers.NoRepeatNGramLogitsProcessor):
                    expected = process(answers, expected)
            expected = np.maximum(expected.numpy(), np.float32(BANNED))
            np.testing.assert_allclose(after, expected, rtol=1e-6)
