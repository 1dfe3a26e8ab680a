# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""MMLU: the whole prompts of every form, who knows the answers, and the real files."""

import collections
import csv
import hashlib
import json
import statistics
from pathlib import Path

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import benchmark
from flan_jax.evals.benchmark import RANK, TEST, VALIDATION, Outcome
from tasks.evals import mmlu
from tests.tasks.evals import answering, writing
from tests.tasks.family_data import shared_folder

FORMS = {name: form for name, form in benchmark.registered().items() if name.startswith("mmlu")}
SUBJECT = "anatomy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Returns a folder with tiny files of every subject."""
    folder = tmp_path_factory.mktemp("mmlu")
    writing.write_mmlu(folder)
    return folder


def subtask(folder: Path, form: str, name: str = SUBJECT, split: str = TEST) -> benchmark.Subtask:
    found = FORMS[form].load(folder, split)
    return next(subtask for subtask in found if subtask.name == name)


def prompt(folder: Path, form: str, index: int, num_dropped: int = 0) -> str:
    asked = subtask(folder, form)
    return asked.prompt(asked.questions[index], num_dropped)


def test_the_forms_there_are():
    assert list(FORMS) == [
        "mmlu", "mmlu_cot", "mmlu_cot_self_consistency", "mmlu_zero_shot", "mmlu_zero_shot_cot",
        "mmlu_cloze",
    ]  # fmt: skip
    for form in FORMS.values():
        assert form.splits == (VALIDATION, TEST)
        assert form.subtasks == tuple(mmlu.SUBJECTS)
    assert {name for name, form in FORMS.items() if RANK in form.ways()} == {
        "mmlu", "mmlu_zero_shot", "mmlu_cloze",
    }  # fmt: skip


DIRECT_EXEMPLARS = [
    "Is 0 anatomy?\nA. no\nB. yes\nC. a, b\nD. \nAnswer: A\n\n",
    "Is 1 anatomy?\nA. no\nB. yes\nC. a, b\nD. \nAnswer: B\n\n",
    "Is 2 anatomy?\nA. no\nB. yes\nC. a, b\nD. \nAnswer: C\n\n",
    "Is 3 anatomy?\nA. no\nB. yes\nC. a, b\nD. \nAnswer: D\n\n",
    "Is 4 anatomy?\nA. no\nB. yes\nC. a, b\nD. \nAnswer: A\n\n",
]
HEADER = "The following are multiple choice questions (with answers) about anatomy.\n\n"
DIRECT_QUESTION = (
    'Read:\n"So it is," he said.\n\nWho spoke?\nA. He\nB. None\nC. NA\nD. null\nAnswer:'
)


def test_direct_prompt_with_exemplars(folder):
    whole = HEADER + "".join(DIRECT_EXEMPLARS) + DIRECT_QUESTION
    assert prompt(folder, "mmlu", 1) == whole
    assert prompt(folder, "mmlu", 1, 4) == HEADER + DIRECT_EXEMPLARS[4] + DIRECT_QUESTION


def test_direct_prompt_without_exemplars(folder):
    assert prompt(folder, "mmlu_zero_shot", 1) == HEADER + DIRECT_QUESTION


def test_a_direct_prompt_keeps_white_space_of_cells(folder):
    text = " Pick the last one. \nA.  one\nB. one\nC. two \nD. None\nAnswer:"
    assert prompt(folder, "mmlu_zero_shot", 2) == HEADER + text


COT_EXEMPLARS = [
    "Q: Is 0 odd?\n(A) no (B) yes (C) so (D) -\nA: Let's think step by step. 0 is\n"
    "what it is. The answer is (A).\n\n",
    "Q: Is 1 odd?\n(A) no (B) yes (C) so (D) -\nA: Let's think step by step. 1 is\n"
    "what it is. The answer is (B).\n\n",
    "Q: Is 2 odd?\n(A) no (B) yes (C) so (D) -\nA: Let's think step by step. 2 is\n"
    "what it is. The answer is (A).\n\n",
    "Q: Is 3 odd?\n(A) no (B) yes (C) so (D) -\nA: Let's think step by step. 3 is\n"
    "what it is. The answer is (B).\n\n",
]
COT_QUESTION = (
    "Q: Pick the last one.\n(A) one (B) one (C) two (D) None\nA: Let's think step by step."
)


def test_prompt_with_chains_of_thought(folder):
    whole = "About anatomy.\n\n" + "".join(COT_EXEMPLARS) + COT_QUESTION
    assert prompt(folder, "mmlu_cot", 2) == whole
    dropped = "About anatomy.\n\n" + COT_EXEMPLARS[3] + COT_QUESTION
    assert prompt(folder, "mmlu_cot", 2, 3) == dropped


def test_prompt_to_think_step_by_step_without_exemplars(folder):
    assert prompt(folder, "mmlu_zero_shot_cot", 2) == HEADER + COT_QUESTION


def test_cloze_prompt(folder):
    header = "The following are questions about anatomy.\n"
    assert prompt(folder, "mmlu_cloze", 3) == f"{header}Question: Half of 4?\nAnswer:"
    question = subtask(folder, "mmlu_cloze").questions[3]
    assert question.choices == (" 0", " 2.0", " 1", " 1")
    assert question.target == " 2.0"


def test_texts_of_options_stay_as_they_are(folder):
    questions = subtask(folder, "mmlu").questions
    assert [question.options for question in questions] == [row[1:5] for row in writing.MMLU_ROWS]
    assert [question.id for question in questions] == ["0", "1", "2", "3"]


def test_the_validation_split_has_its_own_files(folder):
    assert [len(s.questions) for s in FORMS["mmlu"].load(folder, VALIDATION)] == [1] * 57


@pytest.mark.parametrize("form", [name for name in FORMS if name != "mmlu_cloze"])
def test_who_knows_the_answers_scores_100_and_who_says_b_what_b_has(folder, form):
    knows = answering.headlines(FORMS[form], folder, TEST, answering.oracle)
    assert knows == dict.fromkeys(mmlu.SUBJECTS, 100.0)
    text = " The answer is (B)." if "cot" in form else " B"
    says_b = answering.headlines(FORMS[form], folder, TEST, lambda question: text)
    assert says_b == dict.fromkeys(mmlu.SUBJECTS, 50.0)
    says_nothing = answering.headlines(FORMS[form], folder, TEST, lambda question: "")
    assert says_nothing == dict.fromkeys(mmlu.SUBJECTS, 0.0)


@pytest.mark.parametrize("form", ["mmlu", "mmlu_zero_shot", "mmlu_cloze"])
def test_ranking_the_right_choice_scores_100_and_always_b_what_b_has(folder, form):
    knows = answering.headlines(FORMS[form], folder, TEST, lambda q: q.references[0], RANK)
    assert knows == dict.fromkeys(mmlu.SUBJECTS, 100.0)
    says_b = answering.headlines(FORMS[form], folder, TEST, lambda q: "B", RANK)
    assert says_b == dict.fromkeys(mmlu.SUBJECTS, 50.0)


def test_a_cloze_form_ranks_by_sum_by_token_and_by_character(folder):
    question = subtask(folder, "mmlu_cloze").questions[1]  # He, None, NA, null
    outcome = Outcome(
        question=question,
        choice_logprobs=(-2.0, -3.6, -1.9, -4.0),
        choice_means=(-2.0, -3.6, -1.9, -1.0),
    )
    (measure,) = FORMS["mmlu_cloze"].measures
    judged = measure.judge(outcome)
    assert judged["ranked"] == "C"
    assert judged["ranked_by_token"] == "D"
    assert judged["ranked_by_character"] == "B"  # -0.9; the others -1.0, -0.95 and -1.0
    assert [value.metric for value in measure.values([outcome])] == [
        "accuracy", "accuracy/by_token", "accuracy/by_character",
    ]  # fmt: skip


def test_self_consistency_asks_as_often_as_the_method_and_votes(folder):
    form = FORMS["mmlu_cot_self_consistency"]
    asked = (form.decoding.num_samples, form.decoding.temperature, form.decoding.top_k)
    assert asked == (40, 0.7, 40)
    assert form.protocol == "5-shot CoT, 40 samples"
    question = subtask(folder, form.name).questions[0]  # B
    texts = ("The answer is (A).", "The answer is (B).", "A or B?", "So the answer is (B).")
    assert form.measures[0].judge(Outcome(question=question, texts=texts))["exact_match"] == 100.0


def test_the_subjects_of_the_categories():
    counts = collections.Counter(category for category, _ in mmlu.SUBJECTS.values())
    assert counts == {"stem": 18, "humanities": 13, "social_sciences": 12, "other": 14}
    assert list(mmlu.SUBJECTS) == sorted(mmlu.SUBJECTS)


def test_a_subtask_says_its_category_and_what_guessing_scores(folder):
    asked = subtask(folder, "mmlu")
    assert (asked.groups, asked.baseline) == (("other",), 25.0)
    assert asked.questions[0].meta == {"subcategory": "health"}


def test_a_folder_named_data_as_the_archive_has_it(tmp_path):
    writing.write_mmlu(tmp_path / "data")
    assert len(FORMS["mmlu"].load(tmp_path, TEST)) == 57


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("q,1,2,3,4,E\n", "anatomy_test.csv:1: the answer 'E' is none of A, B, C, D"),
        ("q,1,2,3,4,AB\n", "the answer 'AB' is none of"),
        ("q,1,2,3,4,\n", "the answer '' is none of"),
        ("q,1,2,3,A\n", "anatomy_test.csv:1: need 6 columns, found 5"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, message):
    writing.write_mmlu(tmp_path)
    writing.write_text(tmp_path / "test" / "anatomy_test.csv", row)
    with pytest.raises(DataError, match=message):
        FORMS["mmlu_zero_shot"].load(tmp_path, TEST)


def test_too_few_exemplars_are_refused(tmp_path):
    writing.write_mmlu(tmp_path)
    writing.write_text(tmp_path / "dev" / "anatomy_dev.csv", "q,1,2,3,4,A\n")
    with pytest.raises(DataError, match="the dev file of anatomy has 1 rows, need 5"):
        FORMS["mmlu"].load(tmp_path, TEST)


def test_a_missing_file_is_named_with_its_source(tmp_path):
    with pytest.raises(UsageError, match="test/abstract_algebra_test.csv.*hendrycks/test"):
        FORMS["mmlu"].load(tmp_path, TEST)


def test_stored_prompts_of_an_installed_lm_eval(tmp_path, monkeypatch):
    writing.write_mmlu(tmp_path)
    stored = json.loads((tmp_path / "mmlu-cot.json").read_text())
    (tmp_path / "mmlu-cot.json").unlink()
    package = tmp_path / "packages" / "lm_eval"
    writing.write_text(package / "__init__.py", "raise AssertionError('imported')\n")
    place = package / "tasks" / "mmlu" / "flan_cot_fewshot" / "_cot_prompts.json"
    longer = {name: f"{text}\n\n" for name, text in stored.items()}
    writing.write_json(place, longer)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    whole = "About anatomy.\n\n" + "".join(COT_EXEMPLARS) + COT_QUESTION
    assert prompt(tmp_path, "mmlu_cot", 2) == whole


def test_without_stored_prompts_the_error_says_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(mmlu.public_files, "installed", lambda package, name: None)
    writing.write_mmlu(tmp_path)
    (tmp_path / "mmlu-cot.json").unlink()
    with pytest.raises(UsageError, match=r"mmlu-cot.json \(nor cot_prompts.json.*lm-eval"):
        FORMS["mmlu_cot"].load(tmp_path, TEST)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no exemplar", "the prompt of 'anatomy' is not made of 'Q: ..'"),
        ("About.\n\nQ: a\nA: b", "the prompt of 'anatomy' is not made of 'Q: ..'"),
        (None, "need a text 'anatomy'"),
    ],
)
def test_a_bad_stored_prompt_is_named(tmp_path, text, message):
    writing.write_mmlu(tmp_path)
    stored = json.loads((tmp_path / "mmlu-cot.json").read_text())
    writing.write_json(tmp_path / "mmlu-cot.json", {**stored, SUBJECT: text})
    with pytest.raises(DataError, match=message):
        FORMS["mmlu_cot"].load(tmp_path, TEST)


# The rest needs the real files.


def real_rows(part: str) -> dict[str, list[list[str]]]:
    """Returns the rows of every subject by Python's own reader alone."""
    rows = {}
    for path in sorted((shared_folder() / "eval" / "mmlu" / part).glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            rows[path.name.removesuffix(f"_{part}.csv")] = list(csv.reader(file))
    return rows


def test_every_real_row_is_read_as_it_is():
    asked = FORMS["mmlu_cloze"].load(shared_folder() / "eval" / "mmlu", TEST)
    read = {
        subtask.name: [[*q.options, *q.references] for q in subtask.questions] for subtask in asked
    }
    rows = real_rows("test")
    assert read == {subject: [row[1:] for row in rows] for subject, rows in rows.items()}
    texts = [q.text for subtask in asked for q in subtask.questions]
    wanted = [f"Question: {row[0]}\nAnswer:" for rows in rows.values() for row in rows]
    assert texts == wanted
    every = [row for rows in rows.values() for row in rows]
    assert len(every) == 14_042
    assert sum(any("\n" in cell for cell in row) for row in every) == 1_127
    dev = [row for rows in real_rows("dev").values() for row in rows]
    assert sum(any("\n" in cell for cell in row) for row in dev) == 1_159 - 1_127
    letters = collections.Counter(row[5] for row in every)
    assert letters == {"A": 3_222, "B": 3_462, "C": 3_582, "D": 3_776}
    names = [row for row in every if {"None", "NA"} & set(row[1:5])]
    assert len(names) == 10
    assert sum(len(set(row[1:5])) < 4 for row in every) == 9


def test_real_constant_answers_score_what_the_letters_count():
    form, place = FORMS["mmlu_zero_shot"], shared_folder() / "eval" / "mmlu"
    always = {
        letter: answering.headlines(form, place, TEST, lambda q, letter=letter: f" {letter}")
        for letter in "ABCD"
    }
    best = [max(scores[subject] for scores in always.values()) for subject in mmlu.SUBJECTS]
    assert statistics.mean(best) == pytest.approx(32.0, abs=0.05)
    counts = {subject: len(rows) for subject, rows in real_rows("test").items()}
    pooled = sum(always["D"][subject] * n for subject, n in counts.items()) / 14_042
    assert pooled == pytest.approx(100 * 3_776 / 14_042)


@pytest.mark.parametrize("form", ["mmlu", "mmlu_cot"])
def test_on_the_real_files_who_knows_the_answers_scores_100(form):
    place = shared_folder() / "eval" / "mmlu"
    knows = answering.headlines(FORMS[form], place, TEST, answering.oracle)
    assert knows == dict.fromkeys(mmlu.SUBJECTS, 100.0)


def test_real_categories():
    path = shared_folder() / "eval" / "mmlu" / "categories.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    names = dict(zip(table["categories"], mmlu.CATEGORIES, strict=True))
    category = {s: names[name] for name, subs in table["categories"].items() for s in subs}
    assert mmlu.SUBJECTS == {
        subject: (category[subcategory], subcategory)
        for subject, (subcategory,) in table["subcategories"].items()
    }


def test_real_stored_prompts_are_their_exemplars_joined():
    place = shared_folder() / "eval" / "mmlu"
    stored = json.loads((place / "cot_prompts.json").read_text(encoding="utf-8"))
    parsed = mmlu.read_cot_prompts(place)
    joined = {name: "".join([text, *exemplars]) for name, (text, exemplars) in parsed.items()}
    assert joined == {name: text.rstrip("\n") + "\n\n" for name, text in stored.items()}
    four = {name for name, (_, exemplars) in parsed.items() if len(exemplars) == 4}
    assert four == {"college_chemistry", "formal_logic", "human_aging"}
    assert {len(exemplars) for _, exemplars in parsed.values()} == {4, 5}


@pytest.mark.parametrize(
    ("form", "subject", "index", "sha256"),
    [
        ("mmlu", "abstract_algebra", 7,
         "ed4aed5f117e5cea45b3882d68130c01d70300c50cd1c9484e599eaf4077cf83"),
        ("mmlu_cot", "college_chemistry", 0,
         "cd84dee3f834898d6098828ce92c3795efaa0fc02f4bbc724cd29c71c158a4f4"),
        ("mmlu_zero_shot", "us_foreign_policy", 3,
         "0a8fe1637277f951455de798a50807b6a48ea267c09a0d2b1b97440f48a4ce77"),
        ("mmlu_zero_shot_cot", "us_foreign_policy", 3,
         "85af9b2cd6b83ebb1700cce6c379f317e89097b55b47c3217123b08826f81e8d"),
        ("mmlu_cloze", "us_foreign_policy", 3,
         "79447f3ffb171b06778811206541235c4b9bc4276dc4ccade44ae99e043ab39a"),
    ],
)  # fmt: skip
def test_real_prompts_that_were_looked_at(form, subject, index, sha256):
    asked = subtask(shared_folder() / "eval" / "mmlu", form, subject)
    text = asked.prompt(asked.questions[index])
    assert hashlib.sha256(text.encode()).hexdigest() == sha256
