# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A study's tables: values, errors of the right kind, what stands where, missing cells."""

import pytest

from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import group_tables


def row(subtask, value, stderr=2.0, benchmark="held_out_skill", protocol="greedy", **settings):
    return scores_lib.Score(
        model="tiny", step=9, benchmark=benchmark, protocol=protocol, subtask=subtask,
        metric="exact_match", value=value, n=8, stderr=stderr, settings=settings,
    )  # fmt: skip


def scores(seeds=("0",), sizes=("",), name="num_tasks", values=("4", "16")):
    """Two tasks of 10 and 30 % and then of 20 and 60 %, the second one only with the first seed."""
    rows = []
    for size in sizes:
        for seed in seeds:
            for value, points in zip(values, ((10.0, 30.0), (20.0, 60.0)), strict=True):
                settings = {name: value, "seed": seed} | ({"size": size} if size else {})
                tasks = [
                    row(f"task|{index}", point + float(seed), **settings)
                    for index, point in enumerate(points)
                    if not (value == "16" and index == 1 and seed != "0")
                ]
                rows += tasks + scores_lib.macro_means(tasks)
    return rows


def table_of(rows, sizes=()):
    order = group_tables.order_of([each.settings for each in rows], sizes)
    return group_tables.group_table(rows, "exact_match", order)


def tasks_of(rows, sizes=()):
    order = group_tables.order_of([each.settings for each in rows], sizes)
    return group_tables.task_table(rows, order)


def test_one_seed_gives_the_standard_error_over_tasks():
    table = table_of(scores())
    assert table.columns == ("4", "16")
    assert table.rows[0][0] == ("Held-out skills",)
    assert [str(cell) for cell in table.rows[0][1]] == ["20.0 ± 10.0", "40.0 ± 20.0"]
    assert table.title == "Exact match, %, by number of finetuning tasks"
    assert "standard error over tasks" in table.note


def test_several_seeds_give_the_errors_over_seeds_and_over_tasks():
    table = table_of(scores(seeds=("0", "2")))
    # 4 tasks, seeds 0 and 2: means 20 and 22, so 21 with sqrt(2) / sqrt(2); over tasks: the means
    # of their seeds are 11 and 31, whose deviation is sqrt(200), over sqrt(2).
    assert str(table.rows[0][1][0]) == "21.0 ± 1.0 (10.0)"
    assert "2 seeds; ± standard error over seeds" in table.note
    assert "in brackets the standard error over tasks" in table.note


def test_the_error_over_tasks_is_that_of_their_means_over_seeds():
    values = {("a", "1"): 0.0, ("a", "2"): 40.0, ("b", "1"): 16.0, ("b", "2"): 16.0}
    rows = [row(task, value, num_tasks="4", seed=seed) for (task, seed), value in values.items()]
    table = table_of(rows + scores_lib.macro_means(rows))
    # Seeds: 8 and 28, so 18 with sqrt(200) / sqrt(2). Tasks: 20 and 16, so sqrt(8) / sqrt(2).
    assert str(table.rows[0][1][0]) == "18.0 ± 10.0 (2.0)"


def test_sizes_have_a_column_in_the_order_given():
    rows = scores(sizes=("tiny", "small"))
    table = table_of(rows, ["tiny", "small"])
    assert table.names == ("Tasks evaluated", "Size")
    assert [names for names, _ in table.rows] == [
        ("Held-out skills", "tiny"),
        ("Held-out skills", "small"),
    ]
    assert tasks_of(rows, ["tiny", "small"]).rows[0][0][-1] == "tiny"


def test_mixtures_stand_across_in_the_order_of_the_runs_and_their_counts_nowhere():
    rows = []
    for mixture, count, value in (("Without", "116", 20.0), ("CoT only", "12", 10.0)):
        rows += scores_lib.macro_means([row("a", value, mixture=mixture, num_tasks=count)])
    table = table_of(rows)
    assert table.names == ("Tasks evaluated",)
    assert table.columns == ("Without", "CoT only")
    assert [cell.value for cell in table.rows[0][1]] == [20.0, 10.0]
    assert table.title.endswith("by finetuning mixture")


def test_any_other_setting_that_varies_stands_across_and_a_second_one_has_a_column():
    table = table_of(scores(name="learning_rate", values=("0.001", "0.0005")))
    assert table.columns == ("0.0005", "0.001")
    assert [cell.value for cell in table.rows[0][1]] == [40.0, 20.0]
    assert table.title.endswith("by learning rate")
    rows = [
        row("_mean", float(rate), num_tasks=count, learning_rate=rate)
        for count in ("4", "8")
        for rate in ("1", "2")
    ]
    table = table_of(rows)
    assert (table.names, table.columns) == (("Tasks evaluated", "Learning rate"), ("4", "8"))
    assert [(names[1], cells[0].value) for names, cells in table.rows] == [("1", 1.0), ("2", 2.0)]


def test_a_single_run_is_one_column():
    table = table_of([row("_mean", 3.0, run="mine")])
    assert (table.columns, table.title) == (("Score",), "Exact match, %")


def test_a_benchmark_asked_in_two_ways_has_a_row_for_each():
    rows = [
        row("_mean", value, protocol=way, num_tasks="4") for way, value in (("a", 1.0), ("b", 2.0))
    ]
    assert [names[0] for names, _ in table_of(rows).rows] == [
        "Held-out skills (a)",
        "Held-out skills (b)",
    ]


def test_a_benchmarks_own_error_stands_where_it_has_one():
    rows = [row("a", 10.0, num_tasks="4"), row("b", 30.0, num_tasks="4")]
    own = row("_mean", 20.0, stderr=1.5, num_tasks="4")
    assert str(table_of([*rows, own]).rows[0][1][0]) == "20.0 ± 1.5"


def test_every_task_has_a_row_with_means_over_its_seeds():
    table = tasks_of(scores(seeds=("0", "2")))
    assert table.names == ("Group", "Task", "Metric")
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
    assert tasks_of(rows).rows[1][1][0] is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([{"num_tasks": "4"}, {"num_tasks": "8"}], "num_tasks"),
        ([{"mixture": "a", "num_tasks": "4"}, {"mixture": "b", "num_tasks": "8"}], "mixture"),
        ([{"num_tasks": "4", "rate": "1"}, {"num_tasks": "4", "rate": "2"}], "rate"),
        ([{"num_tasks": "4", "size": "a"}, {"num_tasks": "4", "size": "b"}], "size"),
        ([{"num_tasks": "4", "seed": "1"}, {"num_tasks": "4", "seed": "2"}], "num_tasks"),
        ([{}], ""),
    ],
)
def test_what_stands_across(settings, expected):
    assert group_tables.across(group_tables.order_of(settings)) == expected
