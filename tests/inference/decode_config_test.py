# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a request may ask for, and what is said of one that asks for something else."""

import pytest

from flan_jax.core.errors import UsageError
from flan_jax.inference.decode_config import DecodeConfig


def test_the_default_is_greedy():
    config = DecodeConfig()
    assert config.temperature == 0 and config.num_beams == config.num_samples == 1
    assert not config.stop and not config.forced_prefix


def test_one_stop_text_is_as_good_as_several():
    assert DecodeConfig(stop="\n\n").stop == DecodeConfig(stop=["\n\n"]).stop == ("\n\n",)


def test_equal_settings_are_one_key_of_a_table():
    first, second = (DecodeConfig(forced_prefix=kind([3, 4])) for kind in (list, tuple))
    assert {first: 1}[second] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(max_length=0), r"max_length must be >= 1, got 0"),
        (dict(num_samples=0), r"num_samples must be >= 1, got 0"),
        (dict(num_beams=0), r"num_beams must be within \[1, 1024\], got 0"),
        (dict(min_length=-1), r"min_length must be >= 0, got -1"),
        (dict(temperature=-0.5), r"temperature must be >= 0, got -0.5"),
        (dict(temperature=float("nan")), r"temperature must be .*, got nan"),
        (dict(top_k=-1), r"top_k must be >= 0, got -1"),
        (dict(no_repeat_ngram=-2), r"no_repeat_ngram must be >= 0, got -2"),
        (dict(seed=-3), r"seed must be >= 0, got -3"),
        (dict(repetition_penalty=0), r"repetition_penalty must be > 0, got 0"),
        (dict(top_p=0), r"top_p must be .*, got 0"),
        (dict(top_p=1.1), r"top_p must be .*, got 1.1"),
        (
            dict(min_length=9, max_length=8),
            r"min_length 9 is above max_length 8; change one",
        ),
        (
            dict(forced_prefix=(4, 5, 6), max_length=3),
            r"forced_prefix has 3 tokens, which leaves none of max_length 3; raise it",
        ),
        (dict(stop=["a", ""]), r"stop has an empty text; leave it out"),
        (
            dict(num_beams=4, temperature=0.7),
            r"num_beams 4 and temperature 0.7: a beam search samples nothing",
        ),
        (
            dict(num_beams=4, num_samples=5),
            r"num_samples 5 is above num_beams 4; a beam search ends with as many answers as beams",
        ),
        (
            dict(num_samples=3),
            r"num_samples 3 answers without a temperature would all be the same",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(UsageError, match=message):
        DecodeConfig(**settings)
