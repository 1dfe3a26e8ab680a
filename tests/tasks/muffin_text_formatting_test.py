# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin's text-formatting tasks: what is taken out of a sentence, and which rows each uses."""

import pytest

from flan_jax.collection.spec import Drop
from tasks.muffin import text_formatting
from tests.tasks import muffin_rendering

# The mock's text has neither capitals nor punctuation.
BY_HAND = [
    {"en": text, "da": "noget"}
    for text in ("Hello, Anna!", "We open at 10:30, don't we?", "See (below).", "The End. Bye!")
]


@pytest.mark.parametrize("spec", text_formatting.TASKS, ids=lambda spec: spec.name)
def test_every_template_and_setting_renders(spec):
    muffin_rendering.assert_renders(spec, BY_HAND)


def test_cuts_share_no_row():
    used = set()
    for spec in text_formatting.TASKS:
        for cut in dict(spec.source.sources[0].splits).values():
            begin, end = cut.removeprefix("train[").rstrip("]").split(":")
            rows = set(range(int(begin or 0), int(end)))
            assert len(rows) in (200, 30_000) and rows.isdisjoint(used)
            used |= rows
    assert len(used) == 90_600


def test_each_takes_out_its_own():
    row = {"en": " It's  10:30, “now” - Go! ", "da": "d"}
    whole = "It's 10:30, “now” - Go!"
    assert text_formatting.true_case(row) == {"answer": whole, "lower": whole.lower()}
    assert text_formatting.fix_punct(row) == {"answer": whole, "no_punct": "Its 10:30 now Go"}
    assert text_formatting.word_segment(row) == {
        "answer": whole,
        "no_space": "It's10:30,“now”-Go!",
    }


def test_numbers_keep_their_marks_and_words_do_not():
    text = "It cost $1,234.50 (2-3%) on 1/2/2020, not 5. Then A/B-tests: e.g. 3,x"
    assert text_formatting.without_punctuation(text) == (
        "It cost $1,234.50 2-3 on 1/2/2020 not 5 Then ABtests eg 3x"
    )


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        (text_formatting.true_case, "all small, 3 words."),
        (text_formatting.fix_punct, "No mark at 10:30"),
        (text_formatting.word_segment, "Word"),
    ],
)
def test_rows_with_nothing_to_put_back_are_dropped(mapping, text):
    with pytest.raises(Drop, match="nothing to put back"):
        mapping({"en": text})
    with pytest.raises(Drop, match="empty"):
        mapping({"en": " "})


def test_a_line_of_marks_is_dropped():
    with pytest.raises(Drop, match="empty no_punct"):
        text_formatting.fix_punct({"en": "---"})
