# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Attempts of a job: which end is followed by another, what is noted, and that no process stays.

The processes here are small Python programs that say what they were started with; that trainings
survive this way is what benchmarks/chaos.py shows.
"""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from flan_jax.core import errors, files
from flan_jax.launching import supervise
from flan_jax.launching.supervise import Supervised, wait_before_next_s

DEADLINE_S = 60  # for what must happen; reached only by a test that fails

# `attempt` counts the starts of this process, from 1; `save(n)` makes a checkpoint.
PROGRAM = """
    import os, pathlib, signal, sys, time
    folder = pathlib.Path(sys.argv[1])
    index = int(os.environ.get("JAX_PROCESS_ID", 0))
    with open(folder / f"starts.{index}", "a") as file:
        file.write(os.environ.get("JAX_COORDINATOR_ADDRESS", "alone") + "\\n")
    attempt = len((folder / f"starts.{index}").read_text().splitlines())
    def save(step):
        (folder / f"checkpoint_{step}").mkdir()
    def fail(text, code=1):
        print("flan-jax: error:", text, file=sys.stderr)
        sys.exit(code)
"""

WAIT = """
    from flan_jax.scaling import processes
    def stop(*_):
        print("flan-jax: stopped: saved", flush=True)
        (folder / f"stopped.{index}").touch()
        sys.exit(75)
    signal.signal(signal.SIGTERM, stop)
    processes.stop_with_stdin()
    (folder / f"pid.{index}.tmp").write_text(str(os.getpid()))
    (folder / f"pid.{index}.tmp").rename(folder / f"pid.{index}")
    while True:
        time.sleep(0.05)
"""


def program(code):
    return textwrap.dedent(PROGRAM) + textwrap.dedent(code)


@pytest.fixture
def job(tmp_path):
    """Makes a job of such programs."""

    def made(code, **options):
        argv = (sys.executable, "-c", program(code), str(tmp_path))
        return Supervised(argv=argv, model_dir=tmp_path, **options)

    return made


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The waits between attempts, none of them waited for."""
    noted = []

    def counted(kind, failures):
        noted.append(wait_before_next_s(kind, failures))
        return 0.0

    monkeypatch.setattr(supervise, "wait_before_next_s", counted)
    return noted


def ends(folder):
    return [
        record
        for record in supervise.read_journal(supervise.journal_of(folder))
        if record["event"] == "attempt_end"
    ]


def wait_for(condition):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_processes_find_each_other_and_are_logged(job, tmp_path, capfd):
    code = "print('cores', *sorted(os.sched_getaffinity(0)), os.environ['JAX_NUM_PROCESSES'])"
    supervise.supervise(job(code, num_processes=2))
    addresses = {(tmp_path / f"starts.{index}").read_text() for index in (0, 1)}
    (address,) = addresses
    host, port = address.strip().split(":")
    assert host == "localhost" and int(port) > 0
    for index, share in enumerate(supervise.processes.core_shares(2)):
        header, line = (tmp_path / "logs" / f"process_{index}.log").read_text().splitlines()[-2:]
        assert line == f"cores {' '.join(map(str, share))} 2"
        assert f"attempt 1, process {index}" in "".join(
            (tmp_path / "logs" / f"process_{index}.log").read_text()
        )
    shown = capfd.readouterr().err
    assert shown.count("cores ") == 1  # of process 0
    start, end = supervise.read_journal(supervise.journal_of(tmp_path))
    assert (start["event"], start["attempt"], start["step"]) == ("attempt_start", 1, None)
    assert (end["kind"], end["codes"], end["cause"]) == ("done", [0, 0], "")


def test_a_process_alone_finds_nobody(job, tmp_path):
    supervise.supervise(job("pass"))
    assert (tmp_path / "starts.0").read_text() == "alone\n"


def test_preempted_starts_again_at_once_and_a_crash_waits_longer_each_time(job, tmp_path, waits):
    code = """
        if attempt in (1, 4):
            sys.exit(75)
        if attempt == 5:
            save(10)
            fail("no")
        if attempt < 7:
            os.kill(os.getpid(), signal.SIGKILL)
    """
    supervise.supervise(job(code))
    kinds = [record["kind"] for record in ends(tmp_path)]
    assert kinds == ["preempted", "crashed", "crashed", "preempted", "crashed", "crashed", "done"]
    # The failures that count: none, 1, 2, as before, none as it saved, 1.
    assert waits == [0, 1, 2, 0, 1, 1]
    assert [record["step"] for record in ends(tmp_path)] == [None] * 4 + [10] * 3
    assert ends(tmp_path)[4]["cause"] == "no"
    assert "SIGKILL (out of memory?)" in ends(tmp_path)[1]["cause"]


def test_waits_double_up_to_five_minutes():
    waits = [wait_before_next_s("crashed", n) for n in range(12)]
    assert waits == [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_attempts_without_a_new_checkpoint_are_given_up(job, tmp_path):
    code = """
        if attempt == 2:
            save(4)
        fail(f"reason {attempt}")
    """
    with pytest.raises(errors.FlanError, match="after 3 attempts in a row.*last: reason 5; see"):
        supervise.supervise(job(code, max_failures=3))
    assert len(ends(tmp_path)) == 5
    # Another launch begins to count anew, and its attempts go on.
    with pytest.raises(errors.FlanError, match="after 1 attempts.*last: reason 6"):
        supervise.supervise(job(code, max_failures=1))
    assert ends(tmp_path)[-1]["attempt"] == 6


@pytest.mark.parametrize(("code", "error"), [(2, errors.UsageError), (3, errors.DoesNotFitError)])
def test_what_another_start_cannot_mend_is_not_tried_again(job, tmp_path, code, error):
    with pytest.raises(error, match=r"^process 1: no such thing$"):
        supervise.supervise(
            job(f"fail('no such thing', {code}) if index else None", num_processes=2)
        )
    assert [record["kind"] for record in ends(tmp_path)] == ["usage"]


def test_the_others_are_ended_some_time_after_one_died(job, tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "DYING_S", 0.3)
    monkeypatch.setattr(supervise, "_TERMINATING_S", 0.3)
    # One hears nothing, not even SIGTERM.
    code = """
        if attempt == 2:
            sys.exit()
        if index == 2:
            while not all((folder / f"starts.{i}").exists() for i in (0, 1)):
                time.sleep(0.02)
            fail("broken")
        if index == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)
    """
    supervise.supervise(job(code, num_processes=3))
    crashed, done = ends(tmp_path)
    assert crashed["codes"] == [-signal.SIGTERM, -signal.SIGKILL, 1]
    assert crashed["cause"] == "process 2: broken"
    assert done["codes"] == [0, 0, 0]


def test_two_supervisors_in_one_folder_are_refused(job, tmp_path):
    with files.locked(tmp_path / "logs", "launch"):
        with pytest.raises(errors.UsageError, match=r"another launch \(process"):
            supervise.supervise(job("pass"))
        # Another host's process of the same job has a supervisor of its own.
        supervise.supervise(job("pass", process_id=3))
    assert (tmp_path / "logs" / "process_3.log").is_file()
    assert ends(tmp_path) == [] and (tmp_path / "launch.3.jsonl").is_file()


def test_more_processes_than_one_are_the_whole_job(job):
    with pytest.raises(errors.UsageError, match="process_id is 0, not 2"):
        job("pass", num_processes=2, process_id=2)


def test_the_newest_checkpoint_is_a_finished_one(tmp_path):
    assert supervise.newest_step(tmp_path) is None
    for name in ("checkpoint_8", "checkpoint_16", "checkpoint_24.orbax-checkpoint-tmp", "other"):
        (tmp_path / name).mkdir()
    assert supervise.newest_step(tmp_path) == 16


PARENT = """
    import pathlib, signal, sys
    from flan_jax.launching import supervise
    # As at a terminal: what a shell runs in the background is born deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, program = pathlib.Path(sys.argv[1]), sys.argv[2]
    supervise.training = lambda _: (sys.executable, "-c", program, str(folder))
    sys.exit(supervise.main(["--model_dir", str(folder), "--num_processes", "2", "--", "x"]))
"""


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_no_process_outlives_the_supervisor_and_each_may_save(sent, code, tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path), program(WAIT)],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: all((tmp_path / f"pid.{index}").exists() for index in (0, 1)))
        parent.send_signal(sent)
        assert parent.wait(DEADLINE_S) == code
    finally:
        parent.kill()
        parent.wait()
    for index in (0, 1):
        pid = int((tmp_path / f"pid.{index}").read_text())
        wait_for(lambda pid=pid: is_gone(pid))
        assert (tmp_path / f"stopped.{index}").exists()
    if code > 0:
        (record,) = ends(tmp_path)
        assert record["codes"] == [75, 75] and record["kind"] == "preempted"


def test_asked_to_stop_twice_it_waits_no_longer(job, tmp_path):
    code = """
        signal.signal(signal.SIGTERM, lambda *_: (folder / "told").touch())
        (folder / "ready").touch()
        while True:
            time.sleep(0.05)
    """

    def ask():
        wait_for((tmp_path / "ready").exists)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for((tmp_path / "told").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=ask)
    thread.start()
    with pytest.raises(errors.PreemptedError, match="nothing was saved yet"):
        supervise.supervise(job(code))
    thread.join()
    assert ends(tmp_path)[0]["kind"] == "crashed"


def test_lines_wait_while_the_folder_cannot_be_written(tmp_path, capsys):
    blocked = tmp_path / "logs"
    blocked.write_text("a file where a folder should be")
    lines = supervise.LineFile(blocked / "log")
    lines.add(b"one\n")
    lines.write(now=True)
    lines.write(now=True)
    assert capsys.readouterr().err.count("cannot be written now") == 1
    blocked.unlink()
    lines.add(b"two")
    lines.write(now=True)
    assert Path(lines.path).read_text() == "one\ntwo\n"


def test_what_one_attempt_could_not_log_the_next_one_does(job, tmp_path):
    code = """
        print("said by", attempt, flush=True)
        logs = folder / "logs"
        if attempt == 1:
            logs.rename(folder / "away")
            logs.write_text("")
            sys.exit(75)
        logs.unlink()
        (folder / "away").rename(logs)
    """
    supervise.supervise(job(code))
    lines = (tmp_path / "logs" / "process_0.log").read_text().splitlines()
    assert [line for line in lines if line.startswith("said")] == ["said by 1", "said by 2"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "run"
    assert supervise.main([f"--model_dir={folder}", "--", "--recipe=mini"]) == errors.EXIT_FAILED
    assert re.fullmatch(
        rf"flan-jax: error: Not a directory: {folder}\S*\n", capsys.readouterr().err
    )
