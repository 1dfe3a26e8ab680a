# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training on several real processes: the numbers of one process, through any stop and restart.

Run as a program this file is one process of a job: it trains a tiny model on a store, and writes
down a hash of each row that it was given.
"""

import dataclasses
import hashlib
import json
import random
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from flan_jax.collection import store as store_lib
from flan_jax.core import errors, files
from flan_jax.core.tree import flatten
from flan_jax.data.loader import TrainInput, open_train
from flan_jax.parallel import hosts, lifeline
from flan_jax.parallel.mesh import MeshShape
from flan_jax.training import loop
from flan_jax.training.schedules import Constant
from flan_jax.training.train_config import TrainConfig
from flan_jax.training.writers import read_metrics
from tests import host_processes
from tests.survival_test import RECIPE
from tests.training import tiny_runs

STEPS, NUM_KILLS = 100, 20

# Each starts Python, jax and the compiler anew several times on each of several processes.
pytestmark = pytest.mark.large

# So slow that what the order of sums changes does not grow: at 0.05 it is 4e-5 after 70 steps.
OPTIMIZER = dataclasses.replace(tiny_runs.ADAFACTOR, learning_rate=Constant(learning_rate=0.01))
LENGTHS = {"inputs": 24, "targets": 12}
RATES = {"a": 0.7, "b": 0.3}


def settings(store, num_workers=0):
    return TrainInput(store=str(store), batch_size=8, window_examples=64, num_workers=num_workers)


class RecordedRows:
    """The loader's batches; appends the step and its rows' hashes to a file before giving them."""

    def __init__(self, batches, path, part):
        self._batches, self._path, self._part = batches, path, part
        self.member_names = batches.member_names

    def __next__(self):
        rows = next(self._batches)
        found = hashes(rows)
        step, first = self._batches.state()["step"], self._part * len(found)
        with open(self._path, "a") as file:
            file.write(json.dumps({"step": step, "first": first, "rows": found}) + "\n")
        return rows

    def __getattr__(self, name):
        return getattr(self._batches, name)


def hashes(rows):
    """Returns a hash of each row of a batch."""
    found = []
    for at in range(len(rows["encoder_input_tokens"])):
        parts = [rows[name][at].tobytes() for name in sorted(rows)]
        found.append(hashlib.sha256(b"".join(parts)).hexdigest()[:16])
    return found


def host(store, folder, num_steps, num_workers, rules, num_model, devices=None):
    """Trains as one process of a job."""

    def open_data(data, state, **place):
        path = f"{folder}/rows.{jax.process_index()}.of.{jax.process_count()}"
        return RecordedRows(open_train(data, state, **place), path, place["process_index"])

    hosts.join()
    result = loop.train(
        model=tiny_runs.MODEL,
        data=settings(store, int(num_workers)),
        config=TrainConfig(
            optimizer=OPTIMIZER,
            loss=tiny_runs.LOSS,
            model_dir=str(folder),
            train_steps=int(num_steps),
            log_period=1,
            eval_period=0,
            checkpoint_period=3,
            rules=rules,
            mesh=MeshShape(model=int(num_model)),
        ),
        open_data=open_data,
        devices=devices,
    )
    if rules != "replicated":  # no process holds all of them
        return
    if hosts.is_first():
        np.savez(f"{folder}/params.npz", **flatten(jax.device_get(result.params)))


class Jobs:
    """Jobs that train on one store, in folders below `root`."""

    def __init__(self, root):
        self.root, self.store = root, root / "store"

    def words(self, name, num_steps=STEPS, num_workers=0, rules="replicated", num_model=1):
        (self.root / name).mkdir(exist_ok=True)
        options = (self.store, self.root / name, num_steps, num_workers, rules, num_model)
        return ["tests.training.distributed_test", *map(str, options)]

    def start(self, name, count, **options):
        return host_processes.started(self.words(name, **options), count, self.root / f"{name}.log")

    def run(self, name, count, **options):
        host_processes.run(self.words(name, **options), count, self.root / f"{name}.log")

    def log(self, name, index):
        return Path(f"{self.root / name}.log.{index}").read_text()

    def params(self, name):
        return dict(np.load(self.root / name / "params.npz"))

    def losses(self, name):
        records = [r for r in read_metrics(self.root / name) if r["kind"] == "train"]
        assert [r["step"] for r in records] == list(range(1, len(records) + 1))
        return np.array([r["loss"] for r in records])

    def given(self, name):
        """Returns step -> the hashes of its rows in order; whoever gave a step gave the same."""
        found = {}
        for path in (self.root / name).glob("rows.*"):
            for record in whole_records(path):
                for at, row in enumerate(record["rows"], start=record["first"]):
                    assert found.setdefault((record["step"], at), row) == row
        return found

    def expected(self, num_steps=STEPS):
        """Returns what `given` must be, from the loader alone."""
        with open_train(settings(self.store)) as batches:
            rows = [hashes(next(batches)) for _ in range(num_steps)]
        return {(s, at): h for s, found in enumerate(rows, start=1) for at, h in enumerate(found)}

    def step_reached(self, name, count):
        """Returns the step that all of `count` processes last were given the rows of."""
        paths = [self.root / name / f"rows.{index}.of.{count}" for index in range(count)]
        steps = [[r["step"] for r in whole_records(path)] for path in paths]
        return min(found[-1] if found else 0 for found in steps)


def whole_records(path):
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def write_store(root):
    entries = {}
    for number, (task, num) in enumerate((("a", 90), ("b", 25))):
        rng = np.random.default_rng(number)
        folder = store_lib.task_folder(root, task, "train")
        with store_lib.TaskWriter(folder, np.dtype("<u2")) as writer:
            for index in range(num):
                inputs = np.append(rng.integers(3, tiny_runs.VOCAB, rng.integers(2, 10)), 1)
                targets = np.append(inputs[: rng.integers(1, 5)], 1)
                writer.add(inputs, targets, {"inputs": f"{task} {index}", "targets": ""})
            entries[task] = {"train": writer.finish({"key": "k", "dropped": {}})}
    vocabulary = {"name": "none", "size": tiny_runs.VOCAB, "padded_size": 32, "eos_id": 1}
    manifest = {
        "format": store_lib.FORMAT, "mixture": "all", "mixtures": {"all": RATES}, "rates": RATES,
        "vocabulary": vocabulary, "feature_lengths": LENGTHS, "token_dtype": "<u2",
        "tasks": entries,
    }  # fmt: skip
    files.write_json(root / store_lib.MANIFEST, manifest)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    made = Jobs(tmp_path_factory.mktemp("jobs"))
    write_store(made.store)
    with pytest.MonkeyPatch.context() as patch:
        # What one process compiled the next ones take.
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(made.root / "compiled"))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield made


@pytest.fixture(scope="module")
def whole(jobs):
    """An uninterrupted run of each number of processes."""
    for count in (1, 2):
        jobs.run(f"whole{count}", count)
    return {count: f"whole{count}" for count in (1, 2)}


def assert_close(jobs, name, want):
    """Checks that two runs differ by the order of their float32 sums only."""
    np.testing.assert_allclose(jobs.losses(name), jobs.losses(want), rtol=2e-6)
    for path, array in jobs.params(want).items():
        np.testing.assert_allclose(
            jobs.params(name)[path], array, rtol=1e-5, atol=1e-5, err_msg=path
        )


def assert_bit_equal(jobs, name, want):
    np.testing.assert_array_equal(jobs.losses(name), jobs.losses(want))
    tiny_runs.assert_bit_equal(jobs.params(name), jobs.params(want))


def wait_for_step(jobs, name, processes, step):
    """Returns once all processes were given this step's rows; they must not end before."""
    while jobs.step_reached(name, len(processes)) < step:
        for index, process in enumerate(processes):
            assert process.poll() is None, jobs.log(name, index)[-3000:]
        time.sleep(0.01)


def kill_at(jobs, name, count, step, **options):
    with jobs.start(name, count, **options) as processes:
        wait_for_step(jobs, name, processes, step)
    for path in (jobs.root / name).glob("rows.*"):
        cut_last_line(path)


def cut_last_line(path):
    """Takes out what a killed process was writing."""
    path.write_text("".join(json.dumps(record) + "\n" for record in whole_records(path)))


def newest_checkpoint(folder):
    return max((int(p.name.split("_")[1]) for p in folder.glob("checkpoint_*[0-9]")), default=0)


def test_two_processes_train_as_one(jobs, whole):
    assert jobs.given(whole[1]) == jobs.given(whole[2]) == jobs.expected()
    assert_close(jobs, whole[2], whole[1])


def test_killed_at_random_and_resumed_on_other_numbers_of_processes(jobs, whole):
    rng, starts = random.Random(0), []
    for number in range(NUM_KILLS):
        # (processes, workers of each): all nine pairs, the processes others at each start.
        starts.append(((1, 2, 4)[number % 3], (0, 1, 2)[(number + number // 3) % 3]))
        count, num_workers = starts[-1]
        reached = newest_checkpoint(jobs.root / "killed")
        step = reached + rng.randint(1, max((STEPS - reached) // (NUM_KILLS - number + 3), 1))
        kill_at(jobs, "killed", count, step, num_workers=num_workers)
    assert len(set(starts)) == 9
    assert newest_checkpoint(jobs.root / "killed") > 0
    jobs.run("killed", 2)
    assert jobs.given("killed") == jobs.expected()
    assert_close(jobs, "killed", whole[1])


def test_killed_and_resumed_on_as_many_processes_it_ends_in_the_same_bits(jobs, whole):
    for step in (8, 22):
        kill_at(jobs, "same", 2, step)
    assert newest_checkpoint(jobs.root / "same") >= 18
    jobs.run("same", 2)
    assert jobs.given("same") == jobs.expected()
    assert_bit_equal(jobs, "same", whole[2])


def test_sigterm_to_one_process_stops_all_at_one_step_and_saves_it(jobs, whole):
    with jobs.start("asked", 2) as processes:
        wait_for_step(jobs, "asked", processes, 7)
        processes[1].send_signal(signal.SIGTERM)
        codes = [process.wait(timeout=120) for process in processes]
    assert codes == [errors.EXIT_PREEMPTED] * 2, jobs.log("asked", 0) + jobs.log("asked", 1)
    step = newest_checkpoint(jobs.root / "asked")
    for index in range(2):
        saved = f"{jobs.root / 'asked' / f'checkpoint_{step}'}; start the same command again"
        assert f"asked to stop at step {step} of {STEPS}; saved {saved}" in jobs.log("asked", index)
    jobs.run("asked", 2)
    assert jobs.given("asked") == jobs.expected()
    assert_bit_equal(jobs, "asked", whole[2])


@pytest.mark.parametrize("lost", [0, 1])
def test_when_one_process_dies_the_others_end_too(jobs, lost):
    name = f"lost{lost}"
    with jobs.start(name, 2, num_steps=100_000) as processes:
        wait_for_step(jobs, name, processes, 5)
        processes[lost].kill()
        code = processes[1 - lost].wait(timeout=60)
    assert code == errors.EXIT_FAILED
    told = [line for line in jobs.log(name, 1 - lost).splitlines() if " error: " in line]
    assert told[-1].startswith(f"flan-jax: error: process {lost} of 2 (")
    assert "it was killed, or crashed; it was last at: " in told[-1]


def test_a_folder_in_use_is_refused_by_all_processes(jobs):
    with files.locked(jobs.root / "used", "run"):
        with jobs.start("used", 2) as processes:
            codes = [process.wait(timeout=120) for process in processes]
    assert codes == [errors.EXIT_USAGE] * 2
    assert "another run (process" in jobs.log("used", 0)
    assert "process 0 of this job failed; its own message says why" in jobs.log("used", 1)


def test_the_command_line_trains_and_evaluates_on_two_processes(tmp_path):
    (tmp_path / "run.gin").write_text(RECIPE)
    shared = ["--gin_file", f"{tmp_path}/run.gin", f"--gin.STORE_DIR={tmp_path}/store"]

    def words(name):
        folder = f"--gin.MODEL_DIR={tmp_path / name}"
        return ["flan_jax", "train", *shared, folder, "--gin.TRAIN_STEPS=6"]

    host_processes.run(words("two"), 2, tmp_path / "early.log", errors.EXIT_USAGE)
    for index in range(2):
        told = Path(f"{tmp_path}/early.log.{index}").read_text()
        assert "no finished token store" in told and "flan-jax build" in told.splitlines()[-1]
    host_processes.run(["flan_jax", "build", *shared], 1, tmp_path / "build.log")
    host_processes.run(words("one"), 1, tmp_path / "one.log")
    host_processes.run(words("two"), 2, tmp_path / "two.log")
    one, two = ({r["kind"]: r for r in read_metrics(tmp_path / name)} for name in ("one", "two"))
    for kind in ("train", "eval"):
        assert two[kind]["step"] == 6
        assert two[kind]["loss"] == pytest.approx(one[kind]["loss"], rel=1e-5)
    assert {k for k in two["eval"] if "/" in k} == {k for k in one["eval"] if "/" in k} != set()
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
    predictions = [
        sorted(path.name for path in (tmp_path / name / "eval").rglob("*.jsonl"))
        for name in ("one", "two")
    ]
    assert predictions[0] == predictions[1] != []


if __name__ == "__main__":
    try:
        host(*sys.argv[1:])
    except (errors.FlanError, errors.PreemptedError) as error:  # as the command line does
        print(f"error: {error}", file=sys.stderr)
        lifeline.goodbye(error.exit_code)
        sys.exit(error.exit_code)
