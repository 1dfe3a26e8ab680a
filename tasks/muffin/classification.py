# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sentiment, topic, question type and acceptability: one text, a label out of a fixed list."""

import html
import re

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from tasks.muffin.declaring import HEAD, TAIL, label, required, task

NEWS = ("World", "Sports", "Business", "Science/Tech")
SENTIMENTS = ("negative", "positive")
ACCEPTABILITIES = ("unacceptable", "acceptable")
QUESTION_TYPES = ("description", "entity", "abbreviation", "human", "numeric", "location")

_BREAK = re.compile(r"\s*(?:<br\s*/?>\s*)+")


def ag_news_subset(row: Row) -> spec.Fields:
    """A news story with its title, and its section."""
    required(row, "title", "description")
    names = ("World", "Sports", "Business", "Sci/Tech")
    return {
        "title": row["title"].strip(),
        "text": row["description"].strip(),
        "answer": label(row["label"], NEWS, names),
        "options": list(NEWS),
    }


def sentiment140(row: Row) -> spec.Fields:
    """A tweet without HTML escapes, and its polarity: 0 to 4, of which 2 is neutral."""
    required(row, "text")
    polarity = int(row["polarity"])
    if polarity == 2:
        raise spec.Drop("neutral")
    if not 0 <= polarity <= 4:
        raise spec.Drop("no label")
    text = html.unescape(row["text"]).strip()
    return _sentiment(text, SENTIMENTS[polarity > 2])


def imdb_reviews(row: Row) -> spec.Fields:
    """A film review, with line breaks for its HTML ones, and its sentiment."""
    required(row, "text")
    text = _BREAK.sub("\n", row["text"]).strip()
    return _sentiment(text, label(row["label"], SENTIMENTS, ("neg", "pos")))


def yelp_polarity_reviews(row: Row) -> spec.Fields:
    r"""A review of a business, with `\n`, `\"` and `""` unescaped, and its sentiment."""
    required(row, "text")
    text = row["text"].replace("\\n", "\n").replace('\\"', '"').replace('""', '"').strip()
    return _sentiment(text, label(row["label"], SENTIMENTS, ("1", "2")))


def sst2(row: Row) -> spec.Fields:
    """A phrase of a film review, and its sentiment."""
    required(row, "sentence")
    return {
        "sentence": row["sentence"].strip(),
        "answer": label(row["label"], SENTIMENTS, SENTIMENTS),
        "options": list(SENTIMENTS),
    }


def cola(row: Row) -> spec.Fields:
    """A sentence of the linguistic literature, and whether it is acceptable English."""
    required(row, "sentence")
    return {
        "sentence": row["sentence"].strip(),
        "answer": label(row["label"], ACCEPTABILITIES, ACCEPTABILITIES),
        "options": list(ACCEPTABILITIES),
    }


def trec(row: Row) -> spec.Fields:
    """A question, and what kind of thing it asks for (the coarse class)."""
    required(row, "text")
    names = ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC")
    return {
        "text": row["text"].strip(),
        "answer": label(row["label-coarse"], QUESTION_TYPES, names),
        "options": list(QUESTION_TYPES),
    }


def _sentiment(text: str, answer: str) -> spec.Fields:
    return {"text": text, "answer": answer, "options": list(SENTIMENTS)}


_CUT = {**TAIL, "options": True}

TASKS = (
    task(
        "ag_news_subset",
        "ag_news_subset:1.0.0",
        ag_news_subset,
        category="Topic Classification",
        trim="text",
        **_CUT,
    ),
    task(
        "sentiment140",
        "sentiment140:1.0.0",
        sentiment140,
        category="Sentiment Analysis",
        **(_CUT | {"train": HEAD}),
    ),
    task(
        "imdb_reviews",
        "imdb_reviews/plain_text:1.0.0",
        imdb_reviews,
        category="Sentiment Analysis",
        trim="text",
        **_CUT,
    ),
    task(
        "yelp_polarity_reviews",
        "yelp_polarity_reviews:0.2.0",
        yelp_polarity_reviews,
        category="Sentiment Analysis",
        trim="text",
        **_CUT,
    ),
    task("sst2", "glue/sst2:2.0.0", sst2, category="Sentiment Analysis", **_CUT),
    task("cola", "glue/cola:2.0.0", cola, category="Grammatical Acceptability", **_CUT),
    task("trec", "trec:1.0.0", trec, category="Topic Classification", **_CUT),
)
