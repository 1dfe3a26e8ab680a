# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin, questions without a passage: Natural Questions, TriviaQA, ARC, OpenBookQA, science, math.

The released collection names a task trivia_qa_wiki_missing but not its rows. Here it has the
TriviaQA questions whose answer is no Wikipedia title (a number or free text, about one in
fourteen), and trivia_qa has the others, so that the two share no question. Both read the builder's
configuration `unfiltered.nocontext`: no template shows a document; each question stands there once
(in `rc`, most stand twice, for web and Wikipedia documents); and it has the 87,622 training rows
that the released counts imply.

Choices of which the right one is, say, "all of the above" are left out (see `rows.choice`).
"""

import re

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from tasks.muffin import declaring, rows
from tasks.muffin.declaring import EXTRACTIVE, MULTIPLE_CHOICE, QA_METRICS, TAIL, task

CLOSED_BOOK = "Closed-Book QA"
TRIVIA_QA = "trivia_qa/unfiltered.nocontext:1.1.0"

_NUM_CHOICES = 4
_WIKIPEDIA_TITLE = "WikipediaEntity"
_UNKNOWN = "<unk>"
# ` (A) first (B) second`, in a text that writes line breaks as backslash and n.
_LETTERED = re.compile(r"(?:^|\s)\(([A-Z])\)\s")


def natural_questions(row: Row) -> spec.Fields:
    """Returns the question, with a question mark, and its first answer; all are references."""
    declaring.required(row, "question")
    answers = rows.distinct(row["answer"])
    if not answers:
        raise spec.Drop("no answer")
    return {
        "question": rows.as_question(row["question"]),
        "answer": answers[0],
        "references": answers,
    }


def in_wikipedia(row: Row) -> bool:
    """Whether the answer of a TriviaQA row is a title in Wikipedia."""
    return row["answer"]["type"] in (_WIKIPEDIA_TITLE, "")


def not_in_wikipedia(row: Row) -> bool:
    """Whether it is none."""
    return not in_wikipedia(row)


def arc(row: Row) -> spec.Fields:
    """Returns question, four choices and the answer; items with fewer or more are dropped.

    Marks are letters or, in some items as published, numbers.
    """
    question, choices = row["question"], row.get("choices")
    if isinstance(question, dict):
        question, choices = question["stem"], question["choices"]
    texts, marks = rows.sequence(choices, "text"), rows.sequence(choices, "label")
    if len(texts) != _NUM_CHOICES:
        raise spec.Drop("not four choices")
    if row["answerKey"] not in marks:
        raise spec.Drop("no label")
    declaring.required({"question": question}, "question")
    return {
        "question": question.strip(),
        **rows.choice(texts, marks.index(row["answerKey"])),
    }


def math_dataset(row: Row) -> spec.Fields:
    """Returns question and answer."""
    declaring.required(row, "question", "answer")
    return {"question": row["question"].strip(), "answer": row["answer"].strip()}


def openbookqa(row: Row) -> spec.Fields:
    """Returns question, four choices, the answer, and the fact that it rests on (or None)."""
    question = row["question"]
    declaring.required(question, "stem")
    if "choices" in question:
        texts = rows.sequence(question["choices"], "text")
    else:
        texts = [question[f"choice_{mark}"] for mark in "ABCD"]
    return {
        "question": question["stem"].strip(),
        "fact": row.get("fact1", "").strip() or None,
        **rows.choice(texts, row["answerKey"], "ABCD"),
    }


def unified_qa_science_inst(row: Row) -> spec.Fields:
    """Returns question, four choices and the answer, which stand in one text."""
    text = row["input"].replace("\\n", "\n")
    question, *parts = _LETTERED.split(text)
    marks, texts = parts[::2], [rows.one_line(part) for part in parts[1::2]]
    if marks != list("ABCD"):
        raise spec.Drop("not four choices")
    declaring.required({"question": question}, "question")
    answer = rows.one_line(row["output"]).casefold()
    folded = [option.casefold() for option in texts]
    if answer not in folded:
        raise spec.Drop("answer is not among the choices")
    return {"question": question.strip(), **rows.choice(texts, folded.index(answer))}


def trivia_qa(row: Row) -> spec.Fields:
    """Returns question and normalized answer; its aliases are references too."""
    declaring.required(row, "question")
    answer = row["answer"]["normalized_value"].strip()
    if answer in ("", _UNKNOWN):
        raise spec.Drop("no answer")
    return {
        "question": row["question"].strip(),
        "answer": answer,
        "references": rows.distinct([answer, *row["answer"]["normalized_aliases"]]),
    }


TASKS = (
    task(
        "natural_questions", "natural_questions_open:1.0.0", natural_questions, **TAIL,
        category=CLOSED_BOOK, licence="CC-BY-SA-3.0", metrics=QA_METRICS,
    ),
    task(
        "trivia_qa", TRIVIA_QA, trivia_qa, **TAIL, keep=in_wikipedia,
        category=EXTRACTIVE, metrics=QA_METRICS,
    ),
    task(
        "trivia_qa_wiki_missing", TRIVIA_QA, trivia_qa, **TAIL, keep=not_in_wikipedia,
        category=EXTRACTIVE, group="trivia_qa", metrics=QA_METRICS,
    ),
    task(
        "arc_challenge", "ai2_arc/ARC-Challenge:1.0.0", arc, **TAIL,
        category=CLOSED_BOOK, licence="CC-BY-SA-4.0", group="arc", options=True,
    ),
    task(
        "arc_easy", "ai2_arc/ARC-Easy:1.0.0", arc, **TAIL,
        category=CLOSED_BOOK, licence="CC-BY-SA-4.0", group="arc", options=True,
    ),
    task(
        "math_dataset", "math_dataset/algebra__linear_1d:1.0.0", math_dataset,
        train=declaring.HEAD, validation="train[-200:]",
        category="Mathematical QA", licence="Apache-2.0",
    ),
    task(
        "openbookqa", "openbookqa:0.1.0", openbookqa, train="train", validation="validation",
        category=MULTIPLE_CHOICE, licence="Apache-2.0", options=True,
    ),
    task(
        "unified_qa_science_inst", "unified_qa/ai2_science_middle:1.0.0",
        unified_qa_science_inst, train="train", validation="validation",
        category="Question Answering", options=True,
    ),
)  # fmt: skip
