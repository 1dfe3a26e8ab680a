# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sweeps: expansion and names, resuming, failures that stay alone, and the table at the end."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.core import errors, files
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import run_records, sweep

GRID = {"MIXTURE": ["mini_4", "mini_8"], "SEED": [0, 1]}


def settings(macros):
    return {"num_tasks": macros["MIXTURE"].removeprefix("mini_"), "seed": macros["SEED"]}


class Recorder:
    """A run function that writes one score, fails for chosen names, and remembers its calls."""

    def __init__(self, error=None, fails=()):
        self.called, self.error, self.fails = [], error, set(fails)

    def __call__(self, run, folder):
        self.called.append(run.name)
        if run.name in self.fails:
            raise self.error
        score = scores_lib.Score(
            model="tiny", step=10, benchmark="held_in", protocol="greedy", subtask=scores_lib.MEAN,
            metric="exact_match", value=float(dict(run.settings)["num_tasks"]), n=3, stderr=None,
        )  # fmt: skip
        scores_lib.write_scores(folder / "scores.csv", [score])


def test_expansion_is_the_product_in_order():
    runs = sweep.expand(GRID, settings)
    assert [run.name for run in runs] == [
        "num_tasks-4_seed-0",
        "num_tasks-4_seed-1",
        "num_tasks-8_seed-0",
        "num_tasks-8_seed-1",
    ]
    assert runs[1].macros == (("MIXTURE", "mini_4"), ("SEED", 1))
    assert runs[1].settings == (("num_tasks", "4"), ("seed", "1"))


def test_without_a_settings_function_the_macros_describe_the_run():
    (run,) = sweep.expand({"SEED": [3]})
    assert run.settings == (("seed", "3"),)
    assert run.name == "seed-3"


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "grid is empty"),
        ({"SEED": []}, r"SEED must be a list of at least one value, got \[\]"),
        ({"SEED": "01"}, "SEED must be a list of at least one value, got '01'"),
        ({"SEED": [1, 1]}, "two runs are called 'seed-1'.*remove the repeated value"),
    ],
)
def test_a_wrong_grid_is_named(grid, message):
    with pytest.raises(errors.UsageError, match=message):
        sweep.expand(grid)


@given(st.lists(st.text(max_size=60), min_size=2, max_size=4, unique=True))
def test_names_are_safe_and_unique(values):
    names = [sweep.run_name({"x": value}) for value in values]
    assert len(set(names)) == len(values)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", name)


def test_a_sweep_gathers_all_rows_with_their_settings(tmp_path):
    runs = sweep.expand(GRID, settings)
    rows = sweep.run_sweep(runs=runs, out=tmp_path, execute=sweep.in_turn(Recorder()))
    assert [(r.settings["num_tasks"], r.settings["seed"], r.value) for r in rows] == [
        ("4", "0", 4.0),
        ("4", "1", 4.0),
        ("8", "0", 8.0),
        ("8", "1", 8.0),
    ]
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == ",".join([*scores_lib.COLUMNS, "num_tasks", "seed"])
    assert len(lines) == 5
    assert scores_lib.read_scores(tmp_path / "scores.csv") == rows


def test_finished_runs_are_skipped_and_two_sweeps_give_the_same_bytes(tmp_path):
    runs = sweep.expand(GRID, settings, lambda macros: "c")
    sweep.run_sweep(runs=runs[:2], out=tmp_path / "a", execute=sweep.in_turn(Recorder()))
    second = Recorder()
    sweep.run_sweep(runs=runs, out=tmp_path / "a", execute=sweep.in_turn(second))
    assert second.called == [run.name for run in runs[2:]]
    sweep.run_sweep(runs=runs, out=tmp_path / "b", execute=sweep.in_turn(Recorder()))
    read = [(tmp_path / name / "scores.csv").read_bytes() for name in "ab"]
    assert read[0] == read[1]


def test_one_failing_run_does_not_stop_the_others_and_is_retried(tmp_path):
    runs = sweep.expand(GRID, settings)
    first = Recorder(errors.DataError("x.tsv:3: two columns"), fails=[runs[1].name])
    with pytest.raises(errors.IncompleteError, match="1 of 4 runs .*seed-1: x.tsv:3: two columns"):
        sweep.run_sweep(runs=runs, out=tmp_path, execute=sweep.in_turn(first))
    assert len(first.called) == 4
    record = files.read_json(tmp_path / runs[1].name / "run.json")
    assert (record["status"], record["message"]) == ("failed", "x.tsv:3: two columns")
    assert "Traceback" in (tmp_path / runs[1].name / "error.txt").read_text()
    assert len(scores_lib.read_scores(tmp_path / "scores.csv")) == 3
    again = Recorder()
    sweep.run_sweep(runs=runs, out=tmp_path, execute=sweep.in_turn(again))
    assert again.called == [runs[1].name]
    assert not (tmp_path / runs[1].name / "error.txt").exists()
    assert len(scores_lib.read_scores(tmp_path / "scores.csv")) == 4


def test_a_defect_of_ours_names_its_type_and_its_trace(tmp_path):
    runs = sweep.expand({"SEED": [0]})
    broken = Recorder(KeyError("gone"), fails=["seed-0"])
    with pytest.raises(
        errors.IncompleteError, match="KeyError: 'gone' .stack trace in .*error.txt"
    ):
        sweep.run_sweep(runs=runs, out=tmp_path, execute=sweep.in_turn(broken))


def test_a_run_of_another_configuration_is_never_mixed_in(tmp_path):
    runs = sweep.expand(GRID, settings, lambda macros: "lr=1")
    sweep.run_sweep(runs=runs[:1], out=tmp_path, execute=sweep.in_turn(Recorder()))
    changed = sweep.expand(GRID, settings, lambda macros: "lr=2")
    other = Recorder()
    with pytest.raises(errors.IncompleteError, match="num_tasks-4_seed-0: begun with another"):
        sweep.run_sweep(runs=changed, out=tmp_path, execute=sweep.in_turn(other))
    assert other.called == [run.name for run in runs[1:]]
    assert sweep.status(tmp_path, runs[0])["status"] == sweep.DONE  # left as it was


def test_preemption_ends_the_sweep_at_once_and_the_run_is_taken_up_again(tmp_path):
    runs = sweep.expand(GRID, settings)
    first = Recorder(errors.PreemptedError("saved"), fails=[runs[1].name])
    with pytest.raises(errors.PreemptedError):
        sweep.run_sweep(runs=runs, out=tmp_path, execute=sweep.in_turn(first))
    assert first.called == [run.name for run in runs[:2]]
    table = run_records.table(tmp_path, runs)
    assert [line.split()[1] for line in table.splitlines()] == [
        "status", "done", "preempted", "pending", "pending"
    ]  # fmt: skip
    second = Recorder()
    sweep.run_sweep(runs=runs, out=tmp_path, execute=sweep.in_turn(second))
    assert second.called == [run.name for run in runs[1:]]


def test_a_run_that_leaves_no_scores_has_failed(tmp_path):
    runs = sweep.expand({"SEED": [0]})
    with pytest.raises(errors.IncompleteError, match="ended without writing .*scores.csv"):
        sweep.run_sweep(runs=runs, out=tmp_path, execute=sweep.in_turn(lambda run, folder: None))
