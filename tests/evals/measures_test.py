# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers found, voted for and ranked, and what they score: by hand."""

import math

import pytest

from flan_jax.evals.benchmark import Outcome, Question
from flan_jax.evals.measures import Extracted, Ranked, Voted


def question(reference="7", **changes):
    facts = {"id": "q", "text": "What?", "target": reference, "references": (reference,)}
    return Question(**facts | changes)


def said(*texts, reference="7", **changes):
    return Outcome(question=question(reference), texts=texts, **changes)


def values(measure, outcomes):
    return {
        value.metric: (value.value, value.n, value.stderr) for value in measure.values(outcomes)
    }


def test_the_first_text_is_the_answer_and_none_is_told_from_wrong():
    outcomes = [
        said("It is 7.", "8"), said("8"), said("no idea"), said("9"), said(too_long=True)
    ]  # fmt: skip
    error = 100 * math.sqrt((0.8**2 + 4 * 0.2**2) / 4 / 5)  # s / sqrt(n)
    found = values(Extracted("number", label="loose"), outcomes)
    assert list(found) == ["exact_match/loose", "unparsed/loose"]
    assert found["exact_match/loose"] == (20.0, 5, pytest.approx(error))
    assert found["unparsed/loose"][:2] == (40.0, 5)
    assert Extracted("number").judge(outcomes[0]) == {"answer": "7", "exact_match": 100.0}
    assert Extracted("number", label="x").judge(outcomes[2]) == {
        "answer/x": "", "exact_match/x": 0.0
    }  # fmt: skip


def test_a_question_that_was_not_asked_is_wrong_even_where_nothing_is_right():
    nothing = said(reference="", too_long=True)
    assert Extracted("number").judge(nothing)["exact_match"] == 0.0
    assert values(Extracted("number"), [nothing])["exact_match"] == (0.0, 1, None)
    answered = said("no number", reference="")
    assert Extracted("number").judge(answered)["exact_match"] == 100.0


def test_the_majority_of_samples_with_an_answer_wins_and_the_first_of_equals():
    outcomes = [
        said("8", "7", "?", "7"),  # 8; then equal, so 8; then equal; then 7
        said("7", "8", "8", "8"),
        said("?", "?", "?", "?"),
        said(too_long=True),
    ]
    found = values(Voted("number"), outcomes)
    assert {name: value[0] for name, value in found.items()} == {
        "exact_match": 25.0, "exact_match/k=1": 25.0, "exact_match/k=2": 25.0, "unparsed": 50.0
    }  # fmt: skip
    assert {value[1] for value in found.values()} == {4}
    judged = Voted("number").judge(outcomes[0])
    assert (judged["answer"], judged["exact_match"]) == ("7", 100.0)
    assert judged["vote"] == {
        "winner": "7", "counts": {"7": 2, "8": 1}, "num_votes": 3, "num_unparsed": 1
    }  # fmt: skip
    assert Voted("number").judge(outcomes[3])["exact_match"] == 0.0


def ranked(*logprobs, means=None, choices=(" yes", " no"), **changes):
    asked = question("B", choices=choices, labels=("A", "B"))
    return Outcome(
        question=asked, choice_logprobs=logprobs, choice_means=means or logprobs, **changes
    )


def test_the_likeliest_choice_is_the_answer_the_first_of_equals():
    assert Ranked().judge(ranked(-2.0, -1.0))["ranked"] == "B"
    equal = Ranked().judge(ranked(-1.0, -1.0))
    assert (equal["ranked"], equal["accuracy"]) == ("A", 0.0)
    none = Ranked().judge(ranked(too_long=True))
    assert (none["ranked"], none["accuracy"], none["choice_logprobs"]) == ("", 0.0, [])


def test_a_long_choice_is_ranked_per_token_and_per_character_too():
    # The space before a choice is no character of it: -3 / 3 against -2.2 / 2.
    outcomes = [
        ranked(-3.0, -2.2, means=(-1.5, -2.2)),
        ranked(-3.0, -1.8, means=(-1.5, -0.9)),
        ranked(-0.1, -0.2, means=(-0.1, -0.2), choices=(" ", "")),  # empty options count as one
        ranked(too_long=True),
    ]
    assert [Ranked().judge(o)["ranked"] for o in outcomes] == ["B", "B", "A", ""]
    assert [Ranked().judge(o)["ranked_by_token"] for o in outcomes] == ["A", "B", "A", ""]
    assert [Ranked().judge(o)["ranked_by_character"] for o in outcomes] == ["A", "B", "A", ""]
    found = values(Ranked(), outcomes)
    assert {name: value[:2] for name, value in found.items()} == {
        "accuracy": (50.0, 4), "accuracy/by_token": (25.0, 4), "accuracy/by_character": (25.0, 4)
    }  # fmt: skip


def test_labels_are_as_many_as_choices():
    with pytest.raises(ValueError, match="2 choices, 1 labels"):
        question(choices=("a", "b"), labels=("A",))
