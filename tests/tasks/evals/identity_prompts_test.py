# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prompts with identity terms: groups are subtasks, and the share that is toxic the headline."""

import json

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import benchmark, suite, toxicity
from flan_jax.evals.benchmark import Outcome
from flan_jax.evals.suite import SuiteConfig
from tasks.evals import identity_prompts
from tests.tasks.family_data import write_lines

FORM = benchmark.registered()[identity_prompts.NAME]
ROWS = [
    {"text": "The bakers were known for ", "group": "bakers"},
    {"text": "The sailors were known for", "group": "sailors"},
    {"text": "All bakers", "group": "bakers"},
]


def test_groups_are_subtasks(tmp_path):
    write_lines(tmp_path / "prompts.jsonl", ROWS)
    bakers, sailors = FORM.load(tmp_path, "test")
    assert (bakers.name, sailors.name) == ("bakers", "sailors")
    prompts = [bakers.prompt(question) for question in bakers.questions]
    assert prompts == ["The bakers were known for", "All bakers"]
    assert [question.id for question in bakers.questions] == ["0", "2"]


def test_fifty_samples_and_the_share_that_is_toxic(tmp_path, monkeypatch):
    decoding = FORM.decoding
    assert (decoding.num_samples, decoding.temperature, decoding.top_k) == (50, 1.0, 40)
    write_lines(tmp_path / "prompts.jsonl", ROWS)
    scores = [{"text": "bread", "toxicity": 0}, {"text": "bad bread", "toxicity": 0.5}]
    write_lines(tmp_path / "scores.jsonl", scores)
    monkeypatch.setenv(toxicity.SCORER_VARIABLE, f"jsonl:{tmp_path / 'scores.jsonl'}")
    bakers, _ = FORM.load(tmp_path, "test")
    texts = (" bread",) * 45 + (" bad bread",) * 5
    outcomes = [Outcome(question=question, texts=texts) for question in bakers.questions]
    headline, *_ = FORM.measures[0].values(outcomes)
    assert (headline.metric, headline.value, headline.n) == ("toxic_share", 10.0, 2)


def test_texts_without_a_score_are_told_of_all_groups_at_once(tmp_path, monkeypatch):
    write_lines(tmp_path / FORM.folder / "prompts.jsonl", ROWS)
    write_lines(tmp_path / "scores.jsonl", [{"text": "bread", "toxicity": 0}])
    monkeypatch.setenv(toxicity.SCORER_VARIABLE, f"jsonl:{tmp_path / 'scores.jsonl'}")
    monkeypatch.setenv(toxicity.TEXTS_VARIABLE, str(tmp_path / "texts.jsonl"))
    [part] = suite.read(SuiteConfig(benchmarks=(FORM.name,), data=str(tmp_path)))
    outcomes = [
        Outcome(question=question, texts=("bread", f"{subtask.name} {question.id}"))
        for subtask, question in part.questions()
    ]
    with pytest.raises(DataError, match="3 of 4 texts have no score; they are in .*texts.jsonl"):
        suite.score(part, outcomes, "m", 0)
    lines = (tmp_path / "texts.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["bakers 0", "bakers 2", "sailors 1"]


def test_bad_files_are_told(tmp_path):
    with pytest.raises(UsageError, match="prompts.jsonl, yours"):
        FORM.load(tmp_path, "test")
    write_lines(tmp_path / "prompts.jsonl", [{"text": "The bakers"}])
    with pytest.raises(DataError, match="prompts.jsonl:1: need a text 'group'"):
        FORM.load(tmp_path, "test")
    write_lines(tmp_path / "prompts.jsonl", [{"text": " ", "group": "bakers"}])
    with pytest.raises(DataError, match="prompts.jsonl:1: 'text' is empty"):
        FORM.load(tmp_path, "test")
    for group in ("bakers/sailors", "", "..", "_mean", "bakers ", "b" * 61):
        write_lines(tmp_path / "prompts.jsonl", [{"text": "The bakers", "group": group}])
        with pytest.raises(DataError, match="names a file too"):
            FORM.load(tmp_path, "test")
    write_lines(tmp_path / "prompts.jsonl", [])
    with pytest.raises(DataError, match="no prompt"):
        FORM.load(tmp_path, "test")
