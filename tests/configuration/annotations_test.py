# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A Gin value suits an annotation as a reader of Gin files would say it does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import pytest

import gin
from flan_jax.configuration import annotations


class Rate(Protocol):
    """What a rate must offer."""

    scale: float

    def __call__(self, step: int) -> float:
        """Returns the rate."""
        ...


class Fixed:
    """A rate."""

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    scale: float

    def __call__(self, step: int) -> float:
        """Returns the rate."""
        return self.scale


class Other:
    """No rate."""


def make_fixed() -> Fixed:
    """Returns a rate."""
    return Fixed()


def make_unknown():
    """Says nothing of what it returns."""


@pytest.fixture(scope="module")
def parse():
    for target in (Fixed, Other, make_fixed, make_unknown):
        gin.external_configurable(target, module="annotations_test")
    yield gin.config.parse_value
    gin.clear_config()


SCALARS = ["1", "1.5", "True", "'a'", "None", "[1]", "('a',)", "{'a': 1}", "{}", "()"]


@pytest.mark.parametrize(
    ("hint", "fitting"),
    [
        (int, {"1"}),
        (float, {"1", "1.5"}),
        (bool, {"True"}),
        (str, {"'a'"}),
        (int | None, {"1", "None"}),
        (Any, set(SCALARS)),
        (Literal["a", 1.5], {"'a'", "1.5"}),
        (Sequence[int], {"[1]", "()"}),
        (Sequence[str], {"('a',)", "()"}),
        (list, {"[1]", "('a',)", "()"}),
        (tuple[int, ...], {"[1]", "()"}),
        (tuple[str], {"('a',)"}),
        (tuple[str, int], set()),
        (tuple[tuple[str, int], ...], {"{'a': 1}", "{}", "()"}),
        (tuple[tuple[str, str], ...], {"{}", "()"}),
        (Mapping[str, int], {"{'a': 1}", "{}"}),
        (Mapping[str, str | Sequence[str]] | Sequence[str] | None, {"None", "('a',)", "{}", "()"}),
        (dict, {"{'a': 1}", "{}"}),
        (Callable[[], int], set()),
        (Other, set()),
        (Rate, set()),
    ],
)
def test_literals(parse, hint, fitting):
    assert {text for text in SCALARS if annotations.suits(parse(text), hint)} == fitting


REFERENCES = [
    "@Fixed()", "@Fixed", "@Other()", "@make_fixed()", "@make_fixed", "@make_unknown()",
]  # fmt: skip


@pytest.mark.parametrize(
    ("hint", "fitting"),
    [
        (Fixed, {"@Fixed()", "@make_fixed()", "@make_unknown()"}),
        (Rate, {"@Fixed()", "@make_fixed()", "@make_unknown()"}),
        (Other | None, {"@Other()", "@make_unknown()"}),
        (int, {"@make_unknown()"}),
        (Sequence[int], {"@make_unknown()"}),
        # A rate is a function itself, beside what its class makes.
        (Callable[[int], float],
         {"@Fixed()", "@Fixed", "@make_fixed", "@make_fixed()", "@make_unknown()"}),
        (type, {"@Fixed", "@make_fixed", "@make_unknown()"}),
        (Any, set(REFERENCES)),
    ],
)  # fmt: skip
def test_references(parse, hint, fitting):
    assert {text for text in REFERENCES if annotations.suits(parse(text), hint)} == fitting


def test_what_is_known_only_later_suits_everything():
    assert annotations.suits(annotations.UNKNOWN, int)
    assert annotations.suits({"a": annotations.UNKNOWN}, Mapping[str, int])


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (float | None, "a number or None"),
        (Literal["min", "max"], "'min' or 'max'"),
        (Sequence[str] | None, "a list of text or None"),
        (Mapping[str, int], "a dict of text to a whole number"),
        (Callable[[], int], "a function, written @NAME"),
        (Rate, "@Fixed()"),
        (complex, "a configurable complex"),
    ],
)
def test_descriptions_name_the_classes_that_suit(hint, words):
    assert annotations.describe(hint, [Fixed, Other]) == words
