# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The target `local`: what it plans, what it tells of a job, and that it stops one."""

import argparse
import subprocess
import sys
import textwrap

import pytest

from flan_jax.core import errors, files
from flan_jax.launching import local, plan, supervise
from flan_jax.launching.job import Job
from tests.launching.supervise_test import DEADLINE_S, WAIT, program, wait_for


def arguments(*words, do="start"):
    parser = argparse.ArgumentParser()
    local.add_arguments(parser.add_argument_group("x"))
    args = parser.parse_args(words)
    args.do = do
    return args


def job(folder, **fields):
    train = ("--recipe=mini", f"--gin.MODEL_DIR={folder}")
    return Job(name="x", model_dir=str(folder), train=train, **fields)


def test_the_plan_is_the_command_that_does_it(tmp_path):
    made = local.plan(job(tmp_path), arguments())
    assert made.steps[0].argv == (
        "python", "-m", "flan_jax.launching.supervise", "--model_dir", str(tmp_path),
        "--num_processes", "1", "--max_failures", "5",
        "--", "--recipe=mini", f"--gin.MODEL_DIR={tmp_path}",
    )  # fmt: skip
    args = arguments("--num_processes=4", "--cores=1", "--max_failures=9")
    made = local.plan(job(tmp_path, environment={"A": "b c"}), args)
    assert made.steps[0].argv[:13] == (
        "env", "A=b c", "python", "-m", "flan_jax.launching.supervise", "--model_dir",
        str(tmp_path), "--num_processes", "4", "--cores", "1", "--max_failures", "9",
    )  # fmt: skip
    assert "'A=b c'" in plan.shown(made)
    assert list(tmp_path.iterdir()) == []


def test_the_command_that_is_shown_is_understood(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(supervise, "supervise", seen.append)
    args = arguments("--num_processes=2", "--cores=1", "--max_failures=9")
    argv = local.plan(job(tmp_path), args).steps[0].argv
    assert supervise.main(argv[3:]) == 0
    local.do(job(tmp_path), args, "start")
    assert seen[0] == seen[1]
    assert seen[0].argv[1:] == (
        "-m", "flan_jax", "train", "--recipe=mini", f"--gin.MODEL_DIR={tmp_path}",
        "--stop_with_stdin",
    )  # fmt: skip


def test_a_bucket_must_be_mounted(tmp_path):
    with pytest.raises(errors.UsageError, match="gs://no-such-bucket-here is not mounted here"):
        local.plan(job(tmp_path, buckets=("no-such-bucket-here",)), arguments())
    with pytest.raises(errors.UsageError, match="no MODEL_DIR"):
        local.plan(Job(name="x"), arguments())


@pytest.mark.parametrize(("do", "told"), [("stop", "nothing that was launched"), ("delete", "rem")])
def test_what_cannot_be_done(tmp_path, do, told):
    with pytest.raises(errors.UsageError, match=told):
        local.do(job(tmp_path), arguments(do=do), do)


def test_a_job_of_another_host_is_not_stopped_here(tmp_path, monkeypatch):
    with files.locked(tmp_path / "logs", "launch"):
        monkeypatch.setattr(local.socket, "gethostname", lambda: "elsewhere")
        with pytest.raises(errors.UsageError, match="runs on .*; stop it there"):
            local.plan(job(tmp_path), arguments(do="stop"))


LAUNCH = """
    import sys
    from flan_jax.launching import local, supervise
    from tests.launching.local_test import arguments, job
    folder, program = sys.argv[1:]
    supervise.training = lambda _: (sys.executable, "-c", program, folder)
    local.do(job(folder), arguments(), "start")
"""


def test_status_and_stop_of_a_running_job(tmp_path, capfd):
    with pytest.raises(errors.UsageError, match="nothing was launched"):
        local.do(job(tmp_path), arguments(do="status"), "status")
    code = program("if attempt == 1: save(8); fail('no')") + textwrap.dedent(WAIT)
    command = [sys.executable, "-c", textwrap.dedent(LAUNCH), str(tmp_path), code]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as launch:
        try:
            wait_for((tmp_path / "pid.0").exists)
            first, *others = local.status(tmp_path).splitlines()
            assert first.startswith(f"running (process {launch.pid} on ")
            assert others[0].startswith("attempt 1: crashed 20") and others[0].endswith(": no")
            assert others[1:] == ["attempt 2: begun", "newest checkpoint: step 8"]
            local.do(job(tmp_path), arguments(do="stop"), "stop")
            assert launch.wait(DEADLINE_S) != 0
        finally:
            launch.kill()
    assert (tmp_path / "stopped.0").exists()
    local.do(job(tmp_path), arguments(do="logs"), "logs")
    local.do(job(tmp_path), arguments(do="status"), "status")
    shown = capfd.readouterr()
    assert "newest checkpoint: step 8" in shown.err
    assert "flan-jax: stopped: saved" in shown.out
    assert "not running\n" in shown.out and "attempt 2: preempted 20" in shown.out
