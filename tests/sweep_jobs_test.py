# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs as jobs elsewhere: their commands give the sweep's scores, and nothing else is taken in."""

import dataclasses
import shutil

import pytest

import gin
from flan_jax import main, sweep_jobs, sweep_points
from flan_jax.core import files
from flan_jax.evals import scores as scores_lib
from tests import toy_benchmarks
from tests.sweep_runs_test import SMALL


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


def write(tmp_path, **fields):
    path = tmp_path / "s.gin"
    fields = {"title": "A trial", "recipes": ["mini_micro"], "grid": {"SEED": [3]}} | fields
    path.write_text("".join(f"Sweep.{name} = {value!r}\n" for name, value in fields.items()))
    return str(path)


def commands(gin_file):
    points = sweep_points.points(sweep_points.declared(gin_file), "out")
    return [sweep_jobs.commands(point, "out/run") for point in points]


def run(argv):
    """Carries out a command of a job in this process; returns its exit code."""
    assert argv[0] == "flan-jax"
    gin.clear_config()
    return main.main(argv[1:])


def test_a_job_trains_then_evaluates_with_the_runs_own_configuration(tmp_path):
    ((train, evaluate),) = commands(write(tmp_path))
    assert train[:4] == ["flan-jax", "train", "--recipe", "mini_micro"]
    assert train[4:] == [
        "--gin.STORE_DIR='out/store'", "--gin.MODEL_DIR='out/run'",
        "--gin.CHECKPOINT_PATH='out/run'", "--gin.SEED=3",
    ]  # fmt: skip
    assert evaluate == ["flan-jax", "eval", *train[2:], "--out", "out/run"]


def test_benchmarks_are_asked_by_a_command_unless_training_asks_them(tmp_path):
    extra = tmp_path / "extra.gin"
    extra.write_text(
        "include 'runs/benchmarks.gin'\nBENCHMARK_EXAMPLES = 5\nSuiteConfig.model_name = 'm'\n"
        "SuiteConfig.splits = {'mmlu': 'test'}\nSuiteConfig.ways = 'rank'\nSuiteConfig.seed = 2\n"
    )
    fields = {"evaluations": ["benchmarks"], "gin_files": [str(extra)]}
    gin_file = write(tmp_path, grid={"EVAL_PERIOD": [0, 10]}, **fields)
    (train, evaluate), (alone,) = commands(gin_file)
    assert train[1] == alone[1] == "train" and train[4:6] == ["--gin_file", str(extra)]
    assert evaluate[2:] == [
        "--suite", "mmlu,bbh", "--data", "benchmark_files",
        "--module_import", "tasks.evals.benchmarks", "--split", "mmlu=test", "--answer_by", "rank",
        "--num_examples", "5", "--seed", "2", "--name", "m", *train[2:],
        "--out", "out/run/benchmarks",
    ]  # fmt: skip


def test_untrained_runs_evaluate_their_start_or_are_left_to_the_sweep(tmp_path):
    grid = {"MIXTURE_OR_TASK_NAME": [""], "INITIAL_CHECKPOINT_PATH": ["base", ""]}
    ((evaluate,), none) = commands(write(tmp_path, grid=grid))
    assert "--gin.CHECKPOINT_PATH=%INITIAL_CHECKPOINT_PATH" in evaluate
    assert none == []


# Builds a store; compiles a model's training and its decoding twice: a minute.
@pytest.mark.large
def test_the_commands_give_the_scores_of_the_sweep_and_are_taken_in_once_they_are_done(
    tmp_path, capsys
):
    data = toy_benchmarks.write(tmp_path / "data")
    extra = tmp_path / "extra.gin"
    extra.write_text(
        "include 'runs/benchmarks.gin'\nBENCHMARKS = ('toy',)\nBENCHMARK_EXAMPLES = 2\n"
        f"BENCHMARKS_DATA = '{data}'\nSuiteConfig.module_imports = ('tests.toy_benchmarks',)\n"
        "TASK_FEATURE_LENGTHS = {'inputs': 192, 'targets': 32}\nEVAL_PERIOD = 4\n"
    )
    grid = {name: value for name, value in SMALL.items() if name != "EVAL_PERIOD"}
    gin_file = write(
        tmp_path, grid={"MIXTURE_OR_TASK_NAME": ["", "mini_4"], "SEED": [0]} | grid,
        gin_files=[str(extra)], evaluations=["tasks", "benchmarks"],
    )  # fmt: skip
    here, there = tmp_path / "here", tmp_path / "there"
    assert main.main(["sweep", gin_file, "--out", str(here)]) == 0
    shutil.copytree(here / "store", there / "store")
    specs = tmp_path / "jobs.json"
    gin.clear_config()
    sweep = ["sweep", gin_file, "--out", str(there)]
    assert main.main([*sweep, "--job_specs", str(specs)]) == 0
    untrained, trained = files.read_json(specs)
    assert trained["name"] == "num_tasks-4_seed-0"
    assert trained["settings"] == {"num_tasks": "4", "seed": "0"}
    folder = there / trained["name"]

    def gathered(code):
        gin.clear_config()
        capsys.readouterr()
        assert main.main([*sweep, "--gather"]) == code
        return capsys.readouterr().err

    assert f"2 of 2 runs in {there} are not done" in gathered(4)
    train, evaluate = trained["commands"]
    assert run(train) == 0
    assert f"there is no {folder}/scores.csv" in gathered(4)
    assert run(evaluate) == 0
    assert [run(command) for command in untrained["commands"]] == [0]
    assert f"{trained['name']} is done" in gathered(0)
    assert (there / "scores.csv").read_bytes() == (here / "scores.csv").read_bytes()
    assert files.read_json(folder / "run.json")["config_hash"] == trained["config_hash"]
    compute = files.read_json(there / "sweep.json")["runs"][1]["compute"]
    assert (compute["num_steps"], compute["num_devices"], compute["device_kind"]) == (4, None, "")
    assert main.main([*sweep, "--job_specs", str(specs)]) == 0
    assert files.read_json(specs) == []

    # What another configuration left is not taken in.
    (folder / "run.json").unlink()
    rows = scores_lib.read_scores(folder / "scores.csv")
    for change, message in (
        ({"n": 5}, "5 examples of held_in/"),
        ({"step": 2}, "is of step 2, but the run ends at 4"),
        ({"model": "other"}, "is of model 'other', not of 't5_micro'"),
        ({"benchmark": "held_out"}, "0 examples of held_in/"),
    ):
        changed = [dataclasses.replace(row, **change) for row in rows]
        scores_lib.write_scores(folder / "scores.csv", changed)
        assert message in gathered(4)
    scores_lib.write_scores(folder / "scores.csv", rows)
    settings = files.read_json(folder / "settings.json")
    settings["config"]["seed"] = 7
    files.write_json(folder / "settings.json", settings)
    assert "holds a run with other settings: TrainConfig.seed is 7 there, 0 here" in gathered(4)
    gathered_rows = scores_lib.read_scores(there / "scores.csv")
    assert {row.settings["num_tasks"] for row in gathered_rows} == {"0"}
