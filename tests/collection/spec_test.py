# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Task specs: mistakes are refused at once, the fingerprint follows what decides the text."""

import dataclasses
import json
import pickle

import pytest

from flan_jax.collection import spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import GeneratedSource
from flan_jax.core.errors import UsageError


def make_row(split, index):
    return {"n": index}


def map_row(row):
    return {"question": str(row["n"]), "answer": "x"}


def map_row_otherwise(row):
    return {"question": str(row["n"]), "answer": "y"}


TEMPLATES = TemplateGroup(
    inline=(json.dumps({"id": "a", "input": "{question}", "target": "{answer}"}),)
)
DEMO = spec.TaskSpec(
    name="demo",
    family="own",
    source=GeneratedSource(make_row, {"train": 2}),
    fields=map_row,
    templates=TEMPLATES,
)


def test_spec_is_a_picklable_hashable_value():
    again = pickle.loads(pickle.dumps(DEMO))
    assert again == DEMO and hash(again) == hash(DEMO)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a-b"}, "task name 'a-b': only letters"),
        ({"cap": 0}, "cap must be > 0 or None, got 0"),
        ({"settings": (("zs", 1.0),)}, "must be pairs of a name out of"),
        ({"settings": (("zs_opt", 0.0),)}, "the weights summing to > 0"),
        ({"splits": ("test",)}, r"splits \('test',\) must be out of"),
        ({"splits": ()}, "must be out of"),
    ],
)
def test_mistakes_are_refused_with_the_value(change, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(DEMO, **change)


@pytest.mark.parametrize("shots", [(0, 3), (4, 3)])
def test_shots_must_be_a_range(shots):
    with pytest.raises(UsageError, match=f"got {shots[0]} and {shots[1]}"):
        spec.FewShot(min_shots=shots[0], max_shots=shots[1])


def test_fingerprint_follows_what_decides_the_text_and_nothing_else():
    other = TemplateGroup(
        inline=(json.dumps({"id": "a", "input": "{question}!", "target": "{answer}"}),)
    )
    changes = [
        {"cap": 3},
        {"settings": (("zs_noopt", 1.0),)},
        {"templates": other},
        {"fields": map_row_otherwise},
        {"version": "2"},
        {"few_shot": spec.FewShot(max_shots=2)},
        {"option_styles": ("dash",)},
        {"trim_field": "question"},
        {"name": "demo2"},
    ]
    prints = [dataclasses.replace(DEMO, **change).fingerprint() for change in changes]
    assert len({DEMO.fingerprint(), *prints}) == len(changes) + 1
    assert dataclasses.replace(DEMO, licence="MIT").fingerprint() == DEMO.fingerprint()
