# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a training is getting on, from what is in its folder alone: any machine that sees it can ask.

Read are the ends of event logs and metrics, the names of checkpoints and the supervisor's journal.
Nothing heavy is imported and no long file is parsed from its beginning, so it answers at once.
"""

import contextlib
import dataclasses
import json
import os
import socket
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.aot import slices
from flan_jax.core import errors, events, files
from flan_jax.launching import attempts, endings, supervise
from flan_jax.launching.attempts import BEGUN, END, HANG, START, Record
from flan_jax.launching.goodput import phases_open, step_intervals

# Of flan_jax/training/ and flan_jax/parallel/, which need jax: tests compare them.
SETTINGS_FILE, METRICS_FILE, STACKS_FOLDER = "settings.json", "metrics.jsonl", "stacks"
RUNNING, SILENT, FINISHED, STOPPED, FAILED, WAITING = (
    "running", "silent", "finished", "stopped", "failed", "starting",
)  # fmt: skip
# jax's name of a device -> the generation; jax 0.10.2 has both names of some.
_GENERATIONS = {
    "TPU v2": "v2", "TPU v3": "v3", "TPU v4": "v4", "TPU v5 lite": "v5litepod",
    "TPU v5e": "v5litepod", "TPU v5": "v5p", "TPU v5p": "v5p", "TPU v6 lite": "v6e",
    "TPU v6e": "v6e", "TPU7x": "tpu7x",
}  # fmt: skip
# Dense bfloat16, by NVIDIA's data sheets (half of what they have with sparsity); of SXM modules.
_GPU_FLOPS = {
    "NVIDIA A100-SXM4-40GB": 312e12, "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 1979e12 / 2, "NVIDIA H200": 1979e12 / 2,
}  # fmt: skip
_BLOCK = 1 << 16
_RECENT = 200  # steps that a rate is of
# Silence is no news until it lasts so many times longer than usual, and so many seconds.
_TIMES_USUAL, _LEAST_SILENT_S = 10.0, 60.0
_PHASE_S = 1800.0  # of a phase, nobody knows how long it takes
_FILLING = 2  # steps that are dispatched before the first is waited for
_NOT_SCORES = ("step", "time_s", "z_loss")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Process:
    """What one process of the current attempt is at."""

    doing: str
    since_s: float  # seconds
    exit: int | None = None  # its exit code, if it has ended


@dataclasses.dataclass(frozen=True, kw_only=True)
class Status:
    """How a training is getting on; None where nothing tells."""

    health: str  # RUNNING, …
    why: str  # more of it, in words
    step: int | None = None  # the last one begun
    last_step: int | None = None
    progress: float | None = None  # 0 to 1
    left_s: float | None = None  # at the rate of the last steps, with what else was done meanwhile
    step_s: float | None = None  # mean of the last steps, without what else was done
    tokens_per_s: float | None = None
    mfu: float | None = None  # share of the devices' peak arithmetic
    loss: float | None = None
    learning_rate: float | None = None
    logged_step: int | None = None  # of these metrics
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    scores_step: int | None = None  # the evaluation that they are of
    checkpoint_step: int | None = None
    checkpoint_age_s: float | None = None
    num_attempts: int = 0
    last_ending: str = ""  # of the attempt before this one, if a supervisor runs it
    processes: Mapping[int, Process] = dataclasses.field(default_factory=dict)
    stacks: str | None = None  # the newest file of stacks that a watchdog left
    stacks_age_s: float | None = None


def read(folder: Path, now: float) -> Status:
    """Returns how the training in a folder is getting on.

    Args:
        folder: its MODEL_DIR.
        now: the time, in seconds since 1970.

    Raises:
        UsageError: the folder is none of a training.
    """
    _check(folder)
    sessions = {index: _session(path) for index, path in events.paths(folder).items()}
    main = sessions.get(0, [])
    if main:
        begun = main[0]["time"]
        sessions = {i: s for i, s in sessions.items() if s and s[-1]["time"] >= begun}
    notes = supervise.read_journal(supervise.journal_of(folder))
    latest = max((session[-1]["time"] for session in sessions.values() if session), default=None)
    processes = {i: _process(session, now) for i, session in sessions.items() if session}
    health, why = _health(sessions, processes, notes, latest, now)
    if health == WAITING:
        processes = {}  # what is known is of the attempt before
    begun = next((record for record in main if record["event"] == BEGUN), {})
    checkpoint_step = supervise.newest_step(folder)
    logged, evaluated = _metrics(folder / METRICS_FILE)
    return Status(
        health=health,
        why=why,
        **_progress(folder, main, begun, checkpoint_step, is_running=health == RUNNING),
        **_speed(main, begun),
        tokens_per_s=logged.get("tokens_per_s"),
        loss=logged.get("loss"),
        learning_rate=logged.get("learning_rate"),
        logged_step=logged.get("step"),
        scores={
            name: value
            for name, value in evaluated.items()
            if name not in _NOT_SCORES and isinstance(value, int | float)
        },
        scores_step=evaluated.get("step"),
        checkpoint_step=checkpoint_step,
        checkpoint_age_s=_age_s(folder / f"checkpoint_{checkpoint_step}", now),
        num_attempts=max(
            sum(note.get("event") == "attempt_start" for note in notes), _num_starts(folder)
        ),
        last_ending=_last_ending(notes),
        processes=processes,
        **_stacks(folder, now),
    )


def as_json(status: Status) -> dict[str, Any]:
    """Returns a status as JSON values."""
    return dataclasses.asdict(status)


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise errors.UsageError(f"no folder {str(folder)!r}; name the MODEL_DIR of a training")
    of_a_run = (SETTINGS_FILE, METRICS_FILE, events.EVENTS_FOLDER, supervise.JOURNAL)
    if any((folder / name).exists() for name in of_a_run):
        return
    inside = sorted(path.parent.name for path in folder.glob(f"*/{SETTINGS_FILE}"))
    hint = f"; it holds {', '.join(inside[:3])}" + (", …" if inside[3:] else "") if inside else ""
    raise errors.UsageError(
        f"{str(folder)!r} is no training's folder: it has neither {SETTINGS_FILE} nor "
        f"{events.EVENTS_FOLDER}/; name a MODEL_DIR{hint}"
    )


def _backward(path: Path) -> Iterator[bytes]:
    """Yields the lines of a file from the last to the first, reading no more than is asked for."""
    try:
        with open(path, "rb") as file:
            at, rest = file.seek(0, os.SEEK_END), b""
            while at:
                size = min(_BLOCK, at)
                at -= size
                file.seek(at)
                rest, *lines = (file.read(size) + rest).split(b"\n")
                yield from reversed(lines)
            yield rest
    except FileNotFoundError:
        return


def _parsed(line: bytes) -> dict[str, Any]:
    """Returns the JSON object of a line; {} if it is none, or not whole."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _session(path: Path) -> list[Record]:
    """Returns what the latest start of a process wrote: its facts, and the last of its steps."""
    found: list[Record] = []
    num_steps = 0
    for line in _backward(path):
        if events.STEP.encode() in line:
            num_steps += 1
            if num_steps > _RECENT:
                continue
        record = _parsed(line)
        if isinstance(record.get("time"), int | float) and "event" in record:
            found.append(record)
            if record["event"] == START:
                break
    return found[::-1]


def _num_starts(folder: Path) -> int:
    path = events.paths(folder).get(0)
    return path.read_bytes().count(f'"{START}"'.encode()) if path else 0


def _metrics(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the latest metrics of training and of an evaluation, {} each if there is none."""
    found: dict[str, dict[str, Any]] = {}
    for line in _backward(path):
        record = _parsed(line)
        if record.get("kind") in ("train", "eval"):
            found.setdefault(record["kind"], record)
        if len(found) == 2:
            break
    return found.get("train", {}), found.get("eval", {})


def _process(session: Sequence[Record], now: float) -> Process:
    code = next((r.get("exit", 1) for r in session if r["event"] == END), None)
    if code is not None:
        ended = errors.EXIT_CODES.get(code, f"exit code {code}").partition(":")[0]
        return Process(
            doing=f"ended: {ended}", since_s=max(now - session[-1]["time"], 0.0), exit=code
        )
    last_step = next((r for r in reversed(session) if r["event"] == events.STEP), None)
    step = None if last_step is None else last_step["step_count"]
    if opened := phases_open(session):
        name, since = opened[-1]
        doing = events.Doing(name, step, since)
    else:
        since = session[-1]["time"]
        doing = events.Doing("" if step is None else "step", step, since)
    return Process(doing=str(doing), since_s=max(now - since, 0.0))


def _health(
    sessions: Mapping[int, Sequence[Record]],
    processes: Mapping[int, Process],
    notes: Sequence[Record],
    latest: float | None,
    now: float,
) -> tuple[str, str]:
    """Returns one of the words for it, and why."""
    note = notes[-1] if notes else {}
    if note.get("event") == "attempt_end" and (latest is None or note["time"] >= latest - 1):
        return _after_attempt(note, _failures(notes))
    if note.get("event") == "attempt_start" and (latest is None or note["time"] > latest):
        waited_s = now - note["time"]
        return (WAITING if waited_s < _PHASE_S else SILENT), (
            f"attempt {note.get('attempt')}: its processes have been starting for {waited_s:.0f} s"
        )
    if latest is None:
        return WAITING, "its processes are starting"
    codes = {index: process.exit for index, process in processes.items()}
    told = attempts.why(sessions)
    if all(code is not None for code in codes.values()):
        code = max(codes.values(), key=lambda code: (code != errors.EXIT_PREEMPTED, code))
        if code == errors.EXIT_OK:
            return FINISHED, ""
        if code == errors.EXIT_USAGE:  # another start would end the same
            return FAILED, told or errors.EXIT_CODES[code]
        health = STOPPED if code == errors.EXIT_PREEMPTED else FAILED
        what = told or errors.EXIT_CODES.get(code, f"exit code {code}").partition(":")[0]
        return health, f"{what}; start the same command again to go on"
    for index, session in sessions.items():
        hang = next((record for record in session if record["event"] == HANG), None)
        if hang is not None:
            return FAILED, f"process {index} hung: {hang.get('doing', '')}"
    failed = [i for i, code in codes.items() if code not in (None, 0, errors.EXIT_PREEMPTED)]
    if failed:
        return FAILED, told or f"process {failed[0]}: {processes[failed[0]].doing}"
    gone = [i for i, session in sessions.items() if codes[i] is None and _is_gone(session)]
    if gone:
        return FAILED, f"process {', '.join(map(str, gone))} died without a word (killed?)"
    silent_s = now - latest
    failing = _failures(notes)
    why = f"{failing} attempts in a row made no new checkpoint" if failing > 1 else ""
    if silent_s > _patience_s(sessions[min(sessions)]):
        return SILENT, f"no sign of life for {silent_s:.0f} s" + (f"; {why}" if why else "")
    return RUNNING, why


def _after_attempt(note: Record, failures: int) -> tuple[str, str]:
    """Returns the health of a job whose supervisor noted last that an attempt had ended."""
    cause = str(note.get("cause", ""))
    match note.get("kind"):
        case endings.DONE:
            return FINISHED, ""
        case endings.PREEMPTED:
            return STOPPED, cause
        case endings.USAGE:
            return FAILED, cause
    often = f"{failures} attempts in a row made no new checkpoint; " if failures > 1 else ""
    return FAILED, f"{cause}; {often}its supervisor starts it again, unless it has given up"


def _failures(notes: Iterable[Record]) -> int:
    """Returns how many attempts in a row, up to the last one that ended, made no checkpoint."""
    found, before = 0, None
    for note in notes:
        if note.get("event") == "attempt_start":
            before = note.get("step")
        elif note.get("event") == "attempt_end":
            is_failure = note.get("kind") == endings.CRASHED and note.get("step") == before
            found = found + 1 if is_failure else 0
    return found


def _last_ending(notes: Sequence[Record]) -> str:
    for note in reversed(notes):
        if note.get("event") == "attempt_end":
            return f"{note.get('kind')}: {note['cause']}" if note.get("cause") else note.get("kind")
    return ""


def _is_gone(session: Sequence[Record]) -> bool:
    """Returns whether a process is no more; False where this machine cannot know."""
    start = session[0]
    if start.get("host") != socket.gethostname() or not isinstance(start.get("pid"), int):
        return False
    try:
        os.kill(start["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _patience_s(session: Sequence[Record]) -> float:
    """Returns how long a process may be silent in what it is at before that is news."""
    if phases_open(session) or not any(r["event"] == events.STEP for r in session):
        return _PHASE_S
    times = [after["time"] - before["time"] for before, after in step_intervals(session)]
    usual_s = statistics.median(times) if times else _PHASE_S
    return max(_TIMES_USUAL * usual_s, _LEAST_SILENT_S)


def _progress(
    folder: Path,
    main: Sequence[Record],
    begun: Record,
    checkpoint_step: int | None,
    *,
    is_running: bool,
) -> dict[str, Any]:
    steps = [record for record in main if record["event"] == events.STEP]
    step = steps[-1]["step_count"] if steps else begun.get("first_step", checkpoint_step)
    last_step = (begun or _begun_before(folder)).get("last_step")
    found: dict[str, Any] = {"step": step, "last_step": last_step}
    if step is None or last_step is None:
        return found
    offset = 0
    with contextlib.suppress(OSError, errors.DataError, KeyError, TypeError):
        offset = int(files.read_json(folder / SETTINGS_FILE)["config"]["step_offset"])
    found["progress"] = (step - offset) / max(last_step - offset, 1)
    steps = [step for step in steps if step["step_count"] > begun.get("first_step", 0) + _FILLING]
    if is_running and len(steps) > 1:
        took_s = steps[-1]["time"] - steps[0]["time"]
        made = max(steps[-1]["step_count"] - steps[0]["step_count"], 1)
        found["left_s"] = (last_step - step) * took_s / made
    return found


def _begun_before(folder: Path) -> Record:
    """Returns what the latest attempt that came to its steps said of them; {} if none did."""
    for line in _backward(events.paths(folder).get(0, folder / events.EVENTS_FOLDER / "none")):
        if BEGUN.encode() in line and (record := _parsed(line)):
            return record
    return {}


def _speed(main: Sequence[Record], facts: Record) -> dict[str, Any]:
    # The first ones dispatch without waiting for any step before.
    times = [
        after["time"] - before["time"]
        for before, after in step_intervals(main)
        if before["step_count"] > facts.get("first_step", 0) + _FILLING
    ]
    if not times or not sum(times):
        return {}
    step_s = statistics.fmean(times)
    peak = _peak_flops(facts)
    flops = facts.get("step_flops")
    return {"step_s": step_s, "mfu": flops / step_s / peak if flops and peak else None}


def _peak_flops(facts: Record) -> float | None:
    """Returns the most arithmetic that the devices of a run can do in a second, if known."""
    kind = facts.get("device_kind")
    peak = _GPU_FLOPS.get(kind)
    if kind in _GENERATIONS:
        peak = slices.GENERATIONS[_GENERATIONS[kind]].peak_flops
    return peak and facts.get("num_devices", 0) * peak


def _stacks(folder: Path, now: float) -> dict[str, Any]:
    found = sorted((folder / STACKS_FOLDER).glob("*.txt"), key=lambda path: path.stat().st_mtime)
    if not found:
        return {}
    return {"stacks": str(found[-1]), "stacks_age_s": _age_s(found[-1], now)}


def _age_s(path: Path, now: float) -> float | None:
    try:
        return max(now - path.stat().st_mtime, 0.0)
    except OSError:
        return None
