# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin, natural language inference: RTE, ANLI, CommitmentBank, MNLI, QNLI, WNLI and SNLI.

mnli_matched and mnli_mismatched share no training row: each has half of MNLI's train split, cut
by position, and its own validation split. (The released collection trains both on all of it, so
that every row counts twice.) The two halves hold all genres alike, as only the validation splits
differ in genre.

Premises are never cut: what is left of one need not support the label.
"""

from collections.abc import Sequence

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from flan_jax.evals import corpus_metrics, metrics
from tasks.muffin import declaring, scoring
from tasks.muffin.declaring import TAIL, label, task

CATEGORY = "Natural Language Inference"
# The first row of MNLI's 392,702 that is in the second half.
MNLI_MIDDLE = 196_351

_ENTAILMENT = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")
_YES_NO = ("yes", "no")
_CAN_TELL = ("yes", "it is not possible to tell", "no")


def rte(row: Row) -> spec.Fields:
    """Returns premise, hypothesis and whether it follows: yes or no."""
    return _pair(row, "premise", "hypothesis", _YES_NO, _ENTAILMENT)


def anli(row: Row) -> spec.Fields:
    """Returns context, hypothesis and one of three answers."""
    answers = ("Yes", "It's impossible to say", "No")
    return _pair(row, "context", "hypothesis", answers, ("e", "n", "c"))


def cb(row: Row) -> spec.Fields:
    """Returns premise, hypothesis and one of three answers; neutral is the last label here."""
    answers = ("Yes", "No", "It's impossible to say")
    return _pair(row, "premise", "hypothesis", answers, ("entailment", "contradiction", "neutral"))


def mnli(row: Row) -> spec.Fields:
    """Returns premise, hypothesis and one of three answers."""
    return _pair(row, "premise", "hypothesis", _CAN_TELL, _THREE_WAY)


def snli(row: Row) -> spec.Fields:
    """Returns premise, hypothesis and one of three answers; raters that disagree give no label."""
    return _pair(row, "premise", "hypothesis", _CAN_TELL, _THREE_WAY)


def qnli(row: Row) -> spec.Fields:
    """Returns question, sentence and whether it holds the answer: yes or no."""
    return _pair(row, "question", "sentence", _YES_NO, _ENTAILMENT)


def wnli(row: Row) -> spec.Fields:
    """Returns two sentences and whether the second follows; no is the first label here."""
    return _pair(row, "sentence1", "sentence2", ("no", "yes"), ("not_entailment", "entailment"))


def _pair(
    row: Row, first: str, second: str, answers: Sequence[str], names: Sequence[str]
) -> spec.Fields:
    declaring.required(row, first, second)
    return {
        first: row[first].strip(),
        second: row[second].strip(),
        "options": list(answers),
        "answer": label(row["label"], answers, names),
    }


TASKS = (
    task(
        "rte", "super_glue/rte:1.0.2", rte, **TAIL,
        category=CATEGORY, options=True,
    ),
    *(
        task(
            f"anli_{name}", f"anli/{name}:0.1.0", anli,
            train="train", validation="validation",
            category=CATEGORY, licence="CC-BY-NC-4.0", group="anli", options=True,
        )
        for name in ("r1", "r2", "r3")
    ),
    task(
        "cb", "super_glue/cb:1.0.2", cb,
        train="train[:-50]", validation="train[-50:]",
        category=CATEGORY, options=True,
        metrics=(corpus_metrics.macro_f1, metrics.accuracy), postprocessor=scoring.commitment,
    ),
    task(
        "mnli_matched", "glue/mnli:2.0.0", mnli,
        train=f"train[:{MNLI_MIDDLE}]", validation="validation_matched",
        category=CATEGORY, group="mnli", options=True,
    ),
    task(
        "mnli_mismatched", "glue/mnli:2.0.0", mnli,
        train=f"train[{MNLI_MIDDLE}:]", validation="validation_mismatched",
        category=CATEGORY, group="mnli", options=True,
    ),
    task(
        "qnli", "glue/qnli:2.0.0", qnli, **TAIL,
        category=declaring.MULTIPLE_CHOICE, licence="CC-BY-SA-4.0", options=True,
    ),
    task(
        "wnli", "glue/wnli:2.0.0", wnli,
        train="train[:-30]", validation="train[-30:]",
        category=declaring.COREFERENCE, options=True,
    ),
    task(
        "snli", "snli:1.1.0", snli,
        train="train", validation="validation",
        category=CATEGORY, licence="CC-BY-SA-4.0", options=True,
    ),
)  # fmt: skip
