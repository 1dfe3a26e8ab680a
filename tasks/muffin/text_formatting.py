# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Letter case, punctuation and spaces put back into English sentences.

The sentences are the English side of ParaCrawl's Danish pairs: three cuts of it that share no row.
"""

import functools
import re
import unicodedata

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from flan_jax.evals import corpus_metrics
from tasks.muffin import declaring, rows

BUILDER = "para_crawl/enda:1.2.0"

# A mark between digits is part of a number, and nothing in the text would tell where it was.
_IN_NUMBER = re.compile(r"(?<=\d)[.,:/-](?=\d)")


def true_case(row: Row) -> spec.Fields:
    """A sentence, and the same in lower case."""
    return _altered(row, "lower", str.lower)


def fix_punct(row: Row) -> spec.Fields:
    """A sentence, and the same without punctuation but for that inside numbers."""
    return _altered(row, "no_punct", without_punctuation)


def word_segment(row: Row) -> spec.Fields:
    """A sentence, and the same without spaces."""
    return _altered(row, "no_space", lambda text: text.replace(" ", ""))


def without_punctuation(text: str) -> str:
    """Returns the words of `text` and the numbers as they are, one blank between two of them.

    Example:
        >>> without_punctuation("It's 10:30 - run, don't walk!")
        'Its 10:30 run dont walk'
    """
    kept = {match.start() for match in _IN_NUMBER.finditer(text)}
    characters = [c for i, c in enumerate(text) if i in kept or not _is_mark(c)]
    return rows.one_line("".join(characters))


@functools.cache
def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("P")


def _altered(row, name, alter) -> spec.Fields:
    text = rows.one_line(row["en"])
    fields = {"answer": text, name: alter(text)}
    declaring.required(fields, *fields)
    if fields[name] == text:
        raise spec.Drop("nothing to put back")
    return fields


def _task(name, fields, category, begin):
    return declaring.task(
        name,
        BUILDER,
        fields,
        train=f"train[{begin or ''}:{begin + 30_000}]",
        validation=f"train[{begin + 30_000}:{begin + 30_200}]",
        category=category,
        licence="CC0-1.0",
        metrics=(corpus_metrics.edit_distance_ratio,),
    )


TASKS = (
    _task("true_case", true_case, "Casing Selection", 0),
    _task("fix_punct", fix_punct, "Punctuation Fixing", 30_200),
    _task("word_segment", word_segment, "Word Segmentation", 60_400),
)
