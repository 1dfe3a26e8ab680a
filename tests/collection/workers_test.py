# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Worker processes: each job once, a death fails one job, and none is left whatever happens.

Jobs are expressions for `eval`, so that the processes need no module of these tests.
"""

import multiprocessing
import os
import subprocess
import sys
import types

import pytest

from flan_jax.collection import workers
from flan_jax.collection.store import StoreWriteError
from flan_jax.core.errors import FlanError

PID = "__import__('os').getpid()"
HALT = "__import__('signal').pause()"


def run(jobs, num_workers=2):
    results = {}

    def done(job, result):
        assert job not in results
        results[job] = result

    workers.run_jobs(eval, jobs, num_workers, done)
    assert not multiprocessing.active_children()
    return results


@pytest.mark.parametrize("num_workers", [1, 4])
def test_each_job_is_done_once_by_one_of_few_processes(num_workers):
    jobs = [f"({i}, {PID})" for i in range(60)]
    results = run(jobs, num_workers)
    assert [results[job][0] for job in jobs] == list(range(60))
    pids = {pid for _, pid in results.values()}
    assert len(pids) <= num_workers and os.getpid() not in pids


def test_no_jobs_need_no_process():
    assert run([]) == {}


def test_a_process_that_dies_fails_its_own_job_and_is_replaced():
    kill, leave = f"__import__('os').kill({PID}, 9)", "__import__('os')._exit(3)"
    results = run(["1", kill, "2", leave, leave + " ", "3", "4"])
    assert results == {
        "1": 1, "2": 2, "3": 3, "4": 4, kill: workers.Died("signal 9"),
        leave: workers.Died("exit code 3"), leave + " ": workers.Died("exit code 3"),
    }  # fmt: skip


def test_an_error_of_a_job_is_raised_and_stops_the_others():
    throw = (
        "(_ for _ in ()).throw(__import__('flan_jax.collection.store', fromlist=['x'])"
        ".StoreWriteError('no space left'))"
    )
    with pytest.raises(StoreWriteError, match="no space left"):
        run([HALT, throw])
    assert not multiprocessing.active_children()


def test_an_exception_in_the_parent_stops_all_processes():
    def done(job, result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.run_jobs(eval, [HALT, "1"], 2, done)
    assert not multiprocessing.active_children()


def test_a_process_that_cannot_start_ends_the_run(monkeypatch):
    module = types.ModuleType("known_to_the_parent_only")
    exec("def function(job): return job", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(FlanError, match=r"could not start \(exit code 1; what it printed is above"):
        workers.run_jobs(module.function, ["1"], 1, lambda *_: None)


def test_processes_end_with_a_parent_that_is_killed():
    script = (
        "from flan_jax.collection import workers\n"
        f"jobs = [f'print({{n}}, flush=True), ' + {HALT!r} for n in (1, 2)]\n"
        "workers.run_jobs(eval, jobs, 2, print)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with parent:
        assert {parent.stdout.readline(), parent.stdout.readline()} == {"1\n", "2\n"}
        parent.kill()
        # The pipe ends once no process holds it.
        assert parent.communicate(timeout=60) == ("", None)
