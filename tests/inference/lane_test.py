# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The host's side of a lane: rows and what they ask for, by hand-made values."""

import numpy as np
import pytest

from flan_jax.inference import sampling
from flan_jax.inference.beam import Beam
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.lane import Request, row_settings, strategy_of
from flan_jax.inference.sampling import Sampling
from tests.inference.tiny_models import engine_of, prompts_of


def _request(prompt=(5,), first_member=0, **settings):
    config, tokens = DecodeConfig(**settings), np.array(prompt, np.int32)
    key = sampling.row_key(config.seed, tokens)
    return Request(prompt=tokens, config=config, key=key, first_member=first_member)


def test_settings_lie_row_by_row():
    first = _request(max_length=7, temperature=0.5, top_k=3, seed=2, forced_prefix=(4, 5, 6))
    second = _request((6, 7), 2, min_length=1, top_p=0.9, temperature=1.0, no_repeat_ngram=3)
    rows = row_settings([first, second])
    assert rows.max_length.tolist() == [7, 128] and rows.min_length.tolist() == [0, 1]
    assert rows.temperature.tolist() == [0.5, 1.0] and rows.top_k.tolist() == [3, 0]
    assert rows.top_p.tolist() == [1, np.float32(0.9)]
    assert rows.no_repeat_ngram.tolist() == [0, 3] and rows.first_member.tolist() == [0, 2]
    assert rows.forced.tolist() == [[4, 5, 6, 0], [0, 0, 0, 0]], "four: few widths, few programs"
    assert rows.num_forced.tolist() == [3, 0]
    np.testing.assert_array_equal(rows.key, [first.key, second.key])
    assert row_settings([second]).forced.shape == (1, 0)


def test_requests_are_decoded_by_samples_or_by_beams():
    given = dict(eos_id=1, with_logprobs=False)
    beams = strategy_of([DecodeConfig(num_beams=3)], 3, **given)
    assert isinstance(beams, Beam) and beams.num_members == beams.num_beams == 3
    samples = strategy_of([DecodeConfig(temperature=1.0, num_samples=4)], 1, **given)
    assert isinstance(samples, Sampling) and samples.num_members == 1 and samples.sampled


def _lane(**settings):
    return engine_of("t5", eos_id=-1, num_rows=2, length_buckets=(4, 12)).lane(1, **settings)


@pytest.mark.slow  # compiles some programs
def test_rows_are_taken_and_freed():
    lane = _lane(configs=[DecodeConfig(max_length=3)])
    assert (lane.num_active, lane.num_free) == (0, 2)
    first, second, third = (
        _request(prompt, max_length=length)
        for prompt, length in zip(prompts_of((3, 2, 12)), (2, 3, 1), strict=True)
    )
    lane.admit([first, second])
    assert lane.requests == [first, second] and lane.num_free == 0
    assert lane.run(10, least_active=2) == [0]
    tokens, position, ended = lane.so_far()
    assert position.tolist() == [2, 2] and ended[:, 0].tolist() == [True, False]
    assert not tokens[:, 0, 2:].any()
    lane.release(0)
    assert lane.num_free == 1
    lane.admit([third])  # a longer prompt than there was room for
    assert lane.requests == [third, second]
    assert sorted(lane.run(10)) == [0, 1]
    assert lane.so_far()[1].tolist() == [1, 3]


@pytest.mark.slow  # compiles some programs
def test_an_answer_that_is_stopped_has_ended_at_once():
    lane = _lane(configs=[DecodeConfig(max_length=3)])
    lane.admit([_request(max_length=3), _request((6,), max_length=3)])
    lane.run(1)
    lane.stop(0, 0)
    assert lane.so_far()[2][:, 0].tolist() == [True, False]
    assert sorted(lane.run(10)) == [0, 1]
    assert lane.so_far()[1].tolist() == [1, 3]


def test_a_lane_of_few_known_prompts_has_few_rows():
    engine = engine_of("t5", num_rows=16)
    configs = [DecodeConfig(max_length=3)]
    assert engine.lane(1, num_prompts=3, configs=configs).num_free == 4
    assert engine.lane(1, num_prompts=100, configs=configs).num_free == 16
    assert engine.lane(4, num_prompts=100, configs=configs).num_free == 4
    assert engine.lane(40, num_prompts=100, configs=configs).num_free == 1
