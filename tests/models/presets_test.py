# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published sizes have the published numbers of parameters."""

import math

import jax
import pytest

import gin
from flan_jax import config
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
        ("t5_1_0_small", 60_506_624),
        ("t5_1_0_base", 222_903_552),
        ("t5_1_0_large", 737_668_096),
        ("t5_1_0_3b", 2_851_598_336),
        ("t5_1_0_11b", 11_307_321_344),
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


@pytest.mark.parametrize(
    ("preset", "shape", "num_params"),
    [
        # Shapes of T5X's `examples/t5/mt5` and `byt5`, numbers of the published checkpoints.
        ("t5_1_1_small", dict(vocab_size=250112), 300_176_768),  # mT5 Small
        (
            "t5_1_1_small",
            dict(vocab_size=384, emb_dim=1472, mlp_dim=3584, num_encoder_layers=12,
                 num_decoder_layers=4),
            299_637_760,
        ),  # ByT5 Small
    ],
)  # fmt: skip
def test_other_vocabularies_are_a_setting(preset, shape, num_params):
    assert _num_params(t5_config(preset, **shape)) == num_params


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("t5_")])
def test_a_preset_and_its_gin_file_are_one_shape(name, tmp_path):
    family, size = name.rsplit("_", 1)
    file = tmp_path / "model.gin"
    parts = f"models/{family}/{size}.gin", "runs/finetune.gin", "runs/adafactor.gin"
    file.write_text("".join(f"include '{part}'\n" for part in parts) + "DROPOUT_RATE = 0.0\n")
    values = ("MODEL_DIR=x", "CHECKPOINT_PATH=x", "VOCABULARY=bytes", "STORE_DIR=x")
    values += ("MIXTURE_OR_TASK_NAME=x", "TASK_FEATURE_LENGTHS={'inputs': 8, 'targets': 8}")
    values += ("TRAIN_STEPS=1", "BATCH_SIZE=1", "LEARNING_RATE=1.0")
    config.parse([str(file)], values)
    try:
        assert config.configured("T5")().config == t5_config(name, scan_layers=True)
    finally:
        gin.clear_config()


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
