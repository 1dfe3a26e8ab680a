# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers out of generated text: small named filters in the form of SeqIO postprocessors.

Every filter is `(text, example=None, is_target=False) -> str`, pure, and total: any string gives a
string, `""` where there is no answer. White space around a text does not matter, and a filter
leaves its own answer as it is. A strict filter wants an answer cue ("the answer is"), also in its
own answer; a flexible one falls back to the likeliest place. Targets go through the same filters,
with `is_target=True`: there even a strict one needs no cue.

Only English cues so far.
"""

import functools
import re
import string
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Example = Mapping[str, Any]
Postprocessor = Callable[..., Any]

# "the answer is", "final answer:", "Answer = ", "answer is:".
_CUE = re.compile(r"\banswer\s*(?:is\b\s*[:=]?|[:=])\s*", re.IGNORECASE)

# 1,234.50 with true thousands commas, or plain digits; a dollar sign and a minus may precede.
# A minus right after a word, a digit or a closing bracket is a subtraction, not a sign.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)])[-\u2212])?(?:\$(?P<inner_sign>-)?)?"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)?"
    r"(?(whole)(?:\.(?P<part>[0-9]+))?|(?<![0-9])\.(?P<only>[0-9]+))"
)

_MARKED_OPTION = re.compile(r"\(([A-Za-z])\)")
_LEADING_OPTION = re.compile(r"([A-Za-z])\s*(?:[.):]|$)")
_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def whole_text(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the whole text without white space around it."""
    del example, is_target
    return text.strip()


def cot_answer(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the answer after a chain of thought, without its final period.

    That is the rest of the line after the last answer cue (of the next line, if the cue ends its
    line); where there is no cue, the last line that is not empty.

    Example:
        >>> cot_answer("3 birds and 2 birds are 5 birds. The answer is 5.")
        '5'
    """
    del example, is_target
    found = _after_cue(text)
    if found is not None:
        return found
    lines = text.strip().splitlines()
    return _without_period(lines[-1]) if lines else ""


def cot_answer_strict(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the answer after the last answer cue, or "" where there is no cue."""
    del example
    if is_target and _after_cue(text) is None:
        return cot_answer(text)  # the accepted answers of a task may stand without a rationale
    return _after_cue(text) or ""


def number(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the first number after the last answer cue, else the last number of the text.

    The number is in one plain form, so equal numbers are equal strings: no thousands commas, no
    currency sign, no needless zeros. Digits are ASCII.

    Example:
        >>> number("She pays $1,234.50."), number("16 - 3 = 13"), number("none")
        ('1234.5', '13', '')
    """
    del example, is_target
    found = _after_cue(text)
    match = (_NUMBER.search(found) if found else None) or _last(_NUMBER, text)
    return _plain(match) if match else ""


def number_strict(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the first number after the last answer cue, or "" where there is none.

    A text that is nothing but a number is its own answer.
    """
    del example
    found = _after_cue(text)
    if found is None:
        bare = _NUMBER.fullmatch(_without_period(text))
        return _plain(bare) if bare else (number(text) if is_target else "")
    match = _NUMBER.search(found)
    return _plain(match) if match else ""


def option_letter(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the letter of the chosen option in upper case, or "" where none is recognized.

    Looks at the text after the last answer cue, else at the whole text, for `(A)`, then for `A`,
    `A.`, `A)` or `A:` at its beginning; then, where `example["options"]` is a list of the options'
    texts, for an option that the text equals (case and final period ignored).

    Example:
        >>> option_letter("The answer is (c)."), option_letter("B. a dog"), option_letter("A dog")
        ('C', 'B', '')
    """
    del is_target
    found = _after_cue(text)
    chosen = _without_period(text) if found is None else found
    match = _MARKED_OPTION.search(chosen) or _LEADING_OPTION.match(chosen)
    if match:
        return match.group(1).upper()
    options = (example or {}).get("options")
    if isinstance(options, Sequence) and not isinstance(options, str):
        wanted = chosen.casefold()
        for letter, option in zip(string.ascii_uppercase, options, strict=False):
            if _without_period(str(option)).casefold() == wanted:
                return letter
    return ""


def yes_no(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns "yes" or "no", or "" where the text says neither.

    Looks after the last answer cue, else takes a yes or no that begins the text, else the last one.
    """
    del example, is_target
    found = _after_cue(text)
    match = _YES_NO.search(found) if found else _YES_NO.match(text.strip())
    match = match or _last(_YES_NO, text)
    return match.group(1).lower() if match else ""


def _after_cue(text: str) -> str | None:
    """Returns the first line after the last cue, None where there is no cue."""
    cue = _last(_CUE, text)
    if cue is None:
        return None
    lines = text[cue.end() :].strip().splitlines()
    return _without_period(lines[0]) if lines else ""


def _last(pattern: re.Pattern, text: str) -> re.Match | None:
    return functools.reduce(lambda _, match: match, pattern.finditer(text), None)


def _without_period(line: str) -> str:
    line = line.strip()
    while line.endswith("."):
        line = line[:-1].rstrip()
    return line


def _plain(match: re.Match) -> str:
    whole = (match["whole"] or "").replace(",", "").lstrip("0") or "0"
    part = (match["part"] or match["only"] or "").rstrip("0")
    plain = f"{whole}.{part}" if part else whole
    return f"-{plain}" if (match["sign"] or match["inner_sign"]) and plain != "0" else plain


POSTPROCESSORS: Mapping[str, Postprocessor] = types.MappingProxyType(
    {
        function.__name__: function
        for function in (
            whole_text,
            cot_answer,
            cot_answer_strict,
            number,
            number_strict,
            option_letter,
            yes_no,
        )
    }
)
"""Every filter by name."""
