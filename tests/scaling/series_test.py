# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Points out of rows: means, errors, bootstrap intervals, order, what tells lines apart."""

import numpy as np
import pytest

from flan_jax.core import errors
from flan_jax.evals import normalized
from flan_jax.evals.scores import MEAN, Score
from flan_jax.scaling import group_tables, series
from flan_jax.scaling.series import Measure, Point

GREEDY = Measure("held_in", "greedy", "exact_match")


def row(value, subtask=MEAN, benchmark="held_in", protocol="greedy", **settings):
    return Score(
        model="tiny", step=9, benchmark=benchmark, protocol=protocol, subtask=subtask,
        metric="exact_match", value=value, n=8, stderr=2.0, settings=settings,
    )  # fmt: skip


def test_a_point_is_the_mean_over_seeds_with_its_standard_error():
    rows = [row(v, num_tasks="4", seed=s) for s, v in (("10", 6.0), ("2", 2.0), ("1", 1.0))]
    (point,) = series.points(rows, GREEDY)
    assert (point.seeds, point.values) == (("1", "2", "10"), (1.0, 2.0, 6.0))
    # Mean 3, squared deviations 4 + 1 + 9 = 14, variance 14 / 2, over 3 seeds.
    assert (point.mean, point.stderr) == (3.0, pytest.approx((7 / 3) ** 0.5))
    assert point.settings == (("num_tasks", "4"),)


def test_a_point_has_the_tasks_that_all_seeds_have():
    rows = [
        row(v, task, seed=seed)
        for seed, tasks in {"1": {"a": 1, "b": 2, "c": 3}, "2": {"c": 6, "a": 4}}.items()
        for task, v in tasks.items()
    ]
    rows += [row(2.0, seed="1"), row(5.0, seed="2"), row(9.0, "_mean.group", seed="1")]
    (point,) = series.points(rows, GREEDY)
    assert point.tasks == ((1, 3), (4, 6))
    assert point.question_errors == ()


def test_of_a_published_benchmark_questions_vary_and_subtasks_do_not():
    measure = Measure("mmlu", "5-shot direct; validation; generate", "exact_match")
    rows = [row(50.0, name, "mmlu", measure.protocol, seed="1") for name in ("law", MEAN)]
    (point,) = series.points(rows, measure)
    assert (point.tasks, point.question_errors) == ((), (2.0,))
    # One seed: the interval is that of a normal deviation of 2.0 around 50.
    low, high = point.interval()
    assert (low, high) == (pytest.approx(50 - 3.92, abs=0.3), pytest.approx(50 + 3.92, abs=0.3))


def test_an_interval_over_seeds_alone_is_that_of_all_ways_to_draw_them():
    point = Point(settings=(), seeds=("1", "2"), values=(0.0, 10.0))
    # Means of two draws of two: 0, 5, 5, 10, so that each end has a quarter.
    assert point.interval() == (0.0, 10.0)
    assert Point(settings=(), seeds=("1",), values=(3.0,)).interval() is None


def test_an_interval_over_tasks_is_that_of_an_independent_bootstrap():
    values = np.random.default_rng(5).normal(50.0, 20.0, size=(3, 40))
    point = Point(
        settings=(), seeds=("1", "2", "3"), values=tuple(values.mean(axis=1)),
        tasks=tuple(map(tuple, values)),
    )  # fmt: skip
    rng = np.random.default_rng(6)
    means = [
        values[rng.integers(3, size=3)][:, rng.integers(40, size=40)].mean() for _ in range(20_000)
    ]
    low, high = point.interval()
    assert low == pytest.approx(np.quantile(means, 0.025), abs=0.6)
    assert high == pytest.approx(np.quantile(means, 0.975), abs=0.6)
    assert point.interval() == (low, high)
    # Over seeds alone it is narrower.
    alone = Point(settings=(), seeds=point.seeds, values=point.values).interval()
    assert alone[1] - alone[0] < 0.8 * (high - low)


def test_two_runs_that_differ_in_nothing_are_an_error():
    rows = [row(1.0, num_tasks="4", seed="1"), row(2.0, num_tasks="4", seed="1")]
    with pytest.raises(errors.DataError, match="num_tasks = 4, seed = 1 at step 9; name what"):
        series.points(rows, GREEDY)


def test_lines_are_told_apart_in_the_order_of_their_settings_and_run_from_left_to_right():
    rows = [
        row(float(n), size=size, num_tasks=n)
        for size in ("wide", "nano")
        for n in ("120", "4", "16")
    ]
    rows.append(row(7.0, size="wide"))  # no number of tasks: it stands nowhere
    order = group_tables.order_of([r.settings for r in rows], ["nano", "wide"])
    found = series.lines(
        rows, GREEDY, lambda p: float(p.get("num_tasks") or -1) if p.get("num_tasks") else None,
        ["size"], order,
    )  # fmt: skip
    assert [line.names for line in found] == [{"size": "nano"}, {"size": "wide"}]
    assert found[0].x == (4.0, 16.0, 120.0)
    assert [point.mean for point in found[1].points] == [4.0, 16.0, 120.0]


def test_what_follows_from_another_setting_tells_no_lines_apart():
    def names(without, *settings):
        rows = [row(1.0, **own) for own in settings]
        order = group_tables.order_of([r.settings for r in rows])
        return series.varied(rows, order, without)

    counts = [{"mixture": m, "num_tasks": n} for m, n in (("a", "4"), ("b", "8"))]
    assert names((), *counts) == ["mixture"]
    assert names(("num_tasks",), *counts) == []
    same = [{"mixture": m, "num_tasks": n} for m, n in (("a", "4"), ("b", "4"), ("c", "8"))]
    assert names(("num_tasks",), *same) == ["mixture"]
    seeds = [{"seed": s, "learning_rate": r} for s in "12" for r in ("0.1", "0.2")]
    assert names((), *seeds) == ["learning_rate"]


def test_measures_stand_in_the_order_of_the_paper_with_tydiqas_own_metric():
    def mean(benchmark, metric="exact_match", protocol="1-shot; validation; generate"):
        return Score(
            model="m", step=1, benchmark=benchmark, protocol=protocol, subtask=MEAN, metric=metric,
            value=1.0, n=normalized.NUM_SUBTASKS.get(benchmark, 3), stderr=None,
        )  # fmt: skip

    rows = [
        mean("tydiqa", "squad_em_multilingual"), mean("bbh"), mean("mmlu"), mean("held_in"),
        mean("tydiqa_zero_shot", "squad_em_multilingual"), mean("held_out_skill_few_shot"),
        mean("mmlu", "accuracy"), mean("gsm8k"),
    ]  # fmt: skip
    found = series.measures(rows, "exact_match")
    assert [m.benchmark for m in found] == [
        "held_in", "held_out_skill_few_shot", "mmlu", "bbh", "tydiqa",
        "tydiqa_zero_shot", "gsm8k",
    ]  # fmt: skip
    assert [m.benchmark for m in series.of_the_paper(rows)] == ["mmlu", "bbh", "tydiqa"]
    split = mean("mmlu", protocol="1-shot; test; generate")
    assert series.titles(series.measures([mean("mmlu"), split], "exact_match")) == [
        "MMLU (1-shot; test; generate)", "MMLU (1-shot; validation; generate)"
    ]  # fmt: skip
