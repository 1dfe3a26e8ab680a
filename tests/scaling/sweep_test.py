# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sweeps: expansion and names, resuming, failures that stay alone, and the table at the end."""

import re
import subprocess
import sys
import textwrap
import threading

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
    with pytest.raises(
        errors.IncompleteError, match="num_tasks-4_seed-0: begun with another"
    ) as told:
        sweep.run_sweep(runs=changed, out=tmp_path, execute=sweep.in_turn(other))
    assert "retries" not in str(told.value)  # only deleting it, or another folder, does
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


def test_steps_on_the_way_are_gathered_and_the_end_counts_once(tmp_path):
    """Training evaluated the last step too, on fewer examples; benchmarks only on the way."""
    (run,) = sweep.expand({"SEED": [0]})

    def run_one(run, folder):
        def write(path, step, value, benchmark="held_in"):
            score = scores_lib.Score(
                model="tiny", step=step, benchmark=benchmark, protocol="greedy", subtask="a",
                metric="exact_match", value=value, n=3, stderr=None,
            )  # fmt: skip
            scores_lib.write_scores(folder / path / "scores.csv", [score])

        write(".", 20, 3.0)
        write("eval/step_10", 10, 1.0)
        write("eval/step_20", 20, 2.0)
        write("benchmarks/step_10", 10, 5.0, "mmlu")

    rows = sweep.run_sweep(runs=[run], out=tmp_path, execute=sweep.in_turn(run_one))
    assert {(row.benchmark, row.step): row.value for row in rows} == {
        ("held_in", 10): 1.0, ("held_in", 20): 3.0, ("mmlu", 10): 5.0
    }  # fmt: skip
    assert len(rows) == 3 and scores_lib.read_scores(tmp_path / "scores.csv")[0].step == 10


def test_a_run_that_another_process_is_still_saving_is_waited_for(tmp_path, monkeypatch):
    (run,) = sweep.expand({"SEED": [0]}, lambda macros: {"num_tasks": 4})
    said, ended = threading.Event(), []
    monkeypatch.setattr(sweep, "say", lambda message: said.set())
    attempt = threading.Thread(
        target=lambda: ended.append(sweep.attempt(tmp_path, run, Recorder()))
    )
    with files.locked(tmp_path / ".locks" / run.name, "run"):
        attempt.start()
        assert said.wait(60)
        assert run_records.status(tmp_path, run)["status"] == run_records.PENDING
    attempt.join(60)
    assert ended == [""]
    assert run_records.status(tmp_path, run)["status"] == run_records.DONE


# A sweep of four runs, each a process that does three steps, kept one by one. The kills named in
# the last argument happen once each: `<run>:<step>:<of the run or the sweep>`.
SWEEP = """
    import os, pathlib, signal, sys
    from flan_jax.evals import scores
    from flan_jax.scaling import processes, sweep
    program, out, kills, *only = sys.argv[1:]
    runs = {run.name: run for run in sweep.expand({"SEED": [0, 1, 2, 3]})}
    def die(at):
        done = pathlib.Path(out, "killed." + at)
        if at in kills.split() and not done.exists():
            done.touch()
            os.kill(os.getppid() if at.endswith("sweep") else os.getpid(), signal.SIGKILL)
            signal.pause()
    def run_one(run, folder):
        steps = folder / "steps"
        while (step := steps.stat().st_size if steps.exists() else 0) < 3:
            with open(steps, "a") as file:
                file.write(str(step))
            die(f"{run.name}:{step}:run")
            die(f"{run.name}:{step}:sweep")
        row = dict(model="m", step=3, benchmark="b", protocol="p", subtask="_mean", metric="x", n=1)
        value = float(steps.read_text()) + int(dict(run.macros)["SEED"])
        scores.write_scores(folder / "scores.csv", [scores.Score(value=value, stderr=None, **row)])
    if only:
        processes.stop_with_stdin()
        sys.exit(sweep.attempt(out, runs[only[0]], run_one) or 0)
    command = lambda run: [sys.executable, "-c", program, program, out, kills, run.name]
    execute = sweep.in_processes(command, num=1, retries=1)
    sweep.run_sweep(runs=list(runs.values()), out=out, execute=execute)
"""


def test_a_sweep_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    program = textwrap.dedent(SWEEP)

    def run(out, *kills):
        argv = [sys.executable, "-c", program, program, str(tmp_path / out), " ".join(kills)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60)

    assert run("calm").returncode == 0
    died = "its process was ended by SIGKILL (out of memory?); begun again, 0 more times at most"
    for kills, code, said in (
        (["seed-1:1:sweep"], -9, "seed-0 is done"),
        (["seed-2:0:run", "seed-3:1:sweep"], -9, f"seed-2: {died}"),
        (["seed-3:2:run"], 0, f"seed-3: {died}"),
    ):
        ended = run("torn", *kills)
        assert ended.returncode == code and said in ended.stderr, ended.stderr
    calm, torn = ((tmp_path / name / "scores.csv").read_bytes() for name in ("calm", "torn"))
    assert calm == torn
    assert len(list((tmp_path / "torn").glob("killed.*"))) == 4
    assert files.read_json(tmp_path / "torn" / "seed-3" / "run.json")["attempts"] == 3


def test_what_fails_of_itself_is_not_begun_again(tmp_path):
    program = textwrap.dedent(SWEEP).replace(
        "run_one(run, folder):", "run_one(run, folder):\n    1 / 0"
    )
    argv = [sys.executable, "-c", program, program, str(tmp_path), ""]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert "4 of 4 runs" in ended.stderr and "begun again" not in ended.stderr
    assert ended.stderr.count("ZeroDivisionError") >= 4
