# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What several field mappings read from rows in the same way: sequences, texts, choices."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from flan_jax.collection import spec
from tasks.muffin import declaring, scoring

# An answer such as "None of the above" says nothing where the other options are not shown.
_ABOUT_OPTIONS = re.compile(
    r"(all|any|both|none|neither)\b.*\babove\b|(all|both|none) of (these|them|the (other|choices))"
    r"|(both )?\(?[a-e]\)? and \(?[a-e]\)?\W*$",
    re.IGNORECASE,
)


def sequence(value: Any, key: str) -> list[str]:
    """Returns one entry of every item.

    Args:
        value: a list of dicts, as data sets publish it, or a dict of lists, as TFDS gives it.
        key: the entry.
    """
    return list(value[key]) if isinstance(value, dict) else [item[key] for item in value]


def one_line(text: str) -> str:
    """Returns the words of a text with one blank between two of them."""
    return " ".join(text.split())


def numbered(texts: Iterable[str]) -> str:
    """Returns a list of the texts, each on a line, numbered from 1."""
    return "\n".join(f"{number}. {one_line(text)}" for number, text in enumerate(texts, start=1))


def distinct(texts: Iterable[str]) -> list[str]:
    """Returns the texts that are not empty, each once, without white space around them."""
    return [text for text in dict.fromkeys(t.strip() for t in texts) if text]


def as_question(text: str) -> str:
    """Returns the text with a question mark, unless it ends in punctuation of its own."""
    text = text.strip()
    return text if text[-1:] in ("", "?", "!", ".") else f"{text}?"


def truth(value: bool | int | str, answers: Sequence[str] = scoring.NO_YES) -> str:
    """Returns the answer of a truth value, which may be a number or a name in any letter case.

    Raises:
        Drop: there is no label.
    """
    value = value.lower() if isinstance(value, str) else value
    return declaring.label(value, answers, ("false", "true"))


def choice(options: Sequence[str], label: Any, names: Sequence[str] = ()) -> spec.Fields:
    """Returns the fields `options` and `answer`.

    Args:
        options: the answer choices in the order of the labels.
        label: as for `declaring.label`.
        names: as for `declaring.label`.

    Raises:
        Drop: there is no label; an option is empty, or stands there twice, so that its mark would
            be ambiguous; or the answer speaks of the other options.
    """
    options = [option.strip() for option in options]
    answer = declaring.label(label, options, tuple(names))
    if len(options) < 2:
        raise spec.Drop("fewer than two options")
    if not all(options):
        raise spec.Drop("empty option")
    if len(set(options)) < len(options):
        raise spec.Drop("the same option twice")
    if _ABOUT_OPTIONS.match(answer):
        raise spec.Drop("answer speaks of the other options")
    return {"options": options, "answer": answer}
