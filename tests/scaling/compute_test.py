# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What runs compute: counts by hand for a T5 and a decoder, times and fill out of metrics."""

import json
from pathlib import Path

import pytest

import gin
from flan_jax import config as config_lib
from flan_jax.core import errors
from flan_jax.data.loader import TrainInput
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.t5 import T5, T5Config
from flan_jax.paper import finetuning
from flan_jax.scaling import compute
from flan_jax.training.optimizers import AdamW
from flan_jax.training.schedules import Constant
from flan_jax.training.train_config import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
BATCH, INPUTS, TARGETS, STEPS = 4, 16, 8, 10
EMB, HEADS, KV, MLP, VOCAB = 8, 2, 4, 12, 32


def config(**more):
    optimizer = AdamW(learning_rate=Constant(learning_rate=1e-3))
    return TrainConfig(model_dir="unused", train_steps=STEPS, optimizer=optimizer, **more)


def data(layout):
    return TrainInput(
        store="unused", mixture="unused", batch_size=BATCH, layout=layout,
        feature_lengths={"inputs": INPUTS, "targets": TARGETS},
    )  # fmt: skip


@pytest.fixture(scope="module")
def t5():
    shape = T5Config(
        vocab_size=VOCAB, emb_dim=EMB, num_heads=HEADS, head_dim=KV, mlp_dim=MLP,
        num_encoder_layers=1, num_decoder_layers=1, mlp_activations=("gelu", "linear"),
        dropout_rate=0.0, dtype="float32",
    )  # fmt: skip
    return T5(config=shape)


def attention(queries, keys):
    """FLOPs of one attention layer of a row: four projections, two products."""
    joined = HEADS * KV
    projections = 2 * EMB * joined * (2 * queries + 2 * keys)
    return projections + 2 * 2 * queries * keys * joined


def test_a_t5_is_counted_matrix_by_matrix(t5):
    found = compute.planned(t5, data("encoder_decoder"), config())
    mlp = 2 * 3 * EMB * MLP
    row = attention(INPUTS, INPUTS) + INPUTS * mlp
    row += attention(TARGETS, TARGETS) + attention(TARGETS, INPUTS) + TARGETS * mlp
    row += 2 * TARGETS * EMB * VOCAB
    assert found.train_flops == 3 * STEPS * BATCH * row
    joined, norms, tables = HEADS * KV, 7 * EMB, 2 * 32 * HEADS
    weights = 3 * 4 * EMB * joined + 2 * 3 * EMB * MLP + 2 * VOCAB * EMB
    assert found.num_params == weights + norms + tables
    assert found.num_positions == STEPS * BATCH * (INPUTS + TARGETS)
    assert found.rule_flops == 3 * found.num_params * found.num_positions
    assert (found.architecture, found.num_tokens, found.mfu) == (finetuning.ENC_DEC, None, None)


def test_a_decoder_has_one_row_of_both(tmp_path):
    shape = DecoderConfig(
        vocab_size=VOCAB, emb_dim=EMB, num_layers=1, num_heads=HEADS, num_kv_heads=1, head_dim=KV,
        mlp_dim=MLP, dropout_rate=0.0, dtype="float32",
    )  # fmt: skip
    model = DecoderLM(config=shape)
    found = compute.planned(model, data(model.LAYOUT), config(), num_steps=3)
    assert found.num_positions == 3 * BATCH * (INPUTS + TARGETS)
    assert found.rule_flops == 6 * found.num_params * found.num_positions
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "data", "step": 3, "fill": {"rows": 0.5}}\n')
    measured = compute.of_run(model, data(model.LAYOUT), config(), path, num_steps=3)
    assert measured.num_tokens == found.num_positions / 2


def test_steps_mesh_and_microbatches_decide_nothing_else(t5):
    one = compute.planned(t5, data("encoder_decoder"), config())
    assert compute.planned(t5, data("encoder_decoder"), config(num_microbatches=2)) == one
    half = compute.planned(t5, data("encoder_decoder"), config(), num_steps=STEPS // 2)
    assert 2 * half.train_flops == one.train_flops


def test_time_and_fill_come_from_the_runs_metrics(t5, tmp_path):
    rows = [
        {"kind": "train", "step": 104, "steps_per_s": 2.0},
        {"kind": "train", "step": 108, "steps_per_s": 100.0},  # then killed, and done again
        {"kind": "train", "step": 108, "steps_per_s": 4.0},
        {"kind": "eval", "step": 108, "loss": 1.0},
        {"kind": "train", "step": 110, "steps_per_s": 1.0},
        {"kind": "data", "step": 110, "fill": {"inputs": 0.75, "targets": 0.5}},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = compute.of_run(t5, data("encoder_decoder"), config(step_offset=100), path)
    assert found.train_s == 4 / 2 + 4 / 4 + 2 / 1
    assert found.num_tokens == STEPS * BATCH * (12 + 4)
    assert found.num_devices == 8
    assert found.device_hours == 5 * 8 / 3600
    assert (found.device_kind, found.mfu) == ("cpu", None)
    assert compute.RunCompute.from_json(json.loads(json.dumps(found.as_json()))) == found
    absent = compute.of_run(t5, data("encoder_decoder"), config(), tmp_path / "absent.jsonl")
    assert (absent.train_s, absent.num_tokens, absent.device_hours) == (None, None, None)


def test_mfu_is_of_the_peak_of_all_devices():
    found = compute.RunCompute(
        architecture=finetuning.DECODER, num_params=1, num_steps=1, num_positions=1,
        train_flops=275e12 * 100, rule_flops=1.0, train_s=50.0, num_devices=4,
        device_kind="TPU v4",
    )  # fmt: skip
    assert found.mfu == 0.5


def test_other_json_is_refused():
    with pytest.raises(errors.DataError, match="not what a run computed"):
        compute.RunCompute.from_json({"num_params": 3})


@pytest.mark.parametrize("recipe", ["mini", "flan_t5_xl", "flan_t5_xxl", "flan_palm_540b"])
def test_the_table_of_the_docs_is_what_recipes_give(recipe):
    macros = ("MODEL_DIR", "STORE_DIR", "INITIAL_CHECKPOINT_PATH", "VOCABULARY")
    path = config_lib.recipe_file(recipe)
    given = [f"{name}='unused'" for name in macros[: 4 if "palm" in recipe else 3]]
    config_lib.parse([path], given, roots=("train",))
    bound = config_lib.bindings("train")
    gin.clear_config()
    found = compute.planned(bound["model"], bound["data"], bound["config"])
    cells = (f"{found.num_params:,}", f"{found.num_positions:,}", f"{found.train_flops:.2e}",
             f"{found.rule_flops:.2e}")  # fmt: skip
    row = f"| `{recipe}` | " + " | ".join(cells).replace("e+", "e") + " |"
    assert row in (ROOT / "docs" / "compute.md").read_text()
