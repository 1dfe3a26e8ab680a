# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answer filters: hand-made outputs, general laws, real model outputs where at hand."""

import collections
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.evals import answers
from tests.tasks import family_data

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


@pytest.mark.parametrize("name", ["number", "last_number"])
def test_numbers_agree_with_the_labels_of_real_model_outputs(name):
    """GSM8K's published sample solutions: 300 problems, four models, with `is_correct`."""
    function = answers.POSTPROCESSORS[name]
    agree = total = 0
    for row in _rows("gsm8k/example_model_solutions.first300.jsonl"):
        target = function(row["ground_truth"], is_target=True)
        for solution in (value for value in row.values() if isinstance(value, dict)):
            correct = function(solution["solution"], {"language": "en"}) == target
            agree += correct == solution["is_correct"]
            total += 1
    assert total == 1200
    assert agree == total, f"{agree} of {total} agree with the labels"


def test_numbers_of_all_gsm8k_answers():
    rows = _rows("gsm8k/test.jsonl")
    assert len(rows) == 1319
    for row in rows:
        rationale, _, number = row["answer"].rpartition("#### ")
        plain = number.replace(",", "")
        for name in ("number", "number_strict", "last_number", "gsm8k_number"):
            assert answers.POSTPROCESSORS[name](row["answer"], None, True) == plain
        said = f"{rationale} The answer is ${number}."
        for name in ("number", "number_strict", "gsm8k_number", "mgsm_number"):
            assert answers.POSTPROCESSORS[name](said, {"language": "en"}) == plain


@pytest.mark.parametrize("name", ["mgsm_number", "last_number"])
def test_numbers_of_mgsm_exemplars_in_eleven_languages(name):
    folder = family_data.shared_folder() / "eval/mgsm"
    texts = json.loads((folder / "exemplars.json").read_text(encoding="utf-8"))
    numbers = texts["EXEMPLAR_NUMBER_ANSWERS"]
    numbers = json.loads(numbers) if isinstance(numbers, str) else numbers
    assert len(texts["MGSM_EXEMPLARS"]) == 11
    function = answers.POSTPROCESSORS[name]
    for language, exemplars in texts["MGSM_EXEMPLARS"].items():
        for example in ({"language": language}, {}):
            found = [function(exemplars[str(n)]["a"], example) for n in range(1, 9)]
            assert found == [str(number) for number in numbers], language
        path = folder / f"mgsm_{language}.tsv"
        for line in path.read_text(encoding="utf-8").splitlines():
            target = line.split("\t")[1]
            assert function(target, {"language": language}, True) == target.replace(",", "")


# Examples of a task, where they are not 250.
BBH_SIZES = {"causal_judgement": 187, "penguins_in_a_table": 146, "snarks": 178}


@pytest.mark.parametrize(("kind", "num_right"), [("cot", 1192), ("direct", 851)])
def test_bbh_accuracies_agree_with_those_published_with_real_outputs(kind, num_right):
    """Suzgun et al.'s outputs of code-davinci-002: the first 60 of each of 27 tasks.

    They give accuracies of whole tasks, so what is drawn from a task has to have as many right
    answers as chance allows: all 27 with 5 standard deviations, their sum with 1.
    """
    rows = _rows(f"bbh/reference_predictions/code-davinci-002-{kind}.jsonl")
    path = f"eval/bbh/reference_predictions/code-davinci-002-{kind}.reported_accuracy.json"
    reported = json.loads((family_data.shared_folder() / path).read_text(encoding="utf-8"))
    right = collections.Counter()
    for row in rows:
        answer = answers.POSTPROCESSORS[f"bbh_{kind}"](row["prediction"])
        assert answer == _upstream(kind, row["prediction"])
        right[row["task"]] += answer == row["target"]
    assert len(rows) == 27 * 60 and right.keys() == reported.keys()
    over, variance = 0.0, 0.0
    for task, count in right.items():
        size = BBH_SIZES.get(task, 250)
        whole = reported[task]["accuracy"] / 100 * size
        assert whole == pytest.approx(round(whole))
        share = whole / size
        own = 60 * share * (1 - share) * (size - 60) / (size - 1)  # hypergeometric
        assert abs(count - 60 * share) <= 5 * math.sqrt(own), task
        over, variance = over + count - 60 * share, variance + own
    assert right.total() == num_right
    assert abs(over) <= math.sqrt(variance)


@pytest.mark.parametrize("kind", ["cot", "direct"])
def test_the_flexible_filter_differs_only_where_an_answer_is_odd(kind):
    """Without the questions' options: with a truncated rationale True is found, twice."""
    odd = {("boolean_expressions", 4), ("boolean_expressions", 27)} if kind == "cot" else set()
    differ = set()
    for row in _rows(f"bbh/reference_predictions/code-davinci-002-{kind}.jsonl"):
        strict = answers.POSTPROCESSORS[f"bbh_{kind}"](row["prediction"]) == row["target"]
        if strict != (answers.bbh_flexible(row["prediction"]) == row["target"]):
            differ.add((row["task"], row["index"]))
    assert differ == odd


def _upstream(kind: str, text: str) -> str:
    """Returns what the authors of BIG-Bench Hard compare, by another way than the filters."""
    if kind == "direct":
        return text.strip()
    if "the answer is " not in text:
        return ""
    line = text[text.index("the answer is ") + len("the answer is ") :].split("\n")[0].strip()
    return line[:-1] if line[-1:] == "." else line


def _rows(path: str) -> list[dict]:
    whole = family_data.shared_folder() / "eval" / path
    return [json.loads(line) for line in whole.read_text(encoding="utf-8").splitlines()]
