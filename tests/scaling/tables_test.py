# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables for people: values, errors of the right kind, missing cells, Markdown and CSV."""

import io

from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import tables


def scores(seeds=(0,), sizes=("",)):
    rows = []
    for size in sizes:
        for seed in seeds:
            for num_tasks, values in {4: (10.0, 30.0), 16: (20.0, 60.0)}.items():
                settings = {"num_tasks": str(num_tasks), "seed": str(seed)}
                settings |= {"size": size} if size else {}
                tasks = [
                    scores_lib.Score(
                        model="tiny",
                        step=9,
                        benchmark="held_out_skill",
                        protocol="greedy",
                        subtask=f"task|{index}",
                        metric="exact_match",
                        value=value + seed,
                        n=8,
                        stderr=2.0,
                        settings=settings,
                    )  # fmt: skip
                    for index, value in enumerate(values)
                    if not (num_tasks == 16 and index == 1 and seed)
                ]
                rows += tasks + scores_lib.macro_means(tasks)
    return rows


def test_one_seed_gives_the_standard_error_over_tasks():
    table = tables.group_table(scores(), "exact_match")
    assert table.columns == ("4", "16")
    assert table.rows[0][0] == ("Held-out skills",)
    assert [str(cell) for cell in table.rows[0][1]] == ["20.0 ± 10.0", "40.0 ± 20.0"]
    assert "standard error over tasks" in table.note


def test_several_seeds_give_the_errors_over_seeds_and_over_tasks():
    table = tables.group_table(scores(seeds=(0, 2)), "exact_match")
    # 4 tasks, seeds 0 and 2: means 20 and 22, so 21 with sqrt(2) / sqrt(2); over tasks: the means
    # of their seeds are 11 and 31, whose deviation is sqrt(200), over sqrt(2).
    assert str(table.rows[0][1][0]) == "21.0 ± 1.0 (10.0)"
    assert "2 seeds; ± standard error over seeds" in table.note
    assert "in brackets the standard error over tasks" in table.note


def test_the_error_over_tasks_is_that_of_their_means_over_seeds():
    values = {("a", "1"): 0.0, ("a", "2"): 40.0, ("b", "1"): 16.0, ("b", "2"): 16.0}
    rows = [
        scores_lib.Score(
            model="tiny", step=9, benchmark="held_in", protocol="greedy", subtask=task, n=8,
            metric="exact_match", value=value, stderr=None,
            settings={"num_tasks": "4", "seed": seed},
        )
        for (task, seed), value in values.items()
    ]  # fmt: skip
    table = tables.group_table(rows + scores_lib.macro_means(rows), "exact_match")
    # Seeds: 8 and 28, so 18 with sqrt(200) / sqrt(2). Tasks: 20 and 16, so sqrt(8) / sqrt(2).
    assert str(table.rows[0][1][0]) == "18.0 ± 10.0 (2.0)"


def test_several_sizes_have_a_column():
    table = tables.group_table(scores(sizes=("tiny", "small")), "exact_match")
    assert table.names == ("Tasks evaluated", "Size")
    assert [names for names, _ in table.rows] == [
        ("Held-out skills", "small"),
        ("Held-out skills", "tiny"),
    ]
    ordered = tables.group_table(scores(sizes=("tiny", "small")), "exact_match", ["tiny", "small"])
    assert [names[1] for names, _ in ordered.rows] == ["tiny", "small"]
    assert tables.task_table(scores(sizes=("tiny", "small"))).rows[0][0][-1] == "small"


def test_every_task_has_a_row_with_means_over_its_seeds():
    table = tables.task_table(scores(seeds=(0, 2)))
    assert [names for names, _ in table.rows] == [
        ("Held-out skills", "task|0", "Exact match"),
        ("Held-out skills", "task|1", "Exact match"),
    ]
    assert [[cell.value for cell in cells] for _, cells in table.rows] == [
        [11.0, 21.0],
        [31.0, 60.0],
    ]


def test_a_task_that_a_run_did_not_evaluate_is_an_empty_cell():
    rows = [s for s in scores() if not (s.subtask == "task|1" and s.settings["num_tasks"] == "4")]
    assert tables.task_table(rows).rows[1][1][0] is None


def test_markdown_escapes_bars_and_csv_has_plain_numbers():
    table = tables.task_table(scores())
    lines = tables.markdown(table).splitlines()
    assert lines[0] == "| Group | Task | Metric | 4 | 16 |"
    assert lines[1] == "| --- | --- | --- | ---: | ---: |"
    assert lines[2] == "| Held-out skills | task\\|0 | Exact match | 10.0 | 20.0 |"
    out = io.StringIO()
    tables.write_csv(table, out)
    assert out.getvalue().splitlines()[1] == "Held-out skills,task|0,Exact match,10.0,20.0"


def test_the_papers_table_is_table_3_with_its_printing_faults_noted():
    table = tables.paper_table()
    assert "Table 3" in table.title
    assert len(table.rows) == 15
    assert table.rows[-1][0] == ("540B", "1,836", "CoT+Muffin+T0-SF+NIv2")
    assert "+6.0 beside 33.4" in table.note
