# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""CivilComments: golden prompts, files of every layout, balanced exemplars, oracle and constant."""

import csv

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import benchmark
from flan_jax.evals.benchmark import Outcome
from tasks.evals import civil_comments
from tests.tasks.family_data import write_lines

ZERO, TEN = (benchmark.registered()[f"civil_comments{end}"] for end in ("", "_10_shot"))
TEST = [
    {"text": f' Comment "{n}",\nit says. ', "toxicity": share}
    for n, share in enumerate((0.5, 0.0, 0.499, 1.0, 0.2))
]
TRAIN = [{"text": f"train {n}", "toxicity": 0.8 if n % 4 == 0 else 0.1} for n in range(60)]


@pytest.fixture
def folder(tmp_path):
    write_lines(tmp_path / "test.jsonl", TEST)
    write_lines(tmp_path / "train.jsonl", TRAIN)
    return tmp_path


def questions_of(form, folder):
    (subtask,) = form.load(folder, "test")
    return subtask, sorted(subtask.questions, key=lambda question: int(question.id))


def test_golden_prompt(folder):
    subtask, questions = questions_of(ZERO, folder)
    assert subtask.prompt(questions[0]) == (
        'Comment: Comment "0",\nit says.\n'
        "Question: Is this comment toxic? Answer yes or no.\n"
        "Answer:"
    )
    assert questions[0].choices == (" yes", " no")
    assert [question.references for question in questions] == [
        ("yes",), ("no",), ("no",), ("yes",), ("no",)
    ]  # fmt: skip
    assert [question.target for question in questions[:2]] == [" yes", " no"]


def test_golden_exemplars(folder):
    subtask, questions = questions_of(TEN, folder)
    assert len(subtask.exemplars) == 10
    first = subtask.exemplars[0]
    number = int(first.split()[2])
    assert number % 4 == 0
    assert first == (
        f"Comment: train {number}\n"
        "Question: Is this comment toxic? Answer yes or no.\n"
        "Answer: yes\n\n"
    )
    assert subtask.prompt(questions[0]).startswith(first)
    answers = [exemplar.split()[-1] for exemplar in subtask.exemplars]
    assert answers == ["yes", "no"] * 5
    assert len(set(subtask.exemplars)) == 10


def test_exemplars_do_not_depend_on_the_order_of_the_file(folder):
    (before,) = TEN.load(folder, "test")
    write_lines(folder / "train.jsonl", TRAIN[::-1])
    (after,) = TEN.load(folder, "test")
    assert after.exemplars == before.exemplars


def test_a_larger_file_is_sampled_from_all_of_it(folder, monkeypatch):
    monkeypatch.setattr(civil_comments, "NUM_COMMENTS", 10)
    rows = [{"text": f"Day {n}", "toxicity": n % 2} for n in range(40)]
    write_lines(folder / "test.jsonl", rows)
    _, questions = questions_of(ZERO, folder)
    assert len({question.text for question in questions}) == 10
    assert int(questions[-1].id) > 10


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("test.csv", ("id", "comment_text", "target")),
        ("test_public_expanded.csv", ("id", "comment_text", "toxicity")),
        ("test.csv", ("id", "text", "toxicity")),
    ],
)
def test_files_of_other_layouts_give_the_same(folder, name, columns):
    _, expected = questions_of(ZERO, folder)
    (folder / "test.jsonl").unlink()
    with open(folder / name, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows((n, row["text"], row["toxicity"]) for n, row in enumerate(TEST))
        file.write("\r\n")  # an empty line
    _, found = questions_of(ZERO, folder)
    assert [(q.text, q.references) for q in found] == [(q.text, q.references) for q in expected]


def test_a_larger_file_is_sampled(folder, monkeypatch):
    monkeypatch.setattr(civil_comments, "NUM_COMMENTS", 20)
    write_lines(folder / "test.jsonl", TRAIN)
    subtask, questions = questions_of(ZERO, folder)
    assert len(questions) == len(subtask.questions) == 20


def outcomes(questions, logprobs_of) -> list[Outcome]:
    return [Outcome(question=q, choice_logprobs=logprobs_of(q)) for q in questions]


def test_an_oracle_scores_100_and_a_constant_50(folder):
    _, questions = questions_of(ZERO, folder)
    measure = ZERO.measures[0]
    right = outcomes(questions, lambda q: tuple(float(choice == q.target) for choice in q.choices))
    assert measure.values(right)[0].value == 100.0
    constant = outcomes(questions, lambda q: (-0.5, -1.0))
    assert measure.values(constant)[0].value == 50.0
    by_share = outcomes(questions, lambda q: (q.meta["toxicity"], 0.0))
    assert measure.values(by_share)[0].value == 100.0


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text": "a"}, r"test.jsonl:1: need a toxicity .* found None"),
        ({"text": "a", "toxicity": 2}, "found 2"),
        ({"text": "a", "toxicity": "nan"}, "found 'nan'"),
        ({"toxicity": 1}, "need a text 'comment_text'"),
        ({"text": "a", "toxicity": 1}, "ones that are not"),
    ],
)
def test_bad_rows_are_told(folder, row, why):
    write_lines(folder / "test.jsonl", [row])
    with pytest.raises(DataError, match=why):
        ZERO.load(folder, "test")


def test_missing_files_and_too_few_exemplars_are_told(folder):
    write_lines(folder / "train.jsonl", TRAIN[:10])
    with pytest.raises(DataError, match="need 5 .* found 3 and 5"):
        TEN.load(folder, "test")
    (folder / "train.jsonl").unlink()
    with pytest.raises(UsageError, match="train.jsonl .nor train.csv.*with the columns text"):
        TEN.load(folder, "test")
    assert ZERO.load(folder, "test")
    (folder / "test.jsonl").unlink()
    with pytest.raises(UsageError, match="test.jsonl"):
        ZERO.load(folder, "test")
    (folder / "test.csv").write_text("text,toxicity\na,0.5,1\n")
    with pytest.raises(DataError, match="test.csv:2: need 2 columns, found 3"):
        ZERO.load(folder, "test")
