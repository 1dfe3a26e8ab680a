# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Event logs of several processes are cut into the attempts that they made together."""

import pytest

from flan_jax.core import errors, files
from flan_jax.launching import attempts
from tests.launching.event_logs import Log, by_process, write


def test_starts_of_several_processes_are_matched_by_time():
    log = Log().start(100).end(110, 1).start(200).end(210, 1).start(300).end(310, 0)
    second = Log(1).start(98).end(111, 1).start(302).end(311, 0)  # had no part in the middle one
    third = Log(2).start(201).end(209, 1)
    found = attempts.attempts(by_process(log, second, third))
    assert [sorted(attempt.logs) for attempt in found] == [[0, 1], [0, 2], [0, 1]]
    assert [(a.number, a.start, a.end, a.is_last) for a in found] == [
        (1, 100, 111, False), (2, 200, 210, False), (3, 300, 311, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("logs", "ending", "is_well"),
    [
        ([Log().start(0).end(1, 0), Log(1).start(0).end(1, 0)], "done", True),
        ([Log().start(0).end(1, 75), Log(1).start(0).end(1, 75)], "preempted and saved", True),
        ([Log().start(0), Log(1).start(0)], "killed", False),
        ([Log().start(0).end(1, 1), Log(1).start(0)], "died: process 1", False),
        ([Log().start(0).end(1, 2)], "wrong usage or configuration", False),
        ([Log().start(0).end(1, 75), Log(1).start(0).end(1, 1)], "failed", False),
        (
            [Log().start(0).end(1, 1), Log(1).start(0).add(1, "hang", doing="compiling")],
            "process 1 hung: compiling",
            False,
        ),
        ([Log(i).start(0) for i in range(3)] + [Log(3).start(0).end(1, 1)], "died: process 0, 1, 2",
         False),
    ],
)  # fmt: skip
def test_how_it_ended(logs, ending, is_well):
    logs[0].start(100)
    found = attempts.attempts(by_process(*logs))
    del logs[0].records[-1]  # parameters are shared by repeated runs
    assert (found[0].ending, found[0].is_well) == (ending, is_well)


def test_who_ends_first_knows_why():
    lost = "process 1 of 3 (b) ended without a word; see its log"
    first = Log().start(0).add(5, "job_end_time", exit=75, why="asked to stop; saved")
    third = Log(2).start(0).add(6, "job_end_time", exit=1, why=lost)
    fourth = Log(3).start(0).add(7, "job_end_time", exit=1, why="process 2 of 3 (c) ended")
    logs = by_process(first, Log(1).start(0), third, fourth)
    assert attempts.why(logs) == "process 1 of 3 (b) ended without a word"
    assert attempts.attempts(logs)[0].ending == "process 1 of 3 (b) ended without a word"
    assert attempts.why(by_process(first)) == "process 0: asked to stop"
    assert attempts.why(by_process(Log().start(0).end(1, 1))) == ""


def test_the_supervisor_knows_better_why():
    log = Log().start(0).start(100).start(200)
    notes = [
        {"time": 0, "event": "attempt_start"},
        {"time": 50, "event": "attempt_end", "kind": "crashed",
         "cause": "process 1 was ended by SIGKILL (out of memory?); see its log"},
        {"time": 250, "event": "attempt_end", "kind": "preempted", "cause": "asked to stop"},
    ]  # fmt: skip
    found = attempts.attempts(by_process(log), notes)
    assert [attempt.ending for attempt in found] == [
        "crashed: process 1 was ended by SIGKILL (out of memory?)",
        "killed",
        "preempted: asked to stop",
    ]


def test_the_step_gone_on_from():
    log = Log().start(0).start(10).begun(11, 40).step(12, 41).start(20).step(21, 8).step(22, 9)
    found = attempts.attempts(by_process(log))
    assert [attempt.first_step for attempt in found] == [None, 40, 7]
    assert [attempt.steps for attempt in found] == [[], [41], [8, 9]]


def test_a_folder_is_read_with_its_journal(tmp_path):
    write(tmp_path, Log().start(0).end(1, 1), Log(1).start(0).end(1, 1))
    note = {"time": 2, "event": "attempt_end", "kind": "crashed", "cause": "the disk is full"}
    (tmp_path / "launch.jsonl").write_text(files.dumps(note) + "\n")
    (attempt,) = attempts.read(tmp_path)
    assert sorted(attempt.logs) == [0, 1] and attempt.ending == "crashed: the disk is full"


def test_attempts_that_left_no_log_are_counted(tmp_path):
    write(tmp_path, Log().start(11).end(12, 1).start(51))
    edges = [(10, "start"), (15, "end"), (20, "start"), (25, "end"), (30, "start"), (35, "end"),
             (40, "start"), (50, "start"), (55, "end")]  # fmt: skip
    notes = [{"time": time, "event": f"attempt_{edge}"} for time, edge in edges]
    (tmp_path / "launch.jsonl").write_text("".join(files.dumps(note) + "\n" for note in notes))
    assert attempts.num_without_log(tmp_path, attempts.read(tmp_path)) == 2
    (tmp_path / "launch.jsonl").unlink()
    assert attempts.num_without_log(tmp_path, attempts.read(tmp_path)) == 0


def test_a_folder_without_events_is_refused(tmp_path):
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "process_00000.jsonl").write_text('{"time": 1, "ev')
    with pytest.raises(errors.UsageError, match="holds no event log .*name the MODEL_DIR"):
        attempts.read(tmp_path)
