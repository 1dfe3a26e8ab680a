# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin, common sense: what a word refers to or means, and how a text goes on.

Winogrande's sentences are split at their gap, so that a choice is a candidate and the rest of its
sentence. Texts that a label depends on as a whole are never cut. Choices of which the right one is
"none of the above", as in CosmosQA, are left out (see `rows.choice`).
"""

import re

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from tasks.muffin import declaring, rows, scoring
from tasks.muffin.declaring import COREFERENCE, MULTIPLE_CHOICE, TAIL, task

NEXT_SENTENCE = "Next Sentence Prediction"

_GAP = "_"
# WikiHow's section marks: `[header]`, `[title]`, `[step]`, `[substeps]`.
_SECTION = re.compile(r"\s*\[\w+\]\s*")


def wsc(row: Row) -> spec.Fields:
    """Returns the text with the pronoun marked, a noun phrase, the pronoun, and no or yes.

    The text may have the pronoun twice: the one that is meant stands between asterisks, as in the
    templates.
    """
    spans = row["target"] if "target" in row else row
    text1, text2 = spans["span1_text"].strip(), spans["span2_text"].strip()
    declaring.required({"span1_text": text1, "span2_text": text2}, "span1_text", "span2_text")
    return {
        "context": _marked(row["text"], text2, spans["span2_index"]),
        "text1": text1,
        "text2": text2,
        "options": list(scoring.NO_YES),
        "answer": rows.truth(row["label"]),
    }


def wic(row: Row) -> spec.Fields:
    """Returns a word, two sentences with it, and whether it has the same meaning in both."""
    declaring.required(row, "word", "sentence1", "sentence2")
    answers = ("different meanings", "the same meaning")
    return {
        **{name: row[name].strip() for name in ("word", "sentence1", "sentence2")},
        "options": list(answers),
        "answer": rows.truth(row["label"], answers),
    }


def story_cloze(row: Row) -> spec.Fields:
    """Returns a story, two endings and the right one; labels count from one."""
    declaring.required(row, "context")
    return {"context": row["context"].strip(), **rows.choice(row["endings"], row["label"] - 1)}


def definite_pronoun_resolution(row: Row) -> spec.Fields:
    """Returns a sentence, its pronoun, two candidates and the one that the pronoun means."""
    declaring.required(row, "sentence", "pronoun")
    return {
        "sentence": row["sentence"].strip(),
        "pronoun": row["pronoun"].strip(),
        **rows.choice(row["candidates"], row["label"]),
    }


def copa(row: Row) -> spec.Fields:
    """Returns a premise, the question (`cause` or `effect`), two choices and the right one."""
    declaring.required(row, "premise", "question")
    choices = [row["choice1"], row["choice2"]]
    return {
        "premise": row["premise"].strip(),
        "question": row["question"].strip(),
        **rows.choice(choices, row["label"], ("choice1", "choice2")),
    }


def winogrande(row: Row) -> spec.Fields:
    """Returns the sentence up to its gap, and how it goes on with either candidate."""
    context, gap, rest = row["sentence"].partition(_GAP)
    if not gap:
        raise spec.Drop("no gap in the sentence")
    if not context.strip():
        raise spec.Drop("the sentence starts with its gap")
    candidates = [row["option1"].strip() + rest, row["option2"].strip() + rest]
    right = row["label"] if "label" in row else row["answer"]
    return {"context": context.strip(), **rows.choice(candidates, right, ("1", "2"))}


def cosmos_qa(row: Row) -> spec.Fields:
    """Returns context, question, four answers and the right one."""
    declaring.required(row, "context", "question")
    answers = [row[f"answer{i}"] for i in range(4)]
    return {
        "context": row["context"].strip(),
        "question": row["question"].strip(),
        **rows.choice(answers, row["label"], "0123"),
    }


def piqa(row: Row) -> spec.Fields:
    """Returns a goal, two solutions and the right one."""
    declaring.required(row, "goal")
    return {
        "goal": row["goal"].strip(),
        **rows.choice([row["sol1"], row["sol2"]], row["label"], "01"),
    }


def hellaswag(row: Row) -> spec.Fields:
    """Returns context, endings and the right one, without the section marks in brackets."""
    context = _without_sections(row["context"] if "context" in row else row["ctx"])
    declaring.required({"context": context}, "context")
    endings = [_without_sections(ending) for ending in row["endings"]]
    return {"context": context, **rows.choice(endings, row["label"], "0123")}


def lambada(row: Row) -> spec.Fields:
    """Returns a passage without its last word, and that word."""
    sentence, _, answer = row["passage"].strip().rpartition(" ")
    if not sentence.strip():
        raise spec.Drop("nothing before the last word")
    return {"sentence": sentence.strip(), "answer": answer}


def _marked(text: str, pronoun: str, index: int) -> str:
    """Returns `text` with its word `index`, which must be `pronoun`, in asterisks.

    A few rows count wrongly: where another word has that index, the only `pronoun` is meant.
    """
    one = re.compile(rf"(?<!\w){re.escape(pronoun)}(?!\w)", re.IGNORECASE)
    words = list(re.finditer(r"\S+", text))
    found = None
    if 0 <= index < len(words):
        found = one.search(text, *words[index].span())
    if not found and len(places := list(one.finditer(text))) == 1:
        found = places[0]
    if not found:
        raise spec.Drop("the pronoun is not where the row says")
    return f"{text[: found.start()]}*{found[0]}*{text[found.end() :]}".strip()


def _without_sections(text: str) -> str:
    """Returns the sections of `text` as sentences."""
    sections = [section.strip() for section in _SECTION.split(text.strip())]
    last = len(sections) - 1
    return " ".join(
        section if i == last or section[-1] in ".?!,;:" else f"{section}."
        for i, section in enumerate(sections)
        if section
    )


_SHORT_TAIL = {"train": "train[:-50]", "validation": "train[-50:]"}

TASKS = (
    task(
        "wsc", "super_glue/wsc.fixed:1.0.2", wsc, **_SHORT_TAIL,
        category=COREFERENCE, options=True,
    ),
    task(
        "wic", "super_glue/wic:1.0.2", wic, **TAIL,
        category="Word Sense Disambiguation", licence="CC-BY-NC-4.0", options=True,
    ),
    task(
        "story_cloze", "story_cloze/2016:1.0.0", story_cloze,
        train="validation[:-200]", validation="validation[-200:]",
        category=NEXT_SENTENCE, options=True,
    ),
    task(
        "definite_pronoun_resolution", "definite_pronoun_resolution:1.1.0",
        definite_pronoun_resolution, **TAIL,
        category=COREFERENCE, options=True,
    ),
    task(
        "copa", "super_glue/copa:1.0.2", copa, **_SHORT_TAIL,
        category=NEXT_SENTENCE, licence="BSD-2-Clause", options=True,
    ),
    task(
        "winogrande", "winogrande:1.2.0", winogrande,
        train="train_xl[:-200]", validation="train_xl[-200:]",
        category=COREFERENCE, options=True,
    ),
    task(
        "cosmos_qa", "cosmos_qa:1.0.0", cosmos_qa, **TAIL,
        category=MULTIPLE_CHOICE, options=True,
    ),
    task(
        "piqa", "piqa:1.0.0", piqa, train="train[:-100]", validation="train[-100:]",
        category=MULTIPLE_CHOICE, options=True,
    ),
    task(
        "hellaswag", "hellaswag:1.1.0", hellaswag, **TAIL,
        category=NEXT_SENTENCE, licence="MIT", options=True,
    ),
    # The builder has no validation split; its train split is LAMBADA's development set.
    task(
        "lambada", "lambada:1.0.0", lambada, train="train", validation="test",
        category="Language Modeling", licence="CC-BY-4.0",
    ),
)  # fmt: skip
