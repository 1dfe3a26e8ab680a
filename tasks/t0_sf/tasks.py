# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The 193 tasks of T0-SF by their P3 names: one line of tasks.csv a task.

`flan_jax/collection/p3.py` says where rows and prompts come from. Of tasks.csv, `template` is the
name in promptsource 0.2.3's file for data set and subset; `num_train` and `num_validation` are P3's
own counts, of rows its template makes a prompt of (0: no such split); `metrics` name
`evals/metrics.py`'s nearest to promptsource's (Squad: accuracy and token_f1; BLEU and ROUGE:
rouge_l); `tfds` is a builder whose rows have the fields the templates show. RACE's builder has
not: it gives one row a passage, not a question.

A P3 prompt is one text, put into a second, thin template of the task's group: `question_answer`,
`multiple_choice` (the prompt shows the choices), `multiple_choice_separated_options` (it does not).
Nothing of it is cut: a prompt that is too long is dropped.
"""

import csv
import functools
from collections.abc import Mapping
from pathlib import Path

from flan_jax.collection import p3, registry, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.evals import metrics
from tasks import paper

FAMILY = "t0_sf"

# Field mapping of each template group, and whether its prompts may list options.
GROUPS = {
    "question_answer": (p3.question_answer, paper.SETTINGS_PLAIN),
    "multiple_choice": (p3.multiple_choice, paper.SETTINGS_PLAIN),
    "multiple_choice_separated_options": (p3.separated_options, paper.SETTINGS_ALL),
}

# Licence of the data; "" where its publishers state none, or terms of their own.
LICENCES = {
    "adversarial_qa": "CC-BY-SA-4.0",
    "amazon_polarity": "",
    "app_reviews": "",
    "cos_e": "BSD-3-Clause",
    "dbpedia_14": "CC-BY-SA-3.0",
    "dream": "",
    "duorc": "MIT",
    "kilt_tasks": "MIT",
    "qasc": "",
    "quail": "CC-BY-NC-SA-4.0",
    "quarel": "CC-BY-4.0",
    "quartz": "CC-BY-4.0",
    "quoref": "CC-BY-4.0",
    "race": "",
    "ropes": "CC-BY-4.0",
    "sciq": "CC-BY-NC-3.0",
    "social_i_qa": "",
    "web_questions": "",
    "wiki_bio": "CC-BY-SA-3.0",
    "wiki_hop": "CC-BY-SA-3.0",
    "wiki_qa": "",
    "wiqa": "",
}


def task_spec(row: Mapping[str, str]) -> spec.TaskSpec:
    """Returns the task of a line of tasks.csv; it opens nothing."""
    fields, settings = GROUPS[row["group"]]
    splits = spec.SPLITS if int(row["num_validation"]) else (spec.TRAIN,)
    return spec.TaskSpec(
        name=f"{FAMILY}.{row['p3_name']}",
        family=FAMILY,
        source=p3.P3Source(
            name=row["p3_name"],
            dataset=row["dataset"],
            subset=row["subset"],
            template=row["template"],
            splits=splits,
            tfds=row["tfds"],
        ),
        fields=fields,
        templates=TemplateGroup(f"package:tasks/t0_sf/templates/{row['group']}.jsonl"),
        cap=paper.CAPS[FAMILY],
        settings=settings,
        metrics=tuple(metrics.SEQIO_METRICS[name] for name in row["metrics"].split()),
        category=row["category"],
        licence=LICENCES[row["dataset"]],
        splits=splits,
        few_shot=paper.FEW_SHOT,
        option_styles=paper.OPTION_STYLES,
    )


@functools.cache
def facts() -> tuple[dict[str, str], ...]:
    """Returns the lines of tasks.csv."""
    with open(Path(__file__).with_name("tasks.csv"), encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def register() -> list[str]:
    """Registers the 193 tasks; returns their names."""
    return [registry.add_task(task_spec(row)).name for row in facts()]
