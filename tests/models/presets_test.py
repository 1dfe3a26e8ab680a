# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published sizes have the published numbers of parameters."""

import math

import jax
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.models.presets import PRESETS, t5_config
from flan_jax.models.t5 import T5


def _num_params(config):
    shapes = jax.eval_shape(T5(config).init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize(
    ("name", "num_params"),
    [
        ("t5_1_1_small", 76_961_152),
        ("t5_1_1_base", 247_577_856),
        ("t5_1_1_large", 783_150_080),
        ("t5_1_1_xl", 2_849_757_184),
        ("t5_1_1_xxl", 11_135_332_352),
    ],
)
def test_published_sizes(name, num_params, scan_layers):
    config = t5_config(name, scan_layers=scan_layers)
    assert config.vocab_size == 32128
    assert _num_params(config) == num_params


@pytest.mark.parametrize(
    ("name", "body", "per_row"),
    [("micro", 49_792, 64), ("tiny", 197_632, 128), ("mini", 1_182_080, 256)],
)
def test_tiny_sizes(name, body, per_row):
    assert _num_params(t5_config(name, vocab_size=512)) == body + per_row * 512


def test_overrides_win():
    assert t5_config("t5_1_1_small", dropout_rate=0.05).dropout_rate == 0.05


def test_unknown_name():
    with pytest.raises(UsageError, match="unknown model preset 't5_1_1_smal'; did you mean"):
        t5_config("t5_1_1_smal")


def test_tiny_sizes_ask_for_a_vocabulary():
    with pytest.raises(UsageError, match="'tiny' has no vocabulary of its own; give vocab_size"):
        t5_config("tiny")


def test_every_preset_is_complete():
    for name in PRESETS:
        assert t5_config(name, vocab_size=128).vocab_size == 128
