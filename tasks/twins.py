# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Inverted twins: a task asked the other way round, as a task of its own beside it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.collection import counts, registry, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import Row, Source
from flan_jax.evals import metrics as metrics_lib
from tasks import paper

FieldMapping = Callable[[Row], spec.Fields]
# A task and its inverted twin.
Pair = tuple[spec.TaskSpec, spec.TaskSpec]


def pair(
    family: str,
    name: str,
    source: Source,
    fields: FieldMapping,
    *,
    metrics: Sequence[spec.MetricFn],
    category: str,
    licence: str = "",
    group: str = "",
    inverted: FieldMapping | None = None,
) -> Pair:
    """Returns the task `<family>.<name>`, without options and one of Muffin's, and its twin.

    It opens nothing.

    Args:
        family: a package of tasks/, which holds the templates of both.
        name: without the family.
        source: where the rows of both come from.
        fields: maps a row to fields.
        metrics: SeqIO metric functions of the task.
        category: of the paper's task categories.
        licence: of the data; "" where its publishers state none.
        group: the template file's name; the task's by default.
        inverted: the twin's field mapping; the task's by default.
    """
    task = spec.TaskSpec(
        name=f"{family}.{name}",
        family=family,
        source=source,
        fields=fields,
        templates=TemplateGroup(f"package:tasks/{family}/templates/{group or name}.jsonl"),
        cap=paper.CAPS["muffin"],
        settings=paper.SETTINGS_PLAIN,
        metrics=tuple(metrics),
        category=category,
        licence=licence,
        few_shot=paper.FEW_SHOT,
    )
    return task, twin_of(task, inverted)


def twin_of(task: spec.TaskSpec, fields: FieldMapping | None = None) -> spec.TaskSpec:
    """Returns the inverted twin `<name>_input_inversion` of a task; it opens nothing.

    It reads the same rows, and its templates stand beside the task's, in a file with the same
    ending to its name. Its targets are long texts that have no extracted answer, so they are
    scored by ROUGE-L.

    Args:
        task: the forward task.
        fields: its field mapping; the task's own by default.
    """
    templates = f"{task.templates.path.removesuffix('.jsonl')}{counts.INVERTED}.jsonl"
    return dataclasses.replace(
        task,
        name=f"{task.name}{counts.INVERTED}",
        fields=fields or task.fields,
        templates=TemplateGroup(templates),
        metrics=(metrics_lib.rouge_l,),
        postprocessor=None,
        category=f"Inverted {task.category}",
    )


def rate(task: Any) -> float:
    """Returns a twin's rate in a mixture, a share of what its forward task has by default."""
    return paper.INVERTED_RATE * registry.capped_size(task)


def register(mixture: str, pairs: Sequence[Pair]) -> list[str]:
    """Registers tasks, their twins and a mixture of all; returns the names, the twins' last."""
    names = [tuple(registry.add_task(task).name for task in both) for both in pairs]
    forward, inverted = zip(*names, strict=True)
    add_mixture(mixture, forward, inverted)
    return [*forward, *inverted]


def add_mixture(name: str, forward: Sequence[str], twins: Sequence[str]) -> None:
    """Registers a mixture of tasks at their default rates and twins at `rate`."""
    registry.add_mixture(name, [*forward, *((twin, rate) for twin in twins)])
