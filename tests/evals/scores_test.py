# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Score tables: exact columns, stable bytes, macro means, and malformed files named by line."""

import dataclasses
import math
import random

import pytest

from flan_jax.core import errors
from flan_jax.evals import scores as scores_lib


def score(subtask, value, *, benchmark="held_in", metric="exact_match", settings=(), n=10):
    return scores_lib.Score(
        model="tiny", step=100, benchmark=benchmark, protocol="greedy", subtask=subtask,
        metric=metric, value=value, n=n, stderr=1.5, settings=dict(settings),
    )  # fmt: skip


def test_a_table_has_exactly_the_agreed_columns_and_is_sorted(tmp_path):
    path = tmp_path / "scores.csv"
    scores_lib.write_scores(path, [score("b", 50.0), score("a", 100 / 3)])
    assert path.read_text() == (
        "model,step,benchmark,protocol,subtask,metric,value,n,stderr\n"
        "tiny,100,held_in,greedy,a,exact_match,33.3333,10,1.5000\n"
        "tiny,100,held_in,greedy,b,exact_match,50.0000,10,1.5000\n"
    )


def test_reading_gives_back_what_was_written_and_order_does_not_matter(tmp_path):
    rows = [score(f"t{i}", float(i), settings={"num_tasks": str(4**i)}) for i in range(4)]
    rows.append(dataclasses.replace(score("u", 1.0), stderr=None))
    scores_lib.write_scores(tmp_path / "a.csv", rows)
    random.Random(0).shuffle(rows)
    scores_lib.write_scores(tmp_path / "b.csv", rows)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    back = scores_lib.read_scores(tmp_path / "a.csv")
    assert sorted(back, key=lambda s: s.sort_key) == sorted(rows, key=lambda s: s.sort_key)


def test_settings_sort_by_size_not_by_spelling(tmp_path):
    rows = [score("t", 1.0, settings={"num_tasks": n}) for n in ("16", "all", "4", "128")]
    scores_lib.write_scores(tmp_path / "a.csv", rows)
    back = scores_lib.read_scores(tmp_path / "a.csv")
    assert [row.settings["num_tasks"] for row in back] == ["4", "16", "128", "all"]


def test_macro_means_weigh_tasks_equally_and_keep_groups_and_metrics_apart():
    rows = [
        score("a", 0.0, n=1000),
        score("b", 30.0, n=10),
        score("b", 80.0, metric="rouge_l"),
        score("c", 60.0, benchmark="held_out_skill"),
        score(scores_lib.MEAN, 99.0),
    ]
    means = {(m.benchmark, m.metric): m for m in scores_lib.macro_means(rows)}
    assert means["held_in", "exact_match"].value == 15.0
    assert means["held_in", "exact_match"].n == 2
    assert means["held_in", "exact_match"].stderr == pytest.approx(math.sqrt(450 / 2))
    assert means["held_in", "rouge_l"].value == 80.0
    assert means["held_out_skill", "exact_match"].stderr is None
    assert {m.subtask for m in means.values()} == {scores_lib.MEAN}


def test_groups_of_tasks_have_means_of_their_own_and_means_are_not_averaged():
    rows = [score("a", 0.0), score("b", 30.0), score("c", 90.0)]
    groups = {"stem": ["a", "b"], "hard": ["b"], "none": []}
    means = scores_lib.group_means(rows, groups)
    assert {m.subtask: (m.value, m.n) for m in means} == {
        "_mean.stem": (15.0, 2),
        "_mean.hard": (30.0, 1),
    }
    assert scores_lib.group_means([*rows, *means], groups) == means
    assert [m.value for m in scores_lib.macro_means([*rows, *means])] == [40.0]
    assert all(scores_lib.is_mean(m.subtask) for m in means)
    assert not scores_lib.is_mean("_meaning") and not scores_lib.is_mean("mean.stem")
    assert [scores_lib.group_of(m) for m in ("_mean.stem", "_mean", "a")] == ["stem", "", ""]


def test_malformed_tables_are_named_with_their_line(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("model,step\n")
    with pytest.raises(errors.DataError, match=r"scores.csv:1: no column 'benchmark'"):
        scores_lib.read_scores(path)
    header = ",".join(scores_lib.COLUMNS)
    path.write_text(f"{header}\ntiny,1,g,p,t,m,high,3,\n")
    with pytest.raises(errors.DataError, match=r"scores.csv:2: .*'high'"):
        scores_lib.read_scores(path)
    path.write_text(f"{header}\ntiny,1,g,p,t\n")
    with pytest.raises(errors.DataError, match=r"scores.csv:2: .* cells"):
        scores_lib.read_scores(path)


def test_a_setting_may_not_shadow_a_column(tmp_path):
    with pytest.raises(errors.UsageError, match="'step'.*rename the setting"):
        scores_lib.write_scores(tmp_path / "s.csv", [score("a", 1.0, settings={"step": "3"})])
