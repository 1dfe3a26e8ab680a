# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The run files for upstream T5X name what T5X has; where T5X is installed it runs them."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import seqio

from flan_jax import config
from flan_jax.collection import registry
from flan_jax.paper import finetuning
from gin import config_parser

FOLDER = config.gin_root() / "t5x"
FILES = ("finetune", "eval", "infer")
MINI_VOCABULARY = "package:tasks/mini/vocabulary/sentencepiece.model"

# What google-research/t5x has: macros of its run files and its models, and parameters. Read from
# public copies of its files, which may be of other commits than the one docs/t5x.md names.
OF_MODELS = {"DROPOUT_RATE", "VOCABULARY", "LOSS_NORMALIZING_FACTOR", "LABEL_SMOOTHING", "Z_LOSS"}
OF_RUNS = {
    "finetune": {
        "MODEL_DIR", "MIXTURE_OR_TASK_NAME", "TASK_FEATURE_LENGTHS", "MIXTURE_OR_TASK_MODULE",
        "TRAIN_STEPS", "INITIAL_CHECKPOINT_PATH", "USE_CACHED_TASKS", "BATCH_SIZE", "EVAL_STEPS",
        "EVAL_PERIOD", "EVALUATOR_NUM_EXAMPLES", "USE_HARDWARE_RNG", "RANDOM_SEED",
    },
    "eval": {
        "MIXTURE_OR_TASK_NAME", "CHECKPOINT_PATH", "EVAL_OUTPUT_DIR", "TASK_FEATURE_LENGTHS",
        "MIXTURE_OR_TASK_MODULE", "MIXTURE_OR_TASK_SPLIT",
    },
    "infer": {
        "MIXTURE_OR_TASK_NAME", "TASK_FEATURE_LENGTHS", "CHECKPOINT_PATH", "INFER_OUTPUT_DIR",
        "MIXTURE_OR_TASK_MODULE", "MIXTURE_OR_TASK_SPLIT",
    },
}  # fmt: skip
PARAMETERS = {
    "utils.create_learning_rate_scheduler.factors",
    "utils.create_learning_rate_scheduler.base_learning_rate",
    "utils.SaveCheckpointConfig.period",
    "train_script.train.infer_eval_dataset_cfg",
    "infer_script.infer.checkpoint_ds_iter",
}


class Unresolved(config_parser.ParserDelegate):
    """Keeps references as text: there is no T5X here to look them up in."""

    def configurable_reference(self, scoped_configurable_name, evaluate):
        return f"@{scoped_configurable_name}{'()' if evaluate else ''}"

    def macro(self, macro_name):
        return f"%{macro_name}"


def statements(name):
    text = (FOLDER / f"{name}.gin").read_text(encoding="utf-8")
    return list(config_parser.ConfigParser(text, Unresolved()))


def bound(name):
    """Returns macro or parameter -> value."""
    found = {}
    for statement in statements(name):
        if isinstance(statement, config_parser.BindingStatement):
            parts = (statement.scope, statement.selector, statement.arg_name)
            key = ".".join(part for part in parts if part)
            assert key not in found, key
            found[key] = statement.value
    return found


def test_there_is_a_file_for_each_program():
    assert {path.stem for path in FOLDER.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_what_is_bound_is_there_to_be_bound(name):
    own = {value[1:] for value in bound(name).values() if str(value).startswith("%")}
    for key in bound(name):
        known = PARAMETERS if "." in key else OF_MODELS | OF_RUNS[name] | own
        assert key in known, key


@pytest.mark.parametrize("name", FILES)
def test_a_file_builds_on_that_of_t5x(name):
    found = statements(name)
    includes = [s.filename for s in found if isinstance(s, config_parser.IncludeStatement)]
    assert includes == [f"t5x/configs/runs/{name}.gin"]
    imports = [s for s in found if isinstance(s, config_parser.ImportStatement)]
    assert imports[0].module == "__gin__.dynamic_registration"
    for statement in imports[1:]:
        if statement.module.split(".")[0] not in ("t5x", "__main__"):
            importlib.import_module(statement.module)


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_names_exists_here(name):
    values = bound(name)
    importlib.import_module(values["MIXTURE_OR_TASK_MODULE"])
    if "MIXTURE_OR_TASK_NAME" in values:
        assert values["MIXTURE_OR_TASK_NAME"] in seqio.MixtureRegistry.names()
    assert values["VOCABULARY"] == "@registry.CurrentVocabulary()"
    assert sum(values["TASK_FEATURE_LENGTHS"].values()) == finetuning.Finetuning.SEQUENCE_LENGTH


def test_finetuning_has_the_numbers_of_table_22():
    values = bound("finetune")
    assert values["utils.create_learning_rate_scheduler.base_learning_rate"] == "%LEARNING_RATE"
    for row in finetuning.finetunings():
        if row.architecture == "enc-dec":
            assert values["BATCH_SIZE"] == row.batch_size
            assert values["DROPOUT_RATE"] == row.dropout_rate
            assert values["LEARNING_RATE"] == row.learning_rate


def test_a_models_vocabulary_is_equal_to_the_tasks(monkeypatch):
    """T5X compares the two by `!=`, the tasks' first."""
    monkeypatch.setattr(registry.VOCABULARY, "name", MINI_VOCABULARY)
    monkeypatch.setenv(registry.VOCABULARY_VARIABLE, MINI_VOCABULARY)
    assert not registry.VOCABULARY != registry.CurrentVocabulary()
    monkeypatch.setenv(registry.VOCABULARY_VARIABLE, "bytes")
    assert registry.VOCABULARY != registry.CurrentVocabulary()


@pytest.fixture(scope="module")
def run_t5x(tmp_path_factory):
    """Runs a program of T5X in a folder, with a model small enough for a CPU."""
    pytest.importorskip("t5x", reason="T5X is not installed; docs/t5x.md says how")
    folder = tmp_path_factory.mktemp("t5x")

    def run(program, name, **macros):
        bindings = {
            "network.T5Config.vocab_size": 896,
            "network.T5Config.dtype": "'float32'",
            "MIXTURE_OR_TASK_MODULE": "'tasks.mini.mixtures'",
            "MIXTURE_OR_TASK_NAME": "'mini_4'",
            "TASK_FEATURE_LENGTHS": {"inputs": 128, "targets": 32},
            **macros,
        }
        subprocess.run(
            [
                sys.executable, "-m", f"t5x.{program}", f"--gin_search_paths={config.gin_root()}",
                "--gin_file=t5x/examples/t5/t5_1_1/tiny.gin", f"--gin_file=t5x/{name}.gin",
                *(f"--gin.{key}={value}" for key, value in bindings.items()),
            ],
            cwd=folder, check=True,
            env={
                **os.environ, "JAX_PLATFORMS": "cpu", registry.VOCABULARY_VARIABLE: MINI_VOCABULARY,
                "PYTHONPATH": str(config.gin_root().parent),
            },
        )  # fmt: skip
        return folder

    return run


@pytest.mark.large  # T5X compiles a program for training and one for decoding: minutes
def test_t5x_trains_evaluates_and_infers_on_our_tasks(run_t5x):
    folder = run_t5x(
        "train", "finetune", MODEL_DIR="'model'", TRAIN_STEPS=2, BATCH_SIZE=8, EVAL_PERIOD=2,
        INITIAL_CHECKPOINT_PATH="'none'",
        **{
            "utils.CheckpointConfig.restore": None, "utils.SaveCheckpointConfig.period": 2,
            "EVAL_STEPS": 1,
        },
    )  # fmt: skip
    assert (folder / "model" / "checkpoint_2" / "checkpoint").is_file()
    start = {"CHECKPOINT_PATH": "'model/checkpoint_2'"}
    run_t5x("eval", "eval", EVAL_OUTPUT_DIR="'scores'", **start)
    assert list((folder / "scores").rglob("*.jsonl"))
    run_t5x("infer", "infer", INFER_OUTPUT_DIR="'answers'", **start)
    lines = [
        json.loads(line)
        for path in (folder / "answers").glob("*predict.jsonl-00000-of-00001")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert lines and all(isinstance(line["prediction"], str) for line in lines)
