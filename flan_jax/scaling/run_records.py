# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is known of each run of a sweep: its record on disk, its state, its place in a table.

OUT/<run>/run.json    what the run is, how far it is, and how often it was begun
"""

import dataclasses
import hashlib
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import files
from flan_jax.training import writers

PENDING, RUNNING, DONE, FAILED = "pending", "running", "done", "failed"
PREEMPTED, INTERRUPTED, STALE = "preempted", "interrupted", "stale"
RUN_FILE = "run.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One point of a grid."""

    name: str  # also its folder's name
    macros: tuple[tuple[str, Any], ...]  # Gin macro -> value, in the grid's order
    settings: tuple[tuple[str, str], ...]  # column -> value, as the result table shows them
    config: str = ""  # all else that decides the result: Gin text, code version


def config_hash(run: Run) -> str:
    """Returns the hash of all that decides a run's results."""
    text = files.dumps({"macros": [[k, repr(v)] for k, v in run.macros], "config": run.config})
    return hashlib.sha256(text.encode()).hexdigest()


def record(
    out: str | os.PathLike,
    run: Run,
    state: str,
    message: str = "",
    duration_s: float | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Writes down the state of a run, as of this process; `RUNNING` counts as one more attempt."""
    path = Path(out) / run.name / RUN_FILE
    before = files.read_json(path) if path.is_file() else {}
    is_same = before.get("config_hash") == config_hash(run)
    attempts = before.get("attempts", 0) if is_same else 0
    files.write_json(
        path,
        {
            "name": run.name,
            "macros": {name: repr(value) for name, value in run.macros},
            "settings": dict(run.settings),
            "config_hash": config_hash(run),
            "status": state,
            "message": message,
            "duration_s": duration_s,
            "facts": dict(facts or {}),
            "attempts": attempts + (state == RUNNING),
            "time": time.time(),
            "process": {"id": os.getpid(), "host": socket.gethostname()},
        },
    )


def status(out: str | os.PathLike, run: Run) -> dict[str, Any]:
    """Returns `status`, `message`, `duration_s`, `attempts` and `facts` of a run.

    The status is one of: `pending`, nobody began it; `running`; `interrupted`, its process is gone;
    `preempted`, it was stopped; `failed`; `done`; `stale`, begun with another configuration.
    """
    path = Path(out) / run.name / RUN_FILE
    found = {"message": "", "duration_s": None, "attempts": 0, "facts": {}}
    found |= files.read_json(path) if path.is_file() else {"status": PENDING}
    if found["status"] == PENDING and not found["attempts"]:
        return found  # never begun: nothing in its folder is of another configuration
    if found["config_hash"] != config_hash(run):
        message = f"begun with another configuration; delete {path.parent} or choose another folder"
        return found | {"status": STALE, "message": message}
    if found["status"] == RUNNING:
        if _is_gone(found["process"]):
            return found | {"status": INTERRUPTED, "message": "its process is gone"}
        return found | {"duration_s": round(time.time() - found["time"], 1)}
    return found


def table(
    out: str | os.PathLike, runs: Sequence[Run], steps: Mapping[str, range] | None = None
) -> str:
    """Returns the state of all runs as aligned text, one line a run.

    Args:
        out: the sweep's folder.
        runs: its runs.
        steps: a run's name -> the total steps that it trains from and to; of others no progress is
            told.
    """
    lines = [("run", "status", "time", "steps", "begun", "message")]
    for run in runs:
        found = status(out, run)
        duration, attempts = found["duration_s"], found["attempts"]
        trained = (steps or {}).get(run.name, range(0))
        is_known = found["status"] not in (PENDING, STALE)
        done = progress(Path(out) / run.name, trained) if is_known else ""
        lines.append(
            (
                run.name,
                found["status"],
                "" if duration is None else f"{duration:.1f} s",
                done if found["status"] == RUNNING else done.partition(",")[0],
                f"{attempts} times" if attempts > 1 else "",
                found["message"],
            )
        )
    shown = [column for column in range(len(lines[0])) if any(line[column] for line in lines[1:])]
    widths = {c: max(len(line[c]) for line in lines) for c in shown}
    padded = ([line[c].ljust(widths[c]) for c in shown] for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def progress(folder: str | os.PathLike, steps: range) -> str:
    """Returns how far a training is, such as `400/1000, 62 s left`; "" without steps.

    Args:
        folder: of the run, with its metrics.
        steps: from its first total step to its last. The time left is theirs, without evaluations,
            at the rate of the last period that was logged.
    """
    if not steps:
        return ""
    logged = [r for r in writers.read_metrics(folder) if r["kind"] == "train"]
    if not logged:
        return f"0/{len(steps)}"
    left, rate = steps.stop - logged[-1]["step"], logged[-1].get("steps_per_s")
    time_left = f", {left / rate:.0f} s left" if left > 0 and rate else ""
    return f"{len(steps) - left}/{len(steps)}{time_left}"


def _is_gone(process: Mapping[str, Any]) -> bool:
    """Returns whether a process has ended; False where this machine cannot know."""
    if process["host"] != socket.gethostname():
        return False
    try:
        os.kill(process["id"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
