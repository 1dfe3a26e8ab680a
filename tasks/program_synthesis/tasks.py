# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Program synthesis: four forms of Dr Repair's code repair, contest problems, inverted twins.

The released collection names these five tasks and has no data for them. Files are looked for in
the folder that the environment variable FLAN_JAX_PROGRAM_DIR names:
  * `dr_repair_<form>.tsv`: broken code, a tab, the fixed code, escaped as `collection/tables.py`
    says. The form is what stands beside the broken code: `error_comments`, `line_numbers`,
    `no_errors` (nothing on the error) or `plain_code`.
  * `dmcc_python.jsonl`: an object a line, `inputs` a problem of DeepMind's Code Contests and
    `targets` a Python program that solves it. `[code]` before a text, `[BEGIN]` after a problem
    and `[DONE]` after a program are taken off; so is white space at the end, of which the released
    collection adds four line breaks to each program.

A tenth of the programs, or problems, is held out for validation with all its rows.
"""

import re
from collections.abc import Callable

from flan_jax.collection import registry, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import HeldOutSource, JsonLinesSource, Row, Source
from flan_jax.collection.tables import TwoColumnTsv
from flan_jax.evals import metrics
from tasks import paper, twins

FAMILY = MIXTURE = "program_synthesis"
VARIABLE = "FLAN_JAX_PROGRAM_DIR"
REPAIR_FORMS = ("error_comments", "line_numbers", "no_errors", "plain_code")
# Most programs or problems of a task kept for validation.
NUM_VALIDATION = 1_000

_BLANK_LINES = re.compile(r"\A\s*\n")


def repair(row: Row) -> spec.Fields:
    """Returns the broken code as `question` and the fixed code as `answer`."""
    fields = _fields(row["broken"], row["fixed"])
    if fields["question"] == fields["answer"]:
        raise spec.Drop("broken and fixed code are the same")
    return fields


def contest(row: Row) -> spec.Fields:
    """Returns the problem as `question` and the program as `answer`."""
    question = row["inputs"].strip().removeprefix("[code]").removesuffix("[BEGIN]")
    answer = row["targets"].rstrip().removeprefix("[code]").removesuffix("[DONE]")
    return _fields(question, answer)


def task_specs() -> list[tuple[spec.TaskSpec, spec.TaskSpec]]:
    """Returns the five tasks, each with its inverted twin; it opens nothing."""
    pairs = []
    for form in REPAIR_FORMS:
        table = TwoColumnTsv(f"${VARIABLE}/dr_repair_{form}.tsv", ("broken", "fixed"))
        source = HeldOutSource(table, by="fixed", most=NUM_VALIDATION)
        pairs.append(_pair(f"dr_repair_{form}", source, repair, "dr_repair", "Code Repair"))
    lines = JsonLinesSource({spec.TRAIN: f"${VARIABLE}/dmcc_python.jsonl"})
    source = HeldOutSource(lines, by="inputs", most=NUM_VALIDATION)
    licence = "CC-BY-4.0"
    pairs.append(_pair("dmcc_python", source, contest, "dmcc_python", "Code Generation", licence))
    return pairs


def register() -> list[str]:
    """Registers the tasks, their twins and the mixture; returns the names of all."""
    pairs = [tuple(registry.add_task(task).name for task in pair) for pair in task_specs()]
    forward, inverted = zip(*pairs, strict=True)
    twins.add_mixture(MIXTURE, forward, inverted)
    return [*forward, *inverted]


def _fields(question: str, answer: str) -> spec.Fields:
    texts = {"question": question, "answer": answer}
    for name, text in texts.items():
        if not text.strip():
            raise spec.Drop(f"empty {name}")
    # The first line with text may be indented, so that only blank lines are taken off the front.
    return {name: _BLANK_LINES.sub("", text).rstrip() for name, text in texts.items()}


def _pair(
    name: str,
    source: Source,
    fields: Callable[[Row], spec.Fields],
    group: str,
    category: str,
    licence: str = "",
) -> tuple[spec.TaskSpec, spec.TaskSpec]:
    folder = "package:tasks/program_synthesis/templates"
    task = spec.TaskSpec(
        name=f"{FAMILY}.{name}",
        family=FAMILY,
        source=source,
        fields=fields,
        templates=TemplateGroup(f"{folder}/{group}.jsonl"),
        cap=paper.CAPS["muffin"],
        settings=paper.SETTINGS_PLAIN,
        metrics=(metrics.exact_match, metrics.rouge_l),
        category=category,
        licence=licence,
        few_shot=paper.FEW_SHOT,
    )
    return task, twins.twin_of(task, f"{folder}/{group}_input_inversion.jsonl")


register()
