# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Processes side by side: how many, on which cores, what their end is called, and that none stays.

The processes here are small Python programs; whether real runs go this way is in sweeps_test.
"""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from flan_jax.core import errors
from flan_jax.scaling import processes

DEADLINE_S = 60  # for what must happen; reached only by a test that fails

# Tells that it is there, then waits for the end; says so when it is asked to stop.
WAITER = """
    import os, pathlib, signal, sys, time
    from flan_jax.scaling import processes
    folder = pathlib.Path(sys.argv[1])
    def stop(*_):
        (folder / f"{sys.argv[2]}.stopped").touch()
        sys.exit(75)
    signal.signal(signal.SIGTERM, stop)
    processes.stop_with_stdin()
    (folder / f"{sys.argv[2]}.tmp").write_text(str(os.getpid()))
    (folder / f"{sys.argv[2]}.tmp").rename(folder / f"{sys.argv[2]}.pid")
    while True:
        time.sleep(0.05)
"""

# Carries out two waiters and ends as the command line would.
PARENT = """
    import pathlib, signal, sys
    from flan_jax.core import errors
    from flan_jax.scaling import processes
    # As at a terminal: what a shell runs in the background is born deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, waiter = pathlib.Path(sys.argv[1]), sys.argv[2]
    commands = [
        processes.Command(
            name=name, argv=(sys.executable, "-c", waiter, str(folder), name), log=folder / "log"
        )
        for name in "ab"
    ]
    try:
        list(processes.run_all(commands, num=2, what="test"))
    except errors.PreemptedError:
        sys.exit(75)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def command(folder, name, code, *arguments):
    argv = (sys.executable, "-c", textwrap.dedent(code), str(folder), name, *arguments)
    return processes.Command(name=name, argv=argv, log=folder / f"{name}.log")


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


def test_each_process_has_an_equal_share_of_the_cores():
    free = os.sched_getaffinity(0)
    assert processes.core_shares(1) == [tuple(sorted(free))]
    shares = processes.core_shares(len(free))
    assert sorted(core for share in shares for core in share) == sorted(free)
    assert all(len(share) == 1 for share in processes.core_shares(3 * len(free)))
    assert processes.core_shares(2, cores=len(free)) == [tuple(sorted(free))] * 2
    with pytest.raises(errors.UsageError, match=rf"{len(free) + 1} cores: .* may use {len(free)}"):
        processes.core_shares(2, cores=len(free) + 1)
    with pytest.raises(errors.UsageError, match="cannot run 0 at a time"):
        processes.core_shares(0)


def test_two_go_at_a_time_and_no_more_each_on_its_cores(tmp_path):
    meet = """
        import os, pathlib, sys, time
        folder, name, other = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
        here = folder / f"{name}.here"
        here.touch()
        assert len(list(folder.glob("*.here"))) <= 2, "three at a time"
        (folder / f"{name}.was").touch()
        while not (folder / f"{other}.was").exists():  # forever, if they go one after another
            time.sleep(0.01)
        here.unlink()
        print("cores", *sorted(os.sched_getaffinity(0)))
    """
    commands = [command(tmp_path, n, meet, o) for n, o in (("a", "b"), ("b", "a"), ("c", "a"))]
    before = os.sched_getaffinity(0)
    endings = list(processes.run_all(commands, num=2, what="test"))
    assert sorted(e.command.name for e in endings) == ["a", "b", "c"]
    assert [e.code for e in endings] == [0, 0, 0]
    for name, share in zip("ab", processes.core_shares(2), strict=True):
        assert f"cores {' '.join(map(str, share))}\n" in (tmp_path / f"{name}.log").read_text()
    assert os.sched_getaffinity(0) == before


def test_an_ending_says_what_happened(tmp_path):
    commands = [
        command(tmp_path, "fine", "print('x')"),
        command(tmp_path, "wrong", "import sys; sys.exit('flan-jax: error: no such thing')"),
        command(tmp_path, "killed", "import os; os.kill(os.getpid(), 9)"),
    ]
    endings = {e.command.name: e for e in processes.run_all(commands, num=1, what="test")}
    assert list(endings) == ["fine", "wrong", "killed"]
    assert {name: e.code for name, e in endings.items()} == {"fine": 0, "wrong": 1, "killed": -9}
    assert str(endings["wrong"]) == "its process ended with code 1: no such thing"
    assert str(endings["killed"]) == "its process was ended by SIGKILL (out of memory?)"
    assert (tmp_path / "fine.log").read_text().startswith(f"$ {sys.executable} -c ")


def test_closing_stops_what_runs_and_lets_it_save(tmp_path):
    wait = textwrap.dedent(WAITER)
    commands = [command(tmp_path, "quick", "pass"), command(tmp_path, "waiter", wait)]
    with contextlib.closing(processes.run_all(commands, num=2, what="test")) as endings:
        assert next(endings).command.name == "quick"
        wait_for((tmp_path / "waiter.pid").exists)
    assert (tmp_path / "waiter.stopped").exists()
    assert is_gone(int((tmp_path / "waiter.pid").read_text()))


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_no_process_outlives_its_parent_and_each_may_save(sent, code, tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path), textwrap.dedent(WAITER)],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: all((tmp_path / f"{name}.pid").exists() for name in "ab"))
        parent.send_signal(sent)
        assert parent.wait(DEADLINE_S) == code
    finally:
        parent.kill()
        parent.wait()
    for name in "ab":
        pid = int((tmp_path / f"{name}.pid").read_text())
        wait_for(lambda pid=pid: is_gone(pid))
        assert (tmp_path / f"{name}.stopped").exists()


def test_what_died_is_carried_out_again_after_those_that_wait(tmp_path):
    once = """
        import os, pathlib, sys
        with open(pathlib.Path(sys.argv[1]) / "order", "a") as file:
            file.write(sys.argv[2])
        if (pathlib.Path(sys.argv[1]) / "order").read_text().count(sys.argv[2]) == 1:
            os.kill(os.getpid(), 9) if sys.argv[2] == "a" else sys.exit(75)
    """
    commands = [command(tmp_path, name, once) for name in "ab"]
    commands += [command(tmp_path, "c", "import sys; sys.exit(1)")]
    asked = []

    def again(ending):
        asked.append((ending.command.name, ending.code, ending.died))
        return ending.died

    endings = list(processes.run_all(commands, num=1, what="test", again=again))
    assert [(e.command.name, e.code) for e in endings] == [("c", 1), ("a", 0), ("b", 0)]
    assert asked[:3] == [("a", -9, True), ("b", 75, True), ("c", 1, False)]
    assert (tmp_path / "order").read_text() == "abab"
