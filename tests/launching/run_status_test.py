# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a training's folder tells of it, at every time of its life."""

import os
import socket

import pytest

from flan_jax.core import errors, files
from flan_jax.launching import run_status, status_lines
from flan_jax.parallel import watchdog
from flan_jax.training import run_folder, writers
from tests.launching.event_logs import Log, write

NOW = 1000.0
TPUS = {"device_kind": "TPU v4", "num_devices": 4, "step_flops": 275e12}


def training(process=0, steps=(1, 2, 3, 4, 5), **facts):
    """Returns the log of a process that has made a step of a second each until NOW."""
    begun = NOW - len(steps)
    log = Log(process).start(begun - 20).phase(begun - 20, begun, "compile")
    log.begun(begun, steps[0] - 1, **{"last_step": 100, **facts})
    for number, step in enumerate(steps):
        log.step(begun + number, step)
    return log


def status(folder, *logs, now=NOW, notes=()):
    write(folder, *logs)
    if notes:
        text = "".join(files.dumps(note) + "\n" for note in notes)
        (folder / "launch.jsonl").write_text(text)
    return run_status.read(folder, now)


def attempt(number, kind, start, end, steps=(None, None), cause="the disk is full"):
    """Returns what a supervisor notes of an attempt."""
    return [
        {"time": start, "event": "attempt_start", "attempt": number, "step": steps[0]},
        {"time": end, "event": "attempt_end", "attempt": number, "step": steps[1], "kind": kind,
         "cause": cause},
    ]  # fmt: skip


def test_names_of_files_are_those_of_the_training():
    assert run_status.SETTINGS_FILE == run_folder.SETTINGS_FILE
    assert run_status.METRICS_FILE == writers.METRICS_FILE
    assert run_status.STACKS_FOLDER == watchdog.STACKS_FOLDER


def test_a_run_under_way(tmp_path):
    files.write_json(tmp_path / "settings.json", {"config": {"step_offset": 50}})
    metrics = [
        {"step": 45, "kind": "train", "loss": 1.5, "tokens_per_s": 1234.5, "learning_rate": 0.1},
        {"step": 46, "kind": "eval", "loss": 9.0},
        {"step": 50, "kind": "eval", "loss": 2.5, "z_loss": 1, "time_s": 3, "mmlu": 40.0,
         "member_loss": {"a": 1}},
        {"step": 55, "kind": "data"},
    ]  # fmt: skip
    lines = "".join(files.dumps(record) + "\n" for record in metrics)
    (tmp_path / "metrics.jsonl").write_text(lines + '{"step": 56, "kind": "tr')
    (tmp_path / "checkpoint_50").mkdir()
    (tmp_path / "checkpoint_60.orbax-checkpoint-tmp").mkdir()
    os.utime(tmp_path / "checkpoint_50", (NOW - 30, NOW - 30))
    steps = (51, 52, 53, 54, 55, 56)
    found = status(tmp_path, training(0, steps, **TPUS), training(1, steps))
    assert (found.health, found.why) == ("running", "")
    assert (found.step, found.last_step, found.progress) == (56, 100, 6 / 50)
    assert found.left_s == pytest.approx(44)
    assert found.step_s == pytest.approx(1) and found.mfu == pytest.approx(1 / 4)
    assert (found.loss, found.tokens_per_s, found.logged_step) == (1.5, 1234.5, 45)
    assert (found.scores, found.scores_step) == ({"loss": 2.5, "mmlu": 40.0}, 50)
    assert (found.checkpoint_step, found.checkpoint_age_s) == (50, 30)
    assert found.num_attempts == 1 and found.stacks is None
    assert {i: (p.doing, p.since_s) for i, p in found.processes.items()} == {
        0: ("step 56", 1), 1: ("step 56", 1),
    }  # fmt: skip
    lines = list(status_lines.shown(found, tmp_path))
    assert lines == [
        f"{tmp_path}: running",
        "  progress    step 56 of 100, 12.0%, 44.0 s left",
        "  speed       1 s a step, 1,234 tokens/s, MFU 25.0%",
        "  training    loss 1.5, learning rate 0.1, of step 45",
        "  evaluation  loss 2.5, mmlu 40, of step 50",
        "  checkpoint  step 50, 30.0 s ago",
        "  attempts    1",
        "  at          process 0-1: step 56, since 1.0 s",
    ]
    assert files.dumps(run_status.as_json(found))


def test_mfu_of_gpus(tmp_path):
    facts = {"device_kind": "NVIDIA A100-SXM4-80GB", "num_devices": 2, "step_flops": 312e12}
    assert status(tmp_path, training(**facts)).mfu == pytest.approx(1 / 2)


@pytest.mark.parametrize("kind", ["cpu", "TPU v9", ""])
def test_no_mfu_where_the_peak_is_unknown(tmp_path, kind):
    found = status(tmp_path, training(**{**TPUS, "device_kind": kind}))
    assert found.mfu is None and found.step_s == pytest.approx(1)
    assert any(line.endswith("MFU -") for line in status_lines.shown(found, tmp_path))


@pytest.mark.parametrize(
    ("codes", "health", "why"),
    [
        ((0, 0), "finished", ""),
        ((75, 75), "stopped", "preempted and saved; start the same command again"),
        ((1, 75), "failed", "failed; start the same command again"),
        ((2, 2), "failed", "wrong usage or configuration"),
        ((None, 1), "failed", "process 1: ended: failed"),
    ],
)
def test_a_run_that_has_ended(tmp_path, codes, health, why):
    logs = [training(index) for index in range(2)]
    for log, code in zip(logs, codes, strict=True):
        if code is not None:
            log.end(NOW, code)
    found = status(tmp_path, *logs, now=NOW + 5)
    assert found.health == health and found.why.startswith(why)
    assert found.left_s is None


@pytest.mark.parametrize(("later_s", "health"), [(1, "running"), (58, "running"), (62, "silent")])
def test_silence_in_steps(tmp_path, later_s, health):
    found = status(tmp_path, training(), now=NOW + later_s)
    assert found.health == health
    assert ("no sign of life for 63 s" in found.why) == (health == "silent")


def test_slow_steps_are_no_silence(tmp_path):
    log = Log().start(0).begun(0, 0)
    for step in range(1, 9):
        log.step(30 * step, step)
    assert status(tmp_path, log, now=240 + 290).health == "running"
    assert status(tmp_path, log, now=240 + 310).health == "silent"


def test_a_phase_may_take_long(tmp_path):
    log = training().enter(NOW, "eval")
    found = status(tmp_path, log, now=NOW + 1000)
    assert found.health == "running"
    assert found.processes[0].doing == "evaluating, after step 5"
    assert found.processes[0].since_s == 1000
    assert status(tmp_path, log, now=NOW + 2000).health == "silent"


def test_a_hang_is_told_with_its_stacks(tmp_path):
    (tmp_path / "stacks").mkdir()
    for age_s, name in ((50, "b.txt"), (9, "a.txt")):
        path = tmp_path / "stacks" / name
        path.write_text("Thread")
        os.utime(path, (NOW - age_s, NOW - age_s))
    log = training(1).add(NOW, "hang", doing="compiling")
    found = status(tmp_path, training(), log)
    assert (found.health, found.why) == ("failed", "process 1 hung: compiling")
    assert found.stacks.endswith("a.txt") and found.stacks_age_s == 9


@pytest.mark.parametrize(("is_here", "health"), [(True, "failed"), (False, "running")])
def test_a_process_of_this_machine_that_is_no_more(tmp_path, is_here, health):
    log = training()
    host = socket.gethostname() if is_here else "another"
    log.records[0].update(host=host, pid=(1 << 22) + 1)  # above the largest id of Linux
    found = status(tmp_path, log)
    assert found.health == health
    if is_here:
        assert found.why == "process 0 died without a word (killed?)"


def test_what_a_supervisor_noted(tmp_path):
    log = training().end(NOW, 1)
    crash = attempt(1, "crashed", 900, 1001)
    found = status(tmp_path, log, notes=crash, now=1002)
    assert found.health == "failed"
    assert found.why == "the disk is full; its supervisor starts it again, unless it has given up"
    start = [{"time": 1003, "event": "attempt_start", "attempt": 2, "step": None}]
    found = status(tmp_path, log, notes=crash + start, now=1008)
    assert found.health == "starting" and not found.processes
    assert found.why == "attempt 2: its processes have been starting for 5 s"
    assert found.num_attempts == 2 and found.last_ending == "crashed: the disk is full"
    assert status(tmp_path, log, notes=crash + start, now=5000).health == "silent"
    for kind, health in (("done", "finished"), ("preempted", "stopped"), ("usage", "failed")):
        assert status(tmp_path, log, notes=attempt(1, kind, 900, 1001)).health == health


def test_failing_again_and_again(tmp_path):
    notes = [
        *attempt(1, "crashed", 100, 110, (None, None)),
        *attempt(2, "crashed", 200, 210, (None, 50)),  # made a checkpoint
        *attempt(3, "crashed", 300, 310, (50, 50)),
        *attempt(4, "crashed", 400, 410, (50, 50)),
        {"time": 900, "event": "attempt_start", "attempt": 5, "step": 50},
    ]
    found = status(tmp_path, training(), notes=notes)
    assert (found.health, found.why) == ("running", "2 attempts in a row made no new checkpoint")
    assert found.num_attempts == 5


def test_only_the_current_attempt_counts(tmp_path):
    log = Log().start(0).begun(0, 0, last_step=7).step(0, 1).end(10, 75)
    gone = Log(2).start(0).step(0, 1).end(10, 75)  # the next attempt is one process
    log.records += training(0, (31, 32, 33, 34)).records
    found = status(tmp_path, log, gone)
    assert list(found.processes) == [0] and found.num_attempts == 2
    assert (found.step, found.last_step) == (34, 100)


def test_until_the_first_step_of_an_attempt_it_is_where_the_checkpoint_is(tmp_path):
    (tmp_path / "checkpoint_3").mkdir()
    log = training().start(NOW).enter(NOW, "compile")
    found = status(tmp_path, log, now=NOW + 5)
    assert (found.step, found.last_step, found.progress) == (3, 100, 0.03)
    assert found.left_s is None and found.step_s is None and found.num_attempts == 2


def test_long_files_are_read_from_their_end(tmp_path):
    log = training(0, range(1, 3001))
    found = status(tmp_path, log)  # many blocks
    assert (found.step, found.last_step, found.num_attempts) == (3000, 100, 1)
    assert found.step_s == pytest.approx(1)
    path = tmp_path / "lines"
    lines = [b"x" * (n * 37 % 9000) for n in range(60)]
    path.write_bytes(b"\n".join(lines))
    assert list(run_status._backward(path)) == lines[::-1]
    path.write_bytes(b"")
    assert list(run_status._backward(path)) in ([], [b""])


def test_a_folder_that_is_none_of_a_training(tmp_path):
    with pytest.raises(errors.UsageError, match="no folder '.*nothing'; name the MODEL_DIR"):
        run_status.read(tmp_path / "nothing", NOW)
    with pytest.raises(errors.UsageError, match="neither settings.json nor events/; name a MODEL"):
        run_status.read(tmp_path, NOW)
    for name in "abcd":
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text("{}")
    with pytest.raises(errors.UsageError, match="it holds a, b, c, …"):
        run_status.read(tmp_path, NOW)
    assert run_status.read(tmp_path / "a", NOW).health == "starting"
