# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Event logs made by hand: what a process did, one line an event."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import files

_CUSTOM = ("compile", "checkpoint_restore", "checkpoint_save", "eval")


class Log:
    """The events of one process; each method adds some and returns the log."""

    def __init__(self, process: int = 0):
        self.process, self.records = process, []

    def add(self, time: float, event: str, **fields: Any) -> "Log":
        self.records.append({"time": time, "event": event, **fields})
        return self

    def start(self, time: float, host: str = "") -> "Log":
        return self.add(time, "job_start_time", host=host)

    def end(self, time: float, exit_code: int) -> "Log":
        return self.add(time, "job_end_time", exit=exit_code)

    def enter(self, time: float, name: str) -> "Log":
        return self._edge(time, name, "start")

    def leave(self, time: float, name: str) -> "Log":
        return self._edge(time, name, "end")

    def phase(self, start: float, end: float, name: str) -> "Log":
        return self.enter(start, name).leave(end, name)

    def begun(self, time: float, first_step: int, **fields: Any) -> "Log":
        return self.add(time, "training_start", first_step=first_step, **fields)

    def step(
        self, time: float, number: int, data_s: float = 0, wait_s: float = 0, dispatch_s: float = 0
    ) -> "Log":
        return self.add(
            time, "step_start_time", step_count=number, data_s=data_s, wait_s=wait_s,
            dispatch_s=dispatch_s,
        )  # fmt: skip

    def _edge(self, time: float, name: str, edge: str) -> "Log":
        if name in _CUSTOM:
            return self.add(time, f"custom_badput_event_{edge}_time", custom_badput_event_type=name)
        return self.add(time, f"{name}_{edge}_time")


def by_process(*logs: Log) -> Mapping[int, Sequence[Mapping[str, Any]]]:
    return {log.process: log.records for log in logs}


def write(folder: Path, *logs: Log) -> None:
    (folder / "events").mkdir(parents=True, exist_ok=True)
    for log in logs:
        path = folder / "events" / f"process_{log.process:05d}.jsonl"
        path.write_text("".join(files.dumps(record) + "\n" for record in log.records))
