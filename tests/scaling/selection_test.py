# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which step a run is judged by: every rule on curves whose answer can be read off."""

import pytest

from flan_jax.core import errors
from flan_jax.evals.scores import Score
from flan_jax.scaling import selection


def row(step, value, benchmark="held_out", subtask="_mean", stderr=2.0, **settings):
    return Score(
        model="tiny", step=step, benchmark=benchmark, protocol="greedy", subtask=subtask,
        metric="exact_match", value=value, n=8, stderr=stderr, settings=settings,
    )  # fmt: skip


# Held-out is best at 20, held-in at 30; of the other seed all is best at 10.
ROWS = [
    *(row(step, value, seed="0") for step, value in ((10, 1.0), (20, 9.0), (30, 4.0))),
    *(
        row(step, value, "held_in", seed="0")
        for step, value in ((10, 50.0), (20, 60.0), (30, 70.0))
    ),
    *(row(step, value, seed="1") for step, value in ((10, 8.0), (20, 5.0), (30, 5.0))),
    *(row(step, value, "held_in", seed="1") for step, value in ((10, 9.0), (20, 8.0), (30, 7.0))),
]


def steps(rule):
    return {
        (found.settings["seed"], found.benchmark): (found.step, found.value)
        for found in selection.select(ROWS, rule)
    }


def test_the_last_step_of_each_run():
    assert steps("last") == {
        ("0", "held_out"): (30, 4.0), ("0", "held_in"): (30, 70.0),
        ("1", "held_out"): (30, 5.0), ("1", "held_in"): (30, 7.0),
    }  # fmt: skip


def test_validation_chooses_by_held_in_and_all_benchmarks_follow():
    found = steps("validation")
    assert found == steps("best:held_in")
    assert found["0", "held_out"] == (30, 4.0)
    assert found["1", "held_out"] == (10, 8.0)


def test_the_papers_way_chooses_by_held_out():
    assert steps("best:held_out")["0", "held_in"] == (20, 60.0)
    tie = [row(10, 5.0), row(20, 5.0)]
    assert [found.step for found in selection.select(tie, "best:held_out")] == [10]


def test_the_mean_of_the_last_steps_is_that_of_each_row():
    found = steps("mean:2")
    assert found["0", "held_out"] == (30, 6.5)
    assert found["0", "held_in"] == (30, 65.0)
    assert steps("mean:9")["0", "held_in"] == (30, 60.0)  # of the three that there are
    lacking = [row(10, 1.0), row(20, 3.0), row(20, 7.0, "held_in"), row(20, 4.0, subtask="a")]
    assert [found.value for found in selection.select(lacking, "mean:2")] == [2.0]


def test_errors_of_a_mean_over_steps_do_not_shrink():
    found = selection.select([row(10, 1.0, stderr=1.0), row(20, 3.0, stderr=3.0)], "mean:2")
    assert [one.stderr for one in found] == [2.0]
    found = selection.select([row(10, 1.0, stderr=None), row(20, 3.0)], "mean:2")
    assert [one.stderr for one in found] == [None]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("best", "no selection 'best'; choose one of last, validation"),
        ("best:", "no selection 'best:'"),
        ("mean:0", "no selection 'mean:0'"),
        ("best:held_oud", "unknown benchmark 'held_oud'.*held_out"),
    ],
)
def test_a_wrong_rule_is_named(rule, message):
    with pytest.raises(errors.UsageError, match=message):
        selection.select(ROWS, rule)


def test_a_run_without_the_benchmark_is_named():
    rows = [row(10, 1.0, seed="0"), row(20, 1.0, seed="0"), row(10, 1.0, "held_in", seed="1")]
    with pytest.raises(errors.UsageError, match=r"'seed': '0'.*no mean of 'held_in'"):
        selection.select(rows, "validation")


def test_a_run_of_one_step_is_judged_by_it_under_any_rule():
    rows = [row(10, 1.0)]
    for rule in ("last", "validation", "best:mmlu", "mean:3"):
        assert selection.select(rows, rule) == rows


def test_figures_say_how_a_step_was_chosen():
    assert selection.describe("last") == "its last step"
    assert "held-in" in selection.describe("best:held_in")
    assert "tasks trained on" in selection.describe("validation")
    text = selection.describe("best:normalized_average", ROWS)
    assert "best on normalized average" in text and "as in the paper" in text
    assert selection.describe("mean:4", ROWS).endswith("last 4 evaluated steps (some runs have 3)")
    assert selection.describe("mean:3", ROWS).endswith("last 3 evaluated steps")
    one_each = [found for found in ROWS if found.step == 10]
    for rule in ("last", "best:held_out", "mean:2"):
        assert selection.describe(rule, one_each) == "its last step, the only one evaluated"
