# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin, reading comprehension: BoolQ, ReCoRD, SQuAD, DROP, QuAC, MultiRC and CoQA.

Questions that have no answer are the target `unanswerable` in SQuAD 2.0, which is about them, and
are left out of QuAC, where no template speaks of them (the released collection trains on empty
targets there).
"""

import urllib.parse
from collections.abc import Iterable

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from flan_jax.evals import corpus_metrics
from tasks.muffin import declaring, rows, scoring
from tasks.muffin.declaring import EXTRACTIVE, MULTIPLE_CHOICE, QA_METRICS, TAIL, task

UNANSWERABLE = "unanswerable"

_GAP = "@placeholder"
_HIGHLIGHT = "@highlight"
_NO_ANSWER = "CANNOTANSWER"


def bool_q(row: Row) -> spec.Fields:
    """Returns title, text, question and the answer yes or no.

    SuperGLUE publishes title and text in one; a text without title has none in its prompts.
    """
    title, text = row.get("title", ""), row["passage"]
    if "title" not in row:
        head, dashes, rest = text.partition(" -- ")
        title, text = (head, rest) if dashes else ("", text)
    declaring.required({"text": text, **row}, "text", "question")
    truth = row["answer"] if "answer" in row else row["label"]
    return {
        "title": title.strip() or None,
        "text": text.strip(),
        "question": rows.as_question(row["question"]),
        "options": list(scoring.NO_YES),
        "answer": rows.truth(truth),
    }


def record(row: Row) -> spec.Fields:
    """Returns passage, the query up to its gap, and how it may go on with each entity.

    Several entities can be right: those beside the answer are no options, so that one option is
    right, and are accepted as references.
    """
    before, gap, after = row["query"].partition(_GAP)
    if not gap:
        raise spec.Drop("no gap in the query")
    if not before.strip():
        raise spec.Drop("the query starts with its gap")
    if not row["answers"]:
        raise spec.Drop("no label")

    def completions(entities: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(f"{e}{after.replace(_GAP, e)}".strip() for e in entities))

    right = completions(row["answers"])
    options = [o for o in completions(row["entities"]) if o == right[0] or o not in right]
    lines = [line.strip() for line in row["passage"].splitlines()]
    return {
        "passage": "\n".join(line for line in lines if line not in ("", _HIGHLIGHT)),
        "query": before.strip(),
        "options": options if right[0] in options and len(options) > 1 else [],
        "answer": right[0],
        "references": right,
    }


def squad_v1(row: Row) -> spec.Fields:
    """Returns title, context, question and the first answer; all of them are references."""
    fields = _squad(row)
    if not fields["answer"]:
        raise spec.Drop("no answer")
    return fields


def squad_v2(row: Row) -> spec.Fields:
    """Returns the same as `squad_v1`; the answer is `unanswerable` where there is none."""
    fields = _squad(row)
    if row.get("is_impossible") or not fields["answer"]:
        fields |= {"answer": UNANSWERABLE, "references": [UNANSWERABLE]}
    return fields


def drop(row: Row) -> spec.Fields:
    """Returns context, question and answer: a number, a date or (of several spans) the first."""
    declaring.required(row, "passage", "question", "answer")
    return {
        "context": row["passage"].strip(),
        "question": row["question"].strip(),
        "answer": row["answer"].strip(),
        "references": rows.distinct([row["answer"], *row.get("validated_answers", ())]),
    }


def quac(row: Row) -> spec.Fields:
    """Returns title, background, section (context), question and answer.

    The mark of unanswerable questions stands at the end of every section: it is taken out of all
    fields, and a question with no other answer is dropped.
    """
    given = [row["orig_answer"]["text"], *rows.sequence(row["answers"], "text")]
    if _NO_ANSWER in given[0]:
        raise spec.Drop("no answer")
    names = ("title", "background", "context", "question")
    fields = {name: row[name].replace(_NO_ANSWER, "").strip() for name in names}
    declaring.required({**fields, "answer": given[0]}, *names, "answer")
    references = rows.distinct(answer for answer in given if _NO_ANSWER not in answer)
    return {**fields, "answer": references[0], "references": references}


def multirc(row: Row) -> spec.Fields:
    """Returns paragraph, question, a response, and whether it is right: yes or no."""
    declaring.required(row, "paragraph", "question", "answer")
    return {
        "paragraph": row["paragraph"].strip(),
        "question": row["question"].strip(),
        "response": row["answer"].strip(),
        "options": list(scoring.NO_YES),
        "answer": rows.truth(row["label"]),
        # A question's candidates are rows of their own, and scored together.
        "group": f"{row['idx']['paragraph']} {row['idx']['question']}",
    }


def coqa(row: Row) -> spec.Fields:
    """Returns the story, and all questions and all answers of it as numbered lists."""
    questions = row["questions"]
    if questions and isinstance(questions[0], dict):
        questions = rows.sequence(questions, "input_text")
    answers = rows.sequence(row["answers"], "input_text")
    if len(questions) != len(answers) or not questions:
        raise spec.Drop("not one answer for each question")
    if not all(text.strip() for text in (*questions, *answers)):
        raise spec.Drop("empty question or answer")
    declaring.required(row, "story")
    return {
        "text": row["story"].strip(),
        "numbered_questions": rows.numbered(questions),
        "numbered_answers": rows.numbered(answers),
    }


def _squad(row: Row) -> spec.Fields:
    declaring.required(row, "title", "context", "question")
    answers = rows.distinct(rows.sequence(row["answers"], "text"))
    return {
        # Titles are the tails of addresses: `Beyonc%C3%A9`, `New_York_City`.
        "title": urllib.parse.unquote(row["title"]).replace("_", " ").strip(),
        "context": row["context"].strip(),
        "question": row["question"].strip(),
        "answer": answers[0] if answers else "",
        "references": answers,
    }


TASKS = (
    task(
        "bool_q", "bool_q:1.0.0", bool_q, **TAIL,
        category=MULTIPLE_CHOICE, licence="CC-BY-SA-3.0", options=True, trim="text",
    ),
    task(
        "record", "super_glue/record:1.0.2", record, **TAIL,
        category=EXTRACTIVE, options=True, trim="passage", metrics=QA_METRICS,
    ),
    task(
        "squad_v1", "squad/v1.1:3.0.0", squad_v1, **TAIL,
        category=EXTRACTIVE, licence="CC-BY-SA-4.0", trim="context", metrics=QA_METRICS,
    ),
    task(
        "squad_v2", "squad/v2.0:3.0.0", squad_v2, **TAIL,
        category=EXTRACTIVE, licence="CC-BY-SA-4.0", trim="context", metrics=QA_METRICS,
    ),
    task(
        "drop", "drop:2.0.0", drop, **TAIL,
        category="Mathematical QA", licence="CC-BY-SA-4.0", trim="context",
        metrics=QA_METRICS,
    ),
    task(
        "quac", "quac:1.0.0", quac, **TAIL,
        category=MULTIPLE_CHOICE, licence="CC-BY-SA-4.0", trim="context", metrics=QA_METRICS,
    ),
    task(
        "multirc", "super_glue/multirc:1.0.2", multirc, **TAIL,
        category=MULTIPLE_CHOICE, options=True, trim="paragraph",
        metrics=(corpus_metrics.multirc_f1,), postprocessor=scoring.multirc,
    ),
    task(
        "coqa", "coqa:1.0.0", coqa, train="train[:-100]", validation="train[-100:]",
        category=MULTIPLE_CHOICE, trim="text", metrics=QA_METRICS,
    ),
)  # fmt: skip
