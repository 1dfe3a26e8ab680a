# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gin's silent ways are loud here: each mistake is one message with the name and the remedy."""

import pytest

import gin
from flan_jax import config
from flan_jax.core.errors import UsageError

MINI = str(config.gin_root() / "recipes" / "mini.gin")


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


def write(folder, text):
    path = folder / "run.gin"
    path.write_text(f"include 'recipes/mini.gin'\n{text}\n")
    return str(path)


@pytest.mark.parametrize("recipe", config.recipes())
def test_every_recipe_parses_and_builds_its_configuration(recipe, monkeypatch):
    config.parse(
        [config.recipe_file(recipe)],
        ["MODEL_DIR=runs/x", "CHECKPOINT_PATH=runs/x", "VOCABULARY=bytes"],
    )
    made = config.configured("TrainConfig")()
    assert made.model_dir == "runs/x"
    assert config.configured("T5")().config.vocab_size % 128 == 0
    assert config.configured("TrainInput")().batch_size > 0
    assert "TrainConfig.train_steps" in config.operative()


@pytest.mark.parametrize("sweep", sorted((config.gin_root() / "sweeps").glob("*.gin")))
def test_every_sweep_parses(sweep):
    config.parse([str(sweep)], roots=("Sweep",))
    declared = config.configured("Sweep")()
    assert set(declared.recipes) <= set(config.recipes())


def test_only_the_macros_of_the_command_are_required():
    config.parse([MINI], ["MODEL_DIR=x"], roots=("train",))
    config.parse([MINI], [], roots=("build",))
    with pytest.raises(UsageError) as error:
        config.parse([MINI], [], roots=("train", "evaluate"))
    message = str(error.value)
    assert message.startswith("2 required macro(s) not set")
    assert "--gin.MODEL_DIR=" in message and "--gin.CHECKPOINT_PATH=" in message
    assert "folder for checkpoints" in message


def test_a_later_binding_wins_and_strings_need_no_quotes():
    config.parse(
        [MINI],
        ["MODEL_DIR=runs/a b", "TRAIN_STEPS=70", "TrainConfig.log_period=3"],
        roots=("train",),
    )
    made = config.configured("TrainConfig")()
    assert (made.model_dir, made.train_steps, made.log_period) == ("runs/a b", 70, 3)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("TRAIN_STEP=5", "unknown macro 'TRAIN_STEP'; did you mean 'TRAIN_STEPS'"),
        ("TRAIN_STEPS", "has no value; write NAME=value"),
        ("TrainConfig.train_step=5", "train_step"),
        ("Trainer.steps=5", "Trainer"),
        ("TRAIN_STEPS=[1", "multi-line statement"),
        ("Adafactor.decay_rate=0.5", "binding(s) that nothing uses: Adafactor.decay_rate"),
    ],
)
def test_a_bad_binding_is_refused(binding, message):
    with pytest.raises(UsageError) as error:
        config.parse([MINI], ["MODEL_DIR=x", binding], roots=("train",))
    assert message in str(error.value)


def test_an_unused_binding_or_macro_of_a_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="nothing uses: macro FORGOTTEN"):
        config.parse([write(tmp_path, "FORGOTTEN = 3")], ["MODEL_DIR=x"])
    with pytest.raises(UsageError, match=r"nothing uses: Adafactor\.learning_rate"):
        config.parse([write(tmp_path, "Adafactor.learning_rate = 1.0")], ["MODEL_DIR=x"])
    # The same binding is used once the optimizer is that one.
    used = "Adafactor.learning_rate = @Constant()\nConstant.learning_rate = 1.0\nOPTIMIZER = "
    with pytest.raises(UsageError, match=r"AdamW"):  # and now AdamW's are not
        config.parse([write(tmp_path, used + "@Adafactor()")], ["MODEL_DIR=x"])


def test_missing_files_and_recipes_name_what_is_near(tmp_path):
    with pytest.raises(UsageError, match="no Gin file 'recipes/mni.gin'.*recipes/mini.gin"):
        config.parse(["recipes/mni.gin"])
    with pytest.raises(UsageError, match="unknown recipe 'minni'; did you mean 'mini'"):
        config.recipe_file("minni")
    path = tmp_path / "bad.gin"
    path.write_text("include 'no/such.gin'\n")
    with pytest.raises(UsageError, match="no/such.gin"):
        config.parse([str(path)])


def test_search_paths_come_before_the_shipped_files(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.gin").write_text("include 'recipes/mini.gin'\nTRAIN_STEPS = 111\n")
    config.parse(["own.gin"], ["MODEL_DIR=x"], [str(tmp_path / "mine")], roots=("train",))
    assert config.configured("TrainConfig")().train_steps == 111


def test_a_parameter_without_value_is_named(tmp_path):
    path = tmp_path / "sweep.gin"
    path.write_text("Sweep.title = 'a'\n")
    config.parse([str(path)])
    with pytest.raises(UsageError, match=r"Sweep: no value for grid, recipes; bind Sweep\.grid"):
        config.configured("Sweep")()


def test_errors_inside_a_configurable_keep_class_and_message():
    config.parse([MINI], ["MODEL_DIR=x", "TRAIN_STEPS=0"], roots=("train",))
    with pytest.raises(UsageError) as error:
        config.configured("TrainConfig")()
    assert "In call to configurable" not in str(error.value)
    assert type(error.value) is UsageError
