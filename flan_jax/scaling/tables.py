# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables for people, as Markdown, CSV and LaTeX; and the paper's own task scaling as one."""

import csv
import dataclasses
from collections.abc import Iterable
from typing import IO

from flan_jax.core import tables
from flan_jax.paper import results


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
