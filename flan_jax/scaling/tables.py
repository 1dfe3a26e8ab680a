# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Score tables for people: groups or tasks down the side, numbers of finetuning tasks across.

The same table goes into the report, a Markdown file and a CSV file.
"""

import collections
import csv
import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import IO

from flan_jax.core import tables
from flan_jax.evals import metrics
from flan_jax.evals import scores as scores_lib
from flan_jax.paper import results
from flan_jax.scaling import curves as curves_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One number."""

    value: float
    error: float | None = None
    task_error: float | None = None  # shown in brackets

    def __str__(self) -> str:
        text = f"{self.value:.1f}" + ("" if self.error is None else f" ± {self.error:.1f}")
        return text + ("" if self.task_error is None else f" ({self.task_error:.1f})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first columns are names and whose other columns are numbers."""

    title: str
    names: tuple[str, ...]  # headings of the name columns
    columns: tuple[str, ...]  # headings of the number columns
    rows: tuple[tuple[tuple[str, ...], tuple[Cell | None, ...]], ...]  # (names, cells)
    note: str = ""


def group_table(
    scores: Iterable[scores_lib.Score], metric: str, size_order: Sequence[str] = ()
) -> Table:
    """Returns the macro means: one row for each group (and size), one column for each task count.

    With several seeds a cell is the mean over them ± its standard error over seeds, and in brackets
    the standard error over the group's tasks, each task's score being its mean over the seeds. With
    one seed it is the mean ± its standard error over tasks.

    Args:
        scores: of all runs.
        metric: which to show.
        size_order: model sizes from small to large; others follow by name.
    """
    scores = list(scores)
    curves = curves_lib.task_scaling(scores, metric=metric)
    counts = sorted({point.num_tasks for curve in curves for point in curve.points})
    several_sizes = len({curve.size for curve in curves}) > 1
    several_seeds = curves_lib.num_seeds(curves)[1] > 1
    over_tasks = _errors_over_tasks(scores, metric)
    order = {size: number for number, size in enumerate(size_order)}
    curves = sorted(
        curves,
        key=lambda c: (
            curves_lib.benchmark_order(c.benchmark), order.get(c.size, len(order)), c.size
        ),
    )  # fmt: skip
    rows = []
    for curve in curves:
        cells = {}
        for point in curve.points:
            task_error = over_tasks.get((curve.benchmark, curve.size, point.num_tasks))
            cells[point.num_tasks] = Cell(
                value=point.mean,
                error=point.stderr if several_seeds else task_error,
                task_error=task_error if several_seeds else None,
            )
        title = curves_lib.benchmark_title(curve.benchmark)
        names = (title, curve.size) if several_sizes else (title,)
        rows.append((names, tuple(cells.get(count) for count in counts)))
    low, high = curves_lib.num_seeds(curves)
    seeds = f"{low}" if low == high else f"{low} to {high}"
    return Table(
        title=f"{curves_lib.metric_title(metric)}, %, by number of finetuning tasks",
        names=("Tasks evaluated", "Size") if several_sizes else ("Tasks evaluated",),
        columns=tuple(f"{count:,}" for count in counts),
        rows=tuple(rows),
        note=f"Unweighted mean over the group's tasks and {seeds} seeds; ± standard error over "
        "seeds; in brackets the standard error over tasks."
        if several_seeds
        else "Unweighted mean over the group's tasks; ± standard error over tasks.",
    )


def _errors_over_tasks(
    scores: Iterable[scores_lib.Score], metric: str
) -> dict[tuple[str, str, int], float | None]:
    """Returns (group, size, number of tasks) -> standard error over tasks of their means."""
    latest: dict[tuple, scores_lib.Score] = {}
    for score in sorted(scores, key=lambda s: s.step):
        if not scores_lib.is_mean(score.subtask) and score.metric == metric:
            settings = tuple(sorted(score.settings.items()))
            latest[score.benchmark, score.subtask, settings] = score
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    for score in latest.values():
        size, num_tasks = score.settings.get("size", ""), int(score.settings["num_tasks"])
        values[score.benchmark, size, num_tasks][score.subtask].append(score.value)
    return {
        key: metrics.mean_and_stderr([statistics.fmean(seeds) for seeds in by_task.values()])[1]
        for key, by_task in values.items()
    }


def task_table(scores: Iterable[scores_lib.Score]) -> Table:
    """Returns every task's score, by number of finetuning tasks; the mean over seeds."""
    latest: dict[tuple, scores_lib.Score] = {}
    for score in sorted(scores, key=lambda s: s.step):
        if not scores_lib.is_mean(score.subtask):
            settings = tuple(sorted(score.settings.items()))
            size = score.settings.get("size", "")
            latest[score.benchmark, score.subtask, score.metric, size, settings] = score
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    for (*key, _), score in latest.items():
        values[tuple(key)][int(score.settings["num_tasks"])].append(score.value)
    counts = sorted({count for by_count in values.values() for count in by_count})
    several_sizes = len({size for _, _, _, size in values}) > 1
    rows = []
    for (benchmark, task, metric, size), by_count in sorted(
        values.items(), key=lambda item: (curves_lib.benchmark_order(item[0][0]), item[0])
    ):
        cells = [
            Cell(value=statistics.fmean(by_count[count])) if count in by_count else None
            for count in counts
        ]
        names = (curves_lib.benchmark_title(benchmark), task, curves_lib.metric_title(metric))
        names += (size,) if several_sizes else ()
        rows.append((names, tuple(cells)))
    return Table(
        title="Every task, %, by number of finetuning tasks",
        names=("Group", "Task", "Metric", "Size") if several_sizes else ("Group", "Task", "Metric"),
        columns=tuple(f"{count:,}" for count in counts),
        rows=tuple(rows),
    )


def paper_table() -> Table:
    """Returns the paper's task scaling (Table 3) as printed."""
    rows = tuple(
        (
            (row.params, f"{row.num_tasks:,}", row.mixture),
            tuple(Cell(value=value) for value in row.scores),
        )
        for row in results.task_scaling()
    )
    notes = [
        f"PaLM {row.params}, {row.num_tasks} tasks: {row.note}."
        for row in results.task_scaling()
        if row.note
    ]
    return Table(
        title="Chung et al. 2022, Table 3: task scaling of PaLM (the paper's numbers)",
        names=("Size", "Tasks", "Mixture"),
        columns=tuple(results.BENCHMARKS.values()),
        rows=rows,
        note=" ".join(notes),
    )


def markdown(table: Table) -> str:
    """Returns the table as GitHub Markdown."""
    rows = [[*names, *("" if cell is None else str(cell) for cell in cells)]
            for names, cells in table.rows]  # fmt: skip
    first = len(table.names)
    text = tables.markdown(
        [[*table.names, *table.columns], *rows], right=range(first, first + len(table.columns))
    )
    return text + (f"\n{table.note}\n" if table.note else "")


def write_csv(table: Table, file: IO[str]) -> None:
    """Writes the table as CSV with the values only, one decimal."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*table.names, *(column.replace(",", "") for column in table.columns)])
    for names, cells in table.rows:
        writer.writerow([*names, *("" if cell is None else f"{cell.value:.1f}" for cell in cells)])


def latex(table: Table) -> str:
    """Returns the table as a LaTeX float; it needs the package booktabs."""
    rows = [[*names, *("" if cell is None else str(cell) for cell in cells)]
            for names, cells in table.rows]  # fmt: skip
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex_text(table.title)}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.names)}{'r' * len(table.columns)}}}",
        r"\toprule",
        _latex_row([*table.names, *table.columns]),
        r"\midrule",
        *(_latex_row(row) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if table.note:
        lines += ["", rf"\smallskip\footnotesize {_latex_text(table.note)}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(map(_latex_text, cells)) + r" \\"


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "–": "--", "“": "``", "”": "''", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", **{sign: "\\" + sign for sign in "&%$#_{}"},
}  # fmt: skip


def _latex_text(text: str) -> str:
    r"""Returns text that LaTeX sets as it is.

    Example:
        >>> print(_latex_text("a_b & 5 % ± 1"))
        a\_b \& 5 \% $\pm$ 1
    """
    return "".join(_LATEX.get(sign, sign) for sign in text)
