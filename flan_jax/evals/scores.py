# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tidy score tables: one row per number, in one CSV layout that every later step reads.

A row of `scores.csv` holds `COLUMNS`; a table of several runs has one more column for each setting
of its runs (number of tasks, size, seed). Values are percentages unless a metric's name says
otherwise. `subtask` is a task's name, or `MEAN` for the unweighted mean over all tasks of a
benchmark, or `_mean.<group>` for that over some of them: there `n` counts tasks; elsewhere it
counts examples. `stderr` of a mean is the standard error over tasks; of a benchmark of
`evals.suite`, whose tasks are no sample of tasks, that over questions.
"""

import csv
import dataclasses
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from flan_jax.core import errors, files
from flan_jax.evals import metrics

COLUMNS = (
    "model", "step", "benchmark", "protocol", "subtask", "metric", "value", "n", "stderr"
)  # fmt: skip

MEAN = "_mean"
_GROUP = f"{MEAN}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """One number of an evaluation."""

    model: str
    step: int
    benchmark: str  # a group of tasks, such as 'held_in'
    protocol: str  # how the model was asked, such as 'greedy'
    subtask: str  # a task's name, MEAN, or `group_mean` of a name
    metric: str
    value: float
    n: int  # examples; tasks in a mean
    stderr: float | None  # None where unknown
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of the run

    @property
    def sort_key(self) -> tuple:
        """Rows are written in this order."""
        settings = tuple((name, _natural(value)) for name, value in sorted(self.settings.items()))
        names = (self.model, self.step, self.benchmark, self.protocol, self.subtask, self.metric)
        return (settings, names)


def is_mean(subtask: str) -> bool:
    """Returns whether a row is a mean over tasks, of all of them or of a group."""
    return subtask == MEAN or subtask.startswith(_GROUP)


def group_mean(group: str) -> str:
    """Returns the `subtask` of the mean over the tasks of a group.

    Example:
        >>> group_mean("stem")
        '_mean.stem'
    """
    return _GROUP + group


def group_of(subtask: str) -> str:
    """Returns the group that a mean is over: "" of all tasks, and where it is no mean."""
    return subtask.removeprefix(_GROUP) if subtask.startswith(_GROUP) else ""


def how_asked(protocol: str) -> tuple[str, str, str]:
    """Returns how, on which split and in which way a benchmark was asked; "" where not said.

    Example:
        >>> how_asked("5-shot CoT; test; generate"), how_asked("greedy")
        (('5-shot CoT', 'test', 'generate'), ('greedy', '', ''))
    """
    parts = protocol.rsplit("; ", 2)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else (protocol, "", "")


def error_of_mean(errors: Sequence[float | None]) -> float | None:
    """Returns the standard error of a mean of independent numbers from theirs; None if unknown."""
    known = [error for error in errors if error is not None]
    return math.hypot(*known) / len(errors) if len(known) == len(errors) > 0 else None


def macro_means(scores: Iterable[Score]) -> list[Score]:
    """Returns the unweighted mean over tasks, one row for each benchmark, protocol and metric.

    Means among the scores are passed over.
    """
    return _means(scores, MEAN)


def group_means(scores: Iterable[Score], groups: Mapping[str, Iterable[str]]) -> list[Score]:
    """Returns the same over some of the tasks.

    Args:
        scores: of one benchmark, or of several whose tasks have the same groups.
        groups: group -> its tasks.
    """
    scores = list(scores)
    means = []
    for group, tasks in groups.items():
        tasks = set(tasks)
        means += _means((s for s in scores if s.subtask in tasks), group_mean(group))
    return means


def _means(scores: Iterable[Score], name: str) -> list[Score]:
    grouped = defaultdict(list)
    for score in scores:
        if not is_mean(score.subtask):
            settings = tuple(sorted(score.settings.items()))
            key = (score.model, score.step, score.benchmark, score.protocol, score.metric)
            grouped[key, settings].append(score)
    means = []
    for members in grouped.values():
        value, stderr = metrics.mean_and_stderr([member.value for member in members])
        means.append(
            dataclasses.replace(
                members[0], subtask=name, value=value, n=len(members), stderr=stderr
            )
        )
    return means


def write_scores(path: str | os.PathLike, scores: Sequence[Score]) -> None:
    """Writes rows as CSV, sorted and atomically: equal scores give equal bytes.

    Settings become columns after `COLUMNS`, in alphabetical order; a run without one leaves it
    empty.
    """
    settings = sorted({name for score in scores for name in score.settings})
    clash = set(settings) & set(COLUMNS)
    if clash:
        raise errors.UsageError(
            f"a run's setting may not be called {sorted(clash)[0]!r}: {path} has a column of that "
            "name; rename the setting"
        )
    with files.atomic_open(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *settings])
        for score in sorted(scores, key=lambda score: score.sort_key):
            row = [_cell(getattr(score, column)) for column in COLUMNS]
            writer.writerow([*row, *(score.settings.get(name, "") for name in settings)])


def read_scores(path: str | os.PathLike) -> list[Score]:
    """Reads a table written by `write_scores`, or by anybody in its layout.

    Raises:
        DataError: naming file and line, if a column is missing or a number is malformed.
    """
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise errors.DataError(
                f"{path}:1: no column {missing[0]!r}; a score table has the columns "
                + ",".join(COLUMNS)
            )
        return [_score(path, reader.line_num, row) for row in reader]


def _score(path: str | os.PathLike, line: int, row: dict) -> Score:
    if None in row or None in row.values():
        raise errors.DataError(f"{path}:{line}: the row has not as many cells as the header")
    settings = {k: v for k, v in row.items() if k not in COLUMNS and v != ""}
    try:
        return Score(
            model=row["model"],
            step=int(row["step"]),
            benchmark=row["benchmark"],
            protocol=row["protocol"],
            subtask=row["subtask"],
            metric=row["metric"],
            value=float(row["value"]),
            n=int(row["n"]),
            stderr=float(row["stderr"]) if row["stderr"] else None,
            settings=settings,
        )
    except ValueError as error:
        raise errors.DataError(f"{path}:{line}: {error} (step, value, n, stderr)") from None


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _natural(value: str) -> tuple:
    """Numbers before text, numbers by size: 4, 16, all."""
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)
