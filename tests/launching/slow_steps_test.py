# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Slow steps and the host that is waited for are named; what does not matter is not."""

import pytest

from flan_jax.launching import attempts, slow_steps
from tests.launching.event_logs import Log, by_process

STEP_S = 1.0


def lockstep(work, times=None, num=20, host="host-{}"):
    """Returns the logs of a job.

    Args:
        work: (data_s, dispatch_s) of each process in each step; the rest of it is waiting.
        times: step -> seconds, of those that do not take STEP_S.
        num: steps.
        host: names of machines.
    """
    logs = [Log(index).start(0, host=host.format(index)) for index in range(len(work))]
    at = 0.0
    for step in range(1, num + 1):
        took_s = (times or {}).get(step - 1, STEP_S)
        for log, (data_s, dispatch_s) in zip(logs, work, strict=True):
            wait_s = max(took_s - data_s - dispatch_s, 0)
            log.step(at, step, data_s=data_s, wait_s=wait_s, dispatch_s=dispatch_s)
        at += (times or {}).get(step, STEP_S)
    return logs


def read(logs):
    return attempts.attempts(by_process(*logs))


def test_steps_far_above_the_median_are_named_the_longest_first():
    found = slow_steps.slow_steps(read(lockstep([(0, 0)], {7: 4.0, 11: 9.0, 13: 1.2})))
    assert [(slow.step, slow.seconds, slow.usual_s) for slow in found] == [
        (11, pytest.approx(9), pytest.approx(1)), (7, pytest.approx(4), pytest.approx(1)),
    ]  # fmt: skip
    assert not any(slow.is_explained for slow in found)


def test_what_varies_always_is_not_unusual():
    times = {step: 1.0 + step % 5 for step in range(1, 21)}
    assert not slow_steps.slow_steps(read(lockstep([(0, 0)], times)))


def test_the_first_steps_of_an_attempt_are_no_news():
    assert not slow_steps.slow_steps(read(lockstep([(0, 0)], {1: 9.0, 2: 9.0})))
    assert slow_steps.slow_steps(read(lockstep([(0, 0)], {3: 9.0})))


def test_a_step_during_which_something_else_was_done_is_no_slow_step():
    log = Log().start(0)
    for step in range(1, 10):
        log.step(step, step)
    log.phase(9.5, 40, "eval")
    for step in range(10, 20):
        log.step(30 + step, step)
    assert not slow_steps.slow_steps(read([log]))


def test_the_process_whose_data_was_late_is_named():
    logs = lockstep([(0, 0)] * 3, {7: 4.0})
    # Process 0 waits in step 7 for one that it began with, and process 2 did not: of step 6.
    next(r for r in logs[2].records if r.get("step_count") == 6)["data_s"] = 3.0
    (slow,) = slow_steps.slow_steps(read(logs))
    assert (slow.step, slow.process, slow.own, slow.own_s) == (7, 2, "data", 3.0)
    lines = list(slow_steps.shown([slow], []))
    assert lines[1] == (
        "  step 7 of attempt 1: 4.00 s, usually 1.00 s; process 2 spent 3.00 s on data"
    )


def test_the_host_that_others_wait_for_is_named():
    work = [(0.1, 0.05), (0.1, 0.05), (0.9, 0.1), (0.1, 0.05)]
    (slow,) = slow_steps.slow_hosts(read(lockstep(work)))
    assert (slow.process, slow.host, slow.own) == (2, "host-2", "data")
    assert slow.own_s == pytest.approx(1.0) and slow.others_s == pytest.approx(0.15)
    assert slow.step_s == pytest.approx(1.0)
    (line,) = slow_steps.shown([], [slow])
    assert line == (
        "process 2 on host-2 held up attempt 1: its own work, mostly data, took 1.00 s of a step's "
        "1.00 s, that of the others 0.15 s"
    )


@pytest.mark.parametrize(
    ("work", "own"),
    [
        ([(0.1, 0.1), (0.1, 0.9)], "other work"),
        ([(0.3, 0.1), (0.3, 0.1)], None),  # all alike
        ([(0.1, 0.0), (0.5, 0.0)], None),  # has more to do, but waits for its device all the same
        ([(0.95, 0.0), (0.99, 0.0)], None),  # all are busy
        ([(0.99, 0.0)], None),  # there is nobody to wait for it
    ],
)
def test_only_a_host_that_matters_is_named(work, own):
    found = slow_steps.slow_hosts(read(lockstep(work)))
    assert [host.own for host in found] == ([own] if own else [])


def test_a_few_steps_tell_nothing():
    assert not slow_steps.slow_hosts(read(lockstep([(0, 0), (1, 0)], num=4)))
    assert not slow_steps.slow_steps(read(lockstep([(0, 0)], {4: 9}, num=6)))


def test_the_same_host_in_several_attempts_is_one_line():
    logs = lockstep([(0.1, 0.05), (0.9, 0.1)])
    again = lockstep([(0.1, 0.05), (0.9, 0.1)])
    for log, more in zip(logs, again, strict=True):
        log.records += [{**record, "time": record["time"] + 100} for record in more.records]
    found = slow_steps.slow_hosts(read(logs))
    assert [host.attempt for host in found] == [1, 2]
    (line,) = slow_steps.shown([], found)
    assert line.startswith("process 1 on host-1 held up 2 attempts: ")


def test_long_lists_are_cut():
    found = slow_steps.slow_steps(
        read(lockstep([(0, 0)], dict.fromkeys(range(5, 45, 5), 9.0), num=50))
    )
    lines = list(slow_steps.shown(found, []))
    assert lines[0] == "8 step(s) took unusually long, 64.0 s more than usual in all:"
    assert len(lines) == 1 + 5 + 1 and lines[-1] == "  and 3 more"
    assert len(slow_steps.as_json(found, [])["slow_steps"]) == 8
