# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Inverted twins: a task asked the other way round, as a task of its own beside it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.collection import registry, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import Row
from flan_jax.evals import metrics
from tasks import paper


def twin_of(
    task: spec.TaskSpec,
    templates: str,
    fields: Callable[[Row], spec.Fields] | None = None,
) -> spec.TaskSpec:
    """Returns the inverted twin `<name>_input_inversion` of a task; it opens nothing.

    It reads the same rows. Its targets are long texts that have no extracted answer, so they are
    scored by ROUGE-L.

    Args:
        task: the forward task.
        templates: path of the inverted templates.
        fields: its field mapping; the task's own by default.
    """
    return dataclasses.replace(
        task,
        name=f"{task.name}_input_inversion",
        fields=fields or task.fields,
        templates=TemplateGroup(templates),
        metrics=(metrics.rouge_l,),
        postprocessor=None,
        category=f"Inverted {task.category}",
    )


def rate(task: Any) -> float:
    """Returns a twin's rate in a mixture, a share of what its forward task has by default."""
    return paper.INVERTED_RATE * registry.capped_size(task)


def add_mixture(name: str, forward: Sequence[str], twins: Sequence[str]) -> None:
    """Registers a mixture of tasks at their default rates and twins at `rate`."""
    registry.add_mixture(name, [*forward, *((twin, rate) for twin in twins)])
