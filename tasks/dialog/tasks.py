# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dialog: the next turn of WikiDialog, QReCC and Taskmaster conversations, and inverted twins.

WikiDialog and QReCC are TFDS data sets, Taskmaster the JSON files of its repository in the folder
FLAN_JAX_TASKMASTER_DIR. Rows of all three may also be given as JSON lines, with the same columns:
`$FLAN_JAX_DIALOG_DIR/<name>/<split>.jsonl`.

Turns that may be predicted are those of the released collection (`tasks/paper.py`), only that
Taskmaster's speakers are the ones its files name, where the release takes it that they alternate.
"""

from flan_jax.collection import spec
from flan_jax.collection.sources import FilteredSource, HeldOutSource, Row, Source
from flan_jax.collection.tfds_source import ExportedSource, FirstOf, TfdsSource
from flan_jax.evals import metrics
from tasks import paper, twins
from tasks.dialog import conversations
from tasks.dialog.sources import TaskmasterSource

FAMILY = MIXTURE = "dialog"
VARIABLE = "FLAN_JAX_DIALOG_DIR"
TASKMASTER_VARIABLE = "FLAN_JAX_TASKMASTER_DIR"

# WikiDialog has 11 million rows, in random order: the cap is chosen from the first of them, ten
# times as many, so that a build does not read the rest only to drop it.
WIKI_DIALOG_SPLITS = {
    spec.TRAIN: f"train[:{10 * paper.CAPS['muffin']}]",
    spec.VALIDATION: "validation[:1000]",
}
# Most conversations kept for validation where the data has no such split.
NUM_VALIDATION = 1_000

_TRAIN_ONLY = {spec.TRAIN: "train"}


def wiki_dialog(row: Row) -> spec.Fields:
    """Returns the dialog up to a reply, without the line in which the assistant names its topic."""
    return conversations.forward(*_wiki_dialog(row))


def wiki_dialog_inverted(row: Row) -> spec.Fields:
    """Returns the same for the twin."""
    return conversations.inverted(*_wiki_dialog(row))


def qrecc(row: Row) -> spec.Fields:
    """Returns the session up to an answer; the row's own question and answer are not in it."""
    return conversations.forward(*_qrecc(row)) | _session(row)


def qrecc_inverted(row: Row) -> spec.Fields:
    """Returns the same for the twin."""
    return conversations.inverted(*_qrecc(row)) | _session(row)


def task_master(row: Row) -> spec.Fields:
    """Returns the dialog up to a turn of either speaker."""
    return conversations.forward(*_task_master(row))


def task_master_inverted(row: Row) -> spec.Fields:
    """Returns the same for the twin."""
    return conversations.inverted(*_task_master(row))


def is_late(row: Row) -> bool:
    """Whether a QReCC row is a late turn; one with an odd number is left to the mapping."""
    turn = row.get("turn_id")
    return not isinstance(turn, int) or turn >= paper.QRECC_FIRST_TURN_ID


def task_specs() -> list[twins.Pair]:
    """Returns the three tasks, each with its inverted twin; it opens nothing."""
    wiki_source = FirstOf((
        TfdsSource("wiki_dialog/OQ:1.0.0", WIKI_DIALOG_SPLITS),
        ExportedSource(f"${VARIABLE}/wiki_dialog", WIKI_DIALOG_SPLITS),
    ))  # fmt: skip
    qrecc_source = FirstOf((
        TfdsSource("q_re_cc:1.0.0", _TRAIN_ONLY),
        ExportedSource(f"${VARIABLE}/qrecc", _TRAIN_ONLY),
    ))  # fmt: skip
    late = FilteredSource(qrecc_source, is_late)
    taskmaster_source = FirstOf((
        TaskmasterSource(f"${TASKMASTER_VARIABLE}/*.json"),
        ExportedSource(f"${VARIABLE}/task_master", _TRAIN_ONLY),
    ))  # fmt: skip
    scores = (metrics.rouge_l, metrics.token_f1)
    conversational = "Conversational Question Answering"
    return [
        twins.pair(
            FAMILY, "wiki_dialog", wiki_source, wiki_dialog, inverted=wiki_dialog_inverted,
            metrics=scores, category=conversational,
        ),
        twins.pair(
            FAMILY, "qrecc", _held_out(late), qrecc, inverted=qrecc_inverted,
            metrics=scores, category=conversational, licence="CC-BY-SA-3.0",
        ),
        twins.pair(
            FAMILY, "task_master", _held_out(taskmaster_source), task_master,
            inverted=task_master_inverted,
            metrics=scores, category="Dialog Next Turn Prediction", licence="CC-BY-4.0",
        ),
    ]  # fmt: skip


def register() -> list[str]:
    """Registers the tasks, their twins and the mixture `dialog`; returns the names of all."""
    return twins.register(MIXTURE, task_specs())


def _wiki_dialog(row: Row) -> tuple[conversations.Turns, range]:
    turns = conversations.alternating(row["utterances"][1:])
    return turns, range(1, paper.LAST_ANSWER_TURN["wiki_dialog"] + 1, 2)


def _qrecc(row: Row) -> tuple[conversations.Turns, range]:
    if not isinstance(row.get("turn_id", 0), int):
        raise spec.Drop("no whole number 'turn_id'")
    turns = conversations.alternating(row["context"])
    return turns, range(1, paper.LAST_ANSWER_TURN["qrecc"] + 1, 2)


def _session(row: Row) -> spec.Fields:
    """Returns the group of a row: later turns of a session show the answers to earlier ones."""
    return {"group": str(row["conversation_id"])} if "conversation_id" in row else {}


def _task_master(row: Row) -> tuple[conversations.Turns, range]:
    said = row["utterances"]
    turns = conversations.spoken([u["text"] for u in said], [u["speaker"] for u in said])
    return turns, range(1, paper.LAST_ANSWER_TURN["task_master"] + 1)


def _held_out(source: Source) -> HeldOutSource:
    return HeldOutSource(source, by="conversation_id", most=NUM_VALIDATION)


register()
