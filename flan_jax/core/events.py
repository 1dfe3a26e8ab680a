# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What this process is doing, and since when; kept as lines of JSON beside the run.

    MODEL_DIR/events/process_00000.jsonl    one file a process, to which each start adds

Time is accounted for from these files (`flan-jax goodput`), and a hang is named by them. The names
of events are those of Google's ml-goodput-measurement 0.2: what it has no name for is a
`custom_badput_event`. The log is this process's one; it may be written to from any thread, and
before its file is known.

It never stops what it watches. A thread of its own writes, so that neither training nor whoever
asks what it is doing waits for a disk that hangs; what a full disk does not take is lost, counted
and told.
"""

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax.core import errors
from flan_jax.core.progress import say

EVENTS_FOLDER = "events"
# A phase -> how its events begin: a name of ml-goodput-measurement, or "" for a custom one.
PHASES = {
    "tpu_init": "tpu_init",
    "training_preparation": "training_preparation",
    "data_loading": "data_loading",
    "compile": "",
    "checkpoint_restore": "",
    "checkpoint_save": "",
    "eval": "",
}
STEP = "step_start_time"
# Parts of a step, in words for people.
WAITING = "waiting for the devices"
GETTING_DATA = "then getting the next batch"
_CUSTOM = "custom_badput_event"
_PERIOD_S = 1.0  # between two writes in which nothing but steps happened
# A bucket uploads a file each time it is closed, so each write there takes long and costs; the
# writer spends at most one part in so many of its time on writing steps.
_WRITING_PARTS = 20
_WHY_LENGTH = 400  # letters of why a job ended
_CLOSE_S = 5.0  # how long the end waits for a disk
# For people, of what a process is at.
_WORDS = {
    "tpu_init": "starting devices",
    "training_preparation": "preparing the training",
    "data_loading": "opening its data",
    "compile": "compiling",
    "checkpoint_restore": "reading a checkpoint, or making fresh parameters",
    "checkpoint_save": "writing a checkpoint",
    "eval": "evaluating",
}


@dataclasses.dataclass(frozen=True)
class Doing:
    """What a process is at; as text, in a few words."""

    phase: str  # of PHASES, 'step', or '' for none of them
    step: int | None  # the latest one begun
    since: float  # time.monotonic() at which that began
    part: str = ""  # of a step, in words

    def __str__(self) -> str:
        if self.phase == "step":
            return f"step {self.step}" + (f", {self.part}" if self.part else "")
        where = "" if self.step is None else f", after step {self.step}"
        return _WORDS.get(self.phase, "no named phase") + where


class _Log:
    """The process's log: what is under way, and the lines that are not written yet."""

    def __init__(self):
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        self.waiting: list[str] = []
        self.writer: _Writer | None = None
        self.phases: list[tuple[str, float]] = []
        self.step: int | None = None
        self.step_since = time.monotonic()
        self.part = ""

    def take(self) -> str:
        with self.lock:
            lines, self.waiting = self.waiting, []
        return "".join(lines)


class _Writer(threading.Thread):
    """Adds the lines of a log to a file, until it is told to end."""

    def __init__(self, log: _Log, path: Path):
        super().__init__(name="events", daemon=True)
        self.path, self._log = path, log
        self._is_due, self._is_ending = threading.Event(), False
        self._num_lost, self._is_broken = 0, True  # a killed process may have left half a line

    def wake(self) -> None:
        """Has what waits written now."""
        self._is_due.set()

    def end(self) -> None:
        """Has what is left written; returns when it is, or when the disk does not answer."""
        self._is_ending = True
        self._is_due.set()
        self.join(_CLOSE_S)
        if self.is_alive():
            say(f"events: {self.path} does not answer; its last lines are lost")
        elif self._num_lost:
            say(f"events: {self._num_lost} lines of {self.path} were lost")

    def run(self) -> None:
        """Writes at each waking, and each period."""
        while True:
            is_ending, start = self._is_ending, time.monotonic()
            if lines := self._log.take():
                self._write(lines)
            if is_ending:
                return
            took_s = time.monotonic() - start
            self._is_due.wait(max(_PERIOD_S, _WRITING_PARTS * took_s))
            self._is_due.clear()

    def _write(self, lines: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Opened each time: a bucket's file is whole only once it is closed.
            with open(self.path, "a", encoding="utf-8") as file:
                # An empty line is none; half a line would spoil the one after it.
                file.write("\n" + lines if self._is_broken and file.tell() else lines)
            self._is_broken = False
        except OSError as error:
            if not self._num_lost:
                say(f"events: {self.path} cannot be written ({error.strerror}); going on without")
            self._num_lost += lines.count("\n")
            self._is_broken = True


_log = _Log()


def begin() -> None:
    """Begins the log of a job; what another job of this process left unwritten is dropped."""
    with _log.lock:
        _log.reset()
        record("job_start_time", host=socket.gethostname(), pid=os.getpid())


def record(event: str, **fields: Any) -> None:
    """Adds one event: a line of its time (seconds since 1970), name and fields, JSON values."""
    with _log.lock:
        found = {"time": round(time.time(), 3), "event": event, **fields}
        _log.waiting.append(json.dumps(found, separators=(",", ":"), default=str) + "\n")
        if event != STEP and _log.writer is not None:
            _log.writer.wake()


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Marks the block as a phase of PHASES; phases may lie within each other and within a step."""
    prefix = PHASES[name]
    fields = {} if prefix else {f"{_CUSTOM}_type": name}
    with _log.lock:
        record(f"{prefix or _CUSTOM}_start_time", **fields)
        _log.phases.append((name, time.monotonic()))
    try:
        yield
    finally:
        with _log.lock:
            if _log.phases:
                _log.phases.pop()
            _log.step_since = time.monotonic()
            record(f"{prefix or _CUSTOM}_end_time", **fields)


def step(number: int, *, data_s: float, wait_s: float, dispatch_s: float) -> None:
    """Says that a step begins to be dispatched.

    Args:
        number: the total step.
        data_s: seconds since the step before that this host spent on getting data.
        wait_s: on waiting for the device.
        dispatch_s: on anything else of its own.
    """
    with _log.lock:
        _log.step, _log.step_since = number, time.monotonic()
        record(
            STEP,
            step_count=number,
            data_s=round(data_s, 4),
            wait_s=round(wait_s, 4),
            dispatch_s=round(dispatch_s, 4),
        )


@contextlib.contextmanager
def part(words: str) -> Iterator[None]:
    """Says what part of a step the block is, for `current`; no line is written."""
    _log.part = words
    yield
    _log.part = ""


def current() -> Doing:
    """Returns what this process is at."""
    with _log.lock:
        if _log.phases:
            name, since = _log.phases[-1]
            return Doing(name, _log.step, since)
        phase_name = "" if _log.step is None else "step"
        return Doing(phase_name, _log.step, _log.step_since, _log.part)


def open_log(folder: str | os.PathLike, process_index: int) -> None:
    """Lets the log be written to a run's folder, what it holds already first."""
    path = Path(folder) / EVENTS_FOLDER / f"process_{process_index:05d}.jsonl"
    with _log.lock:
        _log.writer = _Writer(_log, path)
        _log.writer.start()


def close() -> None:
    """Writes what is left; the log has no file then."""
    with _log.lock:
        writer = _log.writer
    if writer is not None:
        writer.end()
    with _log.lock:
        _log.reset()


def ended(exit_code: int, why: str = "") -> None:
    """Says that the job ends with this exit code, and why; the log's last line."""
    reason = {"why": why.strip().partition("\n")[0][:_WHY_LENGTH]} if why else {}
    record("job_end_time", exit=exit_code, **reason)


@contextlib.contextmanager
def logged(folder: str | os.PathLike, process_index: int) -> Iterator[None]:
    """Keeps the log of the block in a run's folder, with the exit code that the block ends with."""
    open_log(folder, process_index)
    code, why = errors.EXIT_OK, ""
    try:
        yield
    except BaseException as error:
        otherwise = (
            errors.EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else errors.EXIT_FAILED
        )
        code = getattr(error, "exit_code", otherwise)
        why = str(error) or type(error).__name__
        raise
    finally:
        ended(code, why)
        close()


def paths(folder: str | os.PathLike) -> dict[int, Path]:
    """Returns the file of each process of a run."""
    found = sorted((Path(folder) / EVENTS_FOLDER).glob("process_*.jsonl"))
    digits = {path: path.stem.removeprefix("process_") for path in found}
    return {int(digits[path]): path for path in found if digits[path].isdigit()}


def read(folder: str | os.PathLike) -> dict[int, list[dict[str, Any]]]:
    """Returns the events of each process of a run, in the order written.

    A line that is not whole, which a killed process leaves, is passed over.
    """
    return {index: _records(path) for index, path in paths(folder).items()}


def edge(record: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Returns the phase that an event begins (True) or ends (False); None if it does neither."""
    event = record["event"]
    for ending, is_start in (("_start_time", True), ("_end_time", False)):
        name = event.removesuffix(ending)
        if name != event:
            if name == _CUSTOM:
                return str(record.get(f"{_CUSTOM}_type")), is_start
            return (name, is_start) if PHASES.get(name) else None
    return None


def _records(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.split("\n") if line.startswith("{") and line.endswith("}")]
    try:
        # As one document its keys are kept once: 1.1 GB instead of 1.8 for 1.9 million lines.
        found = json.loads(f"[{','.join(lines)}]")
    except json.JSONDecodeError:
        found = [record for line in lines if (record := _parsed(line)) is not None]
    return [
        record
        for record in found
        if isinstance(record.get("time"), int | float) and isinstance(record.get("event"), str)
    ]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
