# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a process does is known at once and kept in its file, whatever befalls disk or process."""

import os
import subprocess
import sys
import threading
import time

import pytest

from flan_jax.core import errors, events


@pytest.fixture(autouse=True)
def _no_log_outlives_its_test():
    yield
    events.close()


def _names(records):
    return [record["event"] for record in records]


def test_what_came_before_the_file_was_known_is_kept_in_order(tmp_path):
    events.begin()
    with events.phase("tpu_init"):
        pass
    with events.logged(tmp_path, 3):
        with events.phase("compile"):
            events.record("note", value=1.5, path=tmp_path)  # no JSON value
        events.step(7, data_s=0.25, wait_s=0.5, dispatch_s=0.123456)
    (records,) = events.read(tmp_path).values()
    assert list(events.read(tmp_path)) == [3]
    assert _names(records) == [
        "job_start_time",
        "tpu_init_start_time",
        "tpu_init_end_time",
        "custom_badput_event_start_time",
        "note",
        "custom_badput_event_end_time",
        "step_start_time",
        "job_end_time",
    ]
    assert records[3]["custom_badput_event_type"] == "compile" and records[4]["value"] == 1.5
    assert {k: v for k, v in records[6].items() if k != "time"} == {
        "event": "step_start_time", "step_count": 7, "data_s": 0.25, "wait_s": 0.5,
        "dispatch_s": 0.1235,
    }  # fmt: skip
    assert records[7]["exit"] == 0
    times = [record["time"] for record in records]
    assert times == sorted(times) and abs(times[-1] - time.time()) < 60


@pytest.mark.parametrize(
    ("error", "code", "why"),
    [
        (ValueError("a\nb"), 1, "a"),
        (MemoryError(), 1, "MemoryError"),
        (errors.UsageError("x" * 1000), 2, "x" * 400),
        (errors.PreemptedError("asked"), 75, "asked"),
        (KeyboardInterrupt(), 130, "KeyboardInterrupt"),
    ],
)
def test_the_last_line_tells_how_the_job_ended(tmp_path, error, code, why):
    with pytest.raises(type(error)), events.logged(tmp_path, 0):
        raise error
    last = events.read(tmp_path)[0][-1]
    assert (last["event"], last["exit"], last["why"]) == ("job_end_time", code, why)


def test_what_it_is_doing(tmp_path):
    events.begin()
    assert str(events.current()) == "no named phase" and events.current().step is None
    start = time.monotonic()
    with events.phase("eval"):
        with events.phase("compile"):
            assert events.current().phase == "compile" and str(events.current()) == "compiling"
        assert str(events.current()) == "evaluating"
        assert start <= events.current().since <= time.monotonic()
    events.step(12, data_s=0, wait_s=0, dispatch_s=0)
    assert str(events.current()) == "step 12" and events.current().step == 12
    with events.phase("checkpoint_save"):
        assert str(events.current()) == "writing a checkpoint, after step 12"
    assert str(events.current()) == "step 12"


@pytest.mark.parametrize("name", events.PHASES)
def test_a_phase_is_known_by_its_events(tmp_path, name):
    with events.logged(tmp_path, 0), events.phase(name):
        events.step(1, data_s=0, wait_s=0, dispatch_s=0)
    edges = [events.edge(record) for record in events.read(tmp_path)[0]]
    assert edges == [(name, True), None, (name, False), None]


def test_an_unknown_phase_is_refused():
    with pytest.raises(KeyError, match="compiel"), events.phase("compiel"):
        pass


def test_a_phase_that_fails_ends(tmp_path):
    with pytest.raises(ValueError), events.logged(tmp_path, 0), events.phase("eval"):
        raise ValueError
    assert _names(events.read(tmp_path)[0])[1:] == ["custom_badput_event_end_time", "job_end_time"]


def test_a_killed_process_leaves_what_it_said(tmp_path):
    program = (
        "import os, signal, sys, time; from flan_jax.core import events; "
        "events.begin(); events.open_log(sys.argv[1], 0); "
        "phase = events.phase('eval'); phase.__enter__(); "
        "print('ready', flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        # A phase is written at once.
        path = tmp_path / "events" / "process_00000.jsonl"
        deadline = time.monotonic() + 10
        while "custom_badput" not in (path.read_text() if path.is_file() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert _names(events.read(tmp_path)[0]) == ["job_start_time", "custom_badput_event_start_time"]


def test_half_a_line_spoils_no_other(tmp_path):
    path = tmp_path / "events" / "process_00000.jsonl"
    path.parent.mkdir()
    path.write_text('{"time": 1, "event": "a"}\n{"time": 2, "ev')
    (tmp_path / "events" / "process_x.jsonl").write_text("no log\n")
    with events.logged(tmp_path, 0):
        events.record("b")
    assert _names(events.read(tmp_path)[0]) == ["a", "b", "job_end_time"]
    path.write_text('{"time": "x", "event": "a"}\n[1]\n{"time": 3}\nnull\n\xff\n')
    assert events.read(tmp_path) == {0: []}
    path.write_text('{"time": 1, "event": "a"}\n{"time": {}\n{"time": 2, "event": "b"}\n')
    assert _names(events.read(tmp_path)[0]) == ["a", "b"]
    assert events.read(tmp_path / "absent") == {}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path, capsys):
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / "process_00000.jsonl").symlink_to("/dev/full")
    with events.logged(tmp_path, 0):
        for _ in range(3):
            events.record("x")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "process_00000.jsonl cannot be written (No space left on device)" in told[0]
    assert "4 lines of " in told[1] and "were lost" in told[1]


def test_a_disk_that_hangs_holds_up_nobody(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "events"
    folder.mkdir()
    os.mkfifo(folder / "process_00000.jsonl")  # opening it waits for a reader, which never comes
    monkeypatch.setattr(events, "_CLOSE_S", 0.05)
    events.open_log(tmp_path, 0)
    with events.phase("eval"):
        assert events.current().phase == "eval"
    events.close()
    assert "does not answer; its last lines are lost" in capsys.readouterr().err
    with open(folder / "process_00000.jsonl"):  # lets the thread end
        pass


def test_lines_of_many_threads_stay_whole(tmp_path):
    def write(number):
        for i in range(50):
            events.record("x", number=number, i=i)

    with events.logged(tmp_path, 0):
        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    records = events.read(tmp_path)[0][:-1]
    assert {(r["number"], r["i"]) for r in records} == {(n, i) for n in range(4) for i in range(50)}
