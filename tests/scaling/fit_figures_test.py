# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of laws: which panels there are, the law's line, the point held back, cut intervals."""

import pytest

from flan_jax.evals.scores import MEAN, Score
from flan_jax.scaling import fit_figures, line_figures
from flan_jax.scaling.captions import Data, RunFacts


def row(value, benchmark="held_in", **settings):
    return Score(
        model="tiny", step=9, benchmark=benchmark, protocol="greedy", subtask=MEAN,
        metric="exact_match", value=value, n=8, stderr=2.0, settings=settings,
    )  # fmt: skip


def data(rows, **changes):
    return Data(title="T", metric="exact_match", rows=rows, judged="its last step", **changes)


def test_a_panel_is_a_measure_and_a_law_with_the_last_point_held_back():
    # 10 points for every doubling; and what a doubling gains halved each time: 90 - 160 / n.
    rows = [
        row(value, benchmark, num_tasks=n)
        for benchmark, values in {
            "held_in": (10.0, 20.0, 30.0, 40.0, 51.0),
            "held_out_skill": (10.0, 50.0, 70.0, 80.0, 85.0),
        }.items()
        for n, value in zip(("2", "4", "8", "16", "32"), values, strict=True)
    ] + [row(0.0, num_tasks="0")]
    figure = fit_figures.task_fits(data(rows))
    titles = [panel.title for panel in figure.panels]
    assert titles[0] == "Held-in tasks: log-linear"
    assert "Held-out skills: saturating" in titles
    points, law, held_back = figure.panels[0].lines
    assert (points.x[0], points.joined, points.label) == (0.0, False, "ours")
    assert (law.thin, law.x[0], law.x[-1]) == (True, 2.0, pytest.approx(32.0))
    assert law.y[0] == pytest.approx(10.0, abs=0.5)
    assert (held_back.x, held_back.y) == ((32.0,), (pytest.approx(50.0, abs=0.1),))
    assert held_back.hover[0].startswith("ours, 32, held back: 51.0, predicted 50.0 (")
    saturating = figure.panels[titles.index("Held-out skills: saturating")].lines
    assert saturating[1].y[-1] == pytest.approx(85.0, abs=0.5)
    assert saturating[2].y == (pytest.approx(85.0, abs=0.5),)
    assert "90% interval of the law" in figure.note
    assert "90% prediction interval" in figure.note


def test_intervals_are_cut_half_as_far_again_as_the_points_reach():
    rows = [
        row(value, num_tasks=n)
        for n, value in zip(("2", "4", "8", "16"), (0.0, 50.0, 10.0, 40.0), strict=True)
    ]
    for line in fit_figures.task_fits(data(rows)).panels[0].lines:
        for _, low, high in line.band:
            assert -25.0 <= low <= high <= 75.0


def test_the_power_law_is_in_the_flops_of_each_size():
    sizes = {"nano": 1e12, "micro": 4e12, "mini": 1.6e13, "wide": 6.4e13}
    # An error of 80 % that halves with four times as much compute.
    rows = [row(100 - 80 / 2**k, size=size) for k, size in enumerate(sizes)]
    facts = {(("size", size),): RunFacts(train_flops=flops) for size, flops in sizes.items()}
    figure = fit_figures.compute_fits(data(rows, facts=facts, sizes=list(sizes)))
    (panel,) = figure.panels
    points, law, held_back = panel.lines
    assert points.x == tuple(sizes.values())
    assert held_back.y == (pytest.approx(90.0),)
    assert law.y[0] == pytest.approx(20.0)
    assert (figure.name, figure.x_label) == (
        "compute_fits",
        line_figures.flops_axis(data([])).label,
    )


def test_without_a_law_there_is_no_figure():
    rows = [row(1.0, num_tasks=n) for n in ("4", "16")]
    assert fit_figures.task_fits(data(rows)) is None
    assert fit_figures.compute_fits(data(rows)) is None
