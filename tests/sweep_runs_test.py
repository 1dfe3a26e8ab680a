# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What runs of a sweep leave: trained or not, tasks or benchmarks, in one table for all."""

import jax
import numpy as np
import pytest

import gin
from flan_jax import config, main, sweep_runs
from flan_jax.core import files
from flan_jax.evals import scores as scores_lib
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.parallel.rules import preset
from flan_jax.training.state import create_state
from tests import toy_benchmarks


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


def sweep(tmp_path, *arguments, name="s", code=0, **fields):
    """Carries out a sweep in this process; returns its folder."""
    path, out = tmp_path / f"{name}.gin", tmp_path / name
    fields = {"title": "A trial", "recipes": ["mini_micro"]} | fields
    path.write_text("".join(f"Sweep.{name} = {value!r}\n" for name, value in fields.items()))
    assert main.main(["sweep", str(path), "--out", str(out), *arguments]) == code
    gin.clear_config()
    return out


# As little of everything as there can be: four tasks of six rows.
SMALL = {
    "TRAIN_STEPS": [4], "WARMUP_STEPS": [1], "EVAL_EXAMPLES": [1], "BUILD_MIXTURE": ["mini_4"],
    "BUILD_SUBMIXTURES": [()], "EVAL_GROUPS": [{"held_in": "mini_4"}], "build.limit": [6],
    "EVAL_PERIOD": [2], "CHECKPOINT_PERIOD": [2],
}  # fmt: skip


def test_what_was_asked_last_becomes_the_runs_own(tmp_path):
    asked = tmp_path / "step_4"
    (asked / "predictions" / "toy").mkdir(parents=True)
    (asked / "scores.csv").write_text("rows")
    assert not sweep_runs.keep_last_asked(tmp_path, 2)
    # As a kill in the middle leaves it, then whole.
    (asked / "predictions").rename(tmp_path / "predictions")
    assert sweep_runs.keep_last_asked(tmp_path, 4)
    assert (tmp_path / "scores.csv").read_text() == "rows"
    assert (tmp_path / "predictions" / "toy").is_dir() and not asked.exists()
    assert not sweep_runs.keep_last_asked(tmp_path, 4)


# Compiles the initialization of a model twice.
@pytest.mark.slow
def test_an_untrained_model_is_the_one_that_training_would_begin_with():
    config.parse(
        ["recipes/mini_micro.gin"], ["MODEL_DIR=x", "CHECKPOINT_PATH=x", "STORE_DIR=x", "SEED=5"]
    )
    model, training = config.bound("train", "model"), config.bound("train", "config")
    laid_out = type(model)(model.config, rules=preset("replicated"))
    key, _ = jax.random.split(jax.random.key(5))
    state = create_state(laid_out, training.optimizer, key, make_mesh(MeshShape()))
    initial = sweep_runs.initial_params(model)
    jax.tree.map(np.testing.assert_array_equal, initial, state.params)


# Compiles a model's training and its decoding for tasks and for benchmarks.
@pytest.mark.slow
def test_trained_and_untrained_are_asked_tasks_and_benchmarks_in_one_table(tmp_path):
    data = toy_benchmarks.write(tmp_path / "data")
    extra = tmp_path / "extra.gin"
    extra.write_text(
        "include 'runs/benchmarks.gin'\nBENCHMARKS = ('toy',)\nBENCHMARK_EXAMPLES = None\n"
        f"BENCHMARKS_DATA = '{data}'\nSuiteConfig.module_imports = ('tests.toy_benchmarks',)\n"
        "TASK_FEATURE_LENGTHS = {'inputs': 192, 'targets': 32}\n"
    )
    out = sweep(
        tmp_path,
        grid={"MIXTURE_OR_TASK_NAME": ["", "mini_4"], "SEED": [0]} | SMALL,
        gin_files=[str(extra)],
        labels={"MIXTURE_OR_TASK_NAME": {"": "untrained", "mini_4": "four"}},
        evaluations=["tasks", "benchmarks"],
    )
    untrained, trained = (
        out / f"num_tasks-{n}_mixture-{m}_seed-0" for n, m in ((0, "untrained"), (4, "four"))
    )
    rows = scores_lib.read_scores(out / "scores.csv")
    shown = {(r.settings["num_tasks"], r.settings["mixture"], r.step, r.benchmark) for r in rows}
    assert shown == {
        ("0", "untrained", 0, "held_in"), ("0", "untrained", 0, "toy"), ("4", "four", 2, "toy"),
        ("4", "four", 4, "held_in"), ("4", "four", 4, "toy"),
    }  # fmt: skip
    for folder in (untrained, trained):
        assert (folder / "benchmarks" / "scores.csv").is_file()
        assert len(list((folder / "benchmarks" / "predictions").rglob("*.jsonl"))) == 2
        assert len(list((folder / "predictions").glob("*.jsonl"))) == 4
        assert files.read_json(folder / "run.json")["facts"]["num_parameters"] == 107_136
    assert sorted(path.name for path in (trained / "benchmarks").iterdir()) == [
        "predictions", "scores.csv", "step_2"
    ]  # fmt: skip
    info = files.read_json(out / "sweep.json")
    assert [run["settings"]["mixture"] for run in info["runs"]] == ["untrained", "four"]

    # The same answers as of the saved checkpoint, by a sweep that trains nothing.
    grid = {"CHECKPOINT_PATH": [str(trained)], "STORE_DIR": [str(out / "store")]} | SMALL
    alone = sweep(tmp_path, name="alone", train=False, gin_files=[str(extra)], grid=grid)
    again = scores_lib.read_scores(alone / "scores.csv")
    assert [(r.step, r.subtask, r.metric, r.value) for r in again] == [
        (4, r.subtask, r.metric, r.value) for r in rows if (r.step, r.benchmark) == (4, "held_in")
    ]


# Builds a store and initializes a model.
@pytest.mark.slow
def test_scores_of_another_configuration_are_not_taken_for_a_runs_own(tmp_path, capsys):
    data = toy_benchmarks.write(tmp_path / "data")
    extra = tmp_path / "extra.gin"
    extra.write_text(
        f"include 'runs/benchmarks.gin'\nBENCHMARKS = ('toy',)\nBENCHMARKS_DATA = '{data}'\n"
        "SuiteConfig.module_imports = ('tests.toy_benchmarks',)\n"
        "TASK_FEATURE_LENGTHS = {'inputs': 192, 'targets': 32}\n"
    )

    def ask(num, *arguments, code=0):
        grid = {"MIXTURE_OR_TASK_NAME": [""], "BENCHMARK_EXAMPLES": [num]}
        fields = {"grid": grid, "gin_files": [str(extra)], "evaluations": ["benchmarks"]}
        return sweep(tmp_path, *arguments, code=code, **fields)

    record = ask(1) / "num_tasks-0" / "run.json"
    before = record.read_bytes()
    jobs = tmp_path / "jobs.json"
    for arguments, code in (
        (["--only", "num_tasks-0"], 2), (["--job_specs", str(jobs)], 2), (["--gather"], 4), ([], 4),
    ):  # fmt: skip
        capsys.readouterr()
        ask(2, *arguments, code=code)
        assert "begun with another configuration" in capsys.readouterr().err
        assert record.read_bytes() == before
    assert not jobs.exists()
