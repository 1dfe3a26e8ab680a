# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answer options: the styles they are listed in, and the mark that then stands for an answer.

With bullets the target stays the answer's text; with an enumeration it becomes the item's mark.
Any number of options works: letters go on as spreadsheet columns do (z, aa, ab).
"""

import dataclasses
import functools
from collections.abc import Sequence

from flan_jax.core.errors import unknown_name
from flan_jax.core.rng import ExampleKey

# What a task draws from that names basic styles or none.
BASIC_HEADERS = (
    "Options:", "OPTIONS:", "Choices:", "Answer choices:", "Possible answers:", "Choose from:",
    "Pick one:", "Select one of these:", "The options are:", "",
)  # fmt: skip
HEADERS = (
    *BASIC_HEADERS, "CHOICES:", "Candidates:", "Select from the following:", "Which of these:",
    "One of these is right:", "Your choices:", "Alternatives:", "Available answers:",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class OptionStyle:
    """How the items of a list of options look."""

    name: str
    # bullet, upper, lower, number, roman or upper_roman.
    marks: str
    # Text around the mark; for a bullet, the bullet itself.
    before: str
    after: str
    separator: str = "\n"
    # What ends each item.
    ending: str = ""

    @property
    def enumerated(self) -> bool:
        """Whether the target becomes the mark."""
        return self.marks != "bullet"

    def mark(self, index: int) -> str:
        """Returns the mark of item `index` as it is to be answered, such as `(B)` or `B`."""
        return f"{self.before}{_MARKS[self.marks](index)}{self.after}".strip(" .:")

    def items(self, options: Sequence[str]) -> str:
        """Returns the list without header."""
        if not self.enumerated:
            return self.separator.join([f"{self.before}{o}{self.ending}" for o in options])
        mark = _MARKS[self.marks]
        marks = (f"{self.before}{mark(i)}{self.after}" for i in range(len(options)))
        lines = [f"{m} {o}{self.ending}" for m, o in zip(marks, options, strict=True)]
        return self.separator.join(lines)


@functools.cache
def _letters(index: int) -> str:
    text = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        text = chr(ord("a") + letter) + text
    return text


@functools.cache
def _roman(index: int) -> str:
    number, text = index + 1, ""
    for value, numeral in (
        (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
        (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
    ):  # fmt: skip
        times, number = divmod(number, value)
        text += numeral * times
    return text


_MARKS = {
    "lower": _letters,
    "upper": lambda index: _letters(index).upper(),
    "number": lambda index: str(index + 1),
    "roman": _roman,
    "upper_roman": lambda index: _roman(index).upper(),
}

# What a task draws from that names no styles.
BASIC_STYLES = {
    style.name: style
    for style in (
        OptionStyle("dash", "bullet", "- ", ""),
        OptionStyle("star", "bullet", "* ", ""),
        OptionStyle("plus", "bullet", "+ ", ""),
        OptionStyle("lines", "bullet", "", ""),
        OptionStyle("semicolons", "bullet", "", "", "; "),
        OptionStyle("upper_round", "upper", "(", ")"),
        OptionStyle("upper_dot", "upper", "", "."),
        OptionStyle("upper_half", "upper", "", ")"),
        OptionStyle("upper_square", "upper", "[", "]"),
        OptionStyle("upper_round_inline", "upper", "(", ")", " "),
        OptionStyle("lower_round", "lower", "(", ")"),
        OptionStyle("lower_dot", "lower", "", "."),
        OptionStyle("lower_half", "lower", "", ")"),
        OptionStyle("lower_round_inline", "lower", "(", ")", " "),
        OptionStyle("number_round", "number", "(", ")"),
        OptionStyle("number_dot", "number", "", "."),
        OptionStyle("number_half", "number", "", ")"),
        OptionStyle("roman_round", "roman", "(", ")"),
        OptionStyle("roman_dot", "roman", "", "."),
    )
}


def _more_styles() -> list[OptionStyle]:
    """Returns every combination of bullets, marks, brackets, separators and endings."""
    bullets = {"dash": "- ", "dashes": "-- ", "star": "* ", "plus": "+ ", "boxed_dash": "[-] ",
               "boxed_plus": "[+] "}  # fmt: skip
    brackets = {"round": ("(", ")"), "half": ("", ")"), "dot": ("", "."), "square": ("[", "]"),
                "round_dot": ("(", ")."), "colon": ("", ":")}  # fmt: skip
    endings = {"": "", "_semicolon": ";", "_period": "."}
    styles = [
        OptionStyle(f"{name}{more}", "bullet", bullet, "", ending=ending)
        for name, bullet in bullets.items()
        for more, ending in endings.items()
    ]
    for marks in ("upper", "lower", "number", "roman", "upper_roman"):
        for name, (before, after) in brackets.items():
            for inline, separator in (("", "\n"), ("_inline", " ")):
                styles += [
                    OptionStyle(
                        f"{marks}_{name}{inline}{more}", marks, before, after, separator, ending
                    )
                    for more, ending in endings.items()
                ]
    return styles


# All there are. The basic ones keep their names; every list of another look has one of its own.
STYLES = {style.name: style for style in _more_styles()} | BASIC_STYLES
BULLETS = tuple(name for name, style in STYLES.items() if not style.enumerated)


@dataclasses.dataclass(frozen=True)
class Listing:
    """The header and style drawn for one prompt; its exemplars share them."""

    style: OptionStyle
    header: str

    def text(self, options: Sequence[str]) -> str:
        """Returns the list with its header."""
        items = self.style.items(options)
        return f"{self.header}\n{items}" if self.header else items


def draw_listing(key: ExampleKey, names: Sequence[str] = ()) -> Listing:
    """Returns a header and one of the styles `names` (of the basic ones if empty).

    Basic styles have basic headers.
    """
    style = STYLES[key.choice("option_style", names or _BASIC)]
    headers = BASIC_HEADERS if BASIC_STYLES.keys() >= set(names) else HEADERS
    return Listing(style, key.choice("option_header", headers))


def check_styles(names: Sequence[str], task: str) -> None:
    """Raises a UsageError if a style is unknown."""
    for name in names:
        if name not in STYLES:
            raise unknown_name(f"option style of task {task!r}:", name, STYLES)


_BASIC = tuple(BASIC_STYLES)
