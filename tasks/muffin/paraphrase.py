# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pairs of sentences or questions: do they mean the same, or how nearly.

Answers come back from option marks before they are scored (`scoring`): F1 and correlations are
over the answers themselves.
"""

import math

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from flan_jax.evals import corpus_metrics, metrics
from tasks.muffin import scoring
from tasks.muffin.declaring import TAIL, label, required, task


def paws_wiki(row: Row) -> spec.Fields:
    """Two sentences with nearly the same words, and whether they mean the same."""
    return _likeness(row, "sentence", ("different_meaning", "paraphrase"))


def glue_mrpc(row: Row) -> spec.Fields:
    """Two sentences of the news, and whether they mean the same."""
    return _likeness(row, "sentence", ("not_equivalent", "equivalent"))


def glue_qqp(row: Row) -> spec.Fields:
    """Two questions of a forum, and whether they ask the same."""
    return _likeness(row, "question", ("not_duplicate", "duplicate"))


def stsb(row: Row) -> spec.Fields:
    """Two sentences, and their likeness rounded to a whole number, halves up."""
    sentences = _both(row, "sentence")
    score = float(row["label"])
    if not 0 <= score <= 5:
        raise spec.Drop("no label")
    return {
        **sentences,
        "answer": scoring.SIMILARITIES[math.floor(score + 0.5)],
        "options": list(scoring.SIMILARITIES),
    }


def _likeness(row: Row, kind: str, names: tuple[str, str]) -> spec.Fields:
    """Returns two texts and whether they are alike: no or yes, by the data's `names` of these."""
    return {
        **_both(row, kind),
        "answer": label(row["label"], scoring.NO_YES, names),
        "options": list(scoring.NO_YES),
    }


def _both(row: Row, kind: str) -> dict[str, str]:
    names = (f"{kind}1", f"{kind}2")
    required(row, *names)
    return {name: row[name].strip() for name in names}


TASKS = (
    task(
        "paws_wiki",
        "paws_wiki/labeled_final_tokenized:1.1.0",
        paws_wiki,
        train="train",
        validation="validation",
        category="Paraphrasing Identification",
        options=True,
    ),
    *(
        task(
            name,
            builder,
            fields,
            **TAIL,
            category="Paraphrasing Identification",
            options=True,
            metrics=(corpus_metrics.f1_yes, metrics.accuracy),
            postprocessor=scoring.no_yes,
        )
        for name, builder, fields in (
            ("glue_mrpc", "glue/mrpc:2.0.0", glue_mrpc),
            ("glue_qqp", "glue/qqp:2.0.0", glue_qqp),
        )
    ),
    # The published table calls it sentiment analysis, and so its category here.
    task(
        "stsb",
        "glue/stsb:2.0.0",
        stsb,
        train="train[:-100]",
        validation="train[-100:]",
        category="Sentiment Analysis",
        options=True,
        metrics=(corpus_metrics.pearson_and_spearman,),
        postprocessor=scoring.similarity,
    ),
)
