# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of bars: arms and ways of asking in order, means and errors, printed numbers beside."""

import pytest

from flan_jax.evals.scores import MEAN, Score
from flan_jax.scaling import bar_figures, series
from flan_jax.scaling.captions import Data, RunFacts

COT = "held_out_combination_cot"


def row(value, benchmark="held_in", protocol="greedy", **settings):
    return Score(
        model="tiny", step=9, benchmark=benchmark, protocol=protocol, subtask=MEAN,
        metric="exact_match", value=value, n=8, stderr=2.0, settings=settings,
    )  # fmt: skip


def data(rows, **changes):
    return Data(title="T", metric="exact_match", rows=rows, judged="its last step", **changes)


def arms(*sizes):
    values = {"without CoT": (8.0, 0.0), "both": (9.0, 5.0)}  # asked directly, for a rationale
    return [
        row(value + 10 * seed + 50 * place, benchmark, mixture=mixture, seed=str(seed),
            num_tasks="120" if mixture == "both" else "108",
            **({"size": size} if len(sizes) > 1 else {}))
        for place, size in enumerate(sizes)
        for seed in (1, 2)
        for mixture in values
        for benchmark, value in zip(("held_out_combination", COT), values[mixture], strict=True)
    ]  # fmt: skip


def test_arms_are_groups_and_sizes_their_bars():
    figure = bar_figures.cot_ablation(data(arms("mini", "micro"), sizes=("mini", "micro")))
    direct, asked = figure.panels
    assert asked.title == "Held-out combinations, with rationale"
    assert [bars.label for bars in direct.bars] == ["mini", "micro"]
    assert [bars.shade for bars in direct.bars] == [0.0, 1.0]
    first = direct.bars[0]
    assert first.names == ("without CoT", "both")
    assert first.values == (23.0, 24.0)
    assert first.errors == (pytest.approx(5.0), pytest.approx(5.0))
    assert asked.bars[1].values == (65.0, 70.0)
    assert first.hover[0].startswith(
        "mini, without CoT, Held-out combinations: 23.0 ± 5.0 (2 seeds"
    )
    assert figure.note == (
        "Bars: mean of 2 seeds; whiskers: ± 1 standard error over seeds of the mean over tasks. "
        "Each run is judged by its last step."
    )


def test_arms_stand_in_the_order_of_the_runs():
    runs = {
        (("mixture", "both"), ("num_tasks", "120")): RunFacts(),
        (("mixture", "without CoT"), ("num_tasks", "108")): RunFacts(),
    }
    figure = bar_figures.mixture_ablation(data(arms("mini")[::-1], facts=runs))
    assert figure.panels[0].bars[0].names == ("both", "without CoT")
    assert figure.panels[0].bars[0].label == "ours"
    assert bar_figures.mixture_ablation(data([row(1.0, num_tasks="4")])) is None


def test_the_flan_collections_own_numbers_stand_beside_the_same_mixtures():
    rows = [
        row(40.0, benchmark, "5-shot direct; validation; generate", mixture=mixture)
        for mixture in ("Flan 2022", "without CoT", "of our own")
        for benchmark in ("mmlu", "gsm8k")
    ]
    mmlu, gsm8k = bar_figures.mixture_ablation(data(rows)).panels
    ours, printed = mmlu.bars
    assert ours.names == ("Flan 2022", "without CoT", "of our own")
    assert (printed.reference, printed.names) == (True, ("Flan 2022", "without CoT"))
    assert printed.values == (52.4, 46.9)  # Longpre et al. 2023, Table 1, MMLU few-shot
    assert len(gsm8k.bars) == 1
    note = bar_figures.mixture_ablation(data(rows)).note
    assert "one seed, so no whiskers" in note
    assert "Longpre et al. 2023" in note


def test_ways_of_asking_are_groups_and_mixtures_their_bars():
    rows = [
        row(value, benchmark, mixture=mixture, num_tasks="120")
        for mixture, values in (("zero-shot", (70.0, 20.0)), ("few-shot", (30.0, 60.0)))
        for benchmark, value in zip(
            ("held_out_skill_few_shot", "held_out_skill"), values[::-1], strict=True
        )
    ] + [row(5.0, "held_in", mixture="zero-shot", num_tasks="120")]  # fmt: skip
    (panel,) = bar_figures.prompt_settings(data(rows)).panels
    assert panel.title == "Held-out skills"
    by_label = {bars.label: bars for bars in panel.bars}
    assert by_label["zero-shot"].names == ("Zero-shot", "Few-shot")
    assert by_label["zero-shot"].values == (70.0, 20.0)
    assert by_label["few-shot"].values == (30.0, 60.0)
    assert bar_figures.prompt_settings(data([row(1.0)])) is None


def test_a_protocol_says_how_a_benchmark_was_asked():
    rows = [
        row(1.0, name, f"{how}; test; generate")
        for name, how in (
            ("bbh_cot", "3-shot CoT"), ("bbh", "3-shot direct"), ("bbh_zero_shot", "0-shot direct"),
            ("bbh_zero_shot_cot", "0-shot CoT"), ("gsm8k", "8-shot CoT"),
            ("bbh_cot_self_consistency", "3-shot CoT, 40 samples"),
        )
    ]  # fmt: skip
    (panel,) = bar_figures.prompt_settings(data(rows)).panels
    assert panel.title == "BBH"
    assert panel.bars[0].names == (
        "0-shot direct", "3-shot direct", "0-shot CoT", "3-shot CoT", "3-shot CoT, 40 samples"
    )  # fmt: skip


def test_what_is_paired_decides_which_figure_a_study_has():
    def shown(*benchmarks):
        return series.measures([row(1.0, name) for name in benchmarks], "exact_match")

    combinations = "held_out_combination"
    assert bar_figures.are_paired_by_rationale(shown(combinations, COT))
    assert not bar_figures.are_paired_by_rationale(shown(combinations, COT, "held_in"))
    assert not bar_figures.are_paired_by_rationale(shown("a", "a_few_shot"))
    assert bar_figures.are_asked_in_several_ways(shown("a", "a_few_shot", "b", "b_zero_shot"))
    assert not bar_figures.are_asked_in_several_ways(shown("a", "a_few_shot", "b"))


def test_any_other_setting_is_groups_too():
    rows = [
        row(float(rate), size=size, learning_rate=rate, num_tasks="4")
        for size in ("nano", "wide")
        for rate in ("20", "3")
    ]
    figure = bar_figures.settings(data(rows, sizes=("nano", "wide")))
    assert figure.title == "Quality by learning rate"
    assert figure.panels[0].bars[0].names == ("learning rate 3", "learning rate 20")
    assert figure.panels[0].bars[0].values == (3.0, 20.0)
    (lone,) = bar_figures.settings(data([row(7.0)])).panels[0].bars
    assert (lone.names, lone.values) == (("all runs",), (7.0,))
