# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A grid of runs: named, each in its own folder, resumable, one table for all.

    OUT/<run>/run.json     what the run is, and how far: see `status`
    OUT/<run>/...          whatever the run itself writes; its scores in scores.csv, in
                           benchmarks/scores.csv, and those of steps on the way in eval/step_<n>/
                           and benchmarks/step_<n>/
    OUT/<run>/error.txt    the stack trace of a run that failed
    OUT/scores.csv         all rows of finished runs, with a column for each setting

What a run does is the caller's function, and whether runs go one after another (`in_turn`) or each
in a process of its own (`in_processes`) makes no difference to the folder. A finished run is not
repeated while its configuration is the same; a run that fails is recorded, and the others go on.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import re
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import errors, files
from flan_jax.core.progress import Progress, say
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import processes
from flan_jax.scaling.run_records import (
    DONE,
    FAILED,
    PENDING,
    PREEMPTED,
    RUNNING,
    STALE,
    Run,
    record,
    status,
    table,
)

SCORES_FILE = "scores.csv"
EVAL_FOLDER, BENCHMARKS_FOLDER = "eval", "benchmarks"  # in a run's, as jobs.py names them
LOG_FILE = "log.txt"  # what the process of a run said
_LOCKS = ".locks"
_MAX_NAME = 100
_POLL_S = 0.2

# Does a run in its folder; returns facts to keep beside its status.
RunOne = Callable[[Run, Path], Mapping[str, Any] | None]
Endings = Generator[tuple[Run, str], None, None]  # each run as it ends, with what went wrong
# (sweep's folder, runs) -> the endings.
Execute = Callable[[Path, Sequence[Run]], Endings]
Settings = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def expand(
    grid: Mapping[str, Sequence[Any]],
    settings: Settings | None = None,
    config: Callable[[Mapping[str, Any]], str] | None = None,
) -> tuple[Run, ...]:
    """Returns the runs of the grid: the product of all macros' values, the last varying fastest.

    Args:
        grid: Gin macro -> its values.
        settings: from the macros of one run to the columns that describe it in the result table
            and in its name, such as `{"num_tasks": 8, "seed": 0}`; by default the macros themselves
            in lower case.
        config: from the macros of one run to the text that names everything else its result
            depends on; a finished run is skipped only while this and its macros are what they were.

    Raises:
        UsageError: if a macro has no values, or two runs are the same.
    """
    runs = []
    for macros in combinations(grid):
        shown = settings(macros) if settings else {k.lower(): v for k, v in macros.items()}
        shown = {name: str(value) for name, value in shown.items()}
        for name in set(shown) & set(scores_lib.COLUMNS):
            raise errors.UsageError(
                f"sweep: a grid may not have {name.upper()}, as {SCORES_FILE} has a column {name!r}"
            )
        run = Run(
            name=run_name(shown),
            macros=tuple(macros.items()),
            settings=tuple(shown.items()),
            config=config(macros) if config else "",
        )
        same = next((other for other in runs if other.name == run.name), None)
        if same:
            raise errors.UsageError(
                f"sweep: two runs are called {run.name!r}: {dict(same.macros)} and {macros}; "
                "remove the repeated value, or give its values labels"
            )
        runs.append(run)
    return tuple(runs)


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Returns the product of all macros' values, the last varying fastest.

    Raises:
        UsageError: if a macro has no values.
    """
    if not grid:
        raise errors.UsageError("the sweep's grid is empty; give it a macro with its values")
    for macro, values in grid.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise errors.UsageError(
                f"sweep: {macro} must be a list of at least one value, got {values!r}"
            )
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


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
    *,
    runs: Sequence[Run],
    out: str | os.PathLike,
    execute: Execute,
    on_change: Callable[[int], None] | None = None,
) -> list[scores_lib.Score]:
    """Carries out every run that is not finished; `OUT/scores.csv` holds all that are.

    Args:
        runs: from `expand`.
        out: the sweep's folder.
        execute: `in_turn(...)` or `in_processes(...)`.
        on_change: called with the number of runs that ended, at first 0, each time that
            `scores.csv` is up to date.

    Returns:
        The rows of all finished runs, each with its run's settings.

    Raises:
        IncompleteError: after all other runs, if some failed; names each with its message.
        PreemptedError: at once, if asked to stop.
    """
    out, failures = Path(out), {}
    todo, stale = [], set()
    for run in runs:
        state = status(out, run)
        if state["status"] == PENDING:
            record(out, run, PENDING)
        if state["status"] == DONE:
            say(f"sweep: {run.name} is done, skipped")
        elif state["status"] == STALE:
            failures[run.name] = state["message"]
            stale.add(run.name)
        else:
            todo.append(run)

    def gathered(num_ended: int) -> list[scores_lib.Score]:
        rows = gather(out, runs)
        if on_change is not None:
            on_change(num_ended)
        return rows

    rows = gathered(0)
    with (
        Progress("sweep", total=len(todo), unit="run") as progress,
        contextlib.closing(execute(out, todo)) as ended,
    ):
        for num_ended, (run, message) in enumerate(ended, start=1):
            if message:
                failures[run.name] = message
                say(f"sweep: {run.name} failed: {message}")
            else:
                say(f"sweep: {run.name} is done: {_means(out / run.name)}")
            rows = gathered(num_ended)
            progress.advance(note=run.name)
    say(table(out, runs))
    if failures:
        raise errors.IncompleteError(
            f"{len(failures)} of {len(runs)} runs in {out} failed, the rest is done: "
            + "; ".join(f"{name}: {message}" for name, message in failures.items())
            + ("; the same command retries them" if failures.keys() - stale else "")
        )
    return rows


def in_turn(run_one: RunOne) -> Execute:
    """Returns how to carry out runs one after another in this process.

    Args:
        run_one: does one run in the folder it is given and leaves a `scores.csv` there; what it
            returns is kept as the run's `facts`.
    """

    def execute(out: Path, runs: Sequence[Run]) -> Endings:
        for number, run in enumerate(runs, start=1):
            say(f"sweep: {number}/{len(runs)}: {run.name}")
            yield run, attempt(out, run, run_one)

    return execute


def in_processes(
    command: Callable[[Run], Sequence[str]], *, num: int, cores: int | None = None, retries: int = 0
) -> Execute:
    """Returns how to carry out `num` runs at a time, each by a command of its own.

    Args:
        command: gives the one that will `attempt` a run.
        num: how many at a time.
        cores: processor cores for each; None: an equal share of those there are.
        retries: how often at most a run is begun again whose process died: by a signal, as where
            memory runs out, or preempted while the sweep is not. One that fails of itself is not.
    """

    def execute(out: Path, runs: Sequence[Run]) -> Endings:
        by_name = {run.name: run for run in runs}
        for run in runs:  # so that a failure found afterwards is one of this attempt
            record(out, run, PENDING)
        commands = [
            processes.Command(
                name=run.name, argv=tuple(command(run)), log=out / run.name / LOG_FILE
            )
            for run in runs
        ]
        left = dict.fromkeys(by_name, retries)

        def again(ending: processes.Ending) -> bool:
            name = ending.command.name
            if not ending.died or not left[name] or status(out, by_name[name])["status"] == DONE:
                return False
            left[name] -= 1
            say(f"sweep: {name}: {ending}; begun again, {left[name]} more times at most")
            return True

        ended = processes.run_all(commands, num=num, cores=cores, what="sweep", again=again)
        with contextlib.closing(ended):
            for ending in ended:
                run = by_name[ending.command.name]
                yield run, _settle(out, run, ending)

    return execute


def attempt(out: str | os.PathLike, run: Run, run_one: RunOne) -> str:
    """Carries out one run here and now, and records it; returns "" or what went wrong.

    Raises:
        UsageError: another process is at this run and does not end; nothing is recorded.
        PreemptedError: asked to stop.
    """
    out = Path(out)
    folder = out / run.name
    trace = folder / "error.txt"
    start = time.monotonic()

    def note(state: str, message: str = "", facts: Mapping[str, Any] | None = None) -> None:
        record(out, run, state, message, round(time.monotonic() - start, 1), facts)

    with _held(out, run):
        note(RUNNING)
        try:
            facts = run_one(run, folder)
            if not score_tables(folder):
                raise errors.FlanError(f"{run.name} ended without writing {folder / SCORES_FILE}")
        except (errors.PreemptedError, KeyboardInterrupt):
            note(PREEMPTED, "stopped; the same command goes on")
            raise
        except Exception as error:  # one run must not end the others: kept in error.txt
            message = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, errors.FlanError):
                message = f"{type(error).__name__}: {message} (stack trace in {trace})"
            with files.atomic_open(trace) as file:
                file.write(traceback.format_exc())
            note(FAILED, message)
            return message
        trace.unlink(missing_ok=True)
        note(DONE, facts=facts)
    return ""


@contextlib.contextmanager
def _held(out: Path, run: Run) -> Iterator[None]:
    """Holds a run while inside; waits for the process of a killed sweep that may be saving it."""
    folder = out / _LOCKS / run.name  # not the run's own: training locks that one itself
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        for tries in itertools.count():
            try:
                stack.enter_context(files.locked(folder, "run"))
                break
            except errors.UsageError:
                if time.monotonic() - start > processes.GRACE_S:
                    raise
                if tries == 0:
                    say(f"sweep: {run.name}: another process is at it; waiting for its end")
            time.sleep(_POLL_S)
        yield


def score_tables(folder: str | os.PathLike) -> list[Path]:
    """Returns the score tables of a run: those of its end, then those of the steps on the way."""
    folder = Path(folder)
    ends = [folder / SCORES_FILE, folder / BENCHMARKS_FOLDER / SCORES_FILE]
    steps = [
        path
        for part in (EVAL_FOLDER, BENCHMARKS_FOLDER)
        for path in sorted(folder.glob(f"{part}/step_*/{SCORES_FILE}"))
    ]
    return [path for path in ends if path.is_file()] + steps


def read_scores(folder: str | os.PathLike) -> list[scores_lib.Score]:
    """Returns all rows of a run, of its end and of the steps on the way.

    Where the last step was evaluated in both ways, by training and after it, the latter counts.
    """
    found: dict[tuple, scores_lib.Score] = {}
    for path in score_tables(folder):
        for row in scores_lib.read_scores(path):
            found.setdefault(row.sort_key, row)
    return list(found.values())


def gather(out: str | os.PathLike, runs: Sequence[Run]) -> list[scores_lib.Score]:
    """Writes and returns all rows of all finished runs, with their settings as columns."""
    rows = []
    for run in runs:
        if status(out, run)["status"] == DONE:
            rows += [
                dataclasses.replace(score, settings={**score.settings, **dict(run.settings)})
                for score in read_scores(Path(out) / run.name)
            ]
    scores_lib.write_scores(Path(out) / SCORES_FILE, rows)
    return rows


def _settle(out: Path, run: Run, ending: processes.Ending) -> str:
    """Returns "" or what went wrong with a run whose process ended; records what it could not."""
    state = status(out, run)
    if state["status"] == DONE:  # also where its process died afterwards
        return ""
    if state["status"] == FAILED:
        return state["message"]
    if state["status"] == PREEMPTED:
        return f"{ending}; stopped and saved"
    message = f"{ending}; its log is {ending.command.log}"
    if state["status"] != RUNNING:  # that would be of another process, which holds the run
        record(out, run, FAILED, message, round(ending.duration_s, 1))
    return message


def _means(folder: Path) -> str:
    """Returns the means of a run, at its last step, for a line of progress."""
    rows = read_scores(folder)
    last = max((row.step for row in rows), default=0)
    means = [row for row in rows if row.subtask == scores_lib.MEAN and row.step == last]
    return ", ".join(f"{s.benchmark}/{s.metric} {s.value:.1f}" for s in means)
