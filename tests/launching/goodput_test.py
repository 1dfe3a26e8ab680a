# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every second of hand-made runs goes where a person counting them would put it."""

import pytest

from flan_jax.launching import attempts, goodput
from tests.launching.event_logs import Log, by_process


def account(*logs):
    return goodput.account(attempts.attempts(by_process(*logs)))


def seconds(found):
    """Returns the categories that have any, after checking that they are all of the time."""
    assert sum(found.seconds.values()) == pytest.approx(found.wall_s)
    for before, after in zip(found.spans, found.spans[1:], strict=False):
        assert before.end == after.start
    return {name: pytest.approx(value) for name, value in found.seconds.items() if value}


def test_one_attempt_that_was_done():
    log = (
        Log()
        .start(100)
        .phase(100, 103, "tpu_init")
        .phase(103, 105, "training_preparation")
        .phase(106, 110, "checkpoint_restore")
        .phase(110, 111, "data_loading")
        .phase(111, 121, "compile")
        .begun(121, 0)
        .step(121, 1)
        .step(123, 2, wait_s=1.9)
        .step(125, 3, wait_s=1.9)
        .step(127, 4, wait_s=1.9)
        .phase(129, 139, "eval")
        .phase(139.5, 140.5, "checkpoint_save")
        .end(142, 0)
    )
    found = account(log)
    assert found.wall_s == 42
    assert seconds(found) == {
        "init": 3, "preparation": 2, "restore": 4, "data_wait": 1, "compile": 10, "steps": 8,
        "eval": 10, "save": 1, "other": 1 + 0.5 + 1.5,
    }  # fmt: skip
    assert found.goodput == pytest.approx(8 / 42)
    (one,) = found.attempts
    assert (one.last_step, one.num_lost, one.recovery_s) == (4, 0, None)


def test_a_phase_within_a_phase_or_a_step_has_its_own_time():
    log = (
        Log()
        .start(0)
        .step(0, 1)
        .enter(2, "eval")
        .phase(3, 7, "compile")
        .leave(9, "eval")
        .step(10, 2)
        .phase(11, 14, "checkpoint_save")
        .add(15, "checkpoint", step=2)
        .step(16, 3)
        .end(17, 0)
    )
    assert seconds(account(log)) == {
        "steps": 2 + 1 + 1, "eval": 1 + 2, "compile": 4, "save": 3, "other": 1 + 2,
    }  # fmt: skip


def test_data_counts_where_the_devices_had_nothing_to_do():
    log = Log().start(0).begun(0, 0).step(0, 1)
    # Three steps of 2 s that wait for the device: their data came while it was at work.
    log.step(2, 2, data_s=1, wait_s=1).step(4, 3, data_s=1, wait_s=1).step(6, 4, data_s=1, wait_s=1)
    log.step(11, 5, data_s=4.5, wait_s=0, dispatch_s=0.5)  # the device ended after 2 of these 5 s
    log.step(17, 6, data_s=4, wait_s=2)  # first 2 s for the step before, then 4 s of data
    log.phase(19, 20, "eval").step(23, 7, data_s=2.5, wait_s=0)  # nothing was left to compute
    log.end(25, 0)
    assert seconds(account(log)) == {
        "steps": 2 + 2 + 2 + 2 + 4 + 2 + 2, "data_wait": 3 + 2 + 2.5, "eval": 1, "other": 0.5,
    }  # fmt: skip


def test_where_no_step_waited_for_the_device_all_data_counts():
    log = Log().start(0).begun(0, 0).step(0, 1)
    for step in range(2, 6):
        log.step(3 * (step - 1), step, data_s=2, wait_s=0, dispatch_s=1)
    assert seconds(account(log)) == {"steps": 4, "data_wait": 8}


def test_what_a_killed_attempt_did_after_its_last_checkpoint_is_lost():
    log = Log().start(0).phase(0, 5, "compile").begun(5, 0)
    for step in range(1, 5):
        log.step(5 + 2 * (step - 1), step)  # the second one is saved, the fourth under way
        if step == 2:
            log.phase(8, 8.5, "checkpoint_save")
    log.phase(11.5, 12.5, "eval")  # at step 4: lost with it
    other = Log(1).start(0.1).step(5, 1).step(13, 4)  # the last sign of life
    log.start(20).phase(20, 24, "compile").begun(24, 2)
    other.start(20.1).step(24, 3)
    for step in range(3, 6):
        log.step(24 + 2 * (step - 3), step)
    log.end(30, 0)
    other.end(30, 0)
    found = account(log, other)
    assert found.wall_s == 30
    assert seconds(found) == {
        "compile": 5 + 4,
        "steps": 2 + 1 + 6,
        "save": 0.5,
        "other": 0.5,
        "lost": 13 - 9,
        "down": 20 - 13,
    }
    first, second = found.attempts
    assert (first.last_step, first.num_lost, first.recovery_s) == (4, 2, None)
    assert (second.last_step, second.num_lost) == (5, 0)
    assert second.recovery_s == 24 - 13
    assert first.attempt.ending == "killed" and second.attempt.ending == "done"


def test_an_attempt_without_steps_delays_the_recovery():
    log = Log().start(0).begun(0, 0).step(0, 1).step(1, 2).end(2, 75)
    log.start(10).phase(10, 12, "tpu_init")  # killed
    log.start(20).phase(20, 22, "tpu_init").begun(22, 2).step(22, 3).end(23, 0)
    found = account(log)
    assert seconds(found) == {"steps": 2 + 1, "init": 2 + 2, "down": 8 + 8}
    assert [one.recovery_s for one in found.attempts] == [None, None, 20]
    assert [one.num_lost for one in found.attempts] == [0, 0, 0]
    assert [one.last_step for one in found.attempts] == [2, None, 3]


def test_a_checkpoint_that_broke_loses_all_attempts_after_it():
    log = Log().start(0).begun(0, 0).step(0, 1).step(1, 2).end(2, 75)
    log.start(2).begun(2, 2).step(2, 3).step(3, 4).end(4, 75)
    log.start(4).begun(4, 1).step(4, 2).end(5, 0)  # neither the checkpoint of 4 nor of 2 was whole
    found = account(log)
    assert seconds(found) == {"steps": 1 + 1, "lost": 1 + 2}
    assert [one.num_lost for one in found.attempts] == [1, 2, 0]


def test_what_is_under_way_is_not_lost_yet():
    found = account(Log().start(0).begun(0, 0).step(0, 1).step(2, 2).step(4, 3))
    assert seconds(found) == {"steps": 4}
    assert found.attempts[0].attempt.ending == "no end yet, or killed"


def test_attempts_that_overlap_are_cut_at_the_start_of_the_next():
    log = Log().start(0).begun(0, 0).step(0, 1)
    straggler = Log(1).start(0).begun(0, 0).step(0, 1).end(9, 1)  # still writes in the next one
    log.start(6).begun(6, 0).step(6, 1).step(7, 2).step(8, 3).step(9, 4).end(10, 0)
    straggler.start(9.5).end(10, 0)
    found = account(log, straggler)
    assert found.wall_s == 10
    assert seconds(found) == {"lost": 6, "steps": 4}
    assert [sorted(one.attempt.logs) for one in found.attempts] == [[0, 1], [0, 1]]
    assert [(span.start, span.end) for span in goodput.lane(found, 1)] == [(0, 6), (9.5, 10)]


def test_a_clock_that_is_set_back_takes_no_time():
    log = Log().start(100).begun(100, 0).step(100, 1).step(104, 2).step(101, 3).step(106, 4)
    log.phase(90, 95, "eval").end(108, 0)
    log.start(107).begun(107, 4).step(107, 5).end(110, 0)
    found = account(log)
    assert found.wall_s == 10
    assert seconds(found) == {"steps": 4 + 0 + 2 + 2, "other": 2}


def test_waiting_for_the_last_process_to_begin_is_what_that_one_does():
    log = Log().start(0).phase(0, 1, "tpu_init").phase(1, 4, "compile").begun(4, 0)
    log.step(4, 1).step(4, 2).step(4, 3)
    other = Log(1).start(0.5).phase(0.5, 1, "tpu_init").phase(2, 12, "compile").step(12, 1)
    # Its compiling has ended and both make steps.
    for step in range(4, 7):
        log.step(2 * step + 5, step)
        other.step(2 * step + 5, step)
    log.end(20, 0)
    other.end(20, 0)
    third = Log(2).start(0)  # what it did was lost
    assert seconds(account(log, other, third)) == {
        "init": 0.5, "compile": 10, "other": 0.5 + 1, "steps": 8,
    }  # fmt: skip
    log.records = [*Log().start(-10).step(-9, 1).end(-5, 1).records, *log.records]
    assert account(log, other, third).attempts[1].recovery_s == 12 + 5


def test_who_never_begins_tells_for_the_attempt():
    log = Log().start(0).phase(0, 4, "compile").begun(4, 0).step(4, 1).step(4, 2).end(60, 1)
    other = Log(1).start(0).enter(0, "compile").add(60, "hang")
    assert seconds(account(log, other)) == {"compile": 60}


def test_lost_lines_do_no_lasting_harm():
    log = Log().start(0).phase(0, 2, "tpu_init").enter(2, "eval")
    log.step(5, 1)  # the end of the phase was lost, on a disk that was full
    log.step(7, 2).enter(9, "eval").enter(10, "compile").leave(13, "eval")  # the end of one inside
    log.enter(13, "eval").leave(14, "checkpoint_save")  # the start of one
    log.leave(15, "eval").step(15, 3).end(16, 0)
    found = seconds(account(log))
    assert found == {"init": 2, "eval": 3 + 1 + 2, "compile": 3, "steps": 2 + 2 + 1}


def test_one_event_is_no_time():
    found = account(Log().start(5))
    assert (found.wall_s, found.goodput, found.spans) == (0, 0, ())
    assert [line for line in goodput.shown(found) if "100.0%" in line]


def test_tables_and_json_hold_the_same_numbers():
    log = Log().start(0).begun(0, 0).step(0, 1).step(60, 2)
    log.start(70).begun(70, 1).step(71, 2).end(80, 75)
    found = account(log)
    lines = list(goodput.shown(found))
    assert lines[0].split() == ["time", "share"]
    assert any(line.split()[:5] == ["1", "min", "9", "s", "86.2%"] for line in lines)
    assert any(line.split()[:4] == ["10.0", "s", "12.5%", "down"] for line in lines)
    assert lines[-1].split() == (
        ["2", "1", "1", "to", "2", "10.0", "s", "11.0", "s", "preempted", "and", "saved"]
    )
    as_json = goodput.as_json(found)
    assert as_json["wall_s"] == 80 and as_json["goodput"] == pytest.approx(69 / 80)
    assert as_json["seconds"]["down"] == 10 and as_json["seconds"]["lost"] == 0
    assert as_json["attempts"][1]["recovery_s"] == 11
    assert as_json["attempts"][0]["ending"] == "killed"


def test_a_lane_is_what_that_process_did():
    log = Log().start(0).begun(0, 0).step(0, 1).step(2, 2).end(4, 0)
    other = Log(3).start(1).phase(1, 2, "compile").step(2, 1).end(4, 0)
    found = account(log, other)
    assert [(s.start, s.end, s.category) for s in goodput.lane(found, 3)] == [
        (1, 2, "compile"), (2, 4, "steps"),
    ]  # fmt: skip
    assert not list(goodput.lane(found, 7))
