# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tests of a family check alike: what is registered, and what its templates render."""

import dataclasses
import re
from collections.abc import Callable, Sequence

import seqio

from flan_jax.collection import counts, prompts, registry, sources
from flan_jax.collection.prompts import FORWARD, TemplateGroup
from flan_jax.collection.rendering import Rendered, render_task
from flan_jax.collection.spec import (
    FEW_SHOT_SETTINGS,
    OPTION_SETTINGS,
    TRAIN,
    VALIDATION,
    ZS_NOOPT,
    TaskSpec,
)
from tasks import paper

SLOT = re.compile(r"\{[a-z_][\w.]*\}")


def assert_registered(family: str, names: Sequence[str], register: Callable[[], list[str]]) -> None:
    """Checks that a part of Muffin has these tasks and their twins, in a mixture of its name."""
    assert len(names) == paper.MUFFIN_PARTS[family]
    forward = [f"{family}.{name}" for name in names]
    both = [*forward, *(f"{name}{counts.INVERTED}" for name in forward)]
    assert register() == both  # the same again changes nothing
    assert {t.name for t in seqio.get_mixture_or_task(family).tasks} == set(both)
    assert {registry.get_spec(name).cap for name in both} == {paper.CAPS["muffin"]}


def first_prompt(task: TaskSpec) -> tuple[str, str]:
    """Returns input and target of the first validation example, at seed 0 and zero-shot."""
    example = next(render_task(task, VALIDATION, 0, setting=ZS_NOOPT))
    return example.inputs, example.targets


def assert_renders(task: TaskSpec, slots: tuple[str, ...], **lint) -> list[Rendered]:
    """Returns what every template gives for every row of `train`.

    The rows' text must hold no braces. A twin must have inverted templates alone, the other task
    forward ones.
    """
    templates = task.templates.load()
    assert prompts.lint(templates, fields=slots, **lint) == [], task.name
    inverted = task.name.endswith(counts.INVERTED)
    assert {t.direction == FORWARD for t in templates} == {not inverted}, task.name
    lines = list(sources.read_lines(sources.resolve(task.templates.path)))
    rendered = []
    for setting, _ in task.settings:
        few = setting in FEW_SHOT_SETTINGS
        fitting = [
            line
            for line, template in zip(lines, templates, strict=True)
            if template.fits(few_shot=few, show_options=setting in OPTION_SETTINGS)
        ]
        assert len(fitting) >= 10, f"{task.name}: {len(fitting)} templates for {setting}"
        for line in fitting:
            alone = dataclasses.replace(task, templates=TemplateGroup(inline=(line,)))
            for example in render_task(alone, TRAIN, 0, setting=setting):
                assert isinstance(example, Rendered), example
                assert example.inputs.strip() and example.targets.strip(), example
                assert not SLOT.search(example.inputs + example.targets), example
                assert (example.meta["num_shots"] > 0) == few, example
                rendered.append(example)
    assert {r.meta["template"] for r in rendered} == {t.id for t in templates}
    return rendered
