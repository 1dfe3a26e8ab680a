# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""BIG-Bench Hard: the whole prompts of every form, who knows the answers, and the real files."""

import collections
import hashlib
import json
import re
import statistics
from pathlib import Path

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import benchmark
from flan_jax.evals.benchmark import GENERATE, RANK, TEST
from flan_jax.paper import parts
from tasks.evals import bbh
from tests.tasks.evals import answering, writing
from tests.tasks.family_data import shared_folder

FORMS = {name: form for name, form in benchmark.registered().items() if name.startswith("bbh")}
FILES = tuple(bbh.ANSWERS)
CHOSEN = [file for file, answers in bbh.ANSWERS.items() if answers]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Returns a folder with tiny files and prompts."""
    folder = tmp_path_factory.mktemp("bbh")
    writing.write_bbh(folder)
    return folder


def subtask(folder: Path, form: str, file: str) -> benchmark.Subtask:
    return next(s for s in FORMS[form].load(folder, TEST) if s.name == file)


def prompt(folder: Path, form: str, file: str, index: int = 0, num_dropped: int = 0) -> str:
    asked = subtask(folder, form, file)
    return asked.prompt(asked.questions[index], num_dropped)


def test_the_forms_there_are():
    assert list(FORMS) == [
        "bbh", "bbh_cot", "bbh_cot_self_consistency", "bbh_zero_shot", "bbh_zero_shot_cot",
    ]  # fmt: skip
    assert {form.splits for form in FORMS.values()} == {(TEST,)}
    assert [form.ways() for form in FORMS.values()] == [
        (GENERATE, RANK), (GENERATE,), (GENERATE,), (GENERATE, RANK), (GENERATE,),
    ]  # fmt: skip


def test_the_files_are_those_of_the_paper():
    assert [file.file for file in parts.bbh_files()] == list(FILES)
    assert collections.Counter(file.group for file in parts.bbh_files()) == {"nlp": 12, "alg": 15}


ABOUT = "About snarks.\n\nIn two paragraphs.\n\n"
OPTIONS = "Options:\n(A) 0\n(B) 1\n(C) 2\n"


def test_direct_prompt_with_exemplars(folder):
    assert prompt(folder, "bbh", "snarks", 1) == (
        f"{ABOUT}"
        f"Q: Find 0.\n{OPTIONS}A: (A)\n\n"
        f"Q: Find 1.\n{OPTIONS}A: (B)\n\n"
        f"Q: Find 2.\n{OPTIONS}A: (C)\n\n"
        f"Q: Find 1.\n{OPTIONS}A:"
    )
    dropped = f"{ABOUT}Q: Find 2.\n{OPTIONS}A: (C)\n\nQ: Find 1.\n{OPTIONS}A:"
    assert prompt(folder, "bbh", "snarks", 1, 2) == dropped


def test_direct_prompt_without_exemplars(folder):
    assert prompt(folder, "bbh_zero_shot", "snarks", 1) == f"{ABOUT}Q: Find 1.\n{OPTIONS}A:"


def test_prompt_with_chains_of_thought(folder):
    assert prompt(folder, "bbh_cot", "dyck_languages") == (
        "About dyck_languages.\n\nIn two paragraphs.\n\n"
        "Q: Say 3 - 3 ] twice:\nA: Let's think step by step.\nWe look.\n"
        "So the answer is 3 ] 3.\n\n"
        "Q: Say 4 - 4 ] twice:\nA: Let's think step by step.\nWe look.\n"
        "So the answer is 4 ] 4.\n\n"
        "Q: Say 5 - 5 ] twice:\nA: Let's think step by step.\nWe look.\n"
        "So the answer is 5 ] 5.\n\n"
        "Q: Say 0 - 0 ] twice:\nA: Let's think step by step."
    )


def test_prompt_to_think_step_by_step_without_exemplars(folder):
    assert prompt(folder, "bbh_zero_shot_cot", "snarks") == (
        f"{ABOUT}Q: Find 0.\n{OPTIONS}A: Let's think step by step."
    )


def test_what_a_right_model_goes_on_with(folder):
    def first(form: str, file: str) -> benchmark.Question:
        return subtask(folder, form, file).questions[0]

    assert first("bbh", "snarks").target == " (A)"
    assert first("bbh_cot", "snarks").target == "\nSo the answer is (A)."
    question = first("bbh", "navigate")
    assert (question.choices, question.labels) == ((" No", " Yes"), ("No", "Yes"))
    question = first("bbh_zero_shot", "snarks")
    assert question.choices == (" (A)", " (B)", " (C)")
    assert question.labels == ("(A)", "(B)", "(C)")
    assert question.options == ("0", "1", "2")
    assert first("bbh", "word_sorting").choices == ()
    assert first("bbh_cot", "snarks").choices == ()


def test_exemplars_that_go_on_in_the_line(tmp_path):
    writing.write_bbh(tmp_path)
    path = tmp_path / "cot-prompts" / "sports_understanding.txt"
    writing.write_text(path, path.read_text().replace("step.\nWe look.\n", "step. We look. "))
    asked = subtask(tmp_path, "bbh_cot", "sports_understanding")
    assert asked.exemplars[0].endswith(
        "A: Let's think step by step. We look. So the answer is yes.\n\n"
    )
    assert asked.questions[0].target == " So the answer is no."
    direct = subtask(tmp_path, "bbh", "sports_understanding")
    assert direct.exemplars[0].endswith("\nA: yes\n\n")


@pytest.mark.parametrize("form", list(FORMS))
def test_who_knows_the_answers_scores_100_and_who_says_one_thing_its_share(folder, form):
    knows = answering.headlines(FORMS[form], folder, TEST, answering.oracle)
    assert knows == dict.fromkeys(FILES, 100.0)
    say = "So the answer is {}.".format if "cot" in form else " {}".format
    says = answering.headlines(FORMS[form], folder, TEST, lambda question: say("(B)"))
    letters = [file for file, answers in bbh.ANSWERS.items() if answers == bbh.LETTERS]
    assert says == {file: pytest.approx(100 / 3 * (file in letters)) for file in FILES}
    says = answering.headlines(FORMS[form], folder, TEST, lambda question: say("Yes"))
    yes = ("causal_judgement", "navigate", "web_of_lies")
    assert says == {file: pytest.approx(100 / 3 * (file in yes)) for file in FILES}


def test_the_flexible_measure_forgives_case_and_marks(folder):
    measure = FORMS["bbh"].measures[1]
    asked = {s.name: s for s in FORMS["bbh"].load(folder, TEST)}
    for file, text in {"navigate": "yes.", "snarks": "B", "boolean_expressions": "true"}.items():
        value, *_ = measure.values(answering.outcomes(asked[file], lambda q, text=text: text))
        assert (value.metric, value.value) == ("accuracy/flexible", pytest.approx(100 / 3))


@pytest.mark.parametrize("form", ["bbh", "bbh_zero_shot"])
def test_ranking_is_of_the_files_that_have_choices(folder, form):
    knows = answering.headlines(FORMS[form], folder, TEST, lambda q: q.references[0], RANK)
    assert knows == dict.fromkeys(CHOSEN, 100.0)
    assert len(CHOSEN) == 23
    first = answering.headlines(FORMS[form], folder, TEST, lambda q: q.label(0), RANK)
    shares = {
        file: pytest.approx(100 / 3 if bbh.ANSWERS[file] == bbh.LETTERS else 200 / 3)
        for file in CHOSEN
    }
    assert first == shares


def test_a_subtask_says_its_group_and_the_baseline_of_the_paper(folder):
    asked = {s.name: s for s in FORMS["bbh_cot"].load(folder, TEST)}
    assert asked["penguins_in_a_table"].groups == ("nlp",)
    assert asked["penguins_in_a_table"].baseline == 0.0
    assert asked["dyck_languages"].groups == ("alg",)
    assert asked["dyck_languages"].baseline == 1.2


def test_a_prompt_without_the_lines_before_it(tmp_path, folder):
    writing.write_bbh(tmp_path, canary="")
    for form in FORMS:
        assert prompt(tmp_path, form, "snarks") == prompt(folder, form, "snarks")


@pytest.mark.parametrize("canary", ["No. canary GUID 0\n", "-\n-----\n", "canary GUID\n\n-----\n"])
def test_half_of_the_lines_before_a_prompt_is_refused(tmp_path, canary):
    writing.write_bbh(tmp_path, canary=canary)
    with pytest.raises(
        DataError, match="boolean_expressions.txt:1: need a line with 'canary GUID'"
    ):
        FORMS["bbh"].load(tmp_path, TEST)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("So the answer is", "It is", "exemplar 1: need .* and 'the answer is ..'"),
        ("step by step.", "steps.", "exemplar 1: need 'A: Let's think"),
        ("\n\nQ: Find 2", "\nQ: Find 2", "need 3 exemplars 'Q: ..', found 2"),
        ("is (A).", "is\n(A).", "exemplar 1: need 'A: Let's think"),
    ],
)
def test_a_bad_prompt_is_named(tmp_path, old, new, message):
    writing.write_bbh(tmp_path)
    path = tmp_path / "cot-prompts" / "snarks.txt"
    writing.write_text(path, path.read_text().replace(old, new))
    with pytest.raises(DataError, match=re.escape("snarks.txt") + ".*" + message):
        FORMS["bbh"].load(tmp_path, TEST)


@pytest.mark.parametrize(
    ("file", "held", "message"),
    [
        ("navigate", {"examples": [{"input": "a", "target": "yes"}]},
         r"navigate.json\[0\]: the target 'yes' is none of No, Yes"),
        ("snarks", {"examples": [{"input": "a", "target": "(A)"}]}, "no option"),
        ("snarks", {"examples": [{"input": "(A) a", "target": 1}]}, "need a text 'target'"),
        ("snarks", {"examples": []}, "need a list 'examples'"),
        ("snarks", [], "need a list 'examples'"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named(tmp_path, file, held, message):
    writing.write_bbh(tmp_path)
    writing.write_json(tmp_path / "bbh" / f"{file}.json", held)
    with pytest.raises(DataError, match=message):
        FORMS["bbh_cot"].load(tmp_path, TEST)


def test_a_missing_file_is_named_with_its_source(tmp_path):
    with pytest.raises(UsageError, match="boolean_expressions.txt.*suzgunmirac/BIG-Bench-Hard"):
        FORMS["bbh"].load(tmp_path, TEST)


# The rest needs the real files, or the part of them that is there.


def real_examples() -> dict[str, list[dict[str, str]]]:
    folder = shared_folder() / "eval" / "bbh" / "bbh"
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["examples"]
        for path in sorted(folder.glob("*.json"))
    }


def real_place() -> Path:
    return shared_folder() / "eval" / "bbh"


def options_of(text: str) -> list[str]:
    """Returns the options of an input, found in another way than the benchmark's."""
    _, _, listed = text.partition("Options:\n")
    return [line.partition(")")[2].strip() for line in listed.split("\n") if line[:1] == "("]


@pytest.mark.parametrize("form", list(FORMS))
def test_on_the_real_files_who_knows_the_answers_scores_100(form):
    knows = answering.headlines(FORMS[form], real_place(), TEST, answering.oracle)
    assert knows == dict.fromkeys(FILES, 100.0)


@pytest.mark.parametrize("text", ["(A)", "Yes", "no", "valid", "True", "3"])
def test_a_constant_scores_on_the_real_files_what_the_targets_count(text):
    says = answering.headlines(FORMS["bbh"], real_place(), TEST, lambda question: text)
    assert says == {
        file: pytest.approx(100 * statistics.mean(e["target"] == text for e in examples))
        for file, examples in real_examples().items()
    }


def test_real_options_are_all_found():
    read = {s.name: s for s in FORMS["bbh"].load(real_place(), TEST)}
    for file, answers in bbh.ANSWERS.items():
        if answers == bbh.LETTERS:
            wanted = [options_of(e["input"]) for e in real_examples()[file]]
            assert [list(q.options) for q in read[file].questions] == wanted


def test_guessing_by_the_real_options():
    for file, examples in real_examples().items():
        if file in bbh.GUESSING:
            share = statistics.mean(100 / len(options_of(e["input"])) for e in examples)
            # The table is of the whole files; a file may be here in part.
            assert share == pytest.approx(bbh.GUESSING[file], abs=0.6), file
    assert set(bbh.GUESSING) == {f for f, a in bbh.ANSWERS.items() if a == bbh.LETTERS}
    whole = [bbh.GUESSING.get(file, 50.0 if bbh.ANSWERS[file] else 0.0) for file in FILES]
    assert statistics.mean(whole) == pytest.approx(26.6, abs=0.05)


def test_the_known_faults_are_the_real_ones():
    found = set()
    for file, examples in real_examples().items():
        inputs = [e["input"] for e in examples]
        found |= {(file, n) for n, text in enumerate(inputs) if text in inputs[:n]}
        if bbh.ANSWERS[file] != bbh.LETTERS:
            continue
        counts = [len(options_of(text)) for text in inputs]
        times = collections.Counter(counts)
        usual = max(times, key=lambda count, times=times: times[count])
        for n, example in enumerate(examples):
            options = options_of(example["input"])
            marks = [f"({chr(ord('A') + i)})" for i in range(len(options))]
            if (
                example["target"] not in marks
                or len(set(options)) < len(options)
                or (len(options) < usual and times[len(options)] == 1)
            ):
                found.add((file, n))
    num = {file: len(examples) for file, examples in real_examples().items()}
    assert found == {(file, n) for file, n in bbh.KNOWN_FAULTS if n < num[file]}


def test_the_published_means_are_over_files():
    place = real_place() / "reference_predictions"
    for kind, nlp, alg in (("cot", 73.5, 73.9), ("direct", 66.4, 41.8)):
        name = f"code-davinci-002-{kind}.reported_accuracy.json"
        reported = json.loads((place / name).read_text(encoding="utf-8"))
        for group, mean in (("nlp", nlp), ("alg", alg)):
            files = [file.file for file in parts.bbh_files() if file.group == group]
            scores = [reported[file]["accuracy"] for file in files]
            assert statistics.mean(scores) == pytest.approx(mean, abs=0.05)


@pytest.mark.parametrize(
    ("form", "file", "index", "sha256"),
    [
        ("bbh", "penguins_in_a_table", 0,
         "5faef846c79e0db9127cbc41d3b87a55ca7a9bc368f1f92d52fbe4b4a699a385"),
        ("bbh_cot", "boolean_expressions", 1,
         "5236dafea41dfdeca5efcbf6ced194dd2a9faff6be10c41bd0a159dba65d8301"),
        ("bbh_zero_shot", "dyck_languages", 2,
         "f882e7e050e03878ac71d247a1fe891c26147c579c36880d60c6eac2c2309f2b"),
        ("bbh_zero_shot_cot", "snarks", 0,
         "60b1ed54e5d229888512b42435febc5955c55aa7493c2cc0da53b68c21983fb1"),
    ],
)  # fmt: skip
def test_real_prompts_that_were_looked_at(form, file, index, sha256):
    text = prompt(real_place(), form, file, index)
    assert hashlib.sha256(text.encode()).hexdigest() == sha256
