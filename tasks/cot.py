# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chain of thought: nine data sets as FLAN publishes them, a rationale before each answer.

The files are `<name>_train.tsv` in the folder that the environment variable FLAN_JAX_COT_DIR
names (looked up when a task is read, not on import). A tenth of each file's questions is held out
for validation. Options, where a question has any, are part of its text.

Each data set has an inverted twin as well, whose templates ask for question, rationale or both
from what is left. The mixture `cot` holds tasks and twins, `cot_forward` the nine tasks alone.
"""

from flan_jax.collection import registry, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import CotTsvSource, HeldOutSource, Row
from flan_jax.evals import answers, metrics
from tasks import paper, twins

VARIABLE = "FLAN_JAX_COT_DIR"
FAMILY = MIXTURE = "cot"
FORWARD_MIXTURE = "cot_forward"
# Most questions of a data set kept for validation.
NUM_VALIDATION = 1_000

TEMPLATES = TemplateGroup("package:tasks/templates/cot.jsonl")

# Name and licence of the data; "" where its publishers state none.
DATA_SETS = {
    "aqua": "Apache-2.0",
    "creak": "MIT",
    "ecqa": "CDLA-Sharing-1.0",
    "esnli": "MIT",
    "gsm8k": "MIT",
    "qasc": "",
    "qed": "CC-BY-SA-3.0",
    "sensemaking": "",
    "strategyqa": "",
}


def fields(row: Row) -> spec.Fields:
    """Returns question, answer and rationale without white space around them."""
    texts = {name: row[name].strip() for name in CotTsvSource.COLUMNS}
    for name, text in texts.items():
        if not text:
            raise spec.Drop(f"empty {name}")
    return texts


def task_spec(name: str, path: str = "") -> spec.TaskSpec:
    """Returns the task of one data set; it opens nothing.

    Args:
        name: one of `DATA_SETS`, or the name of a user's own file of the same format.
        path: the file; by default `<name>_train.tsv` in the folder that FLAN_JAX_COT_DIR names.
    """
    return spec.TaskSpec(
        name=f"cot.{name}",
        family=FAMILY,
        source=HeldOutSource(
            CotTsvSource(path or f"${VARIABLE}/{name}_train.tsv"),
            by="question",
            most=NUM_VALIDATION,
        ),
        fields=fields,
        templates=TEMPLATES,
        cap=paper.CAPS[FAMILY],
        settings=paper.SETTINGS_PLAIN,
        metrics=(metrics.accuracy,),
        postprocessor=answers.cot_answer,
        category="chain_of_thought",
        licence=DATA_SETS.get(name, ""),
        few_shot=paper.FEW_SHOT,
    )


def twin_spec(name: str, path: str = "") -> spec.TaskSpec:
    """Returns the inverted twin of `task_spec(name, path)`."""
    return twins.twin_of(task_spec(name, path))


def register() -> list[str]:
    """Registers tasks, twins and the mixtures `cot` and `cot_forward`; returns the tasks' names."""
    forward = [registry.add_task(task_spec(name)).name for name in DATA_SETS]
    inverted = [registry.add_task(twin_spec(name)).name for name in DATA_SETS]
    registry.add_mixture(FORWARD_MIXTURE, forward)
    twins.add_mixture(MIXTURE, forward, inverted)
    return [*forward, *inverted]


register()
