# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables for people: Markdown, CSV and LaTeX of values, errors and missing cells."""

import io

from flan_jax.scaling import tables
from flan_jax.scaling.tables import Cell, Table

TABLE = Table(
    title="50 % of tasks_a & b",
    names=("Group", "Task"),
    columns=("4", "1,836"),
    rows=(
        (("Held-out", "task|0"), (Cell(value=10.04, error=0.5, task_error=1.25), None)),
        (("~x^2 <y> {z}\\", "#$"), (Cell(value=-1.0), Cell(value=60.0, error=2.0))),
    ),
    note="± standard error.",
)


def test_markdown_escapes_bars_and_shows_errors():
    assert tables.markdown(TABLE).splitlines() == [
        "| Group | Task | 4 | 1,836 |",
        "| --- | --- | ---: | ---: |",
        "| Held-out | task\\|0 | 10.0 ± 0.5 (1.2) |  |",
        "| ~x^2 <y> {z}\\ | #$ | -1.0 | 60.0 ± 2.0 |",
        "",
        "± standard error.",
    ]


def test_csv_has_plain_numbers():
    out = io.StringIO()
    tables.write_csv(TABLE, out)
    assert out.getvalue().splitlines() == [
        "Group,Task,4,1836",
        "Held-out,task|0,10.0,",
        "~x^2 <y> {z}\\,#$,-1.0,60.0",
    ]


def test_latex_sets_every_sign_as_it_is():
    assert tables.latex(TABLE).splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{50 \% of tasks\_a \& b}",
        r"\begin{tabular}{llrr}",
        r"\toprule",
        r"Group & Task & 4 & 1,836 \\",
        r"\midrule",
        r"Held-out & task\textbar{}0 & 10.0 $\pm$ 0.5 (1.2) &  \\",
        r"\textasciitilde{}x\textasciicircum{}2 \textless{}y\textgreater{} "
        r"\{z\}\textbackslash{} & \#\$ & -1.0 & 60.0 $\pm$ 2.0 \\",
        r"\bottomrule",
        r"\end{tabular}",
        "",
        r"\smallskip\footnotesize $\pm$ standard error.",
        r"\end{table}",
    ]


def test_the_papers_table_is_table_3_with_its_printing_faults_noted():
    table = tables.paper_table()
    assert "Table 3" in table.title
    assert len(table.rows) == 15
    assert table.rows[-1][0] == ("540B", "1,836", "CoT+Muffin+T0-SF+NIv2")
    assert "+6.0 beside 33.4" in table.note
