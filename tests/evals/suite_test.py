# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prompts that fit, outcomes, scores with their means, files; by hand."""

import dataclasses
import json
import math
import re

import pytest

from flan_jax.core import errors
from flan_jax.evals import benchmark, prompting, suite
from flan_jax.evals.suite import SuiteConfig
from tests import toy_benchmarks


@pytest.fixture
def data(tmp_path):
    return str(toy_benchmarks.write(tmp_path / "data"))


def words(text):
    return text.split()


def read(data="", **changes):
    return suite.read(SuiteConfig(**{"benchmarks": ("toy",), "data": data, **changes}))


def test_exemplars_are_dropped_from_the_left_and_nothing_else_is_cut(data):
    [part] = read(data)
    subtask, question = next(part.questions())
    whole = subtask.prompt(question)
    assert whole == (
        "Choose.\n\nIs it one? (A) yes (B) no\n(A)\n\nIs it two? (A) yes (B) no\n(B)\n\n"
        "Is validation 0 one? (A) yes (B) no\n"
    )
    lengths = [len(words(subtask.prompt(question, n))) for n in range(3)]
    for most in range(5, 30):
        prompt = prompting.fit(subtask, question, words, most)
        fitting = [n for n, length in enumerate(lengths) if length <= most]
        assert prompt.too_long == (not fitting)
        assert prompt.num_dropped == (fitting[0] if fitting else 0)
        assert prompt.text == subtask.prompt(question, prompt.num_dropped)
        assert prompt.text.startswith("Choose.") and prompt.text.endswith(question.text)
        assert prompt.tokens == words(prompt.text)


def said(text):
    reason = "length" if text.endswith("?") else "stop"
    return {"predictions": [text], "scores": [-1.0], "finish_reasons": [reason]}


def answered(part, texts, most=100):
    asked = suite.prompts(part, words, most)
    outcomes = [
        suite.outcome(q, p, part.way, said(t) if t else None)
        for (_, q), p, t in zip(part.questions(), asked, texts, strict=True)
    ]
    return asked, outcomes


def test_scores_are_counted_by_hand(data):
    [part] = read(data, num_examples=4)
    # Of 0..4 every subtask keeps 0, 1, 2, 3, whose right letters are A, B, A, B.
    assert [q.id for _, q in part.questions()] == ["0", "1", "2", "3", "5", "6", "7", "8"]
    asked, outcomes = answered(part, ["(A)", "(A)", "(A)", "no", "B", "what?", "(A) yes", "(B)"])
    rows = {(row.subtask, row.metric): row for row in suite.score(part, outcomes, "m", 7)}
    assert rows["one", "exact_match"].value == 75.0  # A wrong, and 'no' is the text of (B)
    assert rows["two", "exact_match"].value == 50.0
    assert rows["two", "unparsed"].value == 25.0
    assert rows["_mean", "exact_match"].value == 62.5
    assert rows["_mean.first", "exact_match"].value == 75.0
    one, two = (100 * math.sqrt(p * (1 - p) / 3) for p in (0.75, 0.5))  # s / sqrt(n), n = 4
    assert rows["one", "exact_match"].stderr == pytest.approx(one)
    assert rows["two", "exact_match"].stderr == pytest.approx(two)
    assert rows["_mean", "exact_match"].stderr == pytest.approx(math.hypot(one, two) / 2)
    assert rows["_mean.first", "exact_match"].stderr == pytest.approx(one)
    assert {row.protocol for row in rows.values()} == {"2-shot; validation; generate"}
    assert suite.headline(list(rows.values())) == rows["_mean", "exact_match"]
    assert suite.counts(asked, outcomes) == {
        "prompts": 8, "dropped": 0, "dropped_exemplars": 0, "too_long": 0, "cut": 1
    }  # fmt: skip


def test_what_does_not_fit_is_counted_and_wrong(data):
    [part] = read(data, num_examples=1)
    subtask, question = next(part.questions())
    shortest = len(words(subtask.prompt(question, 2)))
    asked, outcomes = answered(part, ["(A)", "(A)"], shortest)
    assert suite.counts(asked, outcomes) == {
        "prompts": 2, "dropped": 2, "dropped_exemplars": 4, "too_long": 0, "cut": 0
    }  # fmt: skip
    asked, outcomes = answered(part, [None, None], shortest - 1)
    assert suite.counts(asked, outcomes)["too_long"] == 2
    assert [row.value for row in suite.score(part, outcomes, "m", 0)][:2] == [0.0, 100.0]


def test_predictions_have_a_line_a_question(data, tmp_path):
    [part] = read(data, num_examples=1)
    suite.write_predictions(tmp_path, part, *answered(part, ["(A)", "(B)"]))
    folder = tmp_path / "predictions/toy/validation.generate"
    assert sorted(p.name for p in folder.iterdir()) == ["one.jsonl", "two.jsonl"]
    line = json.loads((folder / "two.jsonl").read_text())
    assert line.pop("inputs").endswith("Is validation 0 two? (A) yes (B) no\n")
    assert len(line.pop("prompt_sha256")) == 64
    assert line == {
        "benchmark": "toy", "subtask": "two", "id": "5", "num_dropped": 0, "too_long": False,
        "references": ["A"], "predictions": ["(B)"], "finish_reasons": ["stop"], "answer": "B",
        "exact_match": 0.0, "meta": {"number": 5},
    }  # fmt: skip


def test_ways_and_splits(data):
    assert [p.name for p in read(data)] == ["validation.generate"]
    assert [p.name for p in read(data, ways="rank", splits={"toy": "test"})] == ["test.rank"]
    both = read(data, ways="both", benchmarks=("toys",))
    assert [(p.benchmark.name, p.way) for p in both] == [
        ("toy", "generate"), ("toy", "rank"), ("toy_vote", "generate")
    ]  # fmt: skip


def test_a_seed_and_the_stops_of_a_subtask_go_into_decoding(data):
    [part] = read(data, seed=5, num_examples=1)
    assert {(c.seed, c.stop) for c in suite.decoding(part, 5)} == {(5, ("\n\n",))}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"benchmarks": ("toyy",)}, "unknown benchmark 'toyy'.*toy"),
        ({"splits": {"toy": "tset"}}, "unknown split of toy 'tset'.*test"),
        ({"splits": {"mmlu": "test"}}, "unknown benchmark of a split 'mmlu'"),
        ({"ways": "rnak"}, "unknown way of asking 'rnak'.*rank"),
        ({"data": "nowhere"}, "no file nowhere/toy/validation.tsv: rows of the toy"),
        ({"num_examples": 0}, "num_examples"),
        ({"benchmarks": "toy"}, "give a list of names"),
    ],
)
def test_mistakes_are_named(data, changes, text):
    with pytest.raises(errors.UsageError, match=text):
        read(**({"data": data} | changes))


def test_subtasks_that_cannot_be_told_apart_are_refused(tmp_path, monkeypatch):
    right = "one\tIs it?\tA\n"
    for number, (rows, text) in enumerate([
        ("", "toy: subtasks: none; take the benchmark's files"),
        (f"{right}../one\tIs it?\tA\n", "toy: subtask '../one': a file is to be named so"),
        (f"{right}..\tIs it?\tA\n", "toy: subtask '..': a file"),
        (f"{right}_mean\tIs it?\tA\n", "toy: subtask '_mean': a file"),
        (f"{right}{'x' * 51}\tIs it?\tA\n", "at most 50 characters"),
    ]):  # fmt: skip
        folder = toy_benchmarks.write(tmp_path / str(number))
        (folder / "toy/validation.tsv").write_text(rows)
        with pytest.raises(errors.DataError, match=re.escape(text)):
            read(str(folder))
    loaded = toy_benchmarks.load(tmp_path / "0/toy", "test")
    for changes, text in [
        ({"questions": ()}, "subtask 'one': questions: none"),
        ({"questions": loaded[0].questions[:1] * 2}, "questions: 2 are called '0'"),
        ({"name": "two"}, "toy: subtasks: 2 are called 'two'"),
    ]:
        changed = [dataclasses.replace(loaded[0], **changes), loaded[1]]
        toy = dataclasses.replace(benchmark.registered()["toy"], load=lambda *_, c=changed: c)
        monkeypatch.setattr(benchmark, "choose", lambda _, toy=toy: (toy,))
        with pytest.raises(errors.DataError, match=text):
            read(str(tmp_path))


def test_the_digest_is_of_all_that_decides_a_score(data):
    [part] = read(data, num_examples=1)
    [subtask, other] = part.subtasks
    [question] = subtask.questions

    def digest(stop=(), **changes):
        asked = dataclasses.replace(question, **changes)
        first = dataclasses.replace(subtask, questions=(asked,), stop=stop)
        changed = dataclasses.replace(part, subtasks=(first, other))
        return suite.digest(changed, suite.prompts(changed, words, 100))

    others = [
        digest(), digest(text="What?"), digest(references=("B",)), digest(labels=("B", "A")),
        digest(choices=("(a)", "(b)")), digest(options=("no", "yes")), digest(meta={"n": 1}),
        digest(id="7"), digest(stop=("no",)),
    ]  # fmt: skip
    assert digest() == suite.digest(part, suite.prompts(part, words, 100))
    assert len(set(others)) == len(others)


def test_a_way_that_a_benchmark_has_not_is_said(data, capsys):
    [part] = read(data, ways="rank", benchmarks=("toy_vote",))
    assert part.way == "generate"
    assert "toy_vote has no choices to rank; its answers are generated" in capsys.readouterr().err
    read(data, ways="both", benchmarks=("toys",))
    assert "no choices" not in capsys.readouterr().err


def test_two_of_one_name_are_refused():
    other = benchmark.registered()["toy"]
    benchmark.add(other)  # the same again is nothing
    with pytest.raises(errors.UsageError, match="'toy' is taken by another benchmark"):
        benchmark.add(benchmark.dataclasses.replace(other, version=2))
    with pytest.raises(errors.UsageError, match="'toy' is taken"):
        benchmark.add_suite("toy", ("toy_vote",))
