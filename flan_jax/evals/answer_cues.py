# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The words before an answer: "the answer is" and its like, in English and MGSM's other languages.

The phrases are those of MGSM's exemplars (Shi et al. 2022, "Language Models are Multilingual
Chain-of-Thought Reasoners", arXiv 2210.03057; file `exemplars.py`), all that occur there, with
liberties of spacing, case and colons. The labels before a whole step-by-step answer are no cues.
"""

import functools
import re
import types
import unicodedata
from collections.abc import Mapping

# "the answer is ", "final answer:", "Answer = ", "answer is:".
_CUE = re.compile(r"\banswer\s*(?:is\b\s*[:=]?|[:=])\s*", re.IGNORECASE)

# In Russian a dash stands for "is"; a hyphen right before a digit is a minus.
_PHRASES = {
    "en": r"\bthe\s+answer\s+is\b",
    "de": r"\bdie\s+antwort\s+(?:ist|lautet)\b",
    "es": r"\bla\s+respuesta\s+es\b",
    "fr": r"\bla\s+réponse\s+est\b",
    "ru": r"\bответ\s*(?:[—–:]|-(?=\s)|(?=-?\d))",
    "sw": r"\bjibu\s+ni\b",
    "zh": r"答案是",
    "ja": r"答えは",
    "th": r"คำตอบคือ",
    "bn": r"উত্তর\s+হল",
    "te": r"(?<!దశలవారీగా )సమాధానం",
}

PHRASES: Mapping[str, re.Pattern] = types.MappingProxyType(
    {
        language: re.compile(unicodedata.normalize("NFC", phrase) + r"[\s:：*]*", re.IGNORECASE)
        for language, phrase in _PHRASES.items()
    }
)
"""The phrase of each language with what may follow before the answer; for text in NFC."""


def after_cue(text: str) -> str | None:
    """Returns the line after the last English cue, without its final period; None without a cue.

    It is the next line that is not empty, if the cue ends its line.
    """
    cue = last(_CUE, text)
    return None if cue is None else without_period(_line(text[cue.end() :]))


def after_phrase(text: str, language: str | None) -> tuple[str, str] | None:
    """Returns the line after the last answer phrase and the phrase's language; None without one.

    Looks for the phrase of the language and the English one, for those of all languages where the
    language is none of MGSM's.
    """
    text = unicodedata.normalize("NFC", text)
    languages = (language, "en") if language in PHRASES else tuple(PHRASES)
    found = [(last(PHRASES[name], text), name) for name in dict.fromkeys(languages)]
    ends = [(match.end(), name) for match, name in found if match]
    if not ends:
        return None
    end, name = max(ends)
    return _line(text[end:]), name


def last(pattern: re.Pattern, text: str) -> re.Match | None:
    """Returns the last match of a pattern in a text."""
    return functools.reduce(lambda _, match: match, pattern.finditer(text), None)


def without_period(line: str) -> str:
    """Returns a line without white space and final periods around it."""
    line = line.strip()
    while line.endswith("."):
        line = line[:-1].rstrip()
    return line


def _line(text: str) -> str:
    """Returns the first line that is not empty."""
    lines = text.strip().splitlines()
    return lines[0] if lines else ""
