# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tokens in batches: what fits is known without tokenizing all of it, and nothing is lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.collection import tokenizing
from flan_jax.collection.rendering import Dropped, Rendered
from flan_jax.collection.tokenizing import Counter, tokenized
from flan_jax.collection.vocabularies import load_vocabulary

NAMES = ("bytes", "package:tasks/mini/vocabulary/sentencepiece.model")


class Watched:
    """A vocabulary that notes what is tokenized."""

    eos_id = 1

    def __init__(self):
        self.one_by_one, self.batches = [], []

    def encode(self, text):
        self.one_by_one.append(text)
        return [ord(c) for c in text]

    def encode_all(self, texts):
        self.batches.append(list(texts))
        return [[ord(c) for c in text] for text in texts]


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(0, 80), st.sampled_from(NAMES))
def test_what_fits_is_what_counting_says(text, limit, name):
    vocabulary = load_vocabulary(name)
    assert Counter(vocabulary).at_most(text, limit) == (len(vocabulary.encode(text)) <= limit)


def test_short_ascii_is_not_tokenized_to_know_that_it_fits():
    watched = Watched()
    counter = Counter(watched)
    assert counter.at_most("short", 6) and not watched.one_by_one
    assert counter.at_most("tight", 5) and not counter.at_most("longer", 5)
    assert counter.at_most("é", 5)
    assert watched.one_by_one == ["tight", "longer", "é"]
    assert counter("longer") == 6 and len(watched.one_by_one) == 3


def item(number: int, text: str) -> Rendered:
    return Rendered(text, f"t{number}", {"n": number}, ["r"], number)


@pytest.mark.parametrize("num", [0, 1, 5, 12])
def test_items_keep_their_order_and_each_text_is_tokenized_once(monkeypatch, num):
    monkeypatch.setattr(tokenizing, "_BATCH", 4)
    watched = Watched()
    counter = Counter(watched)

    def items():
        for i in range(num):
            if i % 3 == 2:
                yield Dropped(i, "why")
                continue
            text = f"prompt {i // 6} é" if i % 2 else f"prompt {i}"
            counter.at_most(text, 20)
            yield item(i, text)

    out = list(tokenized(items(), counter, eos_id=1, feature_lengths={"inputs": 30, "targets": 9}))
    assert len(out) == num
    for i, found in enumerate(out):
        if i % 3 == 2:
            assert found == Dropped(i, "why")
            continue
        text = found.text
        assert text["index"] == i and text["meta"] == {"n": i} and text["references"] == ["r"]
        for name in ("inputs", "targets"):
            assert found.tokens[name] == [*map(ord, text[name]), 1]
    tokens = [text for batch in watched.batches for text in batch]
    assert not set(tokens) & set(watched.one_by_one)
    assert len(watched.batches) == -(-num // 4) or num == 0


def test_an_example_over_its_length_is_a_fault_of_ours():
    with pytest.raises(AssertionError, match="row 3: inputs over 4 was not dropped"):
        list(
            tokenized([item(3, "too long")], Counter(Watched()), eos_id=1,
                      feature_lengths={"inputs": 4, "targets": 9})
        )  # fmt: skip
