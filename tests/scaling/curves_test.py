# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Curves from score tables: means over seeds, last steps, malformed tables, what figures say."""

import json

import pytest

from flan_jax.core import errors
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import curves


def score(num_tasks, value, *, benchmark="held_in", seed="0", size="", step=100, **changes):
    settings = {"num_tasks": str(num_tasks), "seed": seed} | ({"size": size} if size else {})
    fields = dict(
        model="tiny", step=step, benchmark=benchmark, protocol="greedy", subtask=scores_lib.MEAN,
        metric="exact_match", value=value, n=8, stderr=1.0, settings=settings,
    )  # fmt: skip
    return scores_lib.Score(**(fields | changes))


def two_groups():
    return [
        score(n, value + 10 * seed, benchmark=benchmark, seed=str(seed))
        for seed in (0, 1)
        for benchmark, values in {"held_out_skill": (1.0, 5.0), "held_in": (40.0, 30.0)}.items()
        for n, value in zip((4, 16), values, strict=True)
    ]


def test_points_are_means_over_seeds_with_their_standard_error():
    held_in, held_out = curves.task_scaling(two_groups())
    assert (held_in.benchmark, held_out.benchmark) == ("held_in", "held_out_skill")
    assert [(p.num_tasks, p.mean) for p in held_out.points] == [(4, 6.0), (16, 10.0)]
    assert held_out.points[0].values == (1.0, 11.0)
    # Deviations from the mean are -5 and 5: sqrt((25 + 25) / (2 - 1)) / sqrt(2).
    assert held_out.points[0].stderr == pytest.approx(5.0)
    assert curves.num_seeds([held_in, held_out]) == (2, 2)


def test_counts_are_ordered_as_numbers_and_tasks_are_not_curves():
    rows = [score(n, float(n)) for n in (120, 4, 16)] + [score(4, 77.0, subtask="some_task")]
    (curve,) = curves.task_scaling(rows)
    assert [p.num_tasks for p in curve.points] == [4, 16, 120]
    assert curve.points[0].mean == 4.0
    assert curve.points[0].stderr is None


def test_the_standard_error_of_three_seeds_is_that_of_a_hand():
    (curve,) = curves.task_scaling([score(8, v, seed=s) for s, v in (("1", 1), ("2", 2), ("3", 6))])
    # Mean 3, squared deviations 4 + 1 + 9 = 14, variance 14 / 2, over 3 seeds.
    assert curve.points[0].mean == 3.0
    assert curve.points[0].stderr == pytest.approx((7 / 3) ** 0.5)


def test_the_last_step_of_a_run_counts():
    (curve,) = curves.task_scaling([score(4, 9.0, step=20), score(4, 1.0, step=10)])
    assert curve.points[0].values == (9.0,)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no _mean row of metric 'exact_match'"),
        ([score(4, 1.0, metric="rouge_l")], "no _mean row of metric 'exact_match'"),
        ([score("all", 1.0)], "num_tasks = 'all'.* whole number"),
        ([score(4, 1.0), score(4, 2.0)], r"two values of held_in .*\(4, '', '0'\) at step 100"),
    ],
)
def test_a_table_that_gives_no_curve_is_named(rows, message):
    with pytest.raises(errors.DataError, match=message):
        curves.task_scaling(rows)


def test_one_size_is_one_panel_with_a_line_for_each_group():
    figure = curves.task_scaling_figure(
        curves.task_scaling(two_groups()), title="Scaling", subtitle="mini"
    )
    (panel,) = figure.panels
    assert [line.label for line in panel.lines] == ["Held-in tasks", "Held-out skills"]
    assert [line.color for line in panel.lines] == [0, 1]  # held-in is the neutral one
    assert panel.lines[1].y == (6.0, 10.0)
    assert "mean of 2 seeds" in figure.note
    assert "bars: ± 1 standard error over seeds of the mean over tasks" in figure.note
    assert panel.lines[1].spread == (pytest.approx(5.0), pytest.approx(5.0))


def test_several_sizes_are_a_panel_for_each_group_with_a_line_for_each_size():
    rows = [
        score(n, float(n), benchmark=b, size=size)
        for n in (4, 8)
        for b in ("held_in", "held_out_skill")
        for size in ("base", "tiny", "small")
    ]
    figure = curves.task_scaling_figure(
        curves.task_scaling(rows),
        title="",
        subtitle="",
        size_order=("tiny", "small"),
    )
    assert [panel.title for panel in figure.panels] == ["Held-in tasks", "Held-out skills"]
    assert [line.label for line in figure.panels[0].lines] == ["tiny", "small", "base"]
    assert [line.shade for line in figure.panels[0].lines] == [0.0, 0.5, 1.0]
    assert "one seed, so no error bars" in figure.note


def test_a_study_becomes_bands_behind_the_lines():
    study = curves.task_scaling(two_groups())
    ours = curves.task_scaling([score(4, 2.0), score(16, 3.0)])
    figure = curves.task_scaling_figure(ours, title="", subtitle="", study=study)
    (line,) = figure.panels[0].lines
    (x, low, high), _ = line.band
    assert (x, low, high) == (4.0, pytest.approx(40.0), pytest.approx(50.0))
    assert "the several-seed study, mean of 2 seeds" in figure.note
    other = curves.task_scaling([score(4, 2.0, size="huge")])
    with pytest.raises(errors.UsageError, match="no curve in common"):
        curves.task_scaling_figure(ours, title="", subtitle="", study=other)


@pytest.mark.parametrize("sizes", [("",), ("tiny", "small")])
def test_a_rule_is_a_thin_line_in_the_panel_of_its_group(sizes):
    groups = ("held_in", "held_out_skill")
    rows = [score(4, 2.0, size=size, benchmark=group) for size in sizes for group in groups]
    rule = curves.task_scaling([score(4, 18.8, benchmark="held_out_skill", model="majority")])
    figure = curves.task_scaling_figure(
        curves.task_scaling(rows), title="", subtitle="", baselines=rule
    )
    assert "most frequent answer" in figure.note
    *_, last = figure.panels[-1].lines
    assert (last.thin, last.label, last.y) == (True, "", (18.8,))
    thin = [line for panel in figure.panels for line in panel.lines if line.thin]
    assert thin == [last]
    if len(sizes) == 1:  # in the color of its group's line
        assert last.color == figure.panels[0].lines[1].color


def test_losses_of_several_seeds_are_averaged_where_all_have_them():
    seeds = [[(10, 4.0), (20, 2.0), (30, 1.0)], [(10, 2.0), (20, 1.0)]]
    assert curves.mean_losses(seeds) == [(10, 3.0), (20, 1.5)]
    figure = curves.losses_figure(
        {"small": {"4 tasks": seeds[0]}, "large": {"4 tasks": seeds[1]}}, title="", subtitle=""
    )
    assert [panel.title for panel in figure.panels] == ["small", "large"]
    assert figure.panels[1].lines[0].y == (2.0, 1.0)


def test_the_papers_figure_says_whose_numbers_it_shows():
    figure = curves.paper_figure()
    assert "Table 3" in figure.subtitle
    assert "nothing measured here" in figure.subtitle
    last = figure.panels[0].lines[-1]
    assert (last.label, last.x[-1], last.y[-1]) == ("PaLM 540B", 1836.0, 58.5)


def test_losses_are_read_by_step_and_a_repeated_step_counts_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": 20, "loss": 2.0}, {"step": 10, "loss": 3.0}, {"step": 20, "loss": 1.5}]
    rows = [row | {"kind": "train"} for row in [*rows, {"step": 20, "x": 1}]]
    rows.append({"kind": "eval", "step": 20, "loss": 9.0})  # a validation loss is another thing
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert curves.read_losses(path) == [(10, 3.0), (20, 1.5)]
    with pytest.raises(errors.DataError, match="no line has the metric 'y'"):
        curves.read_losses(path, key="y")
    path.write_text('{"kind": "train", "step": 1, "loss": 2}\n{"kind": "train", "loss": 2}\n')
    with pytest.raises(errors.DataError, match="metrics.jsonl:2"):
        curves.read_losses(path)
