# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The attempts of a run: from one start of its processes to the next, by their event logs.

A log (`flan_jax.core.events`) holds all starts of one process number. Process 0 has part in every
attempt, so its starts are theirs; a start of another process belongs to the nearest of them, as
the processes of a job start together and may be more or fewer each time. Clocks may be set back
while a run goes on: in what is returned here time never does.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import errors, events
from flan_jax.launching import supervise

START, END, BEGUN, HANG = "job_start_time", "job_end_time", "training_start", "hang"
Record = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt; times in seconds since 1970."""

    number: int  # from 1
    start: float
    end: float  # the last sign of life of any process
    logs: Mapping[int, Sequence[Record]]  # of each process, in the order of time
    cause: str = ""  # why it ended, as its supervisor found
    is_last: bool = False

    @property
    def main(self) -> Sequence[Record]:
        """The events of its first process."""
        return self.logs[min(self.logs)]

    @property
    def first_step(self) -> int | None:
        """The step that it went on from; None if it made none."""
        for record in self.main:
            if record["event"] == BEGUN and isinstance(record.get("first_step"), int):
                return record["first_step"]
            if record["event"] == events.STEP:
                return record["step_count"] - 1
        return None

    @property
    def steps(self) -> list[int]:
        """The steps that it began, in their order."""
        return [r["step_count"] for r in self.main if r["event"] == events.STEP]

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        codes = {index: _exit(log) for index, log in self.logs.items()}
        if all(code == errors.EXIT_OK for code in codes.values()):
            return "done"
        if self.cause:
            return self.cause
        for index, log in self.logs.items():
            for record in log:
                if record["event"] == HANG:
                    return f"process {index} hung: {record.get('doing', '')}"
        if told := why(self.logs):
            return told
        killed = [index for index, code in codes.items() if code is None]
        if len(killed) == len(codes):
            return "no end yet, or killed" if self.is_last else "killed"
        if killed:
            return f"died: process {_listed(killed)}"
        code = max(codes.values(), key=lambda code: (code != errors.EXIT_PREEMPTED, code))
        return errors.EXIT_CODES.get(code, f"exit code {code}").partition(":")[0]

    @property
    def is_well(self) -> bool:
        """Whether it ended done, or saved."""
        codes = {_exit(log) for log in self.logs.values()}
        return codes <= {errors.EXIT_OK, errors.EXIT_PREEMPTED}


def read(folder: Path) -> list[Attempt]:
    """Returns the attempts of the run in a folder.

    Raises:
        UsageError: the folder holds no event log.
    """
    logs = {index: log for index, log in events.read(folder).items() if log}
    if not logs:
        raise errors.UsageError(
            f"{str(folder)!r} holds no event log ({events.EVENTS_FOLDER}/process_*.jsonl); name "
            "the MODEL_DIR of a training that has started"
        )
    return attempts(logs, supervise.read_journal(supervise.journal_of(folder)))


def num_without_log(folder: Path, found: Sequence[Attempt]) -> int:
    """Returns how many attempts a supervisor made that ended before they had an event log."""
    num, start = 0, None
    for note in supervise.read_journal(supervise.journal_of(folder)):
        if note.get("event") == "attempt_start":
            start = note["time"]  # the one before may have no end: its supervisor was killed
        elif note.get("event") == "attempt_end" and start is not None:
            num += not any(start <= attempt.start <= note["time"] for attempt in found)
            start = None
    return num


def attempts(logs: Mapping[int, Sequence[Record]], notes: Sequence[Record] = ()) -> list[Attempt]:
    """Returns the attempts that event logs tell of.

    Args:
        logs: the records of each process, at least one.
        notes: the supervisor's journal.
    """
    main = min(logs)
    mine = list(_starts(_forward(logs[main])))
    starts = [session[0]["time"] for session in mine]
    found: list[dict[int, list[Record]]] = [{main: session} for session in mine]
    for index, log in sorted(logs.items()):
        if index == main:
            continue
        for session in _starts(_forward(log)):
            number = min(range(len(starts)), key=lambda i: abs(starts[i] - session[0]["time"]))
            found[number].setdefault(index, []).extend(session)
    made = []
    for number, own in enumerate(found, 1):
        start = starts[number - 1]
        until = starts[number] if number < len(starts) else None
        end = max([start, *(log[-1]["time"] for log in own.values())])
        end = end if until is None else min(end, until)
        made.append(
            Attempt(
                number=number,
                start=start,
                end=end,
                logs=own,
                cause=_cause(notes, start, until),
                is_last=until is None,
            )
        )
    return made


def why(logs: Mapping[int, Sequence[Record]]) -> str:
    """Returns why a job ended, by the first of its processes that said so; "" if none did."""
    ends = [(r, index) for index, log in logs.items() for r in log if r["event"] == END]
    # Who is asked to stop is seldom the cause where another one fails.
    ends.sort(key=lambda end: (end[0].get("exit") == errors.EXIT_PREEMPTED, end[0]["time"]))
    for end, index in ends:
        if end.get("why"):
            # What to do about it follows a semicolon.
            text = str(end["why"]).partition(";")[0]
            return text if text.startswith("process ") else f"process {index}: {text}"
    return ""


def _forward(log: Sequence[Record]) -> Iterator[Record]:
    """Yields records whose time never goes back."""
    latest = log[0]["time"]
    for record in log:
        latest = max(latest, record["time"])
        yield record if record["time"] == latest else {**record, "time": latest}


def _starts(log: Iterator[Record]) -> Iterator[list[Record]]:
    """Yields what each start of a process wrote."""
    session: list[Record] = []
    for record in log:
        if record["event"] == START and session:
            yield session
            session = []
        session.append(record)
    yield session


def _exit(log: Sequence[Record]) -> int | None:
    """Returns the exit code of a process; None if it could not say one."""
    return next((r.get("exit") for r in reversed(log) if r["event"] == END), None)


def _cause(notes: Sequence[Record], start: float, until: float | None) -> str:
    """Returns what the supervisor said of the end of the attempt that began then."""
    for note in notes:
        if note.get("event") == "attempt_end" and note["time"] >= start:
            if until is not None and note["time"] > until:
                return ""
            # What to do about it follows a semicolon.
            return f"{note.get('kind')}: {note.get('cause')}".partition(";")[0]
    return ""


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:4]))
    return f"{shown}, … ({len(numbers)})" if len(numbers) > 4 else shown
