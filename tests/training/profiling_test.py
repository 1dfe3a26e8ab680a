# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Profiles: the right steps are in the trace, on every process, and no error of theirs matters."""

import jax
import jax.numpy as jnp
import pytest
from jax.profiler import ProfileData

from flan_jax.core import files
from flan_jax.training import profiling
from flan_jax.training.profiling import Profiler


@jax.jit
def double(x):
    return x + x


def request(folder, num_steps):
    files.write_json(folder / profiling.REQUEST_FILE, {"num_steps": num_steps})


def make_steps(profiler, first, last):
    x = jnp.ones(8)
    for step in range(first, last + 1):
        profiler.before(step)
        x = double(x)
        profiler.after(step, x)


def traced_steps(folder):
    """Returns the numbers of the steps in the one trace under a folder, and its place in there."""
    [path] = folder.rglob("*.xplane.pb")
    events = (
        event
        for plane in ProfileData.from_file(str(path)).planes
        for line in plane.lines
        for event in line.events
        if event.name == "train"
    )
    return [dict(e.stats)["step_num"] for e in events], path.parent.relative_to(folder)


def test_steps_told_beforehand_are_counted_from_this_attempts_first(tmp_path, capsys):
    profiler = Profiler(tmp_path, first_step=2, num_steps=3)
    make_steps(profiler, 101, 110)
    profiler.close()
    steps, place = traced_steps(tmp_path)
    assert steps == [103, 104, 105]
    assert str(place) == "profiles/step_103/plugins/profile/process_00000"
    began, ended = capsys.readouterr().err.splitlines()
    assert began == "train: profile: tracing step 103 to 105"
    assert ended.endswith(f"xprof --logdir={tmp_path}/profiles/step_103")


def test_steps_are_traced_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(profiling, "LOOK_S", 0.0)
    profiler = Profiler(tmp_path)
    make_steps(profiler, 1, 5)
    request(tmp_path, 2)
    make_steps(profiler, 6, 9)
    assert not (tmp_path / profiling.REQUEST_FILE).exists()
    assert traced_steps(tmp_path / "profiles" / "step_6")[0] == [6, 7]
    request(tmp_path, 1)
    make_steps(profiler, 10, 12)
    profiler.close()
    assert traced_steps(tmp_path / "profiles" / "step_10")[0] == [10]
    assert {p.name for p in tmp_path.iterdir()} == {"profiles"}


def test_nobody_looks_for_requests_at_every_step(tmp_path):
    profiler = Profiler(tmp_path)
    request(tmp_path, 2)
    make_steps(profiler, 1, 50)  # within less than LOOK_S
    assert (tmp_path / profiling.REQUEST_FILE).exists()


def test_what_there_is_of_a_trace_is_kept_when_the_run_ends_in_it(tmp_path):
    profiler = Profiler(tmp_path, num_steps=100)
    make_steps(profiler, 1, 2)
    profiler.before(3)  # the step fails
    profiler.close()
    assert traced_steps(tmp_path)[0] == [1, 2, 3]


@pytest.mark.parametrize("asked", ["{", "[3]", '{"num_steps": 0}', '{"num_steps": "three"}'])
def test_a_request_that_makes_no_sense_is_told_and_gone(tmp_path, monkeypatch, capsys, asked):
    monkeypatch.setattr(profiling, "LOOK_S", 0.0)
    (tmp_path / profiling.REQUEST_FILE).write_text(asked)
    make_steps(Profiler(tmp_path), 1, 9)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("train: no profile, training goes on without: ")
    assert not (tmp_path / profiling.REQUEST_FILE).exists()


@pytest.mark.parametrize("failing", ["start_trace", "stop_trace"])
def test_an_error_of_the_profiler_is_told_once(tmp_path, monkeypatch, capsys, failing):
    def fail(*args, **kwargs):
        raise RuntimeError("no profiler here")

    with monkeypatch.context() as patch:
        patch.setattr(jax.profiler, failing, fail)
        profiler = Profiler(tmp_path, num_steps=2)
        make_steps(profiler, 1, 9)
        profiler.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "RuntimeError: no profiler here" in line] == lines[-1:]
    if failing == "stop_trace":
        jax.profiler.stop_trace()  # the one that the test kept from ending


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, capsys):
    (tmp_path / "profiles").write_text("a file")
    profiler = Profiler(tmp_path, num_steps=1)
    make_steps(profiler, 1, 3)
    profiler.close()
    assert "no profile, training goes on without" in capsys.readouterr().err


def test_all_processes_trace_the_same_steps(tmp_path, monkeypatch, capsys):
    now, me, begun = [0.0], [0], {}
    monkeypatch.setattr(profiling.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "process_index", lambda: me[0])
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)
    profilers = [Profiler(tmp_path) for _ in range(3)]

    def start_trace(folder, profiler_options):
        assert profiler_options.session_id == f"process_{me[0]:05d}"
        begun[me[0]] = folder.name

    monkeypatch.setattr(jax.profiler, "start_trace", start_trace)
    for step in range(1, 200):
        now[0] += 0.5
        if step == 50:
            request(tmp_path, 3)
        for me[0], profiler in enumerate(profilers):
            # The last is cut off from the files for longer than the plan allows for.
            if me[0] == 2 and 20 < step < 190:
                profiler._look = (step - 1, now[0])
            profiler.before(step)
            profiler.after(step)
        me[0] = 0
        if step == 120:
            assert begun[0] == begun[1] and set(begun) == {0, 1}
            files.write_json(  # as the last process would still find it in a bucket
                tmp_path / profiling.PLAN_FILE, {"first_step": 90, "last_step": 92}
            )
    first = int(begun[0].removeprefix("step_"))
    assert 50 + 3 * profiling.LOOK_S / 0.5 < first < 120
    told = [line for line in capsys.readouterr().err.splitlines() if "process 2 is not in" in line]
    assert len(told) == 1


def test_the_trace_ends_after_what_its_last_step_gives(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda *_, **__: order.append("start"))
    monkeypatch.setattr(jax, "block_until_ready", order.append)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: order.append("stop"))
    profiler = Profiler(tmp_path, num_steps=2)
    for step in (1, 2, 3):
        profiler.before(step)
        profiler.after(step, f"result of {step}")
    assert order == ["start", "result of 2", "stop"]
