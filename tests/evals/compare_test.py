# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paired comparison: the bootstrap against what is known of it, McNemar by hand, pairing by id."""

import fractions
import json
import math

import numpy as np
import pytest

from flan_jax.core import errors
from flan_jax.evals import compare


def write(folder, benchmark, asked, subtask, scores, *, metric="exact_match", sha="p{}"):
    path = folder / "predictions" / benchmark / asked / f"{subtask}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "benchmark": benchmark, "subtask": subtask, "id": name, "num_dropped": 0,
            "prompt_sha256": sha.format(name), "too_long": False, "references": ["B"],
            "predictions": ["B"], "answer": "B", metric: score, "meta": {"n": 3},
        }
        for name, score in scores.items()
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def of_values(*values):
    return {f"q{number}": value for number, value in enumerate(values)}


def compared(tmp_path):
    return compare.compare(compare.read(tmp_path / "a"), compare.read(tmp_path / "b"))


def test_the_bootstrap_of_two_questions_is_a_binomial():
    """Of differences 0 and 100, a draw's mean is 0, 50, 100 with probability 1/4, 1/2, 1/4."""
    low, high, p = compare.bootstrap([np.array([0.0, 100.0])])
    assert (low, high) == (0.0, 100.0)
    assert p == pytest.approx(2 * 0.25, abs=0.03)  # a quarter is at 0 or below
    assert compare.bootstrap([np.array([-100.0, 0.0])])[2] == pytest.approx(0.5, abs=0.03)
    # With a third question: (1/3)**3 of the draws are three zeros.
    assert compare.bootstrap([np.array([0.0, 100.0, 100.0])])[2] == pytest.approx(2 / 27, abs=0.01)


def test_the_bootstrap_has_the_interval_of_the_normal_law_where_there_are_many_questions():
    """Its variance is that of a mean of means: the sum of s_i**2 / n_i over the squared number."""
    rng = np.random.default_rng(5)
    differences = [
        rng.choice([-100.0, 0.0, 100.0], size=size, p=[0.1, 0.6, 0.3]) for size in (400, 900, 2500)
    ]
    differences.append(rng.normal(5.0, 30.0, size=700))  # a metric with many values
    mean = np.mean([d.mean() for d in differences])
    error = math.sqrt(sum(d.var() / len(d) for d in differences)) / 4
    low, high, p = compare.bootstrap(differences)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.1 * error)
    assert p == 2 / 10_001  # never on the other side
    shifted = [d - mean + 1.5 * error for d in differences]  # 1.5 standard errors from 0
    assert compare.bootstrap(shifted)[2] == pytest.approx(math.erfc(1.5 / math.sqrt(2)), abs=0.012)


def test_the_bootstrap_equals_drawing_questions_one_by_one():
    differences = [np.array([0.0, 100.0, 100.0, -100.0, 0.0]), np.array([3.0, 50.0, 7.0])]
    rng = np.random.default_rng(1)
    drawn = [rng.choice(d, size=(10_000, len(d))).mean(axis=1) for d in differences]
    expected = np.percentile(np.mean(drawn, axis=0), [2.5, 97.5])
    assert compare.bootstrap(differences)[:2] == pytest.approx(tuple(expected), abs=2.0)


def test_the_same_seed_gives_the_same_interval_and_equal_runs_differ_by_nothing():
    differences = [np.array([1.0, 20.0, 3.0, -40.0, 100.0])]
    assert compare.bootstrap(differences, seed=3) == compare.bootstrap(differences, seed=3)
    assert compare.bootstrap(differences, seed=3) != compare.bootstrap(differences, seed=4)
    assert compare.bootstrap([np.zeros(7)]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 1, 1.0),
        (0, 6, 2 / 64),
        (1, 9, 22 / 1024),  # 2 (1 + 10) / 2**10
        (2, 8, 112 / 1024),  # 2 (1 + 10 + 45) / 2**10
        (8, 2, 112 / 1024),
    ],
)
def test_mcnemar_is_what_counting_gives(only_a, only_b, expected):
    assert compare.mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-12)


def test_mcnemar_of_many_questions_is_exact():
    exact = fractions.Fraction(2 * sum(math.comb(3000, k) for k in range(1401)), 2**3000)
    assert compare.mcnemar(1400, 1600) == float(exact)
    assert compare.mcnemar(0, 5000) == 0.0  # below the smallest float


def test_subtasks_weigh_alike_whatever_their_number_of_questions(tmp_path):
    write(tmp_path / "a", "mmlu", "test.generate", "law", of_values(0.0, 0.0, 100.0, 0.0))
    write(tmp_path / "a", "mmlu", "test.generate", "virology", of_values(100.0))
    write(tmp_path / "b", "mmlu", "test.generate", "law", of_values(100.0, 0.0, 100.0, 0.0))
    write(tmp_path / "b", "mmlu", "test.generate", "virology", of_values(0.0))
    result = compared(tmp_path)
    [found] = result.comparisons
    assert result.notes == ()
    assert (found.benchmark, found.asked, found.metric) == ("mmlu", "test.generate", "exact_match")
    assert (found.n, found.subtasks, found.a, found.b) == (5, 2, 62.5, 25.0)
    assert found.difference == -37.5
    assert (found.only_a, found.only_b, found.mcnemar_p) == (1, 1, 1.0)
    assert found.low == -50.0 and found.high == pytest.approx(-12.5)


def test_questions_are_paired_by_id_and_the_rest_is_said(tmp_path):
    a = {"x": 0.0, "y": 100.0, "z": 100.0}
    write(tmp_path / "a", "bbh", "test.generate", "snarks", a)
    write(tmp_path / "b", "bbh", "test.generate", "snarks", {"z": 0.0, "w": 0.0, "x": 100.0})
    write(tmp_path / "b", "bbh", "test.generate", "navigate", {"x": 0.0})
    write(tmp_path / "a", "mmlu", "test.generate", "law", {"x": 0.0})
    write(tmp_path / "b", "mmlu", "validation.generate", "law", {"x": 0.0})
    result = compared(tmp_path)
    [found] = result.comparisons
    assert (found.n, found.subtasks, found.a, found.b) == (2, 1, 50.0, 50.0)
    assert result.notes == (
        "only A has mmlu test.generate",
        "only B has mmlu validation.generate",
        "bbh test.generate: 2 questions compared; 1 that only A, and 2 that only B was asked are "
        "left out",
    )


def test_other_prompts_are_counted_and_compared(tmp_path):
    write(tmp_path / "a", "bbh", "test.generate", "snarks", {"x": 0.0, "y": 0.0})
    write(tmp_path / "b", "bbh", "test.generate", "snarks", {"x": 0.0, "y": 0.0}, sha="other")
    result = compared(tmp_path)
    assert result.notes == ("bbh test.generate: 2 of 2 questions were asked by different prompts",)
    assert (result.comparisons[0].n, result.comparisons[0].p) == (2, 1.0)


def test_only_metrics_with_a_score_a_question_are_compared(tmp_path):
    """F1 has other values than right and wrong, so it has no McNemar's test."""
    for side, f1 in (("a", 20.0), ("b", 70.0)):
        write(tmp_path / side, "tydiqa", "validation.generate", "fi", {"x": f1, "y": 40.0},
              metric="token_f1/flexible")  # fmt: skip
    [found] = compared(tmp_path).comparisons
    assert (found.metric, found.a, found.b) == ("token_f1/flexible", 30.0, 55.0)
    assert (found.only_a, found.only_b, found.mcnemar_p) == (None, None, None)


def test_nothing_in_common_is_an_error_that_says_what_each_has(tmp_path):
    write(tmp_path / "a", "bbh", "test.generate", "snarks", {"x": 0.0})
    write(tmp_path / "b", "mmlu", "test.rank", "law", {"x": 0.0})
    with pytest.raises(errors.UsageError, match=r"only A has bbh test\.generate; only B has mmlu"):
        compared(tmp_path)
    write(tmp_path / "b", "bbh", "test.generate", "snarks", {"y": 0.0})
    with pytest.raises(errors.UsageError, match="0 questions compared; 1 that only A"):
        compared(tmp_path)
    write(tmp_path / "b", "bbh", "test.generate", "snarks", {"x": 0.0}, metric="toxicity")
    with pytest.raises(errors.UsageError, match="no score of single questions that both have"):
        compared(tmp_path)


def test_folders_and_lines_that_are_no_predictions_are_named(tmp_path):
    with pytest.raises(errors.UsageError, match=r"no predictions of benchmarks in .*nowhere"):
        compare.read(tmp_path / "nowhere")
    write(tmp_path / "a", "bbh", "test.generate", "snarks", {"x": 0.0})
    path = tmp_path / "a" / "predictions" / "bbh" / "test.generate" / "snarks.jsonl"
    good = path.read_text()
    of_nan = good.replace('"x"', '"y"').replace(": 0.0", ": NaN")
    for bad in ('{"id": 1}\n', "{\n", "[]\n", good.replace('"x"', "[1]"), of_nan):
        path.write_text(good + bad)
        with pytest.raises(errors.DataError, match=r"snarks\.jsonl:2: no line of predictions"):
            compare.read(tmp_path / "a")
    path.write_bytes(good.encode() + b"\xff\n")
    with pytest.raises(errors.DataError, match=r"snarks\.jsonl:2: not UTF-8"):
        compare.read(tmp_path / "a")
    path.write_text(good + good)
    with pytest.raises(errors.DataError, match=r"snarks\.jsonl:2: a second line of question 'x'"):
        compare.read(tmp_path / "a")


def test_table_and_file_have_all_numbers(tmp_path):
    for side, scores in (("a", [0.0] * 9 + [100.0]), ("b", [100.0] * 9 + [0.0])):
        write(tmp_path / side, "bbh", "test.generate", "snarks", of_values(*scores))
    found = compared(tmp_path).comparisons
    head, line = compare.table(found)
    assert head.split()[:3] == ["benchmark", "asked", "metric"]
    assert line.split()[:7] == [
        "bbh",
        "test.generate",
        "exact_match",
        "10",
        "10.0",
        "90.0",
        "+80.0",
    ]
    assert line.split()[-3:] == ["1", "9", "0.0215"]
    compare.write_csv(tmp_path / "out.csv", found)
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert header == (
        "benchmark,asked,metric,n,subtasks,a,b,difference,low,high,p,only_a,only_b,mcnemar_p"
    )
    assert row.startswith("bbh,test.generate,exact_match,10,1,10,90,80,")
    assert row.endswith(",1,9,0.0214844")
