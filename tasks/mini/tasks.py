# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tasks of the mini collection, as SeqIO tasks; importing registers them.

Training tasks are rendered zero-shot and few-shot, with and without answer options. Held-out tasks
have a validation split alone and are rendered zero-shot, without options: with options shown, the
form of the answer is not asked for, and other tasks' prompts would be the same. The same questions
are there in two other forms, as tasks of their own: after exemplars, and asked for a rationale.
"""

import dataclasses
import functools

from flan_jax.collection import registry
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import GeneratedSource, Row
from flan_jax.collection.spec import (
    FS_NOOPT,
    FS_OPT,
    TRAIN,
    VALIDATION,
    ZS_NOOPT,
    ZS_OPT,
    FewShot,
    Fields,
    TaskSpec,
)
from flan_jax.evals import answers, metrics
from tasks.mini import catalogue, skills

# Raise it when rows change.
VERSION = "1"
LICENCE = "Apache-2.0"
NUM_TRAIN_ROWS = 400
NUM_VALIDATION_ROWS = 16
NUM_HELDOUT_ROWS = 32
# Each family's cap, as the paper caps each of its own (Chung et al. 2022, App. E).
CAPS = {catalogue.MUFFIN: 320, catalogue.T0: 320, catalogue.NIV2: 320, catalogue.COT: 400}
FEW_SHOT = FewShot(max_shots=2, pool_size=64, delimiters=(("\n", "\n\n"), ("\n", "\n---\n")))
OPTION_STYLES = ("dash", "star", "upper_round")

# Mostly zero-shot: exemplars make a prompt three times as long, and the models are trained briefly.
_SETTINGS = {
    catalogue.MUFFIN: ((ZS_NOOPT, 0.86), (ZS_OPT, 0.07), (FS_NOOPT, 0.05), (FS_OPT, 0.02)),
    catalogue.T0: ((ZS_NOOPT, 0.87), (ZS_OPT, 0.08), (FS_NOOPT, 0.05)),
    catalogue.NIV2: ((ZS_NOOPT, 0.88), (FS_NOOPT, 0.12)),
    catalogue.COT: ((ZS_NOOPT, 0.95), (FS_NOOPT, 0.05)),
}


def fields(row: Row) -> Fields:
    """Returns a row as it is: it is made of fields."""
    return row


def make_row(entry: catalogue.Entry, split: str, index: int) -> Row:
    """Returns one row of a task."""
    return skills.make_row(entry.skill, entry.name, split, index)


@functools.cache  # partials compare by identity: one spec for an entry
def task_spec(entry: catalogue.Entry) -> TaskSpec:
    """Returns the task of a catalogue entry; it makes no row."""
    held_in = entry.group == catalogue.HELD_IN
    num_rows = {VALIDATION: NUM_VALIDATION_ROWS if held_in else NUM_HELDOUT_ROWS}
    if held_in:
        num_rows[TRAIN] = NUM_TRAIN_ROWS
    is_cot = entry.family == catalogue.COT
    return TaskSpec(
        name=entry.name,
        family=entry.family,
        source=GeneratedSource(functools.partial(make_row, entry), num_rows, VERSION),
        fields=fields,
        templates=_templates(entry.family),
        cap=CAPS[entry.family],
        settings=_SETTINGS[entry.family] if held_in else ((ZS_NOOPT, 1.0),),
        metrics=(metrics.exact_match,),
        postprocessor=answers.cot_answer if is_cot else answers.whole_text,
        category=entry.group,
        licence=LICENCE,
        version=VERSION,
        splits=tuple(sorted(num_rows)),
        few_shot=FEW_SHOT,
        option_styles=OPTION_STYLES,
    )


@functools.cache
def with_exemplars(entry: catalogue.Entry) -> TaskSpec:
    """Returns a held-out task as it is asked after two exemplars, which are never trained on."""
    num_rows = {TRAIN: FEW_SHOT.pool_size, VALIDATION: NUM_HELDOUT_ROWS}
    return dataclasses.replace(
        task_spec(entry),
        name=f"{entry.name}.few_shot",
        source=GeneratedSource(functools.partial(make_row, entry), num_rows, VERSION),
        settings=((FS_NOOPT, 1.0),),
        few_shot=dataclasses.replace(FEW_SHOT, min_shots=FEW_SHOT.max_shots),
    )


@functools.cache
def with_rationale(entry: catalogue.Entry) -> TaskSpec:
    """Returns a held-out task as the chain-of-thought family asks: for reasons, then the answer."""
    return dataclasses.replace(
        task_spec(entry),
        name=f"{entry.name}.{catalogue.COT}",
        family=catalogue.COT,
        templates=_templates(catalogue.COT),
        postprocessor=answers.cot_answer,
    )


def register() -> dict[str, list[str]]:
    """Registers all tasks; returns their names by group, training tasks in catalogue order."""
    return {
        group: [registry.add_task(task_spec(entry)).name for entry in entries]
        for group, entries in (
            (catalogue.HELD_IN, catalogue.training()),
            (catalogue.HELDOUT_COMBINATION, catalogue.heldout_combinations()),
            (catalogue.HELDOUT_SKILL, catalogue.heldout_skills()),
        )
    }


def register_asked_otherwise() -> dict[str, list[str]]:
    """Registers the held-out tasks in their other forms; returns their names by mixture."""
    combinations, unseen = catalogue.heldout_combinations(), catalogue.heldout_skills()
    return {
        mixture: [registry.add_task(form(entry)).name for entry in entries]
        for mixture, form, entries in (
            ("mini_heldout_combinations_few_shot", with_exemplars, combinations),
            ("mini_heldout_skills_few_shot", with_exemplars, unseen),
            ("mini_heldout_combinations_cot", with_rationale, combinations),
        )
    }


def _templates(family: str) -> TemplateGroup:
    return TemplateGroup(f"package:tasks/mini/templates/{family}.jsonl")


register()
