# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Metrics: hand-computed values, best over references, agreement of the two forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.evals import metrics


def test_exact_match_is_strict_about_every_character():
    targets = ["Yes", "Yes", "Yes", "Yes"]
    predictions = ["Yes", "yes", "Yes.", " Yes"]
    assert metrics.exact_match(targets, predictions) == {"exact_match": 25.0}


def test_accuracy_ignores_case_space_and_final_period_only():
    targets = ["Not enough  information"] * 4
    predictions = ["not enough information.", " Not Enough\ninformation ", "not enough", "enough"]
    assert metrics.accuracy(targets, predictions) == {"accuracy": 50.0}


def test_rouge_l_against_a_hand_computed_value():
    # Stems: "the cat sat" and "the cat slept": the longest common subsequence has 2 of 3 words.
    value = metrics.rouge_l(["the cats sat"], ["the cat slept"])["rouge_l"]
    assert value == pytest.approx(100 * 2 / 3)


def test_rouge_l_counts_order_and_uses_precision_and_recall():
    # Common subsequence "a c" of length 2: precision 2/2, recall 2/4, F = 2/3.
    assert metrics.rouge_l(["a b c d"], ["a c"])["rouge_l"] == pytest.approx(100 * 2 / 3)
    assert metrics.rouge_l(["a b c d"], ["d a"])["rouge_l"] == pytest.approx(100 * 1 / 3)


def test_token_f1_normalizes_as_squad():
    assert metrics.token_f1(["The Big, cat!"], ["a big cat"]) == {"token_f1": 100.0}
    assert metrics.token_f1(["one two three"], ["three four"])["token_f1"] == pytest.approx(40.0)
    assert metrics.token_f1(["the"], ["a"]) == {"token_f1": 100.0}  # nothing is left on both sides


@pytest.mark.parametrize(
    ("reference", "prediction", "match", "f1"),
    [
        # Values of SQuAD 1.1's rule, counted by hand.
        ("The Big Cat", "the big cat.", 100.0, 100.0),
        ("U.S.", "us", 100.0, 100.0),
        ("well-known", "well known", 0.0, 0.0),
        ("Super Bowl 50", "Bowl 50", 0.0, 80.0),
        ("to be or not to be", "to be", 0.0, 50.0),  # 2 shared of 6 and 2
        ("b b c", "b b b", 0.0, 200 / 3),  # a word counts as often as both have it
        ("1,000", "1000", 100.0, 100.0),
        ("x", "", 0.0, 0.0),
        ("caf\u00e9", "cafe\u0301", 100.0, 100.0),  # composed or not
        ("\u00bfD\u00f3nde?", "d\u00f3nde", 100.0, 100.0),
        ("\u300c\u6771\u4eac\u300d\u3002", "\u6771\u4eac", 100.0, 100.0),
        ("\u0627\u0644\u0643\u062a\u060c", "\u0627\u0644\u0643\u062a", 100.0, 100.0),
        ("\u0627\u0644\u0643\u062a", "\u0643\u062a", 0.0, 0.0),  # the Arabic article stays
    ],
)  # fmt: skip
def test_squad_scores_of_any_script(reference, prediction, match, f1):
    for suffix in ("", "_multilingual"):
        assert metrics.METRICS[f"squad_em{suffix}"](reference, prediction) == match
        assert metrics.METRICS[f"squad_f1{suffix}"](reference, prediction) == pytest.approx(f1)


def test_articles_are_words_in_other_languages():
    # Finnish "a" and Swahili "an" are no articles: one shared word of 2 and 1.
    assert metrics.METRICS["squad_em"]("a talo", "talo") == 100.0
    assert metrics.METRICS["squad_em_multilingual"]("a talo", "talo") == 0.0
    assert metrics.METRICS["squad_f1_multilingual"]("a talo", "talo") == pytest.approx(200 / 3)
    assert metrics.METRICS["squad_em_multilingual"]("The  Talo!", "the talo") == 100.0


@given(st.text(max_size=30), st.text(max_size=30))
def test_squad_f1_is_the_token_f1_and_never_below_the_match(reference, prediction):
    f1 = metrics.METRICS["squad_f1"](reference, prediction)
    assert f1 == metrics.METRICS["token_f1"](reference, prediction)
    assert f1 >= metrics.METRICS["squad_em"](reference, prediction)


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_the_best_reference_counts(name):
    references = ["green apples", "a red ball", "nothing"]
    assert metrics.METRICS[name](references, "a red ball") == 100.0
    assert metrics.METRICS[name](["green apples"], "red ball") < 100.0


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_seqio_form_is_the_mean_of_the_per_example_form(name):
    targets = ["a b c", ["d e", "f"], "g"]
    predictions = ["a c b", "f", "h"]
    each = [metrics.METRICS[name](t, p) for t, p in zip(targets, predictions, strict=True)]
    value = metrics.SEQIO_METRICS[name](targets, predictions)
    assert value == {name: pytest.approx(sum(each) / 3)}


@given(st.sampled_from(sorted(metrics.METRICS)), st.text(max_size=30), st.text(max_size=30))
def test_every_metric_is_total_within_0_and_100(name, target, prediction):
    assert 0.0 <= metrics.METRICS[name](target, prediction) <= 100.0


def test_mean_and_stderr_of_known_scores():
    mean, stderr = metrics.mean_and_stderr([0.0, 100.0, 100.0, 100.0])
    assert mean == 75.0
    assert stderr == pytest.approx(50.0 / math.sqrt(4))  # the n - 1 standard deviation is 50
    assert metrics.mean_and_stderr([40.0]) == (40.0, None)
    with pytest.raises(ValueError, match="at least one example"):
        metrics.mean_and_stderr([])


def test_unequal_lengths_and_missing_references_are_errors():
    with pytest.raises(ValueError, match="2 targets but 1 predictions"):
        metrics.exact_match(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="no reference"):
        metrics.exact_match([[]], ["a"])
