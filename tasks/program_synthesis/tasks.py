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

from flan_jax.collection import spec
from flan_jax.collection.sources import HeldOutSource, JsonLinesSource, Row
from flan_jax.collection.tables import TwoColumnTsv
from flan_jax.evals import metrics
from tasks import twins

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


def task_specs() -> list[twins.Pair]:
    """Returns the five tasks, each with its inverted twin; it opens nothing."""
    scores = (metrics.exact_match, metrics.rouge_l)
    pairs = []
    for form in REPAIR_FORMS:
        table = TwoColumnTsv(f"${VARIABLE}/dr_repair_{form}.tsv", ("broken", "fixed"))
        source = HeldOutSource(table, by="fixed", most=NUM_VALIDATION)
        pairs.append(
            twins.pair(
                FAMILY, f"dr_repair_{form}", source, repair, group="dr_repair",
                metrics=scores, category="Code Repair",
            )
        )  # fmt: skip
    lines = JsonLinesSource({spec.TRAIN: f"${VARIABLE}/dmcc_python.jsonl"})
    source = HeldOutSource(lines, by="inputs", most=NUM_VALIDATION)
    pairs.append(
        twins.pair(
            FAMILY, "dmcc_python", source, contest,
            metrics=scores, category="Code Generation", licence="CC-BY-4.0",
        )
    )  # fmt: skip
    return pairs


def register() -> list[str]:
    """Registers the tasks, their twins and the mixture; returns the names of all."""
    return twins.register(MIXTURE, task_specs())


def _fields(question: str, answer: str) -> spec.Fields:
    texts = {"question": question, "answer": answer}
    for name, text in texts.items():
        if not text.strip():
            raise spec.Drop(f"empty {name}")
    # The first line with text may be indented, so that only blank lines are taken off the front.
    return {name: _BLANK_LINES.sub("", text).rstrip() for name, text in texts.items()}


register()
