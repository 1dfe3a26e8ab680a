# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answer filters: hand-made outputs, general laws, real model outputs where at hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.evals import answers

# They want a cue, which their answer has not; a plain number is its own answer.
STRICT = {"cot_answer_strict", "gsm8k_number", "mgsm_number", "mmlu_cot_letter", "bbh_cot"}
OWN_ANSWER = sorted(set(answers.POSTPROCESSORS) - STRICT)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["the answer is", "the answer is ", "Answer:", "answer", " ", "\n", ".", "(B)", "A.",
             "1,234.50", "$", "-", "7", "yes", "No", "not ", "so", ",", "=", "0.", "\u2028", "is",
             "Q:", "####", "Jibu ni", "答えは", "**", "option "]
        ),
        max_size=9,
    ).map("".join),
)  # fmt: skip
EXAMPLES = st.sampled_from(
    [None, {}, {"options": ["a", "B", "7"]}, {"language": "de", "options": "text"}, {"language": 3},
     {"language": None, "options": [1, None]}]
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
        ("\u0665", "5"),
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


def test_numbers_are_english_unless_the_language_is_told():
    german = {"language": "de"}
    for function in (answers.number, answers.number_strict):
        assert function("80.000", german) == "80000"
        assert function("80.000") == function("80.000", german, is_target=True) == "80"


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
        ("B\n(not the first)", "B"),
        ("The answer is **B**.", "B"),
        ("Option b: a dog", "B"),
        ("option", ""),
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
    assert answers.option_letter("a cat\nbecause of its (A) ears", {"options": ["dog"]}) == "A"
    assert answers.option_letter("a cat\nas it purrs", example) == "B"


def test_option_letter_is_one_that_an_option_has():
    example = {"options": ["one apple", "two apples"]}
    assert answers.option_letter("The answer is apple(s), that is (B).", example) == "B"
    assert answers.option_letter("(c)", example) == ""
    assert answers.option_letter("C.", example) == ""
    assert answers.option_letter("C.", {"options": []}) == "C"


def test_an_options_text_may_look_like_a_letter():
    example = {"options": ["Wundt", "B. F. Skinner", "", "(A) and (B)", "e"]}
    assert answers.option_letter("The answer is (A) and (B).", example) == "D"
    assert answers.option_letter("b. f. skinner", example) == "B"
    assert answers.option_letter("B. F. Skinner is it", example) == "B"
    assert answers.option_letter("a", {"options": ["b", "a"]}) == "A"  # rather the letter
    assert answers.option_letter("", example) == ""


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She has 3 + 2 = 5. The answer is 5.", "5"),
        ("The answer is $1,234.50.", "1234.5"),
        ("The answer is: **-18**", "-18"),
        ("the answer is\n18 dollars", "18"),
        ("The answer is 5. Q: more? A: The answer is 6.", "6"),
        ("The answer is 5. Check: the answer is right.", "5"),
        ("The answer is 5 + 6 = 11.", "5"),  # as upstream: the number right after
        ("The answer is about 5.", ""),
        ("The answers are 5.", ""),
        ("so 5", ""),
        ("5", ""),
        ("", ""),
    ],
)
def test_gsm8k_number(text, expected):
    assert answers.gsm8k_number(text) == expected


def test_gsm8k_number_reads_targets_of_the_file():
    target = "He has 16 - 4 = <<16-4=12>>12 left.\n#### 1,212"
    assert answers.gsm8k_number(target, is_target=True) == "1212"
    assert answers.gsm8k_number("-7", is_target=True) == "-7"
    assert answers.gsm8k_number(target) == ""


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("5 + 6 = 11. Die Antwort ist 11.", "de", "11"),
        ("Die Antwort lautet 80.000 Dollar.", "de", "80000"),
        ("Die Antwort lautet 1.234,5.", "de", "1234.5"),
        ("Die Antwort ist 2,125.", "de", "2125"),
        ("The answer is 80.000.", "de", "80"),  # read as English, as the phrase is
        ("Jibu ni dola 8.", "sw", "8"),
        ("答えは9個です。", "ja", "9"),
        ("উত্তর হল ২৯।", "bn", "29"),
        ("คำตอบคือ ๑,๒๓๔ บาท", "th", "1234"),
        ("సమాధానం 39.చాక్లెట్", "te", "39"),
        ("La réponse est 1 234,50 €.", "fr", "1234.5"),
        ("Ответ — 23 786.", "ru", "23786"),
        ("答案是：**1,234** 元。5", "zh", "1234"),
        ("La respuesta es grande.\n5", "es", ""),
        ("5 + 6 = 11.", "en", ""),
        ("答えは5。", "de", ""),
        ("答えは5。", None, "5"),
        ("", "de", ""),
    ],
)
def test_mgsm_number(text, language, expected):
    assert answers.mgsm_number(text, {"language": language}) == expected


def test_numbers_of_mgsm_targets_are_english_in_every_language():
    for function in (answers.mgsm_number, answers.last_number):
        assert function("114,200", {"language": "de"}, is_target=True) == "114200"
    assert answers.last_number("114.200", {"language": "de"}) == "114200"
    assert answers.last_number("114.250", {"language": "de"}, is_target=True) == "114.25"
    assert answers.last_number("\u0be8\u0be6 + \u0bea = \u0be8\u0bea", {"language": "ta"}) == "24"
    assert answers.last_number("3 + 2 = 5.\n\n", {}) == "5"
    assert answers.last_number("none") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", "B"),
        (" (B)", "B"),
        ("(B) a dog", "B"),
        ("B. a dog", "B"),
        ("B) a dog", "B"),
        ("B: a dog", "B"),
        ("B\nbecause A is wrong", "B"),
        ("\n\nD\n\nQ: next", "D"),
        ("A dog", ""),
        ("Both", ""),
        ("b", ""),
        ("(E)", ""),
        ("I think (B)", ""),
        ("The answer is (B).", ""),
        ("", ""),
    ],
)
def test_mmlu_letter(text, expected):
    assert answers.mmlu_letter(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dogs bark. The answer is (B).", "B"),
        ("The answer is (A). Wait: the answer is: (c)", "C"),
        ("The answer is **(D)** a dog", "D"),
        ("The answer is (B)", "B"),  # no period: the last character is not cut off
        ("The answer is B.", ""),
        ("The answer is not (B).", ""),
        ("(B)", ""),
        ("The answer is", ""),
        ("", ""),
    ],
)
def test_mmlu_cot_letter(text, expected):
    assert answers.mmlu_cot_letter(text) == expected


def test_a_target_may_be_a_letter_alone():
    assert answers.mmlu_cot_letter("B", is_target=True) == "B"
    assert answers.mmlu_cot_letter("x. The answer is (B).", is_target=True) == "B"
    assert answers.mmlu_letter("B", is_target=True) == "B"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 are red. So the answer is (C).", "(C)"),
        ("So the answer is Yes", "Yes"),  # no period: the last character is not cut off
        ("So the answer is ] } ).", "] } )"),
        ("So the answer is U.S..", "U.S."),
        ("the answer is 3. Q: so the answer is 4.", "3. Q: so the answer is 4"),
        ("Quickly: the answer is no.\n\nQ: so the answer is 4.", "no"),
        ("So the answer is (A) or (B).", "(A) or (B)"),
        ("So The Answer Is 3.", ""),
        ("So the answer is: 3.", ""),
        ("So the answer is", ""),
        ("(C)", ""),
        ("", ""),
    ],
)
def test_bbh_cot(text, expected):
    assert answers.bbh_cot(text) == expected


def test_bbh_targets_stay_as_they_are():
    for target in ("Monsters, Inc", "rita, sue and bob poo", "(B)", "] )", "-12", "True"):
        for name in ("bbh_cot", "bbh_direct", "bbh_flexible"):
            assert answers.POSTPROCESSORS[name](target, {"options": ["x"]}, True) == target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" (B)", "(B)"),
        ("Yes.", "Yes."),
        ("] )\n\nQ: next", "] )"),
        ("no\nQ: next\nA: yes", "no"),
        ("a Q: b", "a Q: b"),
        ("one\ntwo", "one\ntwo"),
        ("Q: next", ""),
        ("", ""),
    ],
)
def test_bbh_direct(text, expected):
    assert answers.bbh_direct(text) == expected


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("So the answer is (B).", ["a", "b"], "(B)"),
        ("The answer: B.", ["a", "b"], "(B)"),
        ("B. a cat\n\nQ: (A)", ["a dog", "a cat"], "(B)"),
        ("b", ["a", "b"], "(B)"),
        ("A cat.", ["a dog", "a cat"], "(B)"),
        ("The answer is (D).", ["a", "b"], ""),
        ("no", ["yes", "no"], "(B)"),
        ("It is Invalid because", [], "Invalid"),
        ("No, he is. Yes is wrong", [], "No"),
        ("first True and then False", [], "False"),
        ("So the answer is clearly yes, no doubt.", [], "yes"),
        ("The answer is not valid.", [], "not valid"),
        ("rationale\n24.", [], "24"),
        ("Answer: apple, pear.", [], "apple, pear"),
        ("] }", [], "] }"),
        ("", [], ""),
        ("", ["a"], ""),
    ],
)
def test_bbh_flexible(text, options, expected):
    assert answers.bbh_flexible(text, {"options": options}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" in 1999 \n\nQuestion: x", "in 1999"),
        ("\n\n東京\n大阪", "東京"),
        ("a. b", "a. b"),
        (" ", ""),
    ],
)
def test_squad_answer(text, expected):
    assert answers.squad_answer(text) == expected


@pytest.mark.parametrize("name", sorted(answers.POSTPROCESSORS))
@given(text=TEXTS, example=EXAMPLES)
def test_every_filter_is_total_and_ignores_outer_white_space(name, text, example):
    function = answers.POSTPROCESSORS[name]
    answer = function(text, example)
    assert isinstance(answer, str)
    assert answer == answer.strip()
    assert function(f" \n{text}\t\n", example) == answer
    assert isinstance(function(text, example=example, is_target=True), str)


@pytest.mark.parametrize("name", OWN_ANSWER)
@given(text=TEXTS)
def test_filters_leave_their_own_answer_alone(name, text):
    function = answers.POSTPROCESSORS[name]
    assert function(function(text)) == function(text)


@pytest.mark.parametrize("name", sorted(STRICT - {"bbh_cot"}))  # takes the first cue, by rule
@given(text=TEXTS)
def test_strict_filters_leave_their_own_answer_alone_in_a_target(name, text):
    function = answers.POSTPROCESSORS[name]
    assert function(function(text), is_target=True) == function(text)


@pytest.mark.parametrize("name", ["cot_answer_strict", "number_strict"])
@given(text=TEXTS)
def test_a_strict_answer_is_the_flexible_one_or_nothing(name, text):
    strict = answers.POSTPROCESSORS[name](text)
    assert strict in ("", answers.POSTPROCESSORS[name.removesuffix("_strict")](text))
