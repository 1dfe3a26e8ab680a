# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chain of thought: nine data sets as FLAN publishes them, a rationale before each answer.

The files are `<name>_train.tsv` in the folder that the environment variable FLAN_JAX_COT_DIR
names (looked up when a task is read, not on import). A tenth of each file's questions is held out
for validation. Options, where a question has any, are part of its text.

The cap is 100,000 examples a task (Chung et al. 2022, App. E). The inverted directions of the
released collection (question from rationale) are not here.
"""

from flan_jax.collection import registry, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import CotTsvSource, HeldOutSource, Row
from flan_jax.evals import answers, metrics

VARIABLE = "FLAN_JAX_COT_DIR"
MIXTURE = "cot"
CAP = 100_000
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
        family="cot",
        source=HeldOutSource(
            CotTsvSource(path or f"${VARIABLE}/{name}_train.tsv"),
            by="question",
            most=NUM_VALIDATION,
        ),
        fields=fields,
        templates=TEMPLATES,
        cap=CAP,
        settings=((spec.ZS_OPT, 0.5), (spec.FS_OPT, 0.5)),
        metrics=(metrics.accuracy,),
        postprocessor=answers.cot_answer,
        category="chain_of_thought",
        licence=DATA_SETS.get(name, ""),
    )


def register() -> list[str]:
    """Registers the nine tasks and the mixture `cot`; returns the tasks' names."""
    names = [registry.add_task(task_spec(name)).name for name in DATA_SETS]
    registry.add_mixture(MIXTURE, names)
    return names


register()
