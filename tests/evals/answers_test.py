# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answer filters: hand-made outputs, general laws, real model outputs where at hand."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.evals import answers

STRICT = {"cot_answer_strict", "number_strict"}
FLEXIBLE = sorted(set(answers.POSTPROCESSORS) - STRICT)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["the answer is", "Answer:", "answer", " ", "\n", ".", "(B)", "A.", "1,234.50", "$",
             "-", "7", "yes", "No", "so", ",", "=", "0.", "\u2028", "is"]
        ),
        max_size=9,
    ).map("".join),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 and 2 make 5. The answer is 5.", "5"),
        ("The answer is no. Wait, the answer is yes.", "yes"),
        ("rationale\nSo the final answer is: (C) three.\nQ: next", "(C) three"),
        ("Answer:\n  blue and red  ", "blue and red"),
        ("ANSWER = ] } )", "] } )"),
        ("no cue here\nlast line.", "last line"),
        ("her answers are long", "her answers are long"),
        ("The answer island", "The answer island"),
        ("the answer is", ""),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_cot_answer(text, expected):
    assert answers.cot_answer(text) == expected


def test_strict_cot_answer_needs_a_cue_in_predictions_only():
    assert answers.cot_answer_strict("we get 5\n5") == ""
    assert answers.cot_answer_strict("we get 5. The answer is 5.") == "5"
    assert answers.cot_answer_strict("5.", is_target=True) == "5"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("So she has $1,234.50 left.", "1234.5"),
        ("The answer is 1,000,000 dollars, not 7", "1000000"),
        ("The answer is unclear after 12 steps", "12"),
        ("16 - 3 - 4 = <<16-3-4=9>>9\nA: 18", "18"),
        ("it is -$3.00", "-3"),
        ("it is $-3", "-3"),
        ("it is \u22123", "-3"),
        ("x=5-3", "3"),
        ("- 4 apples", "4"),
        ("-0.0", "0"),
        (".50", "0.5"),
        ("007", "7"),
        ("1,23", "23"),
        ("12,345,67", "67"),
        ("50%.", "50"),
        ("none", ""),
        ("\u0665", ""),
    ],
)
def test_number(text, expected):
    assert answers.number(text) == expected


def test_strict_number_takes_only_what_follows_the_cue_or_stands_alone():
    assert answers.number_strict("2 + 3 = 5") == ""
    assert answers.number_strict("2 + 3 = 5. The answer is 5.0.") == "5"
    assert answers.number_strict("The answer is large") == ""
    assert answers.number_strict(" $5,000. ") == "5000"
    assert answers.number_strict("it is 5", is_target=True) == "5"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(b)", "B"),
        ("The answer is (C) a dog.", "C"),
        ("A. a dog", "A"),
        ("d", "D"),
        ("D)", "D"),
        ("A dog", ""),
        ("(A) is wrong. The answer is B.", "B"),
        ("", ""),
    ],
)
def test_option_letter(text, expected):
    assert answers.option_letter(text) == expected


def test_option_letter_recognizes_an_option_by_its_text():
    example = {"options": ["a dog", "A cat."]}
    assert answers.option_letter("The answer is a Cat.", example) == "B"
    assert answers.option_letter("a bird", example) == ""
    assert answers.option_letter("a", {"options": "not a list"}) == "A"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes, no doubt.", "yes"),
        ("There is no way; so yes", "yes"),
        ("Yes at first. The answer is no.", "no"),
        ("nothing known", ""),
        ("", ""),
    ],
)
def test_yes_no(text, expected):
    assert answers.yes_no(text) == expected


@pytest.mark.parametrize("name", sorted(answers.POSTPROCESSORS))
@given(text=TEXTS)
def test_every_filter_is_total_and_ignores_outer_white_space(name, text):
    function = answers.POSTPROCESSORS[name]
    answer = function(text)
    assert isinstance(answer, str)
    assert function(f" \n{text}\t\n") == answer
    assert isinstance(function(text, example={}, is_target=True), str)


@pytest.mark.parametrize("name", FLEXIBLE)
@given(text=TEXTS)
def test_flexible_filters_leave_their_own_answer_alone(name, text):
    function = answers.POSTPROCESSORS[name]
    assert function(function(text)) == function(text)


@pytest.mark.parametrize("name", sorted(STRICT))
@given(text=TEXTS)
def test_a_strict_answer_is_the_flexible_one_or_nothing(name, text):
    strict = answers.POSTPROCESSORS[name](text)
    assert strict in ("", answers.POSTPROCESSORS[name.removesuffix("_strict")](text))


def test_numbers_agree_with_the_labels_of_real_model_outputs():
    """GSM8K's published sample solutions: 300 problems, four models, with `is_correct`."""
    root = os.environ.get("FLAN_JAX_SHARED_DATA")
    path = Path(root or "") / "eval/gsm8k/example_model_solutions.first300.jsonl"
    if not root or not path.is_file():
        pytest.skip("needs FLAN_JAX_SHARED_DATA/eval/gsm8k/example_model_solutions.first300.jsonl")
    agree = total = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        target = answers.number(row["ground_truth"], is_target=True)
        for solution in (value for value in row.values() if isinstance(value, dict)):
            correct = answers.number(solution["solution"]) == target
            agree += correct == solution["is_correct"]
            total += 1
    assert total == 1200
    assert agree == total, f"{agree} of {total} agree with the labels"
