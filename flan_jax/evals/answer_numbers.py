# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers in generated text: found, and written in one plain form, so equal ones are equal strings.

The plain form has ASCII digits, a minus where negative, a point before decimals, no thousands
marks, no needless zeros. Percent, currency and other unit signs are left out. Decimal digits of any
script are read; Chinese numerals and words, also those for thousands or millions, are not.

How thousands and decimals are marked depends on the language of the text:

    "en" "sw" "zh" "ja" "th" "bn" "te"   1,234.5; also 1,23,456 (the grouping of India)
    "de" "es" "fr" "ru"                  1.234,5 and 1 234,5; also 1,234.5
    another, or not known                1,234.5; and 1.234,5, which can be nothing else

An apostrophe or a no-break space between three digits marks thousands everywhere. In the second row
either mark before exactly three digits marks thousands, though there "2,125" could be a decimal:
MGSM's references are whole, and written "2,125" in every language.
"""

import re
import types
from collections.abc import Mapping

_POINT = frozenset({"en", "sw", "zh", "ja", "th", "bn", "te"})
_COMMA = frozenset({"de", "es", "fr", "ru"})

# Full-width, Arabic and mathematical signs beside their ASCII equals; digits are another matter.
_SIGNS = str.maketrans("\uff0c\uff0e\u066b\u066c\uff0d\u2212\uff04\uff09", ",..,--$)")

# A minus right after a word, a digit or a closing bracket is a subtraction, not a sign; but Thai,
# Chinese and Japanese put no space before a number.
_SIGN = (
    r"(?:(?:(?<![\w)])|(?<=[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]))(?P<sign>[-\u2212]))?"
    r"(?:[$€£¥₹৳฿₽]\s?(?P<inner_sign>-)?)?"
)
_ANYWHERE = "'\u2019\u00a0\u202f\u2009"
_POINT_NUMBER = (
    rf"(?P<whole>[0-9]{{1,3}}(?P<mark>[,{_ANYWHERE}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*(?![0-9])"
    r"|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?![0-9])|[0-9]+)?"
    r"(?(whole)(?:\.(?P<part>[0-9]+))?|(?<![0-9])\.(?P<only>[0-9]+))"
)
_COMMA_NUMBER = (
    rf"(?P<whole>[1-9][0-9]{{0,2}}(?P<mark>[., {_ANYWHERE}])[0-9]{{3}}"
    r"(?:(?P=mark)[0-9]{3})*(?![0-9])|[0-9]+)?"
    r"(?(whole)(?:(?!(?P=mark))[.,](?P<part>[0-9]+))?|(?<![0-9])[.,](?P<only>[0-9]+))"
)
# Points between thousands that only a text with decimal commas has: two of them, or one and then a
# comma.
_SURE = r"(?=[1-9][0-9]{0,2}(?:\.[0-9]{3})+(?:\.[0-9]{3}(?![0-9])|,[0-9]))"
_COMMA_DECIMALS = rf"{_SURE}(?P<c_whole>[0-9]{{1,3}}(?:\.[0-9]{{3}})+)(?:,(?P<c_part>[0-9]+))?"
_EITHER_NUMBER = rf"(?:{_COMMA_DECIMALS}|{_POINT_NUMBER})"


def first(text: str, language: str | None = None) -> str:
    """Returns the first number in a text, in plain form; "" where there is none.

    Args:
        text: any text, in any script.
        language: the code of its language, None if not known.

    Example:
        >>> first("Das kostet 80.000 $.", "de"), first("৳ ১,২৩৪.৫০", "bn"), first("ein")
        ('80000', '1234.5', '')
    """
    match = _pattern(language).search(_ascii(text))
    return _plain(match) if match else ""


def last(text: str, language: str | None = None) -> str:
    """Returns the last number in a text, in plain form; "" where there is none."""
    return "".join(every(text, language)[-1:])


def every(text: str, language: str | None = None) -> list[str]:
    """Returns all numbers in a text, in order and in plain form."""
    return [_plain(match) for match in _pattern(language).finditer(_ascii(text))]


def at(text: str, position: int, language: str | None = None) -> str:
    """Returns the number that begins at a position of a text, in plain form, or ""."""
    match = _pattern(language).match(_ascii(text), position)
    return _plain(match) if match else ""


def whole(text: str, language: str | None = None) -> str:
    """Returns the number that a text is, in plain form; "" where it is something else."""
    match = _pattern(language).fullmatch(_ascii(text))
    return _plain(match) if match else ""


def _ascii(text: str) -> str:
    """Returns a text with ASCII digits and signs: as many characters, each in its place."""
    return re.sub(r"\d", lambda digit: str(int(digit[0])), text.translate(_SIGNS))


def _pattern(language: str | None) -> re.Pattern:
    if language in _POINT:
        return _PATTERNS["point"]
    return _PATTERNS["comma" if language in _COMMA else "either"]


def _plain(match: re.Match) -> str:
    found = match.groupdict()
    whole = re.sub(r"[^0-9]", "", found["whole"] or found.get("c_whole") or "").lstrip("0") or "0"
    part = (found["part"] or found["only"] or found.get("c_part") or "").rstrip("0")
    plain = f"{whole}.{part}" if part else whole
    return f"-{plain}" if (found["sign"] or found["inner_sign"]) and plain != "0" else plain


_PATTERNS: Mapping[str, re.Pattern] = types.MappingProxyType(
    {
        name: re.compile(_SIGN + number)
        for name, number in (
            ("point", _POINT_NUMBER),
            ("comma", _COMMA_NUMBER),
            ("either", _EITHER_NUMBER),
        )
    }
)
