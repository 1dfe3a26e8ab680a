# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A grid of runs, one after another: named, each in its own folder, resumable, one table for all.

    OUT/<run>/run.json     what the run is, and how far: pending, running, done, failed, preempted
    OUT/<run>/...          whatever the run itself writes; its scores in scores.csv
    OUT/<run>/error.txt    the stack trace of a run that failed
    OUT/scores.csv         all runs' rows, with a column for each setting

What a run does is the caller's function. A finished run is not repeated while its configuration is
the same; a run that fails is recorded, and the others go on.
"""

import dataclasses
import hashlib
import itertools
import os
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import errors, files
from flan_jax.core.progress import Progress, say
from flan_jax.evals import scores as scores_lib

PENDING, RUNNING, DONE, FAILED = "pending", "running", "done", "failed"
PREEMPTED, STALE = "preempted", "stale"
SCORES_FILE = "scores.csv"
RUN_FILE = "run.json"
_MAX_NAME = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One point of a grid."""

    name: str  # also its folder's name
    macros: tuple[tuple[str, Any], ...]  # Gin macro -> value, in the grid's order
    settings: tuple[tuple[str, str], ...]  # column -> value, as the result table shows them


RunOne = Callable[[Run, Path], None]
Settings = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def expand(grid: Mapping[str, Sequence[Any]], settings: Settings | None = None) -> tuple[Run, ...]:
    """Returns the runs of the grid: the product of all macros' values, the last varying fastest.

    Args:
        grid: Gin macro -> its values.
        settings: from the macros of one run to the columns that describe it in the result table
            and in its name, such as `{"num_tasks": 8, "seed": 0}`; by default the macros themselves
            in lower case.

    Raises:
        UsageError: if a macro has no values, or two runs are the same.
    """
    if not grid:
        raise errors.UsageError("the sweep's grid is empty; give it a macro with its values")
    for macro, values in grid.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise errors.UsageError(
                f"sweep: {macro} must be a list of at least one value, got {values!r}"
            )
    runs = []
    for values in itertools.product(*grid.values()):
        macros = dict(zip(grid, values, strict=True))
        shown = settings(macros) if settings else {k.lower(): v for k, v in macros.items()}
        shown = {name: str(value) for name, value in shown.items()}
        run = Run(name=run_name(shown), macros=tuple(macros.items()), settings=tuple(shown.items()))
        same = next((other for other in runs if other.name == run.name), None)
        if same:
            raise errors.UsageError(
                f"sweep: two runs are called {run.name!r}: {dict(same.macros)} and {macros}; "
                "remove the repeated value, or name the macro among the settings"
            )
        runs.append(run)
    return tuple(runs)


def run_name(settings: Mapping[str, str]) -> str:
    """Returns a name safe in any file system: `num_tasks-8_seed-0`.

    Where characters had to go, or the name is long, a hash of the settings keeps it unique.
    """
    parts = [f"{name}-{value}" for name, value in settings.items()]
    safe = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-.") for part in parts]
    name = "_".join(safe)
    if safe == parts and len(name) <= _MAX_NAME:
        return name
    digest = hashlib.sha256(files.dumps(list(settings.items())).encode()).hexdigest()[:8]
    return f"{name[: _MAX_NAME - 9].rstrip('-.')}-{digest}"


def run_sweep(
    *, runs: Sequence[Run], out: str | os.PathLike, run_one: RunOne, config: str = ""
) -> list[scores_lib.Score]:
    """Carries out every run that is not finished, then gathers all scores in `OUT/scores.csv`.

    Args:
        runs: from `expand`.
        out: the sweep's folder.
        run_one: does one run in the folder it is given, and leaves a `scores.csv` there.
        config: text that names everything the runs share (Gin text, code version): a finished run
            is skipped only while this and its macros are what they were.

    Returns:
        The rows of all finished runs, each with its run's settings.

    Raises:
        IncompleteError: after all other runs, if some failed; names each with its message.
        PreemptedError: at once, if a run was asked to stop.
    """
    out, failures = Path(out), []
    for run in runs:
        if status(out, run, config)["status"] == PENDING:
            _record(out, run, config, PENDING)
    with Progress("sweep", total=len(runs), unit="run") as progress:
        for number, run in enumerate(runs, start=1):
            state = status(out, run, config)
            message = state["message"] if state["status"] == STALE else ""
            if state["status"] == DONE:
                say(f"sweep {number}/{len(runs)}: {run.name} is done, skipped")
            elif not message:
                say(f"sweep {number}/{len(runs)}: {run.name}")
                message = _attempt(out, run, config, run_one)
            if message:
                say(f"sweep: {run.name} failed: {message}")
                failures.append(f"{run.name}: {message}")
            progress.advance(note=run.name)
    rows = gather(out, runs, config)
    say(status_table(out, runs, config))
    if failures:
        raise errors.IncompleteError(
            f"{len(failures)} of {len(runs)} runs in {out} failed, the rest is done: "
            + "; ".join(failures)
            + "; the same command retries them"
        )
    return rows


def gather(out: str | os.PathLike, runs: Sequence[Run], config: str) -> list[scores_lib.Score]:
    """Writes and returns the rows of all finished runs, with their settings as columns."""
    rows = []
    for run in runs:
        if status(out, run, config)["status"] == DONE:
            path = Path(out) / run.name / SCORES_FILE
            rows += [
                dataclasses.replace(score, settings={**score.settings, **dict(run.settings)})
                for score in scores_lib.read_scores(path)
            ]
    scores_lib.write_scores(Path(out) / SCORES_FILE, rows)
    return rows


def status(out: str | os.PathLike, run: Run, config: str) -> dict[str, Any]:
    """Returns `status`, `message` and `duration_s` of a run, from its `run.json`.

    A run that nobody began is pending; one that was begun with another configuration is stale.
    """
    path = Path(out) / run.name / RUN_FILE
    record = files.read_json(path) if path.is_file() else {"status": PENDING}
    if record["status"] == PENDING:
        return {"status": PENDING, "message": "", "duration_s": None}
    if record["config_hash"] != config_hash(run, config):
        message = f"begun with another configuration; delete {path.parent} or choose another folder"
        return {"status": STALE, "message": message, "duration_s": record["duration_s"]}
    return record


def status_table(out: str | os.PathLike, runs: Sequence[Run], config: str) -> str:
    """Returns the state of all runs as aligned text, one line a run."""
    lines = [("run", "status", "time", "message")]
    for run in runs:
        record = status(out, run, config)
        duration = record.get("duration_s")
        shown = "" if duration is None else f"{duration:.1f} s"
        lines.append((run.name, record["status"], shown, record.get("message", "")))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    widths.append(0)
    padded = (
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    )
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def config_hash(run: Run, config: str) -> str:
    """Returns the hash of all that decides a run's results."""
    text = files.dumps({"macros": [[k, repr(v)] for k, v in run.macros], "config": config})
    return hashlib.sha256(text.encode()).hexdigest()


def _attempt(out: Path, run: Run, config: str, run_one: RunOne) -> str:
    """Carries out one run; returns "" or what went wrong."""
    folder = out / run.name
    trace = folder / "error.txt"
    start = time.monotonic()

    def record(state: str, message: str = "") -> None:
        _record(out, run, config, state, message, round(time.monotonic() - start, 1))

    record(RUNNING)
    try:
        run_one(run, folder)
        if not (folder / SCORES_FILE).is_file():
            raise errors.FlanError(f"{run.name} ended without writing {folder / SCORES_FILE}")
    except errors.PreemptedError:
        record(PREEMPTED, "stopped and saved")
        raise
    except Exception as error:  # whatever ends one run must not end the others: kept in error.txt
        message = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, errors.FlanError):
            message = f"{type(error).__name__}: {message} (stack trace in {trace})"
        with files.atomic_open(trace) as file:
            file.write(traceback.format_exc())
        record(FAILED, message)
        return message
    trace.unlink(missing_ok=True)
    record(DONE)
    return ""


def _record(
    out: Path, run: Run, config: str, state: str, message: str = "", duration_s: float | None = None
) -> None:
    files.write_json(
        out / run.name / RUN_FILE,
        {
            "name": run.name,
            "macros": {name: repr(value) for name, value in run.macros},
            "settings": dict(run.settings),
            "config_hash": config_hash(run, config),
            "status": state,
            "message": message,
            "duration_s": duration_s,
        },
    )
