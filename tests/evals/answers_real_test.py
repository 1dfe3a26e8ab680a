# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answer filters on real outputs, exemplars and targets, where they are at hand."""

import collections
import csv
import functools
import json
import math
import re

import pytest

from flan_jax.evals import answers
from tests.tasks import family_data


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


@pytest.mark.parametrize(
    ("kind", "odd"),
    [
        # True is found, and right, in rationales cut off before their answer; of "(A) or (D)" and
        # "(A) or (B)" the first is taken.
        ("cot", [("boolean_expressions", 4), ("boolean_expressions", 27), ("ruin_names", 42),
                 ("snarks", 1)]),
        ("direct", []),
    ],
)  # fmt: skip
def test_the_flexible_filter_differs_only_where_an_answer_is_odd(kind, odd):
    differ, other_targets = [], []
    for row in _rows(f"bbh/reference_predictions/code-davinci-002-{kind}.jsonl"):
        place = row["task"], row["index"]
        question = _bbh(row["task"])[row["index"]]
        options = _options(question)
        strict = answers.POSTPROCESSORS[f"bbh_{kind}"](row["prediction"])
        flexible = answers.bbh_flexible(row["prediction"], {"options": options})
        if (strict == row["target"]) != (flexible == row["target"]):
            differ.append(place)
        if row["target"] != question["target"]:
            other_targets.append(place)
    assert differ == odd
    # Two of the targets that the outputs come with are not those of the questions' file.
    assert other_targets == [("causal_judgement", 32), ("causal_judgement", 36)]


def test_every_bbh_target_is_read_as_it_is_said():
    """But for two options that upstream cut at commas, whose targets no option has."""
    folder = family_data.shared_folder() / "eval/bbh/bbh"
    missed = []
    for path in sorted(folder.glob("*.json")):
        for index, question in enumerate(_bbh(path.stem)):
            target = question["target"]
            options = _options(question)
            said = f"First this.\nSo the answer is {target}."
            assert answers.bbh_cot(said) == target
            assert answers.bbh_direct(f" {target}\n\nQ: more") == target
            if answers.bbh_flexible(said, {"options": options}) != target:
                missed.append((path.stem, index))
    assert missed == [("ruin_names", 99), ("ruin_names", 144)]


def test_options_of_mmlu_by_their_text():
    """Not found: options of one letter, and the later of two with one text."""
    folder = family_data.shared_folder() / "eval/mmlu/test"
    missed = total = 0
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for _, *options, letter in csv.reader(file):
                text = options["ABCD".index(letter)]
                found = answers.option_letter(f"The answer is {text}.", {"options": options})
                missed += found != letter
                total += 1
    assert (missed, total) == (5, 14042)


def test_letters_of_mmlu_exemplars():
    """The Flan authors' own chains of thought; one says (E), of four options."""
    path = family_data.shared_folder() / "eval/mmlu/cot_prompts.json"
    found = collections.Counter()
    for text in json.loads(path.read_text(encoding="utf-8")).values():
        for block in text.split("A: Let's think step by step.")[1:]:
            letter = answers.mmlu_cot_letter(block.split("\n\nQ:")[0])
            assert letter == answers.option_letter(block.split("\n\nQ:")[0])
            found[letter] += 1
    assert found.total() == 282
    assert found.keys() == set("ABCDE") and found["E"] == 1


def _upstream(kind: str, text: str) -> str:
    """Returns what the authors of BIG-Bench Hard compare, by another way than the filters."""
    if kind == "direct":
        return text.strip()
    if "the answer is " not in text:
        return ""
    line = text[text.index("the answer is ") + len("the answer is ") :].split("\n")[0].strip()
    return line[:-1] if line[-1:] == "." else line


@functools.cache
def _bbh(task: str) -> list[dict]:
    path = family_data.shared_folder() / f"eval/bbh/bbh/{task}.json"
    return json.loads(path.read_text(encoding="utf-8"))["examples"]


def _options(question: dict) -> list[str]:
    return re.findall(r"^\([A-R]\) ?(.*)$", question["input"], re.MULTILINE)


def _rows(path: str) -> list[dict]:
    whole = family_data.shared_folder() / "eval" / path
    return [json.loads(line) for line in whole.read_text(encoding="utf-8").splitlines()]
