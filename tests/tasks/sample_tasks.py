# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Registers the text-formatting tasks over a file too short for their own cuts.

ParaCrawl has millions of rows, of which each task uses 30,200 at its own place; a sample has a few
hundred. Nothing but name and cut is changed. The builder's processes import this too.
"""

import dataclasses

from flan_jax.collection import registry
from flan_jax.collection.tfds_source import ExportedSource
from tasks.muffin import declaring, text_formatting


def _on_a_sample(name: str, task):
    folder = f"${declaring.VARIABLE}/{name}"
    cuts = {"train": "train[:-50]", "validation": "train[-50:]"}
    return dataclasses.replace(task, name=f"sample.{name}", source=ExportedSource(folder, cuts))


NAMES = {
    name: registry.add_task(_on_a_sample(name, task)).name
    for task in text_formatting.TASKS
    for name in [task.name.removeprefix("muffin.")]
}
