# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers out of generated text: small named filters in the form of SeqIO postprocessors.

Every filter is `(text, example=None, is_target=False) -> str`, pure, and total: any string gives a
string, `""` where there is no answer. White space around a text does not matter, and a filter
leaves its own answer as it is. A strict filter wants an answer cue ("the answer is"), also in its
own answer; a flexible one falls back to the likeliest place. Targets go through the same filters,
with `is_target=True`: there even a strict one needs no cue.

`answer_cues` has the words that come before an answer, `answer_numbers` the ways to write a number.
Facts of a question come in `example`: "options", the texts of its options, and "language".
"""

import re
import string
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.evals import answer_numbers
from flan_jax.evals.answer_cues import after_cue, after_phrase, last, without_period

Example = Mapping[str, Any]
Postprocessor = Callable[..., Any]

_THE_ANSWER_IS = re.compile(r"\bthe\s+answer\s+is\b[\s:*]*", re.IGNORECASE)
_ANSWER_IS = re.compile(r"\banswer\s+is\b[\s:*]*", re.IGNORECASE)
_MARKED_OPTION = re.compile(r"\(([A-Za-z])\)")
_LEADING_OPTION = re.compile(r"(?:option\s+)?([A-Za-z])\b[*_]*\s*(?:[.):]|$)", re.I | re.M)
_MMLU_LETTER = re.compile(r"\(([A-D])\)|([A-D])[^\S\n]*(?:[.):,]|$)", re.MULTILINE)
_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)
_VERDICT = re.compile(r"(?<!not )\b(yes|no|true|false|valid|invalid)\b", re.IGNORECASE)
_NEXT_QUESTION = re.compile(r"\n[^\S\n]*\n|^[^\S\n]*Q:", re.MULTILINE)


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
    found = after_cue(text)
    if found is not None:
        return found
    lines = text.strip().splitlines()
    return without_period(lines[-1]) if lines else ""


def cot_answer_strict(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the answer after the last answer cue, or "" where there is no cue."""
    del example
    if is_target and after_cue(text) is None:
        return cot_answer(text)  # the accepted answers of a task may stand without a rationale
    return after_cue(text) or ""


def number(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the first number after the last answer cue, else the last number of the text.

    The number is in one plain form, so equal numbers are equal strings: no thousands commas, no
    currency sign, no needless zeros, ASCII digits. Thousands and decimals are marked by the rules
    of `example["language"]` (`answer_numbers`), of English in a target and where none is given.

    Example:
        >>> number("She pays $1,234.50."), number("16 - 3 = 13"), number("none")
        ('1234.5', '13', '')
    """
    language = "en" if is_target else _language(example) or "en"
    found = answer_numbers.first(after_cue(text) or "", language)
    return found or answer_numbers.last(text, language)


def number_strict(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the first number after the last answer cue, or "" where there is none.

    A text that is nothing but a number is its own answer. Numbers are read as by `number`.
    """
    language = "en" if is_target else _language(example) or "en"
    found = after_cue(text)
    if found is None:
        bare = answer_numbers.whole(without_period(text), language)
        return bare or (number(text, is_target=True) if is_target else "")
    return answer_numbers.first(found, language)


def gsm8k_number(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the number right after the last "the answer is" with one, or "" where there is none.

    The strict rule of GSM8K's 8 exemplars (Wei et al. 2022, arXiv 2201.11903). A colon, asterisks
    or a currency sign may stand between. In a target it is what follows the last "####".

    Example:
        >>> gsm8k_number("So 5 + 6 = 11. The answer is $11."), gsm8k_number("5 + 6 = 11")
        ('11', '')
    """
    if is_target:
        return number(text.rpartition("####")[2], example, is_target)
    cues = reversed(list(_THE_ANSWER_IS.finditer(text)))
    found = (answer_numbers.at(text, cue.end(), "en") for cue in cues)
    return next(filter(None, found), "")


def mgsm_number(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the first number after the last answer phrase, or "" where there is none.

    The phrases are those of MGSM's exemplars in `example["language"]` ("de": "Die Antwort ist",
    "Die Antwort lautet"), and the English one, as a chain of thought may be English (Shi et al.
    2022, arXiv 2210.03057). The number is read by the rules of the phrase's language
    (`answer_numbers`). A target without a phrase is read as English: so MGSM writes its answers.

    Example:
        >>> mgsm_number("Das sind 2 * 40 = 80. Die Antwort lautet 80.", {"language": "de"})
        '80'
    """
    language = _language(example)
    found = after_phrase(text, language)
    if found is None:
        return answer_numbers.last(text, "en") if is_target else ""
    line, spoken = found
    return answer_numbers.first(line, spoken)


def last_number(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the last number of the text, "" where there is none; in any script.

    Thousands and decimals are marked by the rules of `example["language"]` (`answer_numbers`), in a
    target by those of English, which MGSM's answers follow in every language.

    Example:
        >>> last_number("Es sind 80.000 Meter.", {"language": "de"}), last_number("৫ + ৬ = ১১।")
        ('80000', '11')
    """
    return answer_numbers.last(text, "en" if is_target else _language(example))


def option_letter(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the letter of the chosen option in upper case, or "" where none is recognized.

    Looks at the text after the last answer cue, else at the whole text. Where `example["options"]`
    is a list of the options' texts, it may be, or its first line, the text of one (case and final
    period ignored); else has `(A)`, or begins with `A`, `A.`, `A)` or `A:` ("option" may precede).
    A single letter is taken for a text last. A letter that no option has is none.

    Example:
        >>> option_letter("The answer is (c)."), option_letter("B. a dog"), option_letter("A dog")
        ('C', 'B', '')
    """
    del is_target
    found = after_cue(text)
    chosen = (without_period(text) if found is None else found).lstrip("*_ ")
    options = _options(example)
    by_text = _letter_by_text(chosen, options)
    leading = _LEADING_OPTION.match(chosen)
    marks = [*_MARKED_OPTION.finditer(chosen), *([leading] if leading else [])]
    allowed = string.ascii_uppercase[: len(options) or None]
    letters = [mark[1].upper() for mark in marks if mark[1].upper() in allowed]
    marked = letters[0] if letters else ""
    return (marked or by_text) if len(chosen) < 2 else (by_text or marked)


def mmlu_letter(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the letter that begins a direct answer, as one of MMLU's four; "" without one.

    Strict: `B`, `B.`, `B)`, `B:`, `(B)` or the letter alone on its line, in upper case. As in
    instruct-eval, where the text has to begin with the letter; but "A dog" is no A.

    Example:
        >>> mmlu_letter(" (B) a dog"), mmlu_letter("C."), mmlu_letter("A dog")
        ('B', 'C', '')
    """
    del example, is_target
    match = _MMLU_LETTER.match(text.strip())
    return (match[1] or match[2]) if match else ""


def mmlu_cot_letter(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the letter X of "(X)" right after the last "answer is", or "" where none is there.

    Strict: the form of the Flan exemplars of MMLU (Chung et al. 2022, App. D): "The answer is
    (C).". A target may be a letter alone.
    """
    if is_target and not _ANSWER_IS.search(text):
        return option_letter(text, example)
    cue = last(_ANSWER_IS, text)
    match = _MARKED_OPTION.match(text, cue.end()) if cue else None
    return match[1].upper() if match else ""


def yes_no(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns "yes" or "no", or "" where the text says neither.

    Looks after the last answer cue, else takes a yes or no that begins the text, else the last one.
    """
    del example, is_target
    found = after_cue(text)
    match = _YES_NO.search(found) if found else _YES_NO.match(text.strip())
    match = match or last(_YES_NO, text)
    return match.group(1).lower() if match else ""


def bbh_cot(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the rest of the line after the first "the answer is ", without one final period.

    "" where the words do not occur. Case and everything else is kept: BIG-Bench Hard's own rule
    (Suzgun et al. 2022, arXiv 2210.09261), whose answers are compared character for character.

    Example:
        >>> bbh_cot("All in all, 2 are red. So the answer is (C)."), bbh_cot("(C)")
        ('(C)', '')
    """
    del example
    _, cue, rest = text.strip().partition("the answer is ")
    if not cue:
        return text.strip() if is_target else ""
    return rest.split("\n")[0].strip().removesuffix(".").strip()


def bbh_direct(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns a direct answer as it is: up to a blank line, or to a line that begins with "Q:".

    There a model goes on to the next question. A final period stays: the answer is compared
    character for character (Suzgun et al. 2022, arXiv 2210.09261).
    """
    del example, is_target
    return _NEXT_QUESTION.split(text.strip(), maxsplit=1)[0].strip()


def bbh_flexible(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the likeliest answer to a question of BIG-Bench Hard, with or without a rationale.

    Looks after the last answer cue, else at the text up to the next question. Where
    `example["options"]` has the texts of options with letters, finds the letter (`option_letter`)
    and returns "(B)". Else it is yes, no, true, false, valid or invalid, in the case of the text,
    or, where none of these is said, what stands after the cue or on the last line, without periods.

    Example:
        >>> bbh_flexible("The answer is: b.", {"options": ["a dog", "a cat"]})
        '(B)'
        >>> bbh_flexible("That makes no sense, so it is Invalid, I think."), bbh_flexible("] )")
        ('Invalid', '] )')
    """
    if is_target:
        return text.strip()
    found = after_cue(text)
    chosen = bbh_direct(text if found is None else found)
    if _options(example):
        letter = option_letter(text if found is not None else chosen, example)
        return f"({letter})" if letter else ""
    said = [match[1] for match in _VERDICT.finditer(chosen)]
    if said:
        return said[0] if found is not None or _VERDICT.match(chosen) else said[-1]
    return without_period(chosen.rpartition("\n")[2])


def squad_answer(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the first line that is not empty: the answer of extractive question answering.

    What a model writes after it, such as the next question, is no part of an answer.
    """
    del example, is_target
    return text.strip().split("\n", maxsplit=1)[0].strip()


def _letter_by_text(chosen: str, options: Sequence[str]) -> str:
    """Returns the letter of the first option that a text, or its first line, equals; or ""."""
    letters: dict[str, str] = {}
    for form in (str, str.casefold):  # of options that differ in case alone the exact one
        for letter, option in zip(string.ascii_uppercase, options, strict=False):
            letters.setdefault(form(without_period(option)), letter)
    said = [without_period(part) for part in (chosen, *chosen.splitlines()[:1])]
    said += [part.casefold() for part in said]
    return next((letters[part] for part in said if part and part in letters), "")


def _language(example: Example | None) -> str | None:
    language = (example or {}).get("language")
    return language if isinstance(language, str) else None


def _options(example: Example | None) -> list[str]:
    options = (example or {}).get("options")
    listed = isinstance(options, Sequence) and not isinstance(options, str)
    return [str(option) for option in options] if listed else []


POSTPROCESSORS: Mapping[str, Postprocessor] = types.MappingProxyType(
    {
        function.__name__: function
        for function in (
            whole_text,
            cot_answer,
            cot_answer_strict,
            number,
            number_strict,
            gsm8k_number,
            mgsm_number,
            last_number,
            option_letter,
            mmlu_letter,
            mmlu_cot_letter,
            yes_no,
            bbh_cot,
            bbh_direct,
            bbh_flexible,
            squad_answer,
        )
    }
)
"""Every filter by name."""
