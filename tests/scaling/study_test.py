# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The published study of the mini collection: its files agree, and its numbers say what it says."""

import importlib.util
from pathlib import Path

import pytest

from flan_jax import reporting
from flan_jax.core import files
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import curves, tables
from tasks.mini import catalogue

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "docs" / "studies" / "mini"
PACKAGE = ROOT / "tasks" / "mini"
SIZES = ("mini_micro", "mini")


@pytest.fixture(scope="module")
def publish():
    spec = importlib.util.spec_from_file_location("publish", STUDY / "publish.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scores():
    return scores_lib.read_scores(STUDY / "scores.csv")


def test_the_study_is_whole(scores):
    runs = files.read_json(STUDY / "sweep.json")["runs"]
    assert len(runs) == 6 * len(SIZES) * 3
    assert {run["status"] for run in runs} == {"done"}
    for curve in curves.task_scaling(scores):
        assert [p.num_tasks for p in curve.points] == [4, 8, 16, 32, 64, 128]
        assert {len(p.values) for p in curve.points} == {3}


@pytest.mark.parametrize("size", SIZES)
def test_held_out_combinations_rise_beyond_the_error_bars(scores, size):
    (curve,) = (
        c
        for c in curves.task_scaling(scores)
        if (c.benchmark, c.size) == ("held_out_combination", size)
    )
    by_count = {point.num_tasks: point for point in curve.points}
    for fewer, more in ((16, 32), (32, 64), (64, 128)):
        low, high = by_count[fewer], by_count[more]
        assert high.mean - high.stderr > low.mean + low.stderr, (size, fewer, more)


def test_what_quickstart_draws_is_the_study_and_the_rule_as_computed(scores, publish, tmp_path):
    scores_lib.write_scores(tmp_path / "study.csv", publish.summary(scores))
    scores_lib.write_scores(tmp_path / "baselines.csv", publish.baseline_scores())
    for name in ("study.csv", "baselines.csv"):
        assert (tmp_path / name).read_bytes() == (PACKAGE / name).read_bytes(), name
    assert (publish.NUM_TASKS[-1], len(catalogue.training())) == (128, 128)


def test_the_page_shows_the_tables_of_its_scores(scores, publish):
    page = (STUDY / "README.md").read_text(encoding="utf-8")
    table = tables.markdown(tables.group_table(scores, publish.METRIC, SIZES))
    assert table in page
    for side, name in enumerate(("All values trained on", "All pairs of values trained on")):
        cells = (str(publish.coverage(num)[side]) for num in publish.NUM_TASKS)
        assert f"| {name} | {' | '.join(cells)} |" in page
    rates = scores_lib.read_scores(STUDY / "rates.csv")
    assert {score.benchmark for score in rates} == {"held_in"}
    for score in rates:
        assert f"{score.value:.1f}" in page


def test_the_study_can_be_drawn_again_from_its_files(tmp_path):
    made = reporting.report(str(STUDY), out=str(tmp_path), baselines=str(PACKAGE / "baselines.csv"))
    assert made.table_markdown.read_bytes() == (STUDY / "scores_table.md").read_bytes()
    assert {path.suffix for path in made.figures} == {".png", ".svg", ".pdf"}
