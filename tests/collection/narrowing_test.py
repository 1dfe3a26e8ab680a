# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A narrowed task renders what was asked for, as the task itself does; what cannot be is said."""

import dataclasses

import pytest

from flan_jax.collection import narrowing, rendering, spec
from flan_jax.core import errors
from tasks.mini import catalogue, tasks


@pytest.fixture
def task():
    entry = next(e for e in catalogue.training() if e.name == "mini.muffin.thing_done")
    return tasks.task_spec(entry)


def rendered(task, num=40, **narrowed):
    narrow = narrowing.narrow(task, **narrowed)
    examples = rendering.render_task(narrow, narrow.splits[0], 0, limit=num)
    return [e for e in examples if isinstance(e, rendering.Rendered)]


def test_every_template_can_be_looked_at_alone(task):
    for template in task.templates.load():
        examples = rendered(task, 5, template=template.id)
        assert {e.meta["template"] for e in examples} == {template.id}


def test_a_narrowed_task_renders_what_the_task_does(task):
    whole = {e.index: e for e in rendered(task, 300)}
    alone = {e.index: e for e in rendered(task, 300, setting="zs_noopt")}
    same = [i for i, e in whole.items() if e.meta["setting"] == "zs_noopt"]
    assert len(same) > 100
    for index in same:
        assert dataclasses.asdict(alone[index]) == dataclasses.asdict(whole[index])


def test_shots_are_exactly_those_asked_for(task):
    for shots in (1, 4):
        examples = rendered(task, shots=shots)
        assert {e.meta["num_shots"] for e in examples} == {shots}
        assert {e.meta["setting"] for e in examples} <= {"fs_opt", "fs_noopt"}


def test_a_split_can_be_chosen(task):
    assert narrowing.narrow(task, split="validation").splits == ("validation",)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"split": "test"}, "no split 'test'; it has ('train', 'validation')"),
        ({"template": "text_request_stile"}, "did you mean 'text_request_style'"),
        ({"setting": "zs_opt", "shots": 2}, "zs_opt, which show no exemplars; add --setting fs"),
        (
            {"setting": "fs_opt", "template": "text_request_style"},
            "serves none of the settings fs_opt; name another one with --setting",
        ),
    ],
)
def test_what_cannot_be_shown_is_said(task, asked, said):
    with pytest.raises(errors.UsageError) as raised:
        narrowing.narrow(task, **asked)
    assert said in str(raised.value)


def test_given_templates_are_told_apart_by_their_content(task):
    first, second, *_ = (t.id for t in task.templates.load())
    again = dataclasses.replace(task, templates=dataclasses.replace(task.templates))
    prints = [
        narrowing.narrow(narrowed, template=name).fingerprint()
        for narrowed, name in ((task, first), (again, first), (task, second))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_templates_with_a_number_of_their_own_stay_out(task):
    fixed = tuple(
        dataclasses.replace(t, shots=2) if t.kind != "zero_shot" else t
        for t in task.templates.load()
    )
    fixed = dataclasses.replace(task, templates=narrowing.GivenTemplates(templates=fixed))
    assert {e.meta["num_shots"] for e in rendered(fixed, shots=2)} == {2}
    with pytest.raises(errors.UsageError, match=r"fixes its number, to one of \[2\]"):
        narrowing.narrow(fixed, shots=3)
    assert spec.FS_OPT in dict(narrowing.narrow(fixed, shots=2).settings)
