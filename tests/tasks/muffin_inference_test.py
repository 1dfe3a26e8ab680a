# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Natural language inference: every data set's labels mean what its answers say."""

import pytest
import tensorflow_datasets as tfds

from flan_jax.collection import spec
from tasks.muffin import inference
from tests.tasks import muffin_rendering, muffin_samples

TASKS = {task.name.removeprefix("muffin."): task for task in inference.TASKS}


@pytest.mark.parametrize("task", inference.TASKS, ids=lambda task: task.name)
def test_every_template_renders_rows_of_the_builders_schema(task):
    muffin_rendering.assert_renders(task)


@pytest.mark.parametrize("name", TASKS)
def test_labels_have_the_builders_names(name):
    """The order of answers is checked against the names that TFDS gives the numbers."""
    meaning = {"entailment": "yes", "e": "yes", "not_entailment": "no", "contradiction": "no",
               "c": "no", "neutral": "neither", "n": "neither"}  # fmt: skip
    builder = tfds.builder(TASKS[name].source.sources[0].name)
    [row, *_] = muffin_rendering.rows_of(TASKS[name])
    for number, label in enumerate(builder.info.features["label"].names):
        fields = TASKS[name].fields({**row, "label": number})
        answer = fields["answer"].lower()
        assert (answer if answer in ("yes", "no") else "neither") == meaning[label]
        assert TASKS[name].fields({**row, "label": label}) == fields  # as published
        assert fields["options"][number] == fields["answer"]


def test_rows_without_label_are_dropped():
    pair = {"premise": "Ann sings.", "hypothesis": "Ann is silent."}
    for label in (-1, None, "-", "hidden"):
        with pytest.raises(spec.Drop, match="no label"):
            inference.snli({**pair, "label": label})
    with pytest.raises(spec.Drop, match="empty hypothesis"):
        inference.snli({**pair, "hypothesis": " ", "label": 0})


def test_cb_and_mnli_order_their_labels_differently():
    pair = {"premise": "Ann may sing.", "hypothesis": "Ann sings."}
    assert inference.cb({**pair, "label": 1})["answer"] == "No"
    assert inference.mnli({**pair, "label": 1})["answer"] == "it is not possible to tell"


def test_the_two_mnli_tasks_share_no_row():
    """By the cuts of the one train split, and by what is read of it."""
    first, second = TASKS["mnli_matched"].source, TASKS["mnli_mismatched"].source
    assert first.sources[0].name == second.sources[0].name
    one, other = (dict(s.sources[0].splits) for s in (first, second))
    rows = list(range(2 * inference.MNLI_MIDDLE))
    cut = [rows[_slice(splits["train"])] for splits in (one, other)]
    assert not set(cut[0]) & set(cut[1]) and cut[0] + cut[1] == rows
    assert (one["validation"], other["validation"]) == (
        "validation_matched",
        "validation_mismatched",
    )


@pytest.mark.parametrize("name", ["rte", "cb"])
def test_real_rows_all_give_a_prompt(name):
    rendered, dropped = muffin_samples.render_samples(TASKS[name])
    assert rendered and not dropped


def _slice(cut: str) -> slice:
    begin, end = cut.removeprefix("train[").removesuffix("]").split(":")
    return slice(int(begin) if begin else None, int(end) if end else None)
