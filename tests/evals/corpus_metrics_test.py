# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Metrics over all examples: values made by hand, and independent references."""

import collections
import math

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.evals import corpus_metrics, grouping

ALL = (
    corpus_metrics.bleu,
    corpus_metrics.f1_yes,
    corpus_metrics.macro_f1,
    corpus_metrics.pearson_and_spearman,
    corpus_metrics.multirc_f1,
    corpus_metrics.edit_distance_ratio,
)


def plain_bleu(references, hypotheses):
    """BLEU of texts that blanks cut into tokens, one reference each, without smoothing."""
    right, made = collections.Counter(), collections.Counter()
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        for n in range(1, 5):
            grams = [
                collections.Counter(zip(*(side.split()[i:] for i in range(n)), strict=False))
                for side in (reference, hypothesis)
            ]
            right[n] += (grams[0] & grams[1]).total()
            made[n] += grams[1].total()
    lengths = [sum(len(text.split()) for text in side) for side in (references, hypotheses)]
    penalty = min(1.0, math.exp(1 - lengths[0] / lengths[1]))
    return 100 * penalty * math.prod(right[n] / made[n] for n in range(1, 5)) ** 0.25


def test_bleu_is_over_the_corpus_with_a_brevity_penalty():
    references = ["the cat sat on the mat today", "a dog ran into the big garden"]
    hypotheses = ["the cat sat on the mat", "a dog ran to the big garden"]
    expected = plain_bleu(references, hypotheses)
    # 12 of 13 words, 9 of 11 pairs, 6 of 9 triples, 3 of 7 quadruples; 13 words for 14.
    by_hand = 100 * math.exp(1 - 14 / 13) * (12 / 13 * 9 / 11 * 6 / 9 * 3 / 7) ** 0.25
    value = corpus_metrics.bleu(references, hypotheses)["bleu"]
    assert value == pytest.approx(expected) == pytest.approx(by_hand)
    each = [
        corpus_metrics.bleu([r], [h])["bleu"] for r, h in zip(references, hypotheses, strict=True)
    ]
    assert value != pytest.approx(sum(each) / 2)


def test_bleu_takes_any_number_of_references():
    targets = [["a b c d e", "f g h i j"], "k l m n o", ["p q r s t"]]
    assert corpus_metrics.bleu(targets, ["f g h i j", "k l m n o", "p q r s t"]) == {
        "bleu": pytest.approx(100.0)
    }
    some = ["f g h i", "k l m n o p", "p q r s t"]
    streams = [["a b c d e", "k l m n o", "p q r s t"], ["f g h i j", None, None]]
    assert corpus_metrics.bleu(targets, some)["bleu"] == sacrebleu.corpus_bleu(some, streams).score


def test_f1_of_yes_by_hand():
    targets = ["yes", "yes", "yes", "no", "no", ["no"]]
    predictions = ["yes", "Yes.", "no", "yes", "no", "no"]
    # 2 true and 1 false positive, 1 false negative.
    assert corpus_metrics.f1_yes(targets, predictions) == {"f1": pytest.approx(100 * 4 / 6)}
    assert corpus_metrics.f1_yes(["yes", "no"], ["no", "yes"]) == {"f1": 0.0}
    assert corpus_metrics.f1_yes(["no", "no"], ["no", "no"]) == {"f1": 0.0}


def test_f1_counts_an_answer_of_another_kind_as_wrong_and_leaves_out_such_targets():
    # Nonsense is a false positive where no is right, a false negative where yes is.
    targets, predictions = ["yes", "no", "yes"], ["yes", "maybe", ""]
    assert corpus_metrics.f1_yes(targets, predictions)["f1"] == pytest.approx(100 * 2 / 4)
    assert corpus_metrics.f1_yes([*targets, "Who?"], [*predictions, "yes"])["f1"] == pytest.approx(
        100 * 2 / 4
    )


def test_macro_f1_by_hand():
    targets = ["a", "a", "a", "b", "c"]
    predictions = ["a", "a", "b", "b", "A."]
    # a: 2 right of 3 expected and 3 given, 2/3; b: 1 of 1 and 2, 2/3; c: 0.
    assert corpus_metrics.macro_f1(targets, predictions) == {"macro_f1": pytest.approx(100 * 4 / 9)}


def test_correlations_by_hand():
    targets = ["0", "1", "2", "5"]
    predictions = ["1", "0", "3", "4"]
    # Deviations (-2, -1, 0, 3) and (-1, -2, 1, 2): products 10, squares 14 and 10.
    # Ranks (1, 2, 3, 4) and (2, 1, 3, 4): 1 - 6 * 2 / (4 * 15).
    assert corpus_metrics.pearson_and_spearman(targets, predictions) == {
        "pearson": pytest.approx(100 * 10 / math.sqrt(140)),
        "spearman": pytest.approx(80.0),
    }
    backwards = corpus_metrics.pearson_and_spearman(targets, ["5", "4", "3", "0"])
    assert backwards == {"pearson": pytest.approx(-100.0), "spearman": pytest.approx(-100.0)}


def test_correlations_of_words_and_of_constants():
    same = corpus_metrics.pearson_and_spearman(["0", "1", "2"], ["-1", "1", "2"])
    assert corpus_metrics.pearson_and_spearman(["0", "1", "2"], ["a dog", "1", "2"]) == same
    assert corpus_metrics.pearson_and_spearman(["0", "1", "2"], ["nan", "1", "2"]) == same
    more = corpus_metrics.pearson_and_spearman(
        ["0", "A dog runs.", "1", "2"], ["-1", "9", "1", "2"]
    )
    assert more == same
    nothing = {"pearson": 0.0, "spearman": 0.0}
    assert corpus_metrics.pearson_and_spearman(["0", "1"], ["3", "3"]) == nothing
    assert corpus_metrics.pearson_and_spearman(["0", "word"], ["3", "4"]) == nothing


def test_multirc_scores_answers_and_whole_questions():
    q1, q2, q3 = (0, 0), (0, 1), (1, 0)
    targets = [(q1, "yes"), (q1, "no"), [(q2, "yes")], [(q2, "yes")], (q3, "no")]
    predictions = [(q1, "Yes."), (q1, "no"), (q2, "yes"), (q2, "no"), (q3, "perhaps")]
    # 2 true positives, a false negative and, for the nonsense, a false positive; 1 question of 3.
    assert corpus_metrics.multirc_f1(targets, predictions) == {
        "f1": pytest.approx(100 * 4 / 6),
        "group_exact_match": pytest.approx(100 / 3),
    }
    # The order of a question's candidates does not matter.
    backwards = corpus_metrics.multirc_f1(targets[::-1], predictions[::-1])
    assert backwards["group_exact_match"] == pytest.approx(100 / 3)


def test_multirc_leaves_out_other_targets_and_unknown_questions():
    targets = [("q", "yes"), ("q", "Who wrote the letter?"), ("r", "What?")]
    predictions = [("q", "yes"), ("q", "no"), ("r", "yes")]
    assert corpus_metrics.multirc_f1(targets, predictions) == {
        "f1": 100.0,
        "group_exact_match": 100.0,
    }
    unknown = corpus_metrics.multirc_f1([(None, "yes"), ("r", "no")], [(None, "yes"), ("r", "no")])
    assert unknown == {"f1": 100.0}
    assert corpus_metrics.multirc_f1([("q", "What?")], [("q", "yes")]) == {"f1": 0.0}


def plain_distance(first, second):
    """The table of Wagner and Fischer."""
    row = list(range(len(second) + 1))
    for i, one in enumerate(first):
        row, above = [i + 1], row
        for j, other in enumerate(second):
            row.append(min(above[j + 1] + 1, row[j] + 1, above[j] + (one != other)))
    return row[-1]


@given(st.text("abcä ", max_size=90), st.text("abcä ", max_size=90))
def test_edit_distance_is_that_of_the_whole_table(first, second):
    assert corpus_metrics.edit_distance(first, second) == plain_distance(first, second)


def test_edit_distance_ratio_by_hand():
    targets = ["Berlin", ["a b", "ab"], ""]
    predictions = ["berlin!", "ab", ""]
    # 2 edits of 7 characters; the closer reference is met; nothing is asked and nothing said.
    assert corpus_metrics.edit_distance_ratio(targets, predictions) == {
        "edit_distance_ratio": pytest.approx(100 * (5 / 7 + 1 + 1) / 3)
    }
    assert corpus_metrics.edit_distance_ratio(["abc"], [""]) == {"edit_distance_ratio": 0.0}


@pytest.mark.parametrize("metric", ALL, ids=lambda f: f.__name__)
def test_a_store_finds_every_metric_by_its_name(metric):
    name = f"{metric.__module__}:{metric.__qualname__}"
    assert grouping.resolve_metric(name).over_all is metric


@pytest.mark.parametrize("metric", ALL, ids=lambda f: f.__name__)
def test_unequal_lengths_no_example_and_no_reference_are_errors(metric):
    with pytest.raises(ValueError, match="2 targets but 1 predictions"):
        metric(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="no example"):
        metric([], [])
    with pytest.raises(ValueError, match="no reference"):
        metric([[]], ["a"])
