# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The compiled programs of decoding by themselves: when a run ends, and what rows keep."""

import functools

import jax
import numpy as np
import pytest

from flan_jax.inference import decode, lane, sampling
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.lane import Request
from flan_jax.inference.sampling import Sampling
from tests.inference.tiny_models import (
    FAMILIES,
    MODELS,
    full_logits,
    greedy_without_cache,
    padded,
    params_of,
    prompts_of,
)

PROMPTS = prompts_of((5, 12, 3))
SLOTS, WIDTH = 8, 12


@functools.cache
def _greedy(name, eos_id=-1):
    return greedy_without_cache(MODELS[name], params_of(name), PROMPTS, 12, eos_id)


def _logprobs(name, prompt):
    """Returns the log-probabilities of the greedy answer by a full forward pass."""
    prompts, tokens = padded(PROMPTS, 12)[prompt][None], _greedy(name)[prompt][None]
    logits = full_logits(MODELS[name], params_of(name), prompts, tokens)[0]
    return logits.max(-1) - np.log(np.exp(logits).sum(-1))


class Rows:
    """Two rows of a program that decodes greedily, with their state."""

    def __init__(self, name, max_lengths, eos_id=-1):
        self.strategy = Sampling(num_members=1, eos_id=eos_id, with_logprobs=True)
        self.model, self.params = MODELS[name].for_decoding(params_of(name))
        self.requests = [self._request(i, length) for i, length in enumerate(max_lengths)]
        self.state = decode.start(
            self.model, self.strategy, self.params, batch_size=2, width=WIDTH, num_slots=SLOTS,
            with_logprobs=True, reorders=False,
        )  # fmt: skip
        assert self.state.ended.all()
        self._put(PROMPTS[:2], [0, 1])

    def admit(self, prompt, row, max_length):
        """Gives a row to another prompt."""
        self.requests[row] = self._request(prompt, max_length)
        self._put([PROMPTS[prompt]] * 2, [row, row])  # more than once, which is as once

    def run(self, num_steps=100, least_active=1, stopped=(False, False)):
        """Runs the program; returns how many positions it decoded."""
        before = np.array(self.state.position)
        self.state = decode.run(
            self.model, self.strategy, self.params, self.state, (),
            lane.row_settings(self.requests), np.array(stopped)[:, None], np.int32(num_steps),
            np.int32(least_active),
        )  # fmt: skip
        return int((np.array(self.state.position) - before).max())

    @property
    def tokens(self):
        """Returns the tokens of each row so far, after checking that nothing comes after."""
        tokens, position = np.array(self.state.tokens)[:, 0], np.array(self.state.position)
        for row, logprobs, num in zip(tokens, self.state.logprobs[:, 0], position, strict=True):
            assert not row[num:].any() and not logprobs[num:].any()
        return [row[:num].tolist() for row, num in zip(tokens, position, strict=True)]

    def _put(self, prompts, rows):
        self.state = decode.admit(
            self.model, self.strategy, self.params, self.state, (), padded(prompts, WIDTH),
            np.array([len(prompt) for prompt in prompts], np.int32), np.array(rows, np.int32),
        )  # fmt: skip

    def _request(self, prompt, max_length):
        tokens = np.array(PROMPTS[prompt], np.int32)
        config = DecodeConfig(max_length=max_length)
        return Request(prompt=tokens, config=config, key=sampling.row_key(0, tokens))


@pytest.mark.parametrize("name", FAMILIES)
def test_runs_of_a_few_positions_are_as_one(name):
    rows, whole = Rows(name, (8, 8)), Rows(name, (8, 8))
    assert [rows.run(3), rows.run(1), rows.run()] == [3, 1, 4]
    assert whole.run() == 8
    want = [row[:8].tolist() for row in _greedy(name)[:2]]
    assert rows.tokens == whole.tokens == want
    for i in range(2):
        np.testing.assert_allclose(
            whole.state.logprobs[i, 0], _logprobs(name, i)[:8], rtol=1e-4, atol=1e-4
        )


def test_a_run_ends_when_all_rows_have_ended():
    rows = Rows("t5", (2, 5))
    assert rows.run() == 5 and rows.state.slot == 5
    assert rows.state.ended.all()
    assert rows.tokens == [row[:n].tolist() for row, n in zip(_greedy("t5"), (2, 5), strict=False)]
    assert rows.run() == 0


def test_a_run_ends_when_enough_rows_are_free():
    rows = Rows("t5", (2, 5))
    assert rows.run(least_active=2) == 2
    assert rows.state.ended[:, 0].tolist() == [True, False]
    assert rows.run(least_active=2) == 0


def test_an_end_of_sequence_ends_a_row():
    eos_id = int(_greedy("t5")[0][2])
    wanted = [row.tolist() for row in _greedy("t5", eos_id)[:2]]
    rows = Rows("t5", (8, 8), eos_id)
    num = max(len(row[:8]) for row in wanted)
    assert rows.run() == num
    assert rows.tokens == [row[:8] for row in wanted]
    assert rows.tokens[0][-1] == eos_id and len(rows.tokens[0]) <= 3


def test_a_row_that_the_host_stops_goes_no_further():
    rows = Rows("t5", (8, 8))
    rows.run(2)
    assert rows.run(3, stopped=(True, False)) == 3
    want = _greedy("t5")
    assert rows.tokens == [want[0][:2].tolist(), want[1][:5].tolist()]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_begins_anew_while_another_goes_on_and_both_get_more_room(name):
    """The third prompt begins in the fourth slot, so the ring is cut open where it is full."""
    rows, want = Rows(name, (3, 6)), [row.tolist() for row in _greedy(name)]
    assert rows.run(least_active=2) == 3
    rows.admit(2, row=0, max_length=12)
    assert rows.tokens == [[], want[1][:3]]
    assert rows.run() == 8, "as many as there are slots"
    assert rows.tokens == [want[2][:8], want[1][:6]]
    assert rows.state.slot == 3 and not rows.state.ended[0, 0]
    assert rows.run() == 0
    rows.state = decode.grown(rows.strategy, rows.state, 12)
    assert rows.state.num_slots == 12 and rows.state.slot == 8
    assert rows.run() == 4
    assert rows.tokens == [want[2], want[1][:6]]
    # The tokens may be the same by luck if slots are taken for younger than they are.
    np.testing.assert_allclose(rows.state.logprobs[0, 0], _logprobs(name, 2), rtol=1e-4, atol=1e-4)


def test_more_rows_are_empty():
    rows = Rows("t5", (8, 8))
    rows.run(2)
    larger = decode.enlarged(rows.state, 4)
    assert larger.ended[:, 0].tolist() == [False, False, True, True]
    assert larger.position.tolist() == [2, 2, 0, 0] and larger.slot == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_room_for_longer_prompts_is_what_a_program_for_them_has(name):
    rows = Rows(name, (8, 8))
    given = dict(batch_size=2, num_slots=SLOTS, with_logprobs=True, reorders=False)
    wide = decode.start(rows.model, rows.strategy, rows.params, width=20, **given)
    for leaf, want in zip(
        *map(jax.tree.leaves, (decode.widened(rows.state, 20), wide)), strict=True
    ):
        assert leaf.shape == want.shape and leaf.dtype == want.dtype
