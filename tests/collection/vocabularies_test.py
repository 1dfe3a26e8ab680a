# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Vocabularies: nothing is lost, and SeqIO sees the same ids."""

import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flan_jax.collection import vocabularies
from flan_jax.core.errors import DataError, UsageError

SYLLABLES = ["ka", "ri", "mo", "ten", "su", "vel", "na", "dor"]


def corpus():
    """Returns lines of common and rarer made-up words, signs and line breaks."""
    words = [a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES]
    picks = [words[(i * i + 7 * i) % len(words) % (8 + i % 500)] for i in range(4000)]
    lines = [" ".join(picks[i : i + 10]) for i in range(0, 4000, 10)]
    return [f"red {line}\n{{red}} <{i % 10}  café red - -- ---" for i, line in enumerate(lines)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "sentencepiece.model"
    return vocabularies.train_sentencepiece(corpus(), path, 330)


@pytest.fixture(scope="module", params=["trained", "bytes"])
def vocabulary(request, trained):
    return trained if request.param == "trained" else vocabularies.load_vocabulary("bytes")


TRICKY = [
    "", " ", "  a  b ", "\n", "a\r\n\tb", "\u2581", " \u2581x", "\ue000a\ue000", "\x00", "{}<>",
    "ﬁ ﷺ e\u0301", "<extra_id_0>", "a <extra_id_3>", "<pad></s>", "🙂",
]  # fmt: skip


def with_examples(test):
    for text in TRICKY:
        test = example(text)(test)
    return test


@settings(max_examples=300, deadline=None)
@given(text=st.text())
@with_examples
def test_decoding_gives_the_text_back(vocabulary, text):
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode([*ids, vocabulary.eos_id, 5, 0, 0]) == text
    assert all(2 < i < vocabulary.size for i in ids)


@pytest.mark.parametrize("text", TRICKY)
def test_seqio_gives_the_same_ids_and_text(vocabulary, text):
    theirs = vocabulary.seqio
    assert list(theirs.encode(text)) == vocabulary.encode(text)
    assert theirs.encode_tf(text).numpy().tolist() == vocabulary.encode(text)
    assert theirs.decode(vocabulary.encode(text)) == text
    assert (theirs.eos_id, theirs.pad_id) == (vocabulary.eos_id, vocabulary.pad_id)


def test_batches_are_int32_rows_of_single_texts(vocabulary):
    rows = vocabulary.encode_batch(TRICKY)
    assert [row.tolist() for row in rows] == [vocabulary.encode(text) for text in TRICKY]
    assert all(row.dtype == np.int32 for row in rows)
    assert vocabulary.decode(rows[2]) == TRICKY[2]


def test_symbols_are_pieces_and_words_are_alike_everywhere(trained):
    for symbol in vocabularies.SYMBOLS:
        assert symbol in trained.pieces(f"a{symbol}b")
    alone = trained.pieces("red")
    assert alone[0].startswith("▁") and trained.pieces("karimo red")[-len(alone) :] == alone


def test_sizes_count_sentinels_and_round_up(trained):
    assert trained.size == 330 + 100 and trained.padded_size == 512
    assert trained.seqio.vocab_size == trained.size
    small = vocabularies.load_vocabulary("bytes")
    assert small.size == small.padded_size == small.seqio.vocab_size == 384


def test_sentinels_count_down_to_the_end(trained):
    assert (
        trained.encode("<extra_id_0>")[-1] == trained.size - 1
        or trained.decode([trained.size - 1]) == "<extra_id_0>"
    )
    assert trained.decode([trained.size - 100]) == "<extra_id_99>"


def test_training_again_gives_the_same_bytes(trained, tmp_path):
    again = vocabularies.train_sentencepiece(corpus(), tmp_path / "again.model", 330)
    assert again.fingerprint == trained.fingerprint
    other = vocabularies.train_sentencepiece(corpus()[:200], tmp_path / "other.model", 330)
    assert other.fingerprint != trained.fingerprint


def test_vocabularies_survive_pickling(vocabulary):
    again = pickle.loads(pickle.dumps(vocabulary))
    assert again.encode("red question") == vocabulary.encode("red question")
    assert again.fingerprint == vocabulary.fingerprint and again.name == vocabulary.name


def test_loading_by_path_and_by_package(trained, monkeypatch, tmp_path):
    package = tmp_path / "some_vocabulary_package"
    package.mkdir()
    (package / "__init__.py").touch()
    vocabularies.train_sentencepiece(corpus(), package / "m.model", 330)
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = vocabularies.load_vocabulary("package:some_vocabulary_package/m.model")
    assert loaded.fingerprint == trained.fingerprint


def test_wrong_names_and_files_are_told(tmp_path):
    with pytest.raises(
        UsageError, match="no such file; name a sentencepiece.model file or 'bytes'"
    ):
        vocabularies.load_vocabulary(str(tmp_path / "no.model"))
    junk = tmp_path / "junk.model"
    for content in (b"junk \xff\xff", b""):
        junk.write_bytes(content)
        with pytest.raises(UsageError, match="not a SentencePiece model"):
            vocabularies.load_vocabulary(str(junk))


def test_ids_outside_the_vocabulary_are_refused(vocabulary):
    with pytest.raises(DataError, match=f"id {vocabulary.padded_size} is outside the vocabulary"):
        vocabulary.decode([5, vocabulary.padded_size])
    with pytest.raises(DataError, match="id -1 is outside"):
        vocabulary.decode([-1])


def test_size_too_small_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot train a vocabulary of size 100: .*give more text"):
        vocabularies.train_sentencepiece(corpus(), tmp_path / "m.model", 100)
    assert not (tmp_path / "m.model").exists()
