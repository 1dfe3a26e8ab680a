# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training losses as read and averaged; the paper's figure; what names mean."""

import json

import pytest

from flan_jax.core import errors
from flan_jax.scaling import curves


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


def test_the_end_of_a_name_says_how_the_same_tasks_are_asked():
    titles = {
        "held_in": "Held-in tasks",
        "held_out_combination_cot": "Held-out combinations, with rationale",
        "mmlu_cot": "MMLU-CoT",
        "mgsm_zero_shot_cot": "MGSM, zero-shot CoT",
        "bbh_cot_self_consistency": "BBH-CoT, self-consistency",
        "of_my_own": "Of my own",
    }
    assert {name: curves.benchmark_title(name) for name in titles} == titles
    assert sorted(titles, key=curves.benchmark_order) == [
        "held_in", "held_out_combination_cot", "mmlu_cot", "bbh_cot_self_consistency",
        "mgsm_zero_shot_cot", "of_my_own",
    ]  # fmt: skip
