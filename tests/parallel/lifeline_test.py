# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who is lost is named: connections in this process, then real processes that are killed."""

import contextlib
import queue
import signal
import socket
import subprocess
import sys
import time

import pytest

from flan_jax.core import errors
from flan_jax.parallel import lifeline
from flan_jax.parallel.lifeline import Lifeline
from flan_jax.parallel.messages import Channel
from tests import host_processes


class Job:
    """The lifelines of several processes, in this one; `ended` has (process, text, exit code)."""

    def __init__(self, num, silence_timeout_s=30.0, without=()):
        pairs = {i: socket.socketpair() for i in range(1, num)}
        self.ends = {i: Channel(theirs) for i, (_, theirs) in pairs.items()}
        self.hub_ends = {i: Channel(ours) for i, (ours, _) in pairs.items()}
        self.ended, self.is_saving = queue.Queue(), False
        channels = {0: self.hub_ends} | {i: {0: end} for i, end in self.ends.items()}
        self.lifelines = {
            index: Lifeline(
                process_id=index,
                host_names=[f"h{i}" for i in range(num)],
                channels=channels[index],
                silence_timeout_s=silence_timeout_s,
                doing=lambda index=index: f"step {index}",
                is_saving=lambda: self.is_saving,
                end=lambda text, code, index=index: self._end(index, text, code),
            )
            for index in channels
            if index not in without
        }

    def _end(self, index, text, code):
        self.ended.put((index, text, code))
        self.leave(index)

    def leave(self, index):
        """Closes a process's connections, as its end does."""
        for channel in self.hub_ends.values() if index == 0 else [self.ends[index]]:
            with contextlib.suppress(OSError):
                channel._socket.shutdown(socket.SHUT_RDWR)

    def result(self, num):
        """Returns what `num` processes end with, by process."""
        found = [self.ended.get(timeout=20) for _ in range(num)]
        return {index: (text, code) for index, text, code in found}

    def close(self):
        for lifeline_ in self.lifelines.values():
            lifeline_.goodbye(0)
        for index in [0, *self.ends]:
            self.leave(index)
        for lifeline_ in self.lifelines.values():
            lifeline_._thread.join(timeout=20)
            lifeline_._selector.close()
        for channel in [*self.ends.values(), *self.hub_ends.values()]:
            channel.close()


@contextlib.contextmanager
def job(*args, **kwargs):
    made = Job(*args, **kwargs)
    try:
        yield made
    finally:
        made.close()


def wait_until(is_so):
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("lost", [0, 2])
def test_who_ends_without_a_word_is_named_on_all_others(lost):
    with job(4, without=[lost]) as processes:
        for channel in processes.hub_ends.values() if lost == 0 else [processes.ends[lost]]:
            channel.send({"doing": f"step {lost}"})
        processes.leave(lost)
        found = processes.result(3)
        assert lost not in found and set(found.values()) == {
            (
                f"process {lost} of 4 (h{lost}) ended without a word: it was killed, or crashed; "
                f"it was last at: step {lost}; see its log, and start the same command again to go "
                "on from the last checkpoint",
                errors.EXIT_FAILED,
            )
        }


@pytest.mark.parametrize("silent", [0, 2])
def test_who_is_silent_is_named_on_all_others(silent):
    with job(3, silence_timeout_s=0.5, without=[silent]) as processes:
        found = processes.result(2)
        assert len(set(found.values())) == 1 and silent not in found
        text, code = found.popitem()[1]
        assert text.startswith(f"process {silent} of 3 (h{silent}) gave no sign of life for 0 s (")
        assert code == errors.EXIT_FAILED


def test_signs_of_life_are_enough():
    with job(3, silence_timeout_s=0.3) as processes:
        time.sleep(1.0)  # three times as long as anyone may be silent
        assert processes.ended.empty()
        assert processes.lifelines[0].others() == {1: "step 1", 2: "step 2"}
        assert processes.lifelines[2].others() == {0: "step 0"}


@pytest.mark.parametrize("left", [0, 1])
def test_who_is_done_is_not_lost(left):
    done = {0: [1, 2], 1: [0, 2]}[left]
    with job(3, silence_timeout_s=0.3, without=done) as processes:
        for channel in processes.ends.values() if left == 0 else [processes.hub_ends[1]]:
            channel.send({"bye": errors.EXIT_OK})
        for index in done:
            processes.leave(index)
        processes.lifelines[left]._thread.join(timeout=20)
        assert processes.ended.empty()


@pytest.mark.parametrize(
    ("code", "want"),
    [
        (errors.EXIT_USAGE, ("process 1 of 3 (h1) ended with exit code 2; its own message says why",
                             errors.EXIT_USAGE)),
        (errors.EXIT_FAILED, ("process 1 of 3 (h1) ended with exit code 1; its own message says "
                              "why", errors.EXIT_FAILED)),
        (errors.EXIT_PREEMPTED, ("process 1 of 3 (h1) was asked to stop; start the same command "
                                 "again to go on from the last checkpoint", errors.EXIT_PREEMPTED)),
    ],
)  # fmt: skip
def test_after_a_failure_of_one_the_others_get_some_time(monkeypatch, code, want):
    for name in ("_GRACE_S", "_STOP_GRACE_S"):
        monkeypatch.setattr(lifeline, name, 0.5)
    with job(3, silence_timeout_s=1.0) as processes:
        start = time.monotonic()
        processes.lifelines[1].goodbye(code)
        found = processes.result(3)
        assert time.monotonic() - start >= 0.5
        # It has said itself why it failed; it just goes.
        assert found == {0: want, 1: ("", code), 2: want}


@pytest.mark.parametrize("is_done", [False, True])
def test_who_did_not_wait_for_the_others_is_told_at_once(is_done):
    with job(2, silence_timeout_s=1.0, without=[1]) as processes:
        if is_done:  # and waits, as jax does
            processes.lifelines[0].goodbye(errors.EXIT_OK)
        processes.ends[1].send({"bye": errors.EXIT_FAILED})
        processes.leave(1)
        assert processes.result(1)[0][0].endswith("exit code 1; its own message says why")


def test_who_is_asked_to_stop_writes_its_checkpoint_first(monkeypatch):
    monkeypatch.setattr(lifeline, "_STOP_GRACE_S", 0.1)
    with job(2, silence_timeout_s=0.5, without=[1]) as processes:
        processes.is_saving = True
        processes.ends[1].send({"bye": errors.EXIT_PREEMPTED})
        processes.leave(1)
        time.sleep(0.6)
        assert processes.ended.empty()
        processes.is_saving = False
        assert processes.result(1)[0][1] == errors.EXIT_PREEMPTED


def test_who_waits_for_a_word_gets_it_at_once():
    with job(2) as processes:
        processes.lifelines[1].goodbye(errors.EXIT_FAILED)
        processes.lifelines[0].await_word(20)
        text, _ = processes.result(2)[0]
        assert text.startswith("process 1 of 2 (h1) ended with exit code 1")


def test_a_process_that_was_itself_stopped_blames_nobody(monkeypatch):
    with job(2, silence_timeout_s=0.5) as processes:
        wait_until(lambda: processes.lifelines[0].others() == {1: "step 1"})
        # All of a job's processes are stopped for longer than they may be silent, and go on.
        with processes.lifelines[0]._lock, processes.lifelines[1]._lock:
            time.sleep(1.0)
        time.sleep(0.3)
        assert processes.ended.empty()


# Real processes

WORK = """
import sys, time
import numpy as np
from flan_jax.core import errors, events
from flan_jax.parallel import hosts
import flan_jax.main

def work(args):
    hosts.join()
    print("joined", flush=True)
    step = 0
    while hosts.agreed(True):
        step += 1
        events.step(step, data_s=0, wait_s=0, dispatch_s=0)
        if step == 20:
            print("at work", flush=True)
        if step == 40 and sys.argv[1:] == ["fails"] and not hosts.is_first():
            raise errors.DataError("line 7 is none")

flan_jax.main.run = work
sys.exit(flan_jax.main.main([]))
"""


@contextlib.contextmanager
def working(num, *arguments, silence_timeout_s=60):
    """Starts real processes, and gives them when all are at work; `.log(i)` is standard error."""
    port, processes = host_processes.free_port(), []
    try:
        for index in range(num):
            environment = host_processes.environment(num, index, port)
            environment[lifeline.TIMEOUT_VARIABLE] = str(silence_timeout_s)
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", WORK, *arguments], cwd=host_processes.ROOT,
                    env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
        for process in processes:
            while process.stdout.readline() not in ("at work\n", ""):
                pass
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def last_line(process):
    return process.communicate(timeout=30)[1].splitlines()[-1]


@pytest.mark.slow  # two Python processes with jax: 4 s
def test_a_killed_process_is_named_by_the_one_left():
    with working(2) as processes:
        processes[1].kill()
        start = time.monotonic()
        line = last_line(processes[0])
        assert time.monotonic() - start < 10 and processes[0].returncode == errors.EXIT_FAILED
    assert "flan-jax: error: process 1 of 2 (" in line
    assert ") ended without a word: it was killed, or crashed" in line


@pytest.mark.large  # each starts two or four Python processes with jax
@pytest.mark.parametrize(("num", "lost"), [(2, 0), (4, 0), (4, 3)])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_process_is_named_by_all_others(num, lost, how):
    with working(num, silence_timeout_s=5) as processes:
        processes[lost].send_signal(how)
        start = time.monotonic()
        for index, process in enumerate(processes):
            if index != lost:
                want = "gave no sign of life" if how == signal.SIGSTOP else "ended without a word"
                line = last_line(process)
                assert f"flan-jax: error: process {lost} of {num} (" in line and want in line
                assert process.returncode == errors.EXIT_FAILED
        assert time.monotonic() - start < 15
        if how == signal.SIGSTOP:  # it wakes up, and is not needed any more
            processes[lost].send_signal(signal.SIGCONT)
            line = last_line(processes[lost])
            assert processes[lost].returncode == errors.EXIT_FAILED
            assert line.startswith("flan-jax: error: ")


@pytest.mark.large  # starts two Python processes with jax
def test_an_ordinary_failure_of_one_is_its_own_message():
    with working(2, "fails") as processes:
        assert last_line(processes[1]) == "flan-jax: error: line 7 is none"
        line = last_line(processes[0])
    assert line.endswith("ended with exit code 1; its own message says why")
    assert [process.returncode for process in processes] == [errors.EXIT_FAILED] * 2
