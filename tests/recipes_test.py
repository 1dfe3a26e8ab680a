# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The recipes of the paper's models are what its tables say, and so are their headers."""

from pathlib import Path

import jax
import pytest

import gin
from flan_jax import config, jobs
from flan_jax.core.errors import UsageError
from flan_jax.data.loader import TrainInput
from flan_jax.models.presets import t5_config
from flan_jax.models.t5 import T5
from flan_jax.paper import finetuning, results
from flan_jax.training.optimizers import Adafactor
from flan_jax.training.schedules import Constant
from flan_jax.training.state import num_params
from flan_jax.training.train_config import TrainConfig

# Recipe -> model and size in the tables, and the parameters that its shape has (derived; PaLM's to
# 0.01 %, as its norms are not told).
RECIPES = {
    "flan_t5_small": ("Flan-T5-Small", "80M", 76_961_152),
    "flan_t5_base": ("Flan-T5-Base", "250M", 247_577_856),
    "flan_t5_large": ("Flan-T5-Large", "780M", 783_150_080),
    "flan_t5_xl": ("Flan-T5-XL", "3B", 2_849_757_184),
    "flan_t5_xxl": ("Flan-T5-XXL", "11B", 11_135_332_352),
    "flan_palm_8b": ("Flan-PaLM", "8B", 8_632_000_000),
    "flan_palm_62b": ("Flan-PaLM", "62B", 62_495_000_000),
    "flan_palm_540b": ("Flan-PaLM", "540B", 540_354_000_000),
    "flan_cont_palm_62b": ("Flan-cont-PaLM", "62B", 62_495_000_000),
    "flan_u_palm_540b": ("Flan-U-PaLM", "540B", 540_354_000_000),
}
GIVEN = ["MODEL_DIR=runs/x", "INITIAL_CHECKPOINT_PATH=start", "CHECKPOINT_PATH=runs/x"]


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


def paper_finetuning(recipe):
    rows = {(row.model, row.params): row for row in finetuning.finetunings()}
    return rows[RECIPES[recipe][:2]]


def is_t5(recipe):
    return paper_finetuning(recipe).architecture == "enc-dec"


def given(recipe):
    return GIVEN if is_t5(recipe) else [*GIVEN, "VOCABULARY=bytes"]


def test_each_finetuned_model_has_a_recipe():
    rows = [(row.model, row.params) for row in finetuning.finetunings()]
    assert [named[:2] for named in RECIPES.values()] == rows


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_finetunes_as_table_22_says(recipe):
    row = paper_finetuning(recipe)
    config.parse([config.recipe_file(recipe)], given(recipe))
    train, data = config.configured("TrainConfig")(), config.configured("TrainInput")()
    assert train.train_steps == row.train_steps
    assert train.optimizer.learning_rate(7) == pytest.approx(row.learning_rate)
    assert data.batch_size == row.batch_size
    assert sum(dict(data.feature_lengths).values()) == row.SEQUENCE_LENGTH
    assert data.mixture == "flan2022"
    assert train.initial_checkpoint_path == "start"
    if row.released_step:
        assert train.last_step == row.released_step
    bound = config.bindings("train")
    model = bound["model"]
    assert model.config.dropout_rate == row.dropout_rate
    found = num_params(jax.eval_shape(model.init, jax.random.key(0)))
    assert found == pytest.approx(RECIPES[recipe][2], rel=0 if is_t5(recipe) else 1e-4)
    assert data.layout == model.LAYOUT
    assert getattr(model.config, "prefix_lm", False) == ("U-PaLM" in row.model)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_header_says_what_the_tables_say(recipe):
    row = paper_finetuning(recipe)
    scores = next(r for r in results.all_models() if (r.model, r.params) == (row.model, row.params))
    lines = Path(config.recipe_file(recipe)).read_text(encoding="utf-8").splitlines()
    header = "\n".join(line for line in lines if line.startswith("#"))
    facts = [
        row.model, f"batch {row.batch_size}", f"dropout {row.dropout_rate}",
        f"{row.train_steps:,} steps", f"{row.num_positions:,} positions", f"{row.flops:.1e} FLOPs",
        f"normalized average {scores.score('normalized_average')}", f"MMLU {scores.score('mmlu')}",
        f"BBH {scores.score('bbh')}", "Hardware: ", "HBM",
    ]  # fmt: skip
    if row.released_step:
        facts.append(f"step {row.released_step:,}")
    for fact in facts:
        assert fact.replace("e+", "e") in header, fact


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_does_not_train_without_a_checkpoint_to_start_from(recipe):
    with pytest.raises(UsageError, match="INITIAL_CHECKPOINT_PATH"):
        config.parse([config.recipe_file(recipe)], ["MODEL_DIR=runs/x"], roots=("train",))


@pytest.mark.parametrize(
    ("start", "is_plain"),
    [
        ("gs://t5-data/pretrained_models/t5x/t5_1_1_xl/checkpoint_1000000", True),
        ("google/t5-v1_1-small", True),
        ("gs://t5-data/pretrained_models/t5x/t5_1_1_lm100k_xl/checkpoint_1100000", False),
        ("google/t5-xl-lm-adapt", False),
        ("runs/flan_t5_xl", False),
    ],
)
def test_a_start_from_plain_t5_1_1_is_said(tmp_path, capsys, start, is_plain):
    train = TrainConfig(
        optimizer=Adafactor(learning_rate=Constant(learning_rate=1e-3)),
        model_dir=str(tmp_path / "run"),
        train_steps=1,
        initial_checkpoint_path=start,
    )
    data = TrainInput(store=str(tmp_path / "none"), batch_size=8)
    with pytest.raises(UsageError, match="no finished token store"):
        jobs.train(model=T5(t5_config("micro", vocab_size=128)), data=data, config=train)
    said = capsys.readouterr().err
    assert ("looks like T5 1.1 as pre-trained" in said) == is_plain
