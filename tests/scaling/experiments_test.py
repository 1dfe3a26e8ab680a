# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which figures a study has, in which order, and what they are made from."""

import json
from pathlib import Path

import pytest

from flan_jax.core import errors
from flan_jax.evals import normalized
from flan_jax.evals.scores import MEAN, Score
from flan_jax.scaling import experiments, study
from flan_jax.scaling.study import RunRecord, Study

ROOT = Path(__file__).resolve().parents[2]


def row(value, benchmark="held_in", step=9, protocol="greedy", metric="exact_match", **settings):
    return Score(
        model="tiny", step=step, benchmark=benchmark, protocol=protocol, subtask=MEAN,
        metric=metric, value=value, n=8, stderr=2.0, settings=settings,
    )  # fmt: skip


def study_of(rows, metric="exact_match", folder=None, **changes):
    settings = list({json.dumps(r.settings): r.settings for r in rows}.values())
    runs = [
        RunRecord(
            name=str(index), size=own.get("size", ""), settings=own, status="done",
            num_parameters={"nano": 27_000, "mini": 310_000}.get(own.get("size")), folder=folder,
        )
        for index, own in enumerate(settings)
    ]  # fmt: skip
    return Study(title="A study", metric=metric, runs=runs, scores=rows, **changes)


def names(made):
    return [figure.name for figure in made]


def sizes_and_tasks():
    return [
        row(float(n), size=size, num_tasks=n, seed=seed)
        for size in ("nano", "mini")
        for n in ("4", "16")
        for seed in "12"
    ]


def test_what_varies_decides_in_the_papers_order():
    def of(rows, metric="exact_match"):
        return names(experiments.figures_for(study_of(rows, metric)))

    assert of(sizes_and_tasks()) == ["task_scaling", "size_scaling"]
    mixtures = [{"mixture": "a", "num_tasks": "4"}, {"mixture": "b", "num_tasks": "8"}]
    pairs = ("held_out_skill", "held_out_skill_cot")
    assert of([row(1.0, name, **own) for own in mixtures for name in pairs]) == ["cot_ablation"]
    assert of([row(1.0, **own) for own in mixtures]) == ["mixture_ablation"]
    forms = ("held_out_skill", "held_out_skill_few_shot")
    assert of([row(1.0, name, **own) for own in mixtures for name in forms]) == [
        "mixture_ablation", "prompt_settings"
    ]  # fmt: skip
    assert of([row(1.0, learning_rate=rate) for rate in ("0.1", "0.2")]) == ["settings"]
    assert of([row(1.0)]) == ["settings"]
    protocol = "mean of 3 benchmarks; validation; generate"
    averages = [
        row(1.0, normalized.NAME + end, protocol=protocol, metric=normalized.NAME, **own)
        for own in mixtures
        for end in ("", "_cot", "_direct")
    ]
    assert of(averages, normalized.NAME) == ["cot_ablation"]


def test_the_first_figure_has_the_studys_title():
    first, second = experiments.figures_for(study_of(sizes_and_tasks()))
    assert (first.title, second.title) == ("A study", "Quality against model size")
    assert second.panels[0].lines[0].x == (27_000, 310_000)
    assert "Each run is judged by its last step, the only one evaluated." in first.note


def test_a_study_may_name_its_figures():
    made = experiments.figures_for(
        study_of(sizes_and_tasks(), figures=["settings", "size_scaling"])
    )
    assert names(made) == ["settings", "size_scaling"]
    with pytest.raises(errors.UsageError, match="Sweep.figures: unknown figure 'tsk_scaling'; did "
                       "you mean 'task_scaling'"):  # fmt: skip
        experiments.figures_for(study_of(sizes_and_tasks(), figures=["tsk_scaling"]))
    with pytest.raises(errors.UsageError, match="names 'cot_ablation', but nothing that it shows"):
        experiments.figures_for(study_of(sizes_and_tasks(), figures=["cot_ablation"]))


def test_a_run_is_judged_by_the_studys_rule():
    rows = [
        row(value, step=step, num_tasks=n)
        for n in ("4", "16")
        for step, value in ((1, 50.0), (2, 10.0))
    ]
    (last,) = experiments.figures_for(study_of(rows))
    (best,) = experiments.figures_for(study_of(rows, selection="best:held_in"))
    assert last.panels[0].lines[0].y == (10.0, 10.0)
    assert best.panels[0].lines[0].y == (50.0, 50.0)
    assert "judged by the step that is best on held-in tasks" in best.note


def test_training_losses_are_drawn_where_runs_kept_them(tmp_path):
    lines = [{"kind": "train", "step": step, "loss": 1.0 / step} for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = experiments.figures_for(study_of(sizes_and_tasks(), folder=tmp_path))
    assert names(made) == ["task_scaling", "size_scaling", "losses"]
    assert [panel.title for panel in made[-1].panels] == ["nano", "mini"]
    assert [line.label for line in made[-1].panels[0].lines] == ["4 tasks", "16 tasks"]
    assert made[-1].panels[0].lines[0].y == (1.0, 0.5)
    assert made[-1].note == "Lines: mean of 2 seeds."


def test_runs_that_are_not_done_leave_figures_out():
    runs = [RunRecord(name="a", size="", settings={}, status="failed")]
    nothing = Study(title="A", metric="exact_match", runs=runs, scores=[], figures=["task_scaling"])
    assert experiments.figures_for(nothing) == []


def test_the_published_study_gives_its_figures():
    made = experiments.figures_for(study.read(ROOT / "docs/studies/mini"))
    assert names(made)[:2] == ["task_scaling", "size_scaling"]
    assert [panel.title for panel in made[0].panels] == [
        "Held-in tasks", "Held-out combinations", "Held-out skills"
    ]  # fmt: skip
    assert all(line.band for panel in made[0].panels for line in panel.lines)
