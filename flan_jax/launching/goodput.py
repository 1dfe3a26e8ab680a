# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the time of a run went: each second of it, from its first start to its last sign of life.

Goodput is the share in which steps were made whose result was kept. The rest has a name each
(`CATEGORIES`). Process 0 tells for all: the processes of a job make each step together. What one of
them did while the others waited for it is another question, see `slow_steps.py`.
"""

import dataclasses
import functools
import math
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from flan_jax.core import events
from flan_jax.core.tables import aligned
from flan_jax.launching.attempts import END, Attempt, Record

# Category -> what it is, in the order of tables and legends.
CATEGORIES = {
    "steps": "training steps, kept",
    "data_wait": "waiting for data",
    "eval": "evaluation",
    "save": "writing checkpoints",
    "restore": "reading a checkpoint, or fresh parameters",
    "compile": "compiling",
    "init": "processes and devices finding each other",
    "preparation": "preparing the training",
    "lost": "lost: done after the checkpoint that a later attempt began from",
    "down": "down: from the last sign of life of an attempt to the next one",
    "other": "other",
}
STEPS, DATA, LOST, DOWN, OTHER = "steps", "data_wait", "lost", "down", "other"
_OF_PHASE = {
    "tpu_init": "init",
    "training_preparation": "preparation",
    "data_loading": DATA,
    "compile": "compile",
    "checkpoint_restore": "restore",
    "checkpoint_save": "save",
    "eval": "eval",
}
# A step in which the host waited for the device at least so much of the time was as fast as the
# device allows; fewer of them than that tell nothing of how fast that is.
_DEVICE_BOUND, _LEAST_STEPS = 0.1, 3
_MOST_AHEAD = 3  # steps that a process begins before it waits for another one's first
_ENDING_WIDTH = 80  # of a table


@dataclasses.dataclass(frozen=True)
class Span:
    """A stretch of time that went into one thing."""

    start: float  # seconds since 1970
    end: float
    category: str  # of CATEGORIES
    step: int | None = None  # the latest one begun

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.start


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttemptAccount:
    """One attempt."""

    attempt: Attempt
    kept: int | None  # steps after this one were made again by a later attempt; None: all are kept
    last_step: int | None  # the last one begun
    num_lost: int  # steps begun here that a later attempt made again
    recovery_s: float | None  # from the end of the last attempt that made steps to its first step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Account:
    """A run."""

    attempts: tuple[AttemptAccount, ...]
    spans: tuple[Span, ...]  # from the first start to the last sign of life, without a gap
    device_step_s: float  # a step's time where the device is never without work; 0 if unknown

    @property
    def wall_s(self) -> float:
        """Seconds in all."""
        return self.spans[-1].end - self.spans[0].start if self.spans else 0.0

    @functools.cached_property
    def seconds(self) -> dict[str, float]:
        """Seconds of each category."""
        found = dict.fromkeys(CATEGORIES, 0.0)
        for span in self.spans:
            found[span.category] += span.seconds
        return found

    @property
    def goodput(self) -> float:
        """The share of time in steps that were kept."""
        return self.seconds[STEPS] / self.wall_s if self.wall_s else 0.0


def account(attempts: Sequence[Attempt]) -> Account:
    """Returns where the time of a run's attempts went."""
    made: list[AttemptAccount] = []
    spans: list[Span] = []
    device_step_s = _device_step_s(attempts)
    trained_until: float | None = None
    for number, attempt in enumerate(attempts):
        later = [a.first_step for a in attempts[number + 1 :] if a.first_step is not None]
        kept = min(later, default=None)
        if spans and attempt.start > spans[-1].end:
            spans.append(Span(spans[-1].end, attempt.start, DOWN, spans[-1].step))
        telling = _telling(attempt)
        spans.extend(_spans(telling, attempt.end, kept, device_step_s))
        steps = attempt.steps
        begun = _first_step_time(telling)
        recovery_s = None
        if begun < math.inf:
            if trained_until is not None:
                recovery_s = max(begun - trained_until, 0.0)
            trained_until = attempt.end
        num_lost = 0 if kept is None else len({step for step in steps if step > kept})
        made.append(
            AttemptAccount(
                attempt=attempt,
                kept=kept,
                last_step=steps[-1] if steps else None,
                num_lost=num_lost,
                recovery_s=recovery_s,
            )
        )
    return Account(attempts=tuple(made), spans=tuple(spans), device_step_s=device_step_s)


def lane(found: Account, process: int) -> Iterator[Span]:
    """Yields what one process did, in the attempts that it had part in."""
    for one in found.attempts:
        if log := one.attempt.logs.get(process):
            yield from _spans(log, one.attempt.end, one.kept, found.device_step_s)


def as_json(found: Account) -> dict[str, Any]:
    """Returns an account as JSON values."""
    wall_s = found.wall_s
    return {
        "wall_s": round(wall_s, 3),
        "goodput": round(found.goodput, 6),
        "seconds": {name: round(value, 3) for name, value in found.seconds.items()},
        "attempts": [
            {
                "attempt": one.attempt.number,
                "start": one.attempt.start,
                "end": one.attempt.end,
                "num_processes": len(one.attempt.logs),
                "first_step": one.attempt.first_step,
                "last_step": one.last_step,
                "ending": one.attempt.ending,
                "steps_lost": one.num_lost,
                "recovery_s": None if one.recovery_s is None else round(one.recovery_s, 3),
            }
            for one in found.attempts
        ],
    }


def shown(found: Account) -> Iterator[str]:
    """Yields the lines of an account: a table of categories, a table of attempts."""
    rows = [("time", "share", "", "")]
    for name, value in found.seconds.items():
        share = value / found.wall_s if found.wall_s else 0.0
        rows.append((duration(value), f"{share:.1%}", name, CATEGORIES[name]))
    rows.append((duration(found.wall_s), "100.0%", "all", "from the first start to the last sign"))
    yield from aligned(rows, right=[0, 1])
    yield ""
    heading = ("attempt", "processes", "steps", "lasted", "recovery", "steps lost", "ended")
    table = [heading]
    for one in found.attempts:
        first = one.attempt.first_step
        table.append(
            (
                str(one.attempt.number),
                str(len(one.attempt.logs)),
                "none" if one.last_step is None else f"{first} to {one.last_step}",
                duration(one.attempt.end - one.attempt.start),
                "" if one.recovery_s is None else duration(one.recovery_s),
                str(one.num_lost) if one.num_lost else "",
                textwrap.shorten(one.attempt.ending, _ENDING_WIDTH, placeholder=" …"),
            )
        )
    yield from aligned(table, right=[0, 1, 2, 3, 4, 5])


def duration(seconds: float) -> str:
    """Returns a time for people, with two units at most.

    Example:
        >>> [duration(s) for s in (0.25, 59, 61, 3725, 200000)]
        ['0.2 s', '59.0 s', '1 min 1 s', '1 h 2 min', '2 d 7 h']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small, part in (
        (86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"),
    ):  # fmt: skip
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {part}"
    return f"{whole} s"


def step_intervals(log: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Yields the records of steps that followed each other with nothing else in between.

    The second one tells what its process did from the first to the second.
    """
    before: Record | None = None
    for record in log:
        if record["event"] == events.STEP:
            if before is not None:
                yield before, record
            before = record
        elif _matters(record):
            before = None


def phases_open(log: Sequence[Record]) -> list[tuple[str, float]]:
    """Returns the phases that a process is in at the end of its log, and since when.

    The innermost comes last. The log may begin in the middle of one.
    """
    state = _State()
    for record in log:
        state.follow(record)
    return state.phases


def _matters(record: Record) -> bool:
    """Returns whether a process is at something else from this event on."""
    return record["event"] in (events.STEP, END) or events.edge(record) is not None


class _State:
    """What a process is at, by its events; some of them may be lost."""

    def __init__(self):
        self.phases: list[tuple[str, float]] = []  # and since when; the innermost comes last
        self.step: int | None = None
        self.in_step = False  # no phase has begun since the step did

    def follow(self, record: Record) -> None:
        """Takes the next event."""
        if record["event"] in (events.STEP, END):
            self.phases.clear()
            self.in_step = record["event"] == events.STEP
            self.step = record.get("step_count", self.step)
        elif found := events.edge(record):
            name, is_start = found
            self.in_step = False
            if is_start:
                self.phases.append((name, record["time"]))
            elif any(name == opened for opened, _ in self.phases):
                while self.phases.pop()[0] != name:
                    pass


def _telling(attempt: Attempt) -> Sequence[Record]:
    """Returns the events that tell for all: process 0's, but before it those of who came last.

    The first steps of an attempt end when the last process has begun its first; until then process
    0 waits for what that one is at, which may be compiling for longer.
    """
    main = attempt.main
    begun = {index: _first_step_time(log) for index, log in attempt.logs.items()}
    if len(attempt.steps) > _MOST_AHEAD:  # so all have begun, also who could not write that
        begun = {index: time for index, time in begun.items() if time < math.inf}
    last = max(begun, key=begun.get, default=min(attempt.logs))
    before = [record for record in attempt.logs[last] if record["time"] <= begun[last]]
    return [main[0], *before, *(record for record in main if record["time"] > begun[last])]


def _first_step_time(log: Sequence[Record]) -> float:
    return next((record["time"] for record in log if record["event"] == events.STEP), math.inf)


def _device_step_s(attempts: Sequence[Attempt]) -> float:
    """Returns how long a step takes where the device is never without work; 0 if unknown."""
    found = []
    for attempt in attempts:
        for before, record in step_intervals(attempt.main):
            took_s = record["time"] - before["time"]
            if took_s > 0 and record.get("wait_s", 0.0) >= _DEVICE_BOUND * took_s:
                found.append(took_s)
    return statistics.median(found) if len(found) >= _LEAST_STEPS else 0.0


def _spans(
    log: Sequence[Record], end: float, kept: int | None, device_step_s: float
) -> Iterator[Span]:
    """Yields what a process did in an attempt, from its first record to `end`.

    Args:
        log: its records.
        end: of the attempt; records after it (another attempt has begun) count as of then.
        kept: steps after this one were made again later; None: all are kept.
        device_step_s: of a step that waits for nothing.
    """
    state, at = _State(), log[0]["time"]
    for record in (*filter(_matters, log), {"event": END, "time": end}):
        until = min(record["time"], end)
        if until > at:
            waited_s = min(_waited_s(state, record, device_step_s), until - at)
            category = STEPS if state.in_step else OTHER
            if state.phases:
                category = _OF_PHASE.get(state.phases[-1][0], OTHER)
            parts = ((at, until - waited_s, category), (until - waited_s, until, DATA))
            is_lost = kept is not None and state.step is not None and state.step > kept
            for start, stop, name in parts:
                if stop > start:
                    yield Span(start, stop, LOST if is_lost else name, state.step)
            at = until
        state.follow(record)


def _waited_s(state: _State, record: Record, device_step_s: float) -> float:
    """Returns how long the devices had nothing to do, for want of data, before an event."""
    if record["event"] != events.STEP or state.phases:
        return 0.0
    data_s = record.get("data_s", 0.0)
    if not state.in_step:
        return data_s
    # The step before is at work meanwhile: it was queued when the one before that ended, which is
    # what the host waited for.
    own_s = data_s + record.get("dispatch_s", 0.0)
    return min(data_s, max(own_s - device_step_s, 0.0))
