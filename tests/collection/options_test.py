# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Option styles: distinct marks for any number of options, and marks that can be found again."""

import pytest

from flan_jax.collection import options
from flan_jax.core.errors import UsageError
from flan_jax.core.rng import ExampleKey

MANY = [f"choice {i}" for i in range(60)]


@pytest.mark.parametrize("name", options.STYLES)
def test_items_hold_every_option_once_in_order(name):
    text = options.STYLES[name].items(MANY)
    places = [text.index(f"choice {i}") for i in range(60)]
    assert places == sorted(places)
    assert text.count("choice") == 60


@pytest.mark.parametrize("name", [n for n in options.STYLES if n not in options.BULLETS])
def test_marks_are_distinct_and_stand_before_their_item(name):
    style = options.STYLES[name]
    marks = [style.mark(i) for i in range(60)]
    assert len(set(marks)) == 60
    text = style.items(MANY)
    for mark, option in zip(marks, MANY, strict=True):
        before = text[: text.index(option)].rstrip(" .:")
        assert before.endswith(mark)


def test_letters_go_on_like_spreadsheet_columns():
    style = options.STYLES["upper_dot"]
    assert [style.mark(i) for i in (0, 25, 26, 27, 51, 52)] == ["A", "Z", "AA", "AB", "AZ", "BA"]


def test_roman_numerals():
    style = options.STYLES["roman_dot"]
    assert [style.mark(i) for i in (0, 3, 8, 13, 39)] == ["i", "iv", "ix", "xiv", "xl"]


def test_listing_is_drawn_by_key_from_the_named_styles():
    keys = [ExampleKey(0, "t", i) for i in range(300)]
    drawn = {options.draw_listing(key).style.name for key in keys}
    assert drawn == set(options.BASIC_STYLES)
    assert {options.draw_listing(key, ["dash"]).style.name for key in keys} == {"dash"}
    assert {options.draw_listing(key).header for key in keys} == set(options.BASIC_HEADERS)
    for names, headers in (
        (["dash", "upper_dot"], options.BASIC_HEADERS),
        (["dash", "upper_colon"], options.HEADERS),
    ):
        assert {options.draw_listing(key, names).header for key in keys} == set(headers)
    assert options.draw_listing(keys[0]) == options.draw_listing(ExampleKey(0, "t", 0))


def test_header_stands_on_a_line_of_its_own():
    style = options.STYLES["upper_round"]
    listing = options.Listing(style, "Options:")
    assert listing.text(["red", "blue"]) == "Options:\n(A) red\n(B) blue"
    assert options.Listing(style, "").text(["red"]) == "(A) red"


def test_endings_and_separators_are_as_named():
    styles = options.STYLES
    assert len(styles) == 18 + 180 + 2  # bullets, enumerations, and two without marks
    assert styles["dash_period"].items(["red", "blue"]) == "- red.\n- blue."
    assert styles["upper_roman_round_inline_semicolon"].items(["a", "b"]) == "(I) a; (II) b;"
    assert styles["number_colon"].items(["a"]) == "1: a"
    assert styles["lower_round_dot"].mark(1) == "(b)" and styles["number_colon"].mark(0) == "1"


def test_unknown_style_names_the_nearest():
    with pytest.raises(UsageError, match="'dsh'; did you mean 'dash'"):
        options.check_styles(["dsh"], "t")
