# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parts of a prompt: together they are the prompt, and each is what it is said to be."""

import dataclasses
import json

import pytest

from flan_jax.collection import anatomy, rendering, sources, spec
from flan_jax.collection.prompts import TemplateGroup

LINES = (
    {"id": "zero", "kind": "zero_shot", "options": "yes", "input": "Q: {question} {options}",
     "target": "{answer}"},
    {"id": "bare", "kind": "zero_shot", "options": "no", "input": "{question}?",
     "target_prefix": "A: ", "target": "{answer}"},
    {"id": "few", "kind": "few_shot", "options": "any", "head": "Say {how}.",
     "input_prefix": "In: ", "input": "{question} ({options})", "target_prefix": "Out: ",
     "target": "{answer}"},
)  # fmt: skip


def make_row(split, index):
    return {"question": f"what, {index},\n\nis it", "answer": f"it is {index}"}


def fields(row):
    return row | {"how": "it\n\nloudly", "options": [row["answer"], "nothing"]}


def odd_fields(row):
    return fields(row) | {"question": f"\ufdd0{row['question']}\ufdd5\ufdd2"}


@pytest.fixture
def task():
    return spec.TaskSpec(
        name="dissected",
        family="test",
        source=sources.GeneratedSource(make_row, {spec.TRAIN: 60}),
        fields=fields,
        templates=TemplateGroup(inline=tuple(map(json.dumps, LINES))),
        settings=tuple((name, 1.0) for name in spec.SETTINGS),
        splits=(spec.TRAIN,),
    )


def dissected(task, limit=60):
    examples = list(rendering.render_task(task, spec.TRAIN, 3))
    found = list(anatomy.dissect(task, spec.TRAIN, 3, examples, limit))
    assert [e.rendered for e in found] == examples[:limit]
    for example in found:
        pieces = [piece for part in example.parts for piece in part.pieces]
        assert "".join(piece.text for piece in pieces) == example.rendered.inputs
    return found


def test_parts_are_the_prompt_and_say_what_is_what(task):
    seen = set()
    for example in dissected(task):
        meta, kinds = example.rendered.meta, [part.kind for part in example.parts]
        seen.add(meta["setting"])
        few_shot = meta["setting"].startswith("fs")
        assert kinds.count("exemplar") == meta["num_shots"] == len(meta["exemplars"])
        assert kinds == ["instruction"] * few_shot + ["exemplar"] * meta["num_shots"] + ["query"]
        shown = [
            (p.slot, p.text) for part in example.parts for p in part.pieces if p.slot == "question"
        ]
        rows = [*meta["exemplars"], example.rendered.index]
        assert [text for _, text in shown] == [make_row("", i)["question"] for i in rows]
        for part, row in zip(
            [p for p in example.parts if p.kind == "exemplar"], rows, strict=False
        ):
            said = "".join(piece.text for piece in part.pieces if piece.answer)
            style = meta["option_style"]
            answer = make_row("", row)["answer"]
            assert said.strip("\n").startswith("Out: ")
            assert answer in said or style not in ("", "dash", "star", "plus", "lines")
    assert seen == set(spec.SETTINGS)


def test_no_more_than_the_limit_is_dissected(task):
    assert len(dissected(task, limit=4)) == 4


def test_data_with_the_marks_themselves_stays_whole(task):
    for example in dissected(dataclasses.replace(task, fields=odd_fields), limit=8):
        (part,) = example.parts
        assert part.kind == "query" and part.pieces[0].slot == ""
