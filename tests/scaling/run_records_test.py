# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Records of runs: states, attempts, and the table with how far each is."""

import dataclasses
import os
import subprocess

from flan_jax.core import files
from flan_jax.scaling import run_records
from flan_jax.scaling.run_records import DONE, FAILED, INTERRUPTED, PENDING, RUNNING, STALE, Run

RUN = Run(name="seed-1", macros=(("SEED", 1),), settings=(("seed", "1"),), config="x = 1")


def log(folder, *steps, rate=2.0, first=0):
    lines = [
        {"kind": kind, "step": first + step, "steps_per_s": rate, "time_s": 0.0}
        for step in steps
        for kind in ("train", "eval")
    ]
    (folder / "metrics.jsonl").write_text("".join(files.dumps(line) + "\n" for line in lines))


def test_each_beginning_of_the_same_run_counts(tmp_path):
    assert run_records.status(tmp_path, RUN) == {
        "status": PENDING, "message": "", "duration_s": None, "attempts": 0, "facts": {}
    }  # fmt: skip
    for state in (PENDING, RUNNING, FAILED, RUNNING, DONE):
        run_records.record(tmp_path, RUN, state, facts={"num": 7})
    found = run_records.status(tmp_path, RUN)
    assert (found["status"], found["attempts"], found["facts"]) == (DONE, 2, {"num": 7})
    other = dataclasses.replace(RUN, config="x = 2")
    assert run_records.status(tmp_path, other)["status"] == STALE
    # Waiting to be begun again, it still has in its folder what it left.
    run_records.record(tmp_path, RUN, PENDING)
    assert run_records.status(tmp_path, RUN)["status"] == PENDING
    assert run_records.status(tmp_path, other)["status"] == STALE
    run_records.record(tmp_path, other, RUNNING)
    assert run_records.status(tmp_path, other)["attempts"] == 1


def test_a_run_whose_process_is_gone_is_interrupted(tmp_path):
    run_records.record(tmp_path, RUN, RUNNING)
    path = tmp_path / RUN.name / "run.json"
    record = files.read_json(path)
    assert record["process"]["id"] == os.getpid()
    assert run_records.status(tmp_path, RUN)["status"] == RUNNING
    ended = subprocess.Popen(["true"])
    ended.wait()
    files.write_json(path, record | {"process": record["process"] | {"id": ended.pid}})
    assert run_records.status(tmp_path, RUN)["status"] == INTERRUPTED
    # Of a process elsewhere nothing is known.
    files.write_json(path, record | {"process": {"id": ended.pid, "host": "another"}})
    assert run_records.status(tmp_path, RUN)["status"] == RUNNING


def test_progress_is_steps_and_the_time_they_take(tmp_path):
    assert run_records.progress(tmp_path, range(0)) == ""
    assert run_records.progress(tmp_path, range(0, 400)) == "0/400"
    log(tmp_path, 100, 200)
    assert run_records.progress(tmp_path, range(0, 400)) == "200/400, 100 s left"
    log(tmp_path, 400)
    assert run_records.progress(tmp_path, range(0, 400)) == "400/400"
    # Total steps go on from pre-training's.
    log(tmp_path, 300, first=1_100_000)
    steps = range(1_100_000, 1_100_400)
    assert run_records.progress(tmp_path, steps) == "300/400, 50 s left"


def test_the_table_shows_what_there_is_to_show(tmp_path):
    runs = [dataclasses.replace(RUN, name=name) for name in ("one", "two", "three")]
    steps = {run.name: range(0, 400) for run in runs}
    assert run_records.table(tmp_path, runs, steps).splitlines() == [
        "run    status", "one    pending", "two    pending", "three  pending"
    ]  # fmt: skip
    run_records.record(tmp_path, runs[0], DONE, duration_s=3.25)
    log(tmp_path / "one", 400)
    for _ in range(2):
        run_records.record(tmp_path, runs[1], RUNNING)
    log(tmp_path / "two", 100)
    run_records.record(tmp_path, runs[2], FAILED, "no such thing", 1.0)
    log(tmp_path / "three", 100)
    lines = run_records.table(tmp_path, runs, steps).splitlines()
    assert lines[0].split() == ["run", "status", "time", "steps", "begun", "message"]
    assert lines[1].split() == ["one", "done", "3.2", "s", "400/400"]
    assert lines[2].split()[:2] == ["two", "running"]
    assert lines[2].endswith("100/400, 150 s left  2 times")
    assert lines[3].split() == ["three", "failed", "1.0", "s", "100/400", "no", "such", "thing"]
