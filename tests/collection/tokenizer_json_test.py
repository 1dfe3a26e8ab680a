# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A byte-level BPE is read from tokenizer.json with the ids that the package tokenizers gives."""

import copy
import json
import random
import re

import pytest

from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.core.errors import DataError, UsageError
from tests.collection.byte_bpe_test import MERGES, TOKENS

OPTIONS = {"add_prefix_space": False, "use_regex": True, "trim_offsets": True}
BYTE_LEVEL = {"type": "ByteLevel", **OPTIONS}
DIGITS = {"type": "Digits", "individual_digits": True}
BOS = {"type": "TemplateProcessing", "special_tokens": {"<s>": {"ids": [1]}}}
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
SPECIAL = {"special": True} | dict.fromkeys(FLAGS, False)
FILE = {
    "version": "1.0",
    "normalizer": None,
    "added_tokens": [
        {"id": 0, "content": "<|end|>", **SPECIAL},
        {"id": 1, "content": "<|eos|>", **SPECIAL},
        {"id": len(TOKENS), "content": "<tool>", **SPECIAL | {"special": False}},
    ],
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [DIGITS, BYTE_LEVEL]},
    "post_processor": None,
    "decoder": BYTE_LEVEL,
    "model": {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": {token: i for i, token in enumerate(TOKENS)},
        "merges": MERGES,
    },
}


def write(folder, file=FILE, eos="<|eos|>"):
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos}))
    (folder / "tokenizer.json").write_text(json.dumps(file))
    return str(folder / "tokenizer.json")


def changed(*path, to):
    """Returns `FILE` with another value at a path."""
    file = copy.deepcopy(FILE)
    at = file
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = to
    return file


def test_a_text_is_cut_and_joined(tmp_path):
    vocabulary = load_vocabulary(write(tmp_path))
    pieces = [*TOKENS, "<tool>"]
    ids = vocabulary.encode("hello well 12<|eos|><tool>")
    expected = ["hell", "o", "Ġw", "e", "ll", "Ġ", "1", "2", "<|eos|>", "<tool>"]
    assert [pieces[i] for i in ids] == expected
    assert vocabulary.decode(vocabulary.encode("a <tool> b<|end|>")) == "a <tool> b"
    assert (vocabulary.eos_id, vocabulary.size) == (1, len(TOKENS) + 1)


def test_the_forms_that_releases_write_are_one(tmp_path):
    (tmp_path / "b").mkdir()
    one = load_vocabulary(write(tmp_path))
    pairs = changed("model", "merges", to=[pair.split(" ") for pair in MERGES])
    pairs["post_processor"] = {"type": "TemplateProcessing", "special_tokens": {}}
    other = load_vocabulary(write(tmp_path / "b", pairs, eos={"content": "<|eos|>"}))
    assert one.fingerprint == other.fingerprint
    write(tmp_path, changed("pre_tokenizer", to=BYTE_LEVEL))
    load_vocabulary.cache_clear()
    together = load_vocabulary(str(tmp_path / "tokenizer.json"))
    assert together.encode("12") == [TOKENS.index("12")] != one.encode("12")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model", "type"), "Unigram", "model has type 'Unigram'"),
        (("model", "byte_fallback"), True, "model has byte_fallback True"),
        (("normalizer",), {"type": "NFC"}, "the file has normalizer {'type': 'NFC'}"),
        (("post_processor",), {"type": "Sequence"}, "post_processor has type 'Sequence'"),
        (("post_processor",), BOS, "post_processor has special_tokens {'<s>'"),
        (("pre_tokenizer",), {"type": "Metaspace"}, "pre_tokenizer has type 'Metaspace'"),
        (("pre_tokenizer",), BYTE_LEVEL | {"add_prefix_space": True}, "add_prefix_space True"),
        (
            ("pre_tokenizer", "pretokenizers", 0),
            {"type": "Split"},
            "pre_tokenizer has type 'Split'",
        ),
        (("added_tokens", 0, "lstrip"), True, "the added token '<|end|>' has lstrip True"),
    ],
)
def test_another_kind_is_refused(tmp_path, path, value, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        load_vocabulary(write(tmp_path, changed(*path, to=value)))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model", "vocab", "h"), 5000, "its ids are not 0, 1, 2, ..."),
        (("model", "merges"), ["l x"], "the merge 'l x' makes no token"),
        (("model",), [], "a damaged tokenizer.json"),
    ],
)
def test_what_does_not_fit_together_is_one_line(tmp_path, path, value, message):
    with pytest.raises(DataError, match=re.escape(message)):
        load_vocabulary(write(tmp_path, changed(*path, to=value)))


def test_an_end_of_sequence_is_needed(tmp_path):
    path = write(tmp_path, eos=None)
    with pytest.raises(UsageError, match="names no eos_token; add it there"):
        load_vocabulary(path)


@pytest.mark.parity
def test_the_ids_are_those_of_tokenizers(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    path = write(tmp_path)
    ours, theirs = load_vocabulary(path), tokenizers.Tokenizer.from_file(path)
    draw = random.Random(0)
    for _ in range(500):
        text = "".join(draw.choices(["hell", "w", "12", " ", "\n", "\u00e9", "<tool>", "<|"], k=20))
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids, text
