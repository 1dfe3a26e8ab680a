# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two real processes: a stop inside an evaluation, and hangs that are given a name.

Run as a program this file is one process of a job that trains a tiny model.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import jax
import pytest

from flan_jax.core import errors
from flan_jax.parallel import hosts, preemption
from flan_jax.training import loop
from flan_jax.training.train_config import TrainConfig
from flan_jax.training.writers import read_metrics
from tests import host_processes
from tests.training import tiny_runs

# Each starts Python and jax in several processes.
pytestmark = pytest.mark.large
CALLS = 400  # of an evaluation of 20 s


class Batches(tiny_runs.Batches):
    """The tiny runs' batches; on one process one of them never comes."""

    def __init__(self, state, rows, hang_at):
        super().__init__(lambda number, rows: None, state)
        self._rows, self._hang_at = rows, hang_at

    def __next__(self):
        if self.state()["next"] == self._hang_at:
            threading.Event().wait()
        return {name: array[self._rows] for name, array in super().__next__().items()}


def host(kind, folder):
    """Trains as one process of two."""
    hosts.join()
    index = jax.process_index()

    def open_data(data, state, *, process_index, process_count):
        size = data.batch_size // process_count
        rows = slice(process_index * size, (process_index + 1) * size)
        return Batches(state, rows, 5 if (kind, index) == ("data", 1) else None)

    def eval_fn(params, step):
        is_again = Path(f"{folder}/called.{index}").exists()
        for call in range(1 if is_again else CALLS):
            Path(f"{folder}/called.{index}").write_text(str(call + 1))
            preemption.stop_if_asked()
            time.sleep(0.05)
        return {"score": float(step)}

    loop.train(
        model=tiny_runs.MODEL,
        data=tiny_runs.DATA,
        config=TrainConfig(
            optimizer=tiny_runs.ADAFACTOR, loss=tiny_runs.LOSS, model_dir=folder, train_steps=12,
            log_period=1, eval_period=6 if kind == "eval" else 0, checkpoint_period=4,
            hang_timeout_s=15 if kind == "data" else 0,
        ),
        eval_fn=eval_fn if kind == "eval" else None,
        open_data=open_data,
    )  # fmt: skip


def words(kind, folder):
    return ["tests.training.hangs_test", kind, str(folder)]


def log(path, index):
    return Path(f"{path}.{index}").read_text()


def test_a_signal_to_one_process_ends_the_evaluation_of_both(tmp_path):
    path = tmp_path / "log"
    with host_processes.started(words("eval", tmp_path), 2, path) as processes:
        while not all((tmp_path / f"called.{i}").exists() for i in range(2)):
            assert all(p.poll() is None for p in processes), log(path, 0) + log(path, 1)
            time.sleep(0.05)
        os.kill(processes[1].pid, signal.SIGTERM)
        codes = [process.wait(timeout=60) for process in processes]
    assert codes == [errors.EXIT_PREEMPTED] * 2, log(path, 0) + log(path, 1)
    calls = [int((tmp_path / f"called.{i}").read_text()) for i in range(2)]
    assert calls[0] == calls[1] < CALLS
    assert f"asked to stop at step 6 of 12; saved {tmp_path}/checkpoint_6" in log(path, 0)
    assert not [r for r in read_metrics(tmp_path) if r["kind"] == "eval"]
    host_processes.run(words("eval", tmp_path), 2, path)
    evaluated = [r["step"] for r in read_metrics(tmp_path) if r["kind"] == "eval"]
    assert evaluated == [6, 12]  # what was left out is made up for


def test_a_batch_that_never_comes_is_named_and_both_end(tmp_path):
    path, start = tmp_path / "log", time.monotonic()
    with host_processes.started(words("data", tmp_path), 2, path) as processes:
        codes = [process.wait(timeout=90) for process in processes]
    assert time.monotonic() - start < 60
    assert errors.EXIT_OK not in codes
    assert "process 1 of 2 has not got on for" in log(path, 1)
    assert "it is at: step 5, then getting the next batch" in log(path, 1)
    assert "process 1 of 2" in log(path, 0).splitlines()[-1]
    stacks = [p.read_text() for p in (tmp_path / "stacks").glob("process_1_of_2.*")]
    assert any("in __next__" in text for text in stacks)


if __name__ == "__main__":
    try:
        host(*sys.argv[1:])
    except (errors.FlanError, errors.PreemptedError) as error:  # as the command line does
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
