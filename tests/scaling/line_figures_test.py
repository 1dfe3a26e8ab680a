# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of lines: what is a line and a panel, the paper's points, bands, notes."""

import dataclasses

import pytest

from flan_jax.evals import normalized
from flan_jax.evals.scores import MEAN, Score
from flan_jax.scaling import line_figures
from flan_jax.scaling.captions import Data, RunFacts


def row(value, benchmark="held_in", protocol="greedy", metric="exact_match", subtask=MEAN, n=8,
        **settings):  # fmt: skip
    return Score(
        model="tiny", step=9, benchmark=benchmark, protocol=protocol, subtask=subtask,
        metric=metric, value=value, n=n, stderr=2.0, settings=settings,
    )  # fmt: skip


def data(rows, metric="exact_match", **changes):
    return Data(title="T", metric=metric, rows=rows, judged="its last step", **changes)


def averages(*sizes):
    return [
        row(value + 10 * place, normalized.NAME, "mean of 6 benchmarks; validation; generate",
            normalized.NAME, size=size, num_tasks=num)
        for place, size in enumerate(sizes)
        for num, value in (("0", 1.0), ("1836", 9.0))
    ]  # fmt: skip


FACTS = {
    (("num_tasks", num), ("size", size)): RunFacts(
        num_parameters=parameters, train_flops=parameters * 1e9 if num != "0" else 0.0
    )
    for size, parameters in (("small", 77_000_000), ("xl", 3_000_000_000))
    for num in ("0", "1836")
}


def test_one_size_is_one_panel_with_a_line_for_each_group():
    rows = [
        row(value + 10 * seed, benchmark, num_tasks=num, seed=str(seed))
        for seed in (0, 1)
        for benchmark, values in {"held_out_skill": (1.0, 5.0), "held_in": (40.0, 30.0)}.items()
        for num, value in zip(("4", "16"), values, strict=True)
    ]
    figure = line_figures.task_scaling(data(rows))
    (panel,) = figure.panels
    assert [line.label for line in panel.lines] == ["Held-in tasks", "Held-out skills"]
    assert [line.color for line in panel.lines] == [0, 1]  # held-in is the neutral one
    held_out = panel.lines[1]
    assert (held_out.x, held_out.y) == ((4.0, 16.0), (6.0, 10.0))
    assert held_out.spread == (pytest.approx(5.0), pytest.approx(5.0))
    assert held_out.band == ((4.0, 1.0, 11.0), (16.0, 5.0, 15.0))
    assert held_out.hover[1] == (
        "Held-out skills, 16 tasks: 10.0 ± 5.0 (2 seeds: 5.0, 15.0); 95% interval 5.0 to 15.0"
    )
    assert figure.note == (
        "Lines: mean of 2 seeds; bars: ± 1 standard error over seeds of the mean over tasks. "
        "Bands: 95% bootstrap intervals over seeds. Each run is judged by its last step."
    )
    assert (figure.name, figure.y_label) == ("task_scaling", "Exact match, %")
    assert figure.subtitle == "seeds 0, 1"


def test_several_sizes_are_a_panel_for_each_group_with_a_line_for_each_size():
    rows = [
        row(float(n), benchmark, num_tasks=n, size=size)
        for n in ("4", "8")
        for benchmark in ("held_in", "held_out_skill")
        for size in ("base", "tiny", "small")
    ]
    figure = line_figures.task_scaling(data(rows, sizes=("tiny", "small")))
    assert [panel.title for panel in figure.panels] == ["Held-in tasks", "Held-out skills"]
    assert [line.label for line in figure.panels[0].lines] == ["tiny", "small", "base"]
    assert [line.shade for line in figure.panels[0].lines] == [0.0, 0.5, 1.0]
    assert "one seed, so no error bars" in figure.note


def test_the_papers_table_3_stands_behind_the_normalized_average():
    figure = line_figures.task_scaling(data(averages("small", "xl"), normalized.NAME, facts=FACTS))
    (panel,) = figure.panels
    ours = [line for line in panel.lines if not line.reference]
    theirs = [line for line in panel.lines if line.reference]
    assert [(line.label, line.y) for line in ours] == [("small", (1.0, 9.0)), ("xl", (11.0, 19.0))]
    assert [line.label for line in theirs] == [
        "paper: PaLM 8B",
        "paper: PaLM 62B",
        "paper: PaLM 540B",
    ]
    assert theirs[0].x == (0.0, 9.0, 89.0, 282.0, 1836.0)
    assert theirs[0].y == (6.4, 8.3, 14.8, 20.5, 21.9)
    assert theirs[0].hover[2] == "paper: PaLM 8B, 89 tasks: 14.8"
    assert "Chung et al. 2022, Table 3" in figure.note
    assert "nothing of them was measured here" in figure.note
    assert figure.subtitle == "77 M (small) and 3 B (xl) parameters"


def test_size_scaling_has_a_line_for_each_mixture_and_table_5_behind():
    figure = line_figures.size_scaling(data(averages("small", "xl"), normalized.NAME, facts=FACTS))
    assert (figure.log_x, figure.large_x) == (True, True)
    lines = {line.label: line for line in figure.panels[0].lines}
    assert list(lines) == [
        "no finetuning", "1,836 tasks", "paper: T5", "paper: Flan-T5", "paper: PaLM",
        "paper: Flan-PaLM",
    ]  # fmt: skip
    assert lines["1,836 tasks"].x == (77e6, 3e9)
    assert lines["1,836 tasks"].y == (9.0, 19.0)
    assert lines["no finetuning"].color == 0
    assert lines["paper: Flan-T5"].x == (8e7, 2.5e8, 7.8e8, 3e9, 1.1e10)
    assert lines["paper: Flan-T5"].y == (-3.1, 6.5, 13.8, 19.1, 23.7)


def test_against_flops_nothing_stands_where_nothing_was_finetuned():
    figure = line_figures.size_scaling_flops(
        data(averages("small", "xl"), normalized.NAME, facts=FACTS)
    )
    lines = {line.label: line for line in figure.panels[0].lines}
    assert list(lines) == ["1,836 tasks", "paper: Flan-T5", "paper: Flan-PaLM"]
    assert lines["1,836 tasks"].x == (77e15, 3e18)
    # Table 2: 5.6e21 FLOPs of Flan-PaLM 540B; Table 5: 58.4.
    assert (lines["paper: Flan-PaLM"].x[-1], lines["paper: Flan-PaLM"].y[-1]) == (5.6e21, 58.4)
    assert "Tables 2 and 5" in figure.note


def test_what_does_not_vary_or_is_not_known_gives_no_figure():
    rows = [row(1.0, num_tasks="4", size=size) for size in ("small", "xl")]
    assert line_figures.task_scaling(data(rows)) is None
    assert line_figures.size_scaling(data(rows)) is None  # parameters are not known
    assert line_figures.self_consistency(data(rows)) is None
    assert line_figures.benchmarks(data(rows)) is None
    assert line_figures.task_scaling(data([row(1.0, learning_rate="0.1")])) is None


def ruled(name, value, **settings):
    return dataclasses.replace(row(value, protocol="rule", **settings), model=name)


def test_a_study_becomes_bands_and_rules_become_thin_lines():
    ours = [row(2.0, num_tasks=n, seed="0") for n in ("4", "16")]
    study = [row(v, num_tasks=n, seed=s) for n in ("4", "16") for s, v in (("1", 2.0), ("2", 4.0))]
    rules = [ruled("majority", 18.8, num_tasks=n) for n in ("4", "16")]
    figure = line_figures.task_scaling(data(ours, behind=study, baselines=rules))
    line, rule = figure.panels[0].lines
    assert line.band == ((4.0, 2.0, 4.0), (16.0, 2.0, 4.0))
    assert line.middle == (3.0, 3.0)
    assert (rule.thin, rule.label, rule.y) == (True, "", (18.8, 18.8))
    assert "the several-seed study, mean of 2 seeds ± 1 standard error" in figure.note
    assert "bootstrap" not in figure.note
    assert "most frequent answer" in figure.note


def test_several_rules_have_their_names():
    ours = [row(2.0, num_tasks=n) for n in ("0", "4")]
    rules = [
        ruled(name, v, num_tasks=n)
        for name, v in (("copy_input", 24.4), ("odd", 7.7))
        for n in ("0", "4")
    ]
    figure = line_figures.task_scaling(data(ours, baselines=rules))
    thin = [(line.label, line.x, line.y) for line in figure.panels[0].lines if line.thin]
    assert thin == [
        ("copy input", (0.0, 4.0), (24.4, 24.4)),
        ("odd", (0.0, 4.0), (7.7, 7.7)),
    ]
    assert "Dotted: rules without learning, by their names." in figure.note
    alone = line_figures.task_scaling(data(ours, baselines=rules[:2]))
    assert "Dotted: the rule 'copy_input'." in alone.note


def test_voting_is_drawn_against_the_number_of_answers():
    protocol = "8-shot CoT, 40 samples; test; generate"
    rows = [
        row(value + 100 * (metric == "unparsed"), "mgsm_self_consistency", protocol, metric,
            num_tasks=num)
        for num in ("0", "1836")
        for metric, value in (
            ("exact_match", 9.0), ("exact_match/k=1", 2.0), ("exact_match/k=2", 3.0),
            ("exact_match/flexible", 50.0), ("unparsed", 1.0),
        )
    ]  # fmt: skip
    rows.append(row(5.0, "mgsm", "8-shot CoT; test; generate", num_tasks="0"))
    rows = [r for r in rows if "flexible" not in r.metric]
    figure = line_figures.self_consistency(data(rows))
    (panel,) = figure.panels
    assert [line.label for line in panel.lines] == ["no finetuning", "1,836 tasks"]
    assert (panel.lines[0].x, panel.lines[0].y) == ((1.0, 2.0, 40.0), (2.0, 3.0, 9.0))
    assert figure.y_label == "MGSM, self-consistency: exact match, %"


def test_each_benchmark_of_the_average_has_a_panel_with_the_papers_numbers():
    rows = averages("small") + [
        row(30.0, "mmlu", "5-shot direct; validation; generate", n=57, size="small", num_tasks=num)
        for num in ("0", "1836")
    ]
    rows += [dataclasses.replace(r, benchmark="bbh", n=3) for r in rows[-2:]]  # not whole
    figure = line_figures.benchmarks(data(rows, normalized.NAME))
    (panel,) = figure.panels
    assert panel.lines[0].y == (30.0, 30.0)
    assert panel.lines[-1].y[-1] == 73.2  # PaLM 540B on all tasks
    assert figure.y_label == "MMLU: exact match, %"


def test_the_same_rows_give_the_same_figure_in_any_order():
    rows = averages("small", "xl")
    first = line_figures.size_scaling(data(rows, normalized.NAME, facts=FACTS))
    assert line_figures.size_scaling(data(rows[::-1], normalized.NAME, facts=FACTS)) == first
