# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Words of any script, and an index of n-grams that is exact whatever the hash does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.collection import word_grams
from flan_jax.collection.word_grams import GAP, UNKNOWN, GramIndex, Numbering


def words(text):
    return word_grams.spaced(text).decode().split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop: 3.5 km!", ["don", "t", "stop", "3", "5", "km"]),
        ("snake_case\x01and\ttabs\n", ["snake", "case", "and", "tabs"]),
        ("", []),
        ("— …", []),
        ("ÉCOLE Straße", ["école", "straße"]),
        ("e\u0301cole", ["école"]),  # an accent that is a character of its own
        ("ﬁne １２", ["fine", "12"]),  # a ligature, wide digits
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs part no word
        ("今日は。OK", ["今", "日", "は", "ok"]),
        ("สวัสดี", list("สวัสดี")),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_lone_surrogates_are_no_words():
    assert words("a \ud800 b") == ["a", "b"]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_has_the_same_words_by_either_way(text):
    assert words(text) == words(text + " ä")[:-1]


def test_numbers_of_texts_have_a_gap_after_each_and_no_number_for_other_words():
    numbering = Numbering()
    one, two = numbering.add([b"one", b"two"])
    numbers, gaps = numbering.texts(["Two three", "", "one."])
    assert numbers.tolist() == [two, UNKNOWN, GAP, GAP, one, GAP]
    assert gaps.tolist() == [2, 3, 5]
    assert len({one, two, UNKNOWN, GAP}) == 4


def constant(sums, factors, n):
    return np.zeros(max(len(factors) - n + 1, 0), np.uint64)


def few(sums, factors, n):
    """Only four different hashes, of the highest bits too."""
    return _true_hashes(sums, factors, n) & np.uint64(3 << 62)


_true_hashes = word_grams.window_hashes


@pytest.mark.parametrize("hashes", [_true_hashes, constant, few])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_index_finds_what_a_plain_search_finds(hashes, data):
    sequence = st.lists(st.integers(2, 4), max_size=25)
    n = data.draw(st.integers(1, 4))
    own = [*data.draw(sequence), GAP, *data.draw(sequence)]
    other = [*data.draw(sequence), GAP, *data.draw(sequence)]

    def grams(values):
        return {
            at: tuple(values[at : at + n])
            for at in range(len(values) - n + 1)
            if GAP not in values[at : at + n]
        }

    own_grams = grams(own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_grams, "window_hashes", hashes)
        index = GramIndex(np.array(own, np.int32), np.array([*own_grams], np.int64), n)
        numbers = np.array(other, np.int32)
        starts, found = index.find(numbers, *word_grams.prefix_sums(numbers))
    assert len(index) == len(set(own_grams.values()))
    expected = [at for at, gram in grams(other).items() if gram in own_grams.values()]
    assert starts.tolist() == expected
    for start, gram in zip(starts.tolist(), found.tolist(), strict=True):
        places = sorted(index.places(np.array([gram])).tolist())
        wanted = tuple(other[start : start + n])
        assert places == [at for at, other_gram in own_grams.items() if other_gram == wanted]


def test_hashes_of_windows_are_those_of_their_words_anywhere():
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 1 << 30, 300).astype(np.int32)
    numbers[200:220] = numbers[10:30]
    hashes = word_grams.window_hashes(*word_grams.prefix_sums(numbers), 7)
    assert len(hashes) == 294
    assert hashes[200:214].tolist() == hashes[10:24].tolist()
    assert len(set(hashes.tolist())) == 294 - 14
