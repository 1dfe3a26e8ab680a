# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Real training processes are killed and started again, and end in the bits of one left alone."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from flan_jax.core.tree import flatten

ROOT = Path(__file__).resolve().parent.parent
STEPS = 30
NUM_RANDOM_KILLS = 24

# The mini recipe with a smaller model, saving and evaluating (with decoding) all the time.
RECIPE = """
include 'recipes/mini.gin'
MIXTURE_OR_TASK_NAME = 'mini_4'
BUILD_MIXTURE = 'mini_4'
BUILD_SUBMIXTURES = ()
EVAL_GROUPS = {'held_in': 'mini_4'}
EVAL_EXAMPLES = 4
build.limit = 40
T5Config.num_encoder_layers = 1
T5Config.num_decoder_layers = 1
WARMUP_STEPS = 5
DROPOUT_RATE = 0.1
CHECKPOINT_PERIOD = 4
EVAL_PERIOD = 10
TrainConfig.log_period = 1
TrainConfig.eval_examples = 8
train.evaluation = @EvalConfig()
"""

# Each test starts Python, jax and the compiler anew several times.
pytestmark = pytest.mark.slow


class Runs:
    """Training processes of one recipe, in folders below `root`."""

    def __init__(self, root: Path):
        self.root = root
        (root / "run.gin").write_text(RECIPE)

    def start(self, name: str, largest_file: int | None = None) -> subprocess.Popen:
        """Starts, or goes on with, the run in the folder `name`.

        No file may grow beyond `largest_file` bytes: what writes more fails as on a full disk.
        """
        command = [
            sys.executable, "-m", "flan_jax", "train", "--gin_file", str(self.root / "run.gin"),
            f"--gin.STORE_DIR={self.root}/store", f"--gin.MODEL_DIR={self.root}/{name}",
            f"--gin.TRAIN_STEPS={STEPS}",
        ]  # fmt: skip
        with open(self.root / f"{name}.log", "ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, stderr=log, env=self.environment())
        if largest_file is not None:  # long before it writes: it imports jax first
            hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest_file, hard))
        return process

    @staticmethod
    def environment() -> dict[str, str]:
        return {**os.environ, "JAX_PLATFORMS": "cpu"}

    def finish(self, name: str) -> None:
        code = self.start(name).wait(timeout=300)
        assert code == 0, self.log(name)

    def log(self, name: str) -> str:
        return (self.root / f"{name}.log").read_text()

    def result(self, name: str) -> tuple[dict, dict]:
        """Returns the arrays of the last checkpoint, and what was logged, without times."""
        path = self.root / name / f"checkpoint_{STEPS}" / "state"
        tree = ocp.PyTreeCheckpointHandler().metadata(path).tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        with ocp.PyTreeCheckpointer() as checkpointer:
            restored = checkpointer.restore(
                path, args=ocp.args.PyTreeRestore(restore_args=as_numpy)
            )
        arrays = flatten(restored)
        lines = (self.root / name / "metrics.jsonl").read_text().splitlines()
        logged: dict = {}
        for record in map(json.loads, lines):
            if record["kind"] != "data":  # its fill counts from the last start
                kept = {k: v for k, v in record.items() if k in ("loss", "accuracy", "member_loss")}
                assert (record["kind"], record["step"]) not in logged, "a record stands twice"
                logged[record["kind"], record["step"]] = kept
        return arrays, logged

    def assert_same(self, name: str, want: str) -> None:
        (arrays, logged), (want_arrays, want_logged) = self.result(name), self.result(want)
        assert arrays.keys() == want_arrays.keys()
        for path, array in arrays.items():
            np.testing.assert_array_equal(array, want_arrays[path], err_msg=path)
        assert logged == want_logged


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    made = Runs(tmp_path_factory.mktemp("survival"))
    made.finish("whole")
    assert len([1 for kind, _ in made.result("whole")[1] if kind == "train"]) == STEPS
    return made


def wait_for(process: subprocess.Popen, condition) -> bool:
    """Waits until the condition holds; False if the process ended before."""
    while not condition():
        try:
            process.wait(timeout=0.002)
            return False
        except subprocess.TimeoutExpired:
            continue
    return True


@pytest.mark.large  # four starts
def test_killed_while_it_starts_saves_and_evaluates(runs):
    folder = runs.root / "phases"

    def saving():
        return folder.is_dir() and any(".orbax-checkpoint-tmp" in p.name for p in folder.iterdir())

    moments = {
        "compiling": lambda: "parameters, mesh" in runs.log("phases"),
        "saving": saving,
        "evaluating": lambda: any(folder.glob("eval/step_*/predictions/*.tmp")),
    }
    for moment, reached in moments.items():
        process = runs.start("phases")
        if moment == "compiling":
            (runs.root / "phases.log").write_text("")
        assert wait_for(process, reached), f"ended before it was {moment}"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    runs.finish("phases")
    runs.assert_same("phases", "whole")


def test_sigterm_saves_and_ends_with_75(runs):
    metrics = runs.root / "told" / "metrics.jsonl"
    process = runs.start("told")
    assert wait_for(process, lambda: metrics.is_file() and metrics.stat().st_size > 0)
    process.terminate()
    assert process.wait(timeout=120) == 75, runs.log("told")
    assert "flan-jax: stopped: asked to stop at step" in runs.log("told")
    assert "Traceback" not in runs.log("told")
    runs.finish("told")
    runs.assert_same("told", "whole")


def test_a_full_disk_is_one_line_and_costs_only_the_new_checkpoint(runs):
    folder = runs.root / "full"
    process = runs.start("full")
    assert wait_for(process, (folder / "checkpoint_8" / "state").is_dir)
    process.kill()
    process.wait()
    before = sorted(p.name for p in folder.glob("checkpoint_*") if p.name[11:].isdigit())
    (runs.root / "full.log").write_text("")
    # Metrics stay below the limit; the files of a checkpoint do not.
    assert runs.start("full", largest_file=60_000).wait(timeout=120) == 1
    (line,) = [x for x in runs.log("full").splitlines() if x.startswith("flan-jax: error")]
    assert "could not be written" in line, line
    assert "File too large" in line, line
    newest = max(before, key=lambda name: int(name[11:]))
    assert f"the newest whole one is {folder}/{newest}; free space there" in line
    assert "Traceback" not in runs.log("full")
    assert {*before} <= {path.name for path in folder.glob("checkpoint_*")}
    runs.finish("full")
    runs.assert_same("full", "whole")


@pytest.mark.large  # two starts; what refuses it is tested in training/interruption_test.py too
def test_a_second_process_in_the_folder_is_refused(runs):
    first = runs.start("shared")
    assert wait_for(first, lambda: "parameters, mesh" in runs.log("shared"))
    assert runs.start("shared").wait(timeout=120) == 2
    assert "another run (process" in runs.log("shared")
    assert first.wait(timeout=300) == 0
    runs.assert_same("shared", "whole")


@pytest.mark.large  # minutes: two dozen starts
def test_killed_at_random_moments(runs):
    draw = random.Random(0)
    start = time.monotonic()
    runs.finish("timed")
    longest = 1.1 * (time.monotonic() - start)
    num_kills = num_rounds = 0
    while num_kills < NUM_RANDOM_KILLS:
        name = f"random_{num_rounds}"
        while num_kills < NUM_RANDOM_KILLS:
            process = runs.start(name)
            try:
                assert process.wait(timeout=draw.uniform(0.2, longest)) == 0, runs.log(name)
                break  # it was quicker than the killer
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                num_kills += 1
        runs.finish(name)
        runs.assert_same(name, "whole")
        num_rounds += 1
    print(f"{num_kills} kills in {num_rounds} runs of {STEPS} steps")
