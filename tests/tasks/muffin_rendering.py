# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Renders rows of a builder's own schema through every template and setting of a Muffin task.

Rows come from TFDS's mock of the builder (random text in the real features). Where a mapping
parses the text, a test gives rows by hand instead; they too pass through the builder's features.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import tensorflow as tf
import tensorflow_datasets as tfds

from flan_jax.collection import few_shot, prompts, sources
from flan_jax.collection.prompts import Template, TemplateGroup
from flan_jax.collection.rendering import Rendered, render
from flan_jax.collection.sources import Row
from flan_jax.collection.spec import (
    FEW_SHOT_SETTINGS,
    OPTION_SETTINGS,
    TRAIN,
    Drop,
    Fields,
    TaskSpec,
)
from flan_jax.core.rng import ExampleKey
from tests.tasks.family_rendering import SLOT

NUM_ROWS = 4


def rows_of(spec: TaskSpec, by_hand: Sequence[Row] = ()) -> list[Row]:
    """Returns rows as the task's builder gives them: mocked ones, or those made by hand.

    A row made by hand that does not fit the builder's features is an error.
    """

    def as_dataset(builder, *_, **__):
        features = builder.info.features
        stored = [features.serialize_example(features.encode_example(row)) for row in by_hand]
        return tf.data.Dataset.from_tensor_slices(stored).map(features.deserialize_example)

    instead = as_dataset if by_hand else None
    with tfds.testing.mock_data(num_examples=NUM_ROWS, as_dataset_fn=instead):
        return [row for _, row in spec.source.rows(TRAIN)]


def fields_of(spec: TaskSpec, rows: Iterable[Row]) -> list[Fields]:
    """Returns the fields of every row that is not dropped."""
    kept = []
    for index, row in enumerate(rows):
        try:
            kept.append(spec.map_row(row, TRAIN, index))
        except Drop:
            continue
    return kept


def assert_renders(
    spec: TaskSpec,
    by_hand: Sequence[Row] = (),
    *,
    answer: str = "answer",
    unpunctuated: Iterable[str] = (),
) -> list[Rendered]:
    """Renders rows through every template of the task, in every setting that the template serves.

    Args:
        spec: the task.
        by_hand: rows to use in place of mocked ones; none of them may be dropped.
        answer: as for `prompts.lint`.
        unpunctuated: as for `prompts.lint`.

    Returns:
        What was rendered, once no slot is left in it and nothing is empty.
    """
    fields = fields_of(spec, rows_of(spec, by_hand))
    assert len(fields) >= 2, f"{spec.name}: nearly all rows are dropped; make rows by hand"
    assert not by_hand or len(fields) == len(by_hand), f"{spec.name}: a row by hand is dropped"
    templates, settings = spec.templates.load(), [name for name, _ in spec.settings]
    slots = {name for row in fields for name, value in row.items() if isinstance(value, str)}
    faults = prompts.lint(templates, fields=slots, answer=answer, unpunctuated=unpunctuated)
    assert faults == [], spec.name
    shows_options = any(name in OPTION_SETTINGS for name in settings)
    assert shows_options == any("options" in row for row in fields), spec.name

    rendered = []
    for line, template in zip(_lines(spec.templates), templates, strict=True):
        alone = dataclasses.replace(spec, templates=TemplateGroup(inline=(line,)))
        fitting = [row for row in fields if _has_all(row, template)]
        for setting in settings:
            if template.fits(
                few_shot=setting in FEW_SHOT_SETTINGS, show_options=setting in OPTION_SETTINGS
            ):
                assert len(fitting) >= 2, f"{spec.name}: no rows for template {template.id!r}"
                rendered += render_all(alone, fitting, setting)
    assert {r.meta["template"] for r in rendered} == {template.id for template in templates}
    for setting in settings:  # the whole group: no row is without a template
        rendered += render_all(spec, fields, setting)
    return rendered


def render_all(spec: TaskSpec, rows: list[Fields], setting: str) -> list[Rendered]:
    """Renders every row in one setting, the rows being one another's exemplars."""
    pool = few_shot.ExemplarPool(list(enumerate(rows)))
    done = []
    for index, row in enumerate(rows):
        key = ExampleKey(0, spec.name, index)
        example = render(spec, row, key=key, exemplars=pool, setting=setting, train_index=index)
        where = f"{spec.name}: {example.meta}"
        assert example.inputs.strip() and example.targets.strip(), where
        assert not SLOT.search(example.inputs + example.targets), where
        assert example.targets == example.references[0], where
        assert (example.meta["num_shots"] > 0) == (setting in FEW_SHOT_SETTINGS), where
        done.append(example)
    return done


def _has_all(row: Fields, template: Template) -> bool:
    return all(row.get(slot, "") is not None for slot in template.slots)


def _lines(group: TemplateGroup) -> list[str]:
    return list(sources.read_lines(sources.resolve(group.path)))
