# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stop texts by hand-made values, and what holds of all texts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.collection.vocabularies import ByteVocabulary
from flan_jax.inference.stopping import Stop, first_stop, settled
from tests.inference.tiny_models import Letters

BYTES = ByteVocabulary()


@pytest.mark.parametrize(
    ("text", "stops", "before", "num_tokens"),
    [
        ("one\ntwo", ["\n"], "one", 4),
        ("one\ntwo\n", ["\n"], "one", 4),
        ("Q: a\n\nQ: b", ["\n\n", "b"], "Q: a", 6),
        ("abcd", ["bc", "d"], "a", 3),
        ("abcd", ["bcd", "c"], "ab", 3),  # the one that is whole first
        ("abcd", ["c", "bc"], "a", 3),  # of two that are whole at once, the one that begins first
        ("aabab", ["abab"], "a", 5),
        ("stop", ["stop"], "", 4),
        ("né!", ["é"], "n", 3),  # of two bytes
        ("日本", ["本"], "日", 6),
    ],
)
def test_an_answer_ends_before_the_first_stop(text, stops, before, num_tokens):
    assert first_stop(BYTES, BYTES.encode(text), stops) == Stop(before, num_tokens)


@pytest.mark.parametrize(("text", "stops"), [("one", ["\n"]), ("", ["a"]), ("ab", ["abc"])])
def test_an_answer_without_a_stop(text, stops):
    assert first_stop(BYTES, BYTES.encode(text), stops) is None


def test_a_stop_may_begin_and_end_within_a_token():
    vocabulary = Letters()
    ids = [5, 7, 9]
    text = vocabulary.decode(ids)
    assert text == "fChBjA", "three tokens of two characters each"
    assert first_stop(vocabulary, ids, ["Ch"]) == Stop("f", 2)
    assert first_stop(vocabulary, ids, ["hBj"]) == Stop("fC", 3)


def test_a_part_of_a_character_is_not_a_text():
    first, second = BYTES.encode("é")
    assert first_stop(BYTES, [first], ["é"]) is None
    assert first_stop(BYTES, [first, second], ["é"]) == Stop("", 2)


@pytest.mark.parametrize(
    ("text", "stops", "shown"),
    [
        ("one", [], "one"),
        ("one", ["e\n"], "on"),
        ("one", ["nE", "x"], "one"),
        ("a\n", ["\n\n"], "a"),
        ("a\n\n", ["\n\n\n"], "a"),
        ("aab", ["ab\n", "b?"], "a"),  # the longer beginning counts
        ("sto", ["stop"], ""),
        ("stop", ["top!"], "s"),
        ("caf\N{REPLACEMENT CHARACTER}", [], "caf"),
        ("caf\N{REPLACEMENT CHARACTER}", ["f\N{REPLACEMENT CHARACTER}"], "ca"),
        ("", ["a"], ""),
    ],
)
def test_what_later_tokens_may_change_is_not_shown(text, stops, shown):
    assert settled(text, stops) == shown


# Few letters, so that stops occur; of one, two and four bytes.
TEXTS = st.text(alphabet="ab\né\N{GRINNING FACE}", max_size=12)
STOPS = st.lists(st.text(alphabet="ab\né", min_size=1, max_size=4), max_size=3)


@settings(max_examples=200, deadline=None)
@given(TEXTS, STOPS)
def test_the_tokens_of_a_stop_are_the_fewest_that_hold_it(text, stops):
    ids = BYTES.encode(text)
    found = first_stop(BYTES, ids, stops)
    holding = [
        n for n in range(len(ids) + 1) if any(stop in BYTES.decode(ids[:n]) for stop in stops)
    ]
    if found is None:
        assert not holding
        return
    assert found.num_tokens == holding[0]
    held = BYTES.decode(ids[: holding[0]])
    assert found.text == held[: min(held.index(stop) for stop in stops if stop in held)]


@settings(max_examples=200, deadline=None)
@given(TEXTS, STOPS)
def test_what_is_shown_grows_into_the_answer(text, stops):
    """As long as no stop has come, whatever comes after."""
    ids = BYTES.encode(text)
    stop = first_stop(BYTES, ids, stops)
    answer = stop.text if stop else text
    shown = ""
    for n in range(stop.num_tokens if stop else len(ids) + 1):
        now = settled(BYTES.decode(ids[:n]), stops)
        assert answer.startswith(now) and now.startswith(shown)
        shown = now
