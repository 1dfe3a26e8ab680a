# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sweeps through the command line: names, side by side, failures, kills, stops, and the report."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

import gin
from flan_jax import main, reporting, sweep_points
from flan_jax.collection.store import Store
from flan_jax.core import errors, files
from flan_jax.evals import scores as scores_lib

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 300  # for what must happen; reached only by a test that fails
# Four tasks of six rows each and as little evaluation as there can be.
SMALL = {
    "MIXTURE_OR_TASK_NAME": ["mini_4"],
    "TRAIN_STEPS": [3],
    "WARMUP_STEPS": [1],
    "EVAL_EXAMPLES": [1],
    "BUILD_MIXTURE": ["mini_4"],
    "BUILD_SUBMIXTURES": [("mini_heldout_skills",)],
    "EVAL_GROUPS": [{"held_in": "mini_4", "held_out_skill": "mini_heldout_skills"}],
    "build.limit": [6],
    "TrainConfig.log_period": [1],
}


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder whose `store` every sweep here reads; building it is most of a small run."""
    folder = tmp_path_factory.mktemp("built")
    gin_file = write_sweep(folder / "build.gin", SEED=[0])
    declared = sweep_points.declared(str(gin_file))
    sweep_points.build_stores(sweep_points.points(declared, str(folder)))
    return folder / "store"


def write_sweep(path, recipes=("mini_micro",), **grid):
    path.write_text(
        f"Sweep.title = 'A trial'\nSweep.recipes = {list(recipes)}\nSweep.grid = {SMALL | grid}\n"
    )
    return path


@pytest.fixture
def begin():
    """Begins a sweep as a process of its own, which does not outlive the test."""
    begun = []

    def run(gin_file, out, *arguments):
        argv = [sys.executable, "-m", "flan_jax", "sweep", str(gin_file), "--out", str(out)]
        pipe = subprocess.PIPE
        begun.append(
            subprocess.Popen([*argv, *arguments], cwd=ROOT, stderr=pipe, stdout=pipe, text=True)
        )
        return begun[-1]

    yield run
    for process in begun:
        process.kill()
        process.communicate()


def finish(process):
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err


def new_folder(tmp_path, store, name="sweep"):
    shutil.copytree(store, tmp_path / name / "store")
    return tmp_path / name


def record(out, run):
    path = out / run / "run.json"
    return files.read_json(path) if path.is_file() else {"status": "pending"}


def wait_until_running(out, *runs):
    end = time.monotonic() + DEADLINE_S
    while [record(out, run)["status"] for run in runs] != ["running"] * len(runs):
        assert time.monotonic() < end, "the runs never began"
        time.sleep(0.02)
    return [record(out, run)["process"]["id"] for run in runs]


def losses(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if row["kind"] == "train"]


def test_runs_are_named_by_what_differs_and_their_seed(tmp_path, capsys):
    one = write_sweep(tmp_path / "one.gin", SEED=[7])
    assert main.main(["sweep", str(one), "--out", str(tmp_path), "--status"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["mixture-mini_4_seed-7  pending"]
    several = write_sweep(
        tmp_path / "b.gin", ("mini", "mini_micro"), SEED=[1, 2], LEARNING_RATE=[1e-3]
    )
    assert main.main(["sweep", str(several), "--out", str(tmp_path), "--status"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "mixture-mini_4_size-mini_seed-1",
        "mixture-mini_4_size-mini_seed-2",
        "mixture-mini_4_size-mini_micro_seed-1",
        "mixture-mini_4_size-mini_micro_seed-2",
    ]


def test_the_grid_may_name_variants_of_a_mixture_that_its_store_is_built_with(tmp_path):
    grid = {
        "MIXTURE_OR_TASK_NAME": ["mini_4_zero_shot", "mini_4"],
        "BUILD_SUBMIXTURES": [("mini_4_zero_shot",)],
    }
    declared = sweep_points.declared(str(write_sweep(tmp_path / "s.gin", **grid)))
    made = sweep_points.points(declared, str(tmp_path))
    sweep_points.build_stores(made)
    store = Store.open(made[0].store)
    assert len(store.mixture_rates("mini_4_zero_shot")) == len(store.mixture_rates("mini_4")) == 4


def test_a_group_that_the_store_lacks_is_told_before_anything_is_trained(tmp_path, store, capsys):
    grid = {"SEED": [0], "EVAL_GROUPS": [{"held_in": "mini_4"}, {"held_out": "mini_5"}]}
    out = new_folder(tmp_path, store)
    gin_file = write_sweep(tmp_path / "s.gin", **grid)
    assert main.main(["sweep", str(gin_file), "--out", str(out)]) == 2
    assert "'mini_5'" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == [".lock", "store"]


def test_wrong_arguments_are_refused_before_anything_is_built(tmp_path, capsys):
    gin_file = str(write_sweep(tmp_path / "s.gin", SEED=[0]))
    out = tmp_path / "out"
    for arguments, message in (
        (["--parallel", "0"], "--parallel: need a whole number >= 1, got '0'"),
        (["--cores", "9999"], "cannot give each run 9999 cores"),
        (["--only", "x", "--parallel", "2"], "--only carries out one run here"),
        (["--status", "--gather"], "--gather: not allowed with argument --status"),
        (["--retries", "-1"], "--retries: need a whole number >= 0, got '-1'"),
        (["--job_specs", str(tmp_path)], "is a folder; name a file in it"),
        (["--only", "x"], f"no store in {out}"),
    ):
        assert main.main(["sweep", gin_file, "--out", str(out), *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_takes_one_sweep_at_a_time(tmp_path, capsys):
    gin_file = write_sweep(tmp_path / "s.gin", SEED=[0])
    out = tmp_path / "out"
    with files.locked(out, "sweep"):
        assert main.main(["sweep", str(gin_file), "--out", str(out)]) == 2
        assert "another sweep (process " in capsys.readouterr().err
        # Looking is allowed.
        assert main.main(["sweep", str(gin_file), "--out", str(out), "--status"]) == 0
    assert not (out / "store").exists()


# The rest compiles a model in each of several processes of its own: ten seconds and more a run.
@pytest.mark.slow
def test_runs_side_by_side_give_the_bytes_of_runs_in_turn_and_one_may_fail(begin, tmp_path, store):
    """The last run's learning rate makes its loss infinite."""
    rates = [1e-3, 3e-3, 1e38]
    gin_file = write_sweep(tmp_path / "s.gin", SEED=[0], LEARNING_RATE=rates)
    together = new_folder(tmp_path, store, "together")
    code, _, err = finish(begin(gin_file, together, "--parallel", "2", "--cores", "1"))
    assert code == 4, err
    good = [f"num_tasks-4_seed-0_learning_rate-{rate}" for rate in rates[:2]]
    (bad,) = together.glob("*_learning_rate-1e-38-*")  # a plus is no character of a file name
    failed = record(together, bad.name)
    assert failed["status"] == "failed" and "training stopped at step" in failed["message"]
    assert f"1 of 3 runs in {together} failed" in err and failed["message"] in err
    assert "train: done" in (together / good[0] / "log.txt").read_text()
    rows = scores_lib.read_scores(together / "scores.csv")
    assert {row.settings["learning_rate"] for row in rows} == {"0.001", "0.003"}

    in_turn = new_folder(tmp_path, store, "in_turn")
    fewer = write_sweep(tmp_path / "t.gin", SEED=[0], LEARNING_RATE=rates[:2])
    code, _, err = finish(begin(fewer, in_turn, "--parallel", "1", "--cores", "1"))
    assert code == 0, err
    assert (in_turn / "scores.csv").read_bytes() == (together / "scores.csv").read_bytes()
    for run in good:
        assert losses(in_turn / run) == losses(together / run)
        assert len(losses(in_turn / run)) == 3
        facts = record(in_turn, run)["facts"]
        assert facts["num_parameters"] == facts["compute"]["num_params"] == 107_136
        assert facts["compute"]["num_steps"] == 3


@pytest.mark.large
def test_a_killed_run_is_told_and_the_same_command_retries_it(begin, tmp_path, store):
    gin_file = write_sweep(tmp_path / "s.gin", SEED=[0, 1])
    out = new_folder(tmp_path, store)
    first, second = "num_tasks-4_seed-0", "num_tasks-4_seed-1"
    process = begin(gin_file, out, "--parallel", "2", "--retries", "0")
    (pid,) = wait_until_running(out, first)  # it has its model to compile yet
    subprocess.run(["kill", "-KILL", str(pid)], check=True)
    code, _, err = finish(process)
    assert code == 4
    assert f"{first} failed: its process was ended by SIGKILL (out of memory?); its log is" in err
    assert (record(out, first)["status"], record(out, second)["status"]) == ("failed", "done")
    code, _, err = finish(begin(gin_file, out, "--parallel", "2"))
    assert code == 0
    assert f"{second} is done, skipped" in err and f"{first} is done: " in err
    assert {row.settings["seed"] for row in scores_lib.read_scores(out / "scores.csv")} == {
        "0", "1"
    }  # fmt: skip


@pytest.mark.large
def test_a_sweep_killed_at_random_and_resumed_ends_with_the_same_bytes(begin, tmp_path, store):
    """Each time at first some run, then the sweep itself: the moments are of a fixed seed."""
    random = Random(7)
    gin_file = write_sweep(
        tmp_path / "s.gin", SEED=[0, 1], LEARNING_RATE=[1e-3, 3e-3], TRAIN_STEPS=[60],
        CHECKPOINT_PERIOD=[5], EVAL_PERIOD=[20],
    )  # fmt: skip
    arguments = ("--parallel", "2", "--cores", "1")
    calm = new_folder(tmp_path, store, "calm")
    code, _, err = finish(begin(gin_file, calm, *arguments))
    assert code == 0, err

    torn, num_killed = new_folder(tmp_path, store, "torn"), 0
    for _ in range(3):
        process = begin(gin_file, torn, *arguments)
        for is_last in (False, True):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(random.uniform(5, 25))
            running = [r for r in map(files.read_json, torn.glob("*/run.json"))
                       if r["status"] == "running"]  # fmt: skip
            victims = [process.pid] if is_last else [r["process"]["id"] for r in running[:1]]
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    num_killed += 1
        process.wait(DEADLINE_S)
    code, _, err = finish(begin(gin_file, torn, *arguments))
    assert code == 0, err
    assert num_killed >= 3
    assert (torn / "scores.csv").read_bytes() == (calm / "scores.csv").read_bytes()


@pytest.mark.large
def test_sigterm_stops_the_runs_too_and_a_report_shows_what_is_done(begin, tmp_path, store, capsys):
    gin_file = write_sweep(tmp_path / "s.gin", TRAIN_STEPS=[3, 10**6], SEED=[0, 1])
    out = new_folder(tmp_path, store)
    short, long = ([f"num_tasks-4_train_steps-{n}_seed-{s}" for s in (0, 1)] for n in (3, 10**6))

    def shown():
        assert main.main(["sweep", str(gin_file), "--out", str(out), "--status"]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        return {line.split()[0]: line.split()[1] for line in lines}

    process = begin(gin_file, out, "--parallel", "2")
    pids = wait_until_running(out, *long)
    assert shown() == dict.fromkeys(short, "done") | dict.fromkeys(long, "running")
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)
    assert code == 75, err
    assert "asked to stop with 2 running and 0 waiting" in err
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    # One that was told before it began to listen had nothing to save.
    assert {shown()[run] for run in long} <= {"preempted", "interrupted"}
    page = reporting.report(str(out)).page.read_text()
    assert "2 of 4 runs are not done" in page
    assert "seeds 0, 1" in page


def test_a_sweep_without_a_finished_run_has_no_report(tmp_path):
    with pytest.raises(errors.UsageError, match="neither a sweep"):
        reporting.report(str(tmp_path))
    run = {"name": "a", "size": "mini", "settings": {}, "status": "failed", "duration_s": 1.0}
    info = {"title": "A trial", "metric": "exact_match", "sizes": ["mini"]}
    files.write_json(tmp_path / "sweep.json", info | {"runs": [run | {"num_parameters": None}]})
    with pytest.raises(errors.UsageError, match="no run is done yet"):
        reporting.report(str(tmp_path))
