# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The open-ended prompts: as many as the paper has, all different, or the user's own."""

import collections
import json
import re

import pytest

from flan_jax.core import errors
from flan_jax.evals import benchmark
from tasks.evals import open_ended

COUNTS = {
    "creativity": 20, "reasoning_over_contexts": 20, "complex_reasoning": 20, "planning": 20,
    "explanation": 20, "few_shot": 30, "complex_reasoning_step_by_step": 20,
    "planning_step_by_step": 20, "explanation_step_by_step": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return open_ended.load(tmp_path_factory.mktemp("data") / "open_ended", "test")


def test_there_are_190_prompts_in_the_papers_categories(ours):
    assert {subtask.name: len(subtask.questions) for subtask in ours} == COUNTS
    assert sum(COUNTS.values()) == 190


def test_the_benchmark_is_declared_as_the_paper_samples():
    (declared,) = benchmark.choose(["open_ended"])
    assert (declared.decoding.num_samples, declared.decoding.temperature) == (5, 0.7)
    assert declared.protocol == "5 samples" and declared.ways() == ("generate",)


def test_prompts_are_whole_texts_without_a_twin(ours):
    questions = [question for subtask in ours for question in subtask.questions]
    prompts = [question.text for question in questions]
    assert len(set(prompts)) == len({question.id for question in questions}) == 190
    words = collections.Counter()
    for question in questions:
        assert question.text == question.text.strip()
        assert "  " not in question.text and "\n\n\n" not in question.text
        assert question.target == "" and question.references == ()
        if "few_shot" not in question.id:
            words[" ".join(question.text.split()[:6])] += 1
    # No beginning is used for several prompts, but for the same one with the trigger.
    assert {begin: num for begin, num in words.items() if num > 2} == {}


def test_variants_are_the_zero_shot_prompts_and_the_trigger(ours):
    by_name = {subtask.name: subtask for subtask in ours}
    for category in ("complex_reasoning", "planning", "explanation"):
        plain = by_name[category].questions
        asked = by_name[f"{category}_step_by_step"].questions
        for one, other in zip(plain, asked, strict=True):
            assert other.text == f"{one.text}\nLet's think step-by-step."
            assert other.id == f"{one.id}_step_by_step"


def test_few_shot_prompts_show_two_exemplars_and_end_with_their_cue(ours):
    (subtask,) = [subtask for subtask in ours if subtask.name == "few_shot"]
    assert subtask.stop == ("\n\n",) and not any(s.stop for s in ours if s is not subtask)
    cues = collections.Counter()
    for question in subtask.questions:
        *before, last = question.text.split("\n\n")
        cue = last.splitlines()[-1]
        assert re.fullmatch("[A-Z][a-z]*:", cue), question.id
        shown = [block for block in before if re.search(f"^{cue} .", block, re.MULTILINE)]
        assert len(shown) >= 2 and len(before) - len(shown) <= 1, question.id
        cues[cue] += 1
    assert len(cues) > 15


def write(folder, *rows):
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "prompts.jsonl").write_text(text, encoding="utf-8")
    return folder


def row(name="a", category="planning", inputs="Plan a day."):
    return {"id": name, "category": category, "inputs": inputs}


def test_a_users_prompts_take_the_place_of_ours(tmp_path):
    folder = write(tmp_path, row(), row("b", "jokes", "Tell one. \n"), row("c", "few_shot"))
    found = {s.name: (s.stop, [(q.id, q.text) for q in s.questions])
             for s in open_ended.load(folder, "test")}  # fmt: skip
    assert found == {
        "planning": ((), [("a", "Plan a day.")]),
        "jokes": ((), [("b", "Tell one.")]),
        "few_shot": (("\n\n",), [("c", "Plan a day.")]),
        "planning_step_by_step": (
            (), [("a_step_by_step", "Plan a day.\nLet's think step-by-step.")],
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(), "the id 'a' is there twice"),
        (row("b", "Jokes"), "'category' must be lower-case .* got 'Jokes'"),
        (row("b", "../x"), "got '../x'"),
        (row("b", "planning_step_by_step"), "are made from those of 'planning'; leave them out"),
        (row("b", inputs=" \n"), "'inputs' is empty"),
        ({"id": "b", "category": "jokes"}, "need a text 'inputs'"),
        ({**row("b"), "id": 7}, "need a text 'id'"),
    ],
)
def test_malformed_prompts_are_named_by_line(tmp_path, bad, said):
    folder = write(tmp_path, row(), bad)
    with pytest.raises(errors.DataError, match=f"prompts.jsonl:2: .*{said}"):
        open_ended.load(folder, "test")


def test_a_folder_without_prompts_is_no_wish_for_ours(tmp_path):
    with pytest.raises(errors.UsageError, match="no file .*prompts.jsonl.*without this folder"):
        open_ended.load(tmp_path, "test")
    with pytest.raises(errors.DataError, match="no prompt; add some"):
        open_ended.load(write(tmp_path), "test")
