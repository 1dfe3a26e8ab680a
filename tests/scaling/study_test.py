# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The published study of the mini collection: its files agree, and its numbers say what it says."""

import importlib.util
import math
import statistics
from pathlib import Path

import pytest

import gin
from flan_jax import config
from flan_jax.core import files
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import group_tables, series, tables
from tasks.mini import catalogue

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "docs" / "studies" / "mini"
PACKAGE = ROOT / "tasks" / "mini"
GIN_FILES = {
    "task_scaling": "mini_study",
    "size_scaling": "mini_size_scaling",
    "cot_ablation": "mini_cot_ablation",
    "prompt_settings": "mini_prompt_settings",
    "mixture_ablation": "mini_mixture_ablation",
}
SIZES = ("mini_nano", "mini_micro", "mini", "mini_wide")
DIRECT, RATIONALE = "held_out_combination", "held_out_combination_cot"
FEW_SHOT = "held_out_combination_few_shot"


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def publish():
    spec = importlib.util.spec_from_file_location("publish", STUDY / "publish.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scores(publish):
    return {name: scores_lib.read_scores(publish.folder(name) / "scores.csv") for name in GIN_FILES}


def seeds_of(rows, benchmark, **settings):
    """Returns a group's mean of each seed, of the runs with these settings."""
    found = {
        row.settings["seed"]: row.value
        for row in rows
        if (row.subtask, row.benchmark) == (scores_lib.MEAN, benchmark)
        and settings.items() <= row.settings.items()
    }
    assert sorted(found) == ["1", "2", "3"], (benchmark, settings)
    return list(found.values())


def differ(lower, higher):
    """Whether the second mean is above the first by more than both standard errors together."""
    low, high = (statistics.fmean(values) for values in (lower, higher))
    errors = [statistics.stdev(values) / len(values) ** 0.5 for values in (lower, higher)]
    return high - low > sum(errors)


@pytest.mark.parametrize("name", GIN_FILES)
def test_a_study_holds_every_run_of_its_sweep(name, publish, scores):
    config.parse([f"sweeps/{GIN_FILES[name]}.gin"], roots=("Sweep",))
    declared = config.configured("Sweep")()
    info = files.read_json(publish.folder(name) / "sweep.json")
    runs = info["runs"]
    counts = [len(declared.recipes), *(len(values) for values in declared.grid.values())]
    assert len(runs) == len({run["name"] for run in runs}) == math.prod(counts)
    assert {run["status"] for run in runs} == {"done"}
    assert (info["title"], info["sizes"]) == (declared.title, list(declared.recipes))
    there = {tuple(sorted(row.settings.items())) for row in scores[name]}
    assert there == {tuple(sorted(run["settings"].items())) for run in runs}


@pytest.mark.parametrize("size", SIZES[1:3])
def test_held_out_combinations_rise_beyond_the_error_bars(scores, size):
    measure = series.Measure(DIRECT, "greedy", "exact_match")
    found = series.points(scores["task_scaling"], measure)
    by_count = {int(p.get("num_tasks")): p.values for p in found if p.get("size") == size}
    assert sorted(by_count) == [4, 8, 16, 32, 64, 128]
    for num in (16, 32, 64):
        assert differ(by_count[num], by_count[2 * num]), (size, num)


def test_larger_is_better_until_it_is_not(scores):
    by_size = [seeds_of(scores["size_scaling"], DIRECT, size=size) for size in SIZES]
    nano, micro, mini, wide = by_size
    assert differ(nano, micro) and differ(micro, mini)
    assert not differ(mini, wide) and not differ(wide, mini)


@pytest.mark.parametrize("size", SIZES[1:3])
def test_rationales_come_with_their_data_and_do_not_pay(scores, publish, size):
    rows = scores["cot_ablation"]
    without, only, both = (
        {form: seeds_of(rows, form, mixture=name, size=size) for form in (DIRECT, RATIONALE)}
        for name in ("without CoT", "CoT only", "both")
    )
    assert not differ(both[DIRECT], without[DIRECT]) and not differ(without[DIRECT], both[DIRECT])
    assert differ(both[RATIONALE], without[RATIONALE])
    assert max(*only[DIRECT], *only[RATIONALE]) < 1
    given = scores_lib.read_scores(publish.folder("cot_ablation") / publish.RATIONALES)
    assert set(seeds_of(given, RATIONALE, mixture="without CoT", size=size)) == {0}
    assert min(seeds_of(given, RATIONALE, mixture="both", size=size)) > 50
    assert set(seeds_of(given, DIRECT, mixture="both", size=size)) == {0}


def test_exemplars_confuse_and_training_on_both_kinds_of_prompt_does_not_help(scores):
    rows = scores["prompt_settings"]
    both, zero_shot, few_shot = (
        {form: seeds_of(rows, form, mixture=name) for form in (DIRECT, FEW_SHOT)}
        for name in ("both", "zero-shot", "few-shot")
    )
    assert differ(both[FEW_SHOT], both[DIRECT])
    assert differ(both[DIRECT], zero_shot[DIRECT])
    assert not differ(zero_shot[FEW_SHOT], both[FEW_SHOT])
    assert differ(few_shot[FEW_SHOT], both[FEW_SHOT])


def test_what_quickstart_draws_is_the_study_and_the_rule_as_computed(scores, publish, tmp_path):
    summary = publish.summary(scores["task_scaling"])
    scores_lib.write_scores(tmp_path / "study.csv", summary)
    scores_lib.write_scores(tmp_path / "baselines.csv", publish.baseline_scores())
    for name in ("study.csv", "baselines.csv"):
        assert (tmp_path / name).read_bytes() == (PACKAGE / name).read_bytes(), name
    assert (publish.NUM_TASKS[-1], len(catalogue.training())) == (128, 128)


@pytest.mark.parametrize("name", GIN_FILES)
def test_the_page_shows_the_table_of_each_study(name, publish, scores):
    page = (STUDY / "README.md").read_text(encoding="utf-8")
    info = files.read_json(publish.folder(name) / "sweep.json")
    order = group_tables.order_of([run["settings"] for run in info["runs"]], info["sizes"])
    table = group_tables.group_table(scores[name], publish.METRIC, order)
    assert tables.markdown(table) in page
    assert publish.with_tables(page) == page


def test_the_page_shows_what_else_was_counted(publish, scores):
    page = (STUDY / "README.md").read_text(encoding="utf-8")
    for side, name in enumerate(("All values trained on", "All pairs of values trained on")):
        cells = (str(publish.coverage(num)[side]) for num in publish.NUM_TASKS)
        assert f"| {name} | {' | '.join(cells)} |" in page
    rates = scores_lib.read_scores(STUDY / "rates.csv")
    assert {score.benchmark for score in rates} == {"held_in"}
    for score in rates:
        assert f"{score.value:.1f}" in page


def test_the_one_command_runs_every_sweep_that_is_published(publish, monkeypatch):
    monkeypatch.syspath_prepend(str(STUDY))  # as python docs/studies/mini/regenerate.py has it
    import regenerate

    assert set(regenerate.SWEEPS) == {*publish.STUDIES, *publish.RATES}
    assert GIN_FILES.items() <= regenerate.SWEEPS.items()
    for gin_file in regenerate.SWEEPS.values():
        assert (config.gin_root() / "sweeps" / f"{gin_file}.gin").is_file()


def test_a_study_can_be_drawn_again_from_its_files(publish, tmp_path):
    kept = publish.folder(publish.PROMPT_SETTINGS)
    publish.draw(kept, tmp_path, with_rules=False)
    assert (tmp_path / publish.TABLE).read_bytes() == (kept / publish.TABLE).read_bytes()
    made = {path.name for path in tmp_path.iterdir()}
    assert made and made <= {path.name for path in kept.iterdir()}
