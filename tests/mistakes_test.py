# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mistakes at the command line (mistakes.txt): each is one line with the culprit and the remedy."""

import os
import shlex
import sys
from pathlib import Path

import pytest

import gin
from flan_jax import main

FILES = {
    "four.gin": "BATCH_SIZE = 4\n",
    "six.gin": "BATCH_SIZE = 6\n",
    "asks.gin": "BATCH_SIZE = %gin.REQUIRED\n",
    "twice.gin": "include 'recipes/mini.gin'\nBATCH_SIZE = 4\nSEED = 1\nBATCH_SIZE = 6\n",
    "siblings.gin": "include 'four.gin'\ninclude 'six.gin'\n",
    "undone.gin": "MODEL_DIR = 'model'\nTRAIN_STEPS = 5\ninclude 'recipes/mini.gin'\n",
    "unclosed.gin": "include 'recipes/mini.gin'\n\nEVAL_GROUPS = {\n    'a': 'mini_4',\n",
    "unquoted.gin": "include 'recipes/mini.gin'\nMODEL_NAME = tiny\n",
    "latin.gin": b"MODEL_NAME = 'd\xe9j\xe0'\n",
    "no_include.gin": "include 'recipes/mni.gin'\n",
    "loop.gin": "include 'loop.gin'\n",
    "deep/run.gin": "include 'beside.gin'\n",
    "deep/beside.gin": "include 'recipes/mini.gin'\n",
    "forgotten.gin": "include 'recipes/mini.gin'\nFORGOTTEN = 3\n",
    "adafactor.gin": "include 'recipes/mini.gin'\nOPTIMIZER = @Adafactor()\n"
    "Adafactor.learning_rate = @Constant()\nConstant.learning_rate = %LEARNING_RATE\n",
    "unknown_macro.gin": "include 'recipes/mini.gin'\nT5Config.mlp_dim = %MLP_DIMS\n",
    "unknown_import.gin": "import flan_jax.models.t6\ninclude 'recipes/mini.gin'\n",
    "failing_import.gin": "import mistaken_module\ninclude 'recipes/mini.gin'\n",
    "bare.gin": "include 'models/mini.gin'\ninclude 'runs/finetune.gin'\n",
    "lacking.gin": "infer.model = @T5()\nT5.config = @T5Config()\ninfer.checkpoint_path = 'none'\n"
    "infer.vocabulary = 'bytes'\ninfer.feature_lengths = {'inputs': 8, 'targets': 8}\n",
    "mistaken_module.py": "def ok():\n    pass\n\nundefined_name\n",
    "unparsed_module.py": "def broken(:\n",
    "needy_module.py": "import a_module_that_is_not_there\n",
    "sweep_macro.gin": "Sweep.title = 'a'\nSweep.recipes = ['mini']\n"
    "Sweep.grid = {'MIXTURE_OR_TASK_NAME': ['mini_4'], 'TRAIN_STEP': [2]}\n",
    "sweep_unknown.gin": "Sweep.title = 'a'\nSweep.recipes = ['mini']\n"
    "Sweep.grid = {'MIXTURE_OR_TASK_NAME': ['mini_4', 'mini_5']}\n",
    "sweep_type.gin": "Sweep.title = 'a'\nSweep.recipes = ['mini']\n"
    "Sweep.grid = {'MIXTURE_OR_TASK_NAME': ['mini_4'], 'BATCH_SIZE': ['a']}\n",
    "sweep_recipe.gin": "Sweep.title = 'a'\nSweep.recipes = ['minni']\n"
    "Sweep.grid = {'MIXTURE_OR_TASK_NAME': ['mini_4']}\n",
    "sweep_label.gin": "Sweep.title = 'a'\nSweep.recipes = ['mini']\n"
    "Sweep.grid = {'SEED': [0, 1]}\nSweep.labels = {'SEED': {2: 'two'}}\n",
    "sweep_twice.gin": "Sweep.title = 'a'\nSweep.recipes = ['mini']\n"
    "Sweep.grid = {'SEED': [0]}\nSweep.recipe_bindings = {'mini': {'SEED': 1}}\n",
    "sweep_own.gin": "Sweep.title = 'a'\nSweep.recipes = ['mini']\n"
    "Sweep.grid = {'CHECKPOINT_PATH': ['a', 'b']}\n",
    "sweep_asked.gin": "Sweep.title = 'a'\nSweep.recipes = ['mini']\n"
    "Sweep.grid = {'SEED': [0]}\nSweep.evaluations = ['benchmarks']\n",
    "sweep_values.gin": "Sweep.title = 'a'\nSweep.recipes = ['mini']\n"
    "Sweep.grid = {'MIXTURE_OR_TASK_NAME': ['mini_4'], 'SEED': 3}\n",
    # The smallest run: one step on two examples of each of four tasks.
    "small.gin": """
include 'recipes/mini.gin'
STORE_DIR = 'store'
BUILD_MIXTURE = 'mini_4'
BUILD_SUBMIXTURES = ()
build.limit = 2
VOCABULARY = 'bytes'
VOCAB_SIZE = 384
TASK_FEATURE_LENGTHS = {'inputs': 256, 'targets': 64}
MIXTURE_OR_TASK_NAME = 'mini_4'
TRAIN_STEPS = 1
WARMUP_STEPS = 0
EVAL_PERIOD = 0
EVAL_GROUPS = None
T5Config.num_encoder_layers = 1
T5Config.num_decoder_layers = 1
""",
    "prompts.txt": "Is it?\n",
    "empty.txt": "\n",
    "latin.txt": b"d\xe9j\xe0\n",
    "unscored.jsonl": '{"inputs": "a", "targets": "b"}\n{"inputs": "a"}\n',
    "number.jsonl": '{"inputs": "a"}\n{"inputs": 3}\n',
    "cut.jsonl": '{"inputs": "a"}\n\n{"inputs": "b"\n',
    "file": "not a folder\n",
    "bert/config.json": '{"model_type": "bert"}',
    "bert/model.safetensors": b"\x02\0\0\0\0\0\0\0{}",
    "cut/config.json": '{"model_type": "t5"}',
    "cut/model.safetensors": b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
    "shards/config.json": '{"model_type": "t5"}',
    "shards/model.safetensors.index.json": '{"weight_map": {"a": "../cut/model.safetensors"}}',
    "pickles/config.json": '{"model_type": "t5"}',
    "pickles/pytorch_model.bin": b"PK",
    "tensorflow/checkpoint": 'model_checkpoint_path: "model.ckpt-1"\n',
    "msgpack/checkpoint": b"\x81",
}

MINI = "--recipe mini --gin.MODEL_DIR=$NEW"


def mistakes():
    """Yields the blocks of mistakes.txt: section, command, exit code, pieces of the message."""
    section = ""
    for block in Path(__file__).with_name("mistakes.txt").read_text().split("\n\n"):
        first, *pieces = [line for line in block.splitlines() if not line.startswith("#")] or [""]
        if first.startswith("== "):
            section = first.removeprefix("== ")
        elif first.startswith("$"):
            code = 2
            if pieces[0].startswith("exit code "):
                code = int(pieces.pop(0).removeprefix("exit code "))
            yield section, first[1:].strip(), code, pieces


SEEN: set[str] = set()


def of_section(*sections):
    SEEN.update(sections)
    rows = [(*row[1:],) for row in mistakes() if row[0] in sections]
    assert rows
    return pytest.mark.parametrize(("command", "code", "pieces"), rows, ids=[r[0] for r in rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `FILES`."""
    made = tmp_path_factory.mktemp("mistakes")
    for name, content in FILES.items():
        path = made / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (made / "link").symlink_to("nothing")
    return made


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    """Runs a test in the folder, with its modules importable and no data of one's own."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    for name in ("FLAN_JAX_NIV2_DIR", "FLAN_JAX_COT_DIR"):
        monkeypatch.delenv(name, raising=False)
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def trained(folder):
    """A store and a checkpoint of one step beside the files."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert main.main(["train", "--gin_file", "small.gin", "--gin.MODEL_DIR=trained"]) == 0
    finally:
        os.chdir(before)


@pytest.fixture
def check(capsys, tmp_path):
    def run(command, code, pieces):
        new = tmp_path / "new"
        capsys.readouterr()
        command = command.replace("$MINI", MINI).replace("$NEW", str(new))
        got = main.main(shlex.split(command))
        said = capsys.readouterr().err
        first, *listed = said.splitlines()
        assert got == code, said
        assert first.startswith("flan-jax: error: "), said
        assert all(line.startswith("  ") for line in listed), said
        assert "Traceback" not in said and "In call to" not in said
        for piece in pieces:
            assert piece in said

    return run


@of_section(
    "usage", "prompts", "Gin files", "bindings", "checkpoints", "numbers that make no sense"
)
def test_a_mistake_in_options_prompts_and_configuration(check, tmp_path, command, code, pieces):
    check(command, code, pieces)
    assert not (tmp_path / "new").exists(), "it began to work in spite of the mistake"


@pytest.mark.slow  # the first of them imports TensorFlow
@of_section("tasks")
def test_a_mistake_in_tasks_modules_and_sweeps(check, command, code, pieces):
    check(command, code, pieces)


@pytest.mark.slow  # a store is built and a step compiled, once
@of_section("store")
def test_a_mistake_that_store_or_checkpoint_shows(trained, check, command, code, pieces):
    check(command, code, pieces)


def test_another_package_called_tasks_is_refused(check, folder, monkeypatch):
    other = folder / "other" / "tasks"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(other.parent)
    for name in [name for name in sys.modules if name.split(".")[0] == "tasks"]:
        monkeypatch.delitem(sys.modules, name)
    found = f"the package 'tasks' found is {other / '__init__.py'}"
    check("inspect", 2, [found, "rename the other one"])


def test_no_section_is_left_out():
    assert {section for section, *_ in mistakes()} == SEEN
