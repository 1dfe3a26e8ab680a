# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a Muffin task is declared: the parts that all of them share.

A task's rows come from its TFDS builder; or, where that is not prepared, from JSON lines in the
builder's own fields, `$FLAN_JAX_MUFFIN_DIR/<task>/<TFDS split>.jsonl`, with a class label as its
number or its name.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.collection import spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import FilteredSource, Row
from flan_jax.collection.tfds_source import ExportedSource, FirstOf, TfdsSource
from flan_jax.evals import metrics
from tasks import paper

VARIABLE = "FLAN_JAX_MUFFIN_DIR"
FAMILY = "muffin"

# What is read of a data set of millions of rows: twice the cap, as some rows are dropped. TFDS
# stores rows in random order, so the first ones are a fair sample; reading all of WMT's 40 million
# to choose 30,000 would take hours.
HEAD = f"train[:{2 * paper.CAPS[FAMILY]}]"
# Where most tasks cut their validation.
TAIL = {"train": "train[:-200]", "validation": "train[-200:]"}

# Categories of several themes, and the metrics of answers that are a few words.
COREFERENCE = "Coreference Resolution"
EXTRACTIVE = "Extractive QA"
MULTIPLE_CHOICE = "Multiple-Choice QA (no trivia knowledge required)"
QA_METRICS = (metrics.accuracy, metrics.token_f1)


def task(
    name: str,
    builder: str,
    fields: Callable[[Row], spec.Fields],
    *,
    train: str,
    validation: str,
    category: str,
    licence: str = "",
    group: str = "",
    options: bool = False,
    keep: Callable[[Row], bool] | None = None,
    trim: str | None = None,
    metrics: Sequence[spec.MetricFn] = (metrics.accuracy,),
    postprocessor: Callable[..., Any] | None = None,
) -> spec.TaskSpec:
    """Returns the task `muffin.<name>`; it opens nothing.

    Args:
        name: without the family.
        builder: TFDS `builder/config:version`.
        fields: maps a row of the builder to fields.
        train: what of the builder is trained on, such as `train[:-200]`.
        validation: what is validated on.
        category: of the paper's task categories.
        licence: of the data; "" where its publishers state none.
        group: the template file's name; the task's by default.
        options: whether the fields hold `options`.
        keep: which of the builder's rows are the task's; all by default.
        trim: the field that may be cut at its end when a prompt is too long.
        metrics: SeqIO metric functions.
        postprocessor: SeqIO postprocessor.
    """
    splits = {spec.TRAIN: train, spec.VALIDATION: validation}
    folder = f"${VARIABLE}/{name}"
    source = FirstOf((TfdsSource(builder, splits), ExportedSource(folder, splits)))
    return spec.TaskSpec(
        name=f"{FAMILY}.{name}",
        family=FAMILY,
        source=FilteredSource(source, keep) if keep else source,
        fields=fields,
        templates=TemplateGroup(f"package:tasks/muffin/templates/{group or name}.jsonl"),
        cap=paper.CAPS[FAMILY],
        settings=paper.SETTINGS_ALL if options else paper.SETTINGS_PLAIN,
        metrics=tuple(metrics),
        postprocessor=postprocessor,
        category=category,
        licence=licence,
        few_shot=paper.FEW_SHOT,
        option_styles=paper.OPTION_STYLES,
        trim_field=trim,
    )


def label(value: Any, answers: Sequence[str], names: Sequence[str] = ()) -> str:
    """Returns the answer of a class label.

    Args:
        value: the label's number, its name, or a truth value.
        answers: the answer of each number.
        names: what the data calls each number, where labels may be given by name.

    Raises:
        Drop: there is no label (-1, as in test splits), or an unknown one.
    """
    if isinstance(value, str) and value in names:
        value = list(names).index(value)
    if isinstance(value, str) or value is None or not 0 <= int(value) < len(answers):
        raise spec.Drop("no label")
    return answers[int(value)]


def required(row: Row, *names: str) -> None:
    """Raises `Drop` if one of the row's texts is empty."""
    for name in names:
        if not row[name].strip():
            raise spec.Drop(f"empty {name}")
