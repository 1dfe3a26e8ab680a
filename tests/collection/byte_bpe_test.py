# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Byte-level BPE: pairs join in the order learned, any text comes back, tokenizers agrees."""

import pickle
import random

import pytest

from flan_jax.collection import byte_bpe
from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.core.errors import DataError, UsageError
from tests import smollm2

LETTERS = [chr(b) for b in [*range(33, 127), *range(161, 173), *range(174, 256)]]
LETTERS += [chr(256 + i) for i in range(256 - len(LETTERS))]
MERGES = ["l l", "h e", "he ll", "Ġ w", "1 2", "Ġ Ġ"]
TOKENS = ["<|end|>", "<|eos|>", *LETTERS, *(pair.replace(" ", "") for pair in MERGES)]
KINDS = [3, 3] + [1] * (len(TOKENS) - 2)


def _write(path, tokens=TOKENS, kinds=KINDS, pre="smollm", model="gpt2", merges=MERGES, eos=1):
    package = pytest.importorskip("gguf", reason="the package gguf writes the file")
    writer = package.GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(eos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.fixture
def vocabulary(tmp_path):
    return load_vocabulary(str(_write(tmp_path / "a.gguf")))


def _pieces(vocabulary, text):
    return [TOKENS[i] for i in vocabulary.encode(text)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("hell", ["hell"]),
        ("hello well", ["hell", "o", "Ġw", "e", "ll"]),
        ("hhel", ["h", "he", "l"]),
        ("12", ["1", "2"]),  # digits stand alone, whatever was learned
        ("a  b", ["a", "Ġ", "Ġ", "b"]),  # the last space belongs to the word
        ("a  1", ["a", "ĠĠ", "1"]),
        ("é", ["Ã", "©"]),
        ("w<|eos|> w", ["w", "<|eos|>", "Ġw"]),
        ("", []),
    ],
)
def test_a_text_is_cut_and_joined(vocabulary, text, pieces):
    assert _pieces(vocabulary, text) == pieces


def test_digits_may_stand_together(tmp_path):
    vocabulary = load_vocabulary(str(_write(tmp_path / "b.gguf", pre="gpt-2")))
    assert _pieces(vocabulary, "1212 1") == ["12", "12", "Ġ", "1"]


def test_any_text_comes_back_up_to_its_end(vocabulary):
    for text in ["hello  w12\n\t é☃\U0001f600", " lead", "don't\x1c\xa0", ""]:
        assert vocabulary.decode([0, *vocabulary.encode(text), 1, 5, 0]) == text
    assert (vocabulary.size, vocabulary.eos_id, vocabulary.pad_id) == (len(TOKENS), 1, 0)
    again = pickle.loads(pickle.dumps(vocabulary))
    assert again.facts() == vocabulary.facts() and again.encode("hell") == vocabulary.encode("hell")


def test_what_cannot_be_used_is_one_clear_line(tmp_path, vocabulary):
    with pytest.raises(UsageError, match="SeqIO knows no byte-level BPE"):
        _ = vocabulary.seqio
    with pytest.raises(UsageError, match="no such file"):
        load_vocabulary(str(tmp_path / "absent.gguf"))
    with pytest.raises(UsageError, match="kind .*'pre': 'qwen2'.*known is .*'smollm' or 'gpt-2'"):
        load_vocabulary(str(_write(tmp_path / "c.gguf", pre="qwen2")))
    content = _write(tmp_path / "d.gguf").read_bytes()
    (tmp_path / "d.gguf").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="a damaged GGUF file"):
        load_vocabulary(str(tmp_path / "d.gguf"))


def test_a_byte_without_a_token_gives_nothing(tmp_path):
    tokens = ["unused" if token == "Ą" else token for token in TOKENS]  # it stands for byte 4
    vocabulary = load_vocabulary(str(_write(tmp_path / "f.gguf", tokens=tokens)))
    assert _pieces(vocabulary, "a\x04hell\x04") == ["a", "hell"]


def _joined_slowly(word, ranks):
    """Returns a word's pieces: the earliest learned pair is joined all over, again and again."""
    pieces = list(word)
    while pairs := [pair for pair in zip(pieces, pieces[1:], strict=False) if pair in ranks]:
        left, right = min(pairs, key=ranks.get)
        joined, i = [], 0
        while i < len(pieces):
            is_pair = pieces[i : i + 2] == [left, right]
            joined.append(left + right if is_pair else pieces[i])
            i += 1 + is_pair
        pieces = joined
    return pieces


class _Counted(dict):
    count = 0

    def get(self, key, default=None):
        self.count += 1
        return super().get(key, default)


@pytest.fixture
def learned(monkeypatch):
    """Makes tokenizers of pairs, drawn among the letters a to c and what they gave."""

    def make(draw, num_merges):
        made, merges = list("abc"), []
        while len(merges) < num_merges:
            left, right = draw.choice(made), draw.choice(made)
            if len(left + right) <= 4 and left + right not in made:
                made.append(left + right)
                merges.append(f"{left} {right}")
        facts = {"tokens": made, "token_type": [1] * len(made), "merges": merges}
        monkeypatch.setattr(
            byte_bpe, "_json_facts", lambda path: facts | {"eos_token_id": 0, "pre": "gpt-2"}
        )
        return byte_bpe.ByteBpe("a.json"), made

    return make


def test_words_of_any_length_are_joined_in_the_order_learned(learned):
    draw = random.Random(0)
    for num_merges in (1, 5, 20, 50, 80):
        bpe, tokens = learned(draw, num_merges)
        for length in (1, 2, 3, 7, 30, 300):
            for _ in range(10):
                word = "".join(draw.choices("abc", k=length))
                pieces = [tokens[i] for i in bpe.encode(word)]
                assert pieces == _joined_slowly(word, bpe._ranks), word


def test_the_work_for_a_word_grows_as_its_length(learned):
    draw = random.Random(0)
    bpe, _ = learned(draw, 80)
    bpe._ranks = _Counted(bpe._ranks)
    for length in (1_000, 100_000):
        bpe._ranks.count = 0
        bpe.encode("".join(draw.choices("abc", k=length)))
        assert bpe._ranks.count < 6 * length
    assert bpe._word_ids.cache_info().currsize == 0  # such words would fill the memory


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": KINDS[:-1]}, "tokens, but kinds of"),
        ({"eos": len(TOKENS)}, "EOS is token"),
        ({"merges": ["l l", "l x"]}, "the merge 'l x' makes no token"),
        ({"merges": ["ll"]}, "the merge 'll' makes no token"),
    ],
)
def test_what_does_not_fit_together_is_one_clear_line(tmp_path, change, message):
    with pytest.raises(DataError, match=f"a damaged GGUF file .*{message}") as caught:
        load_vocabulary(str(_write(tmp_path / "e.gguf", **change)))
    assert "\n" not in str(caught.value)


@pytest.mark.parity
def test_smollm2_gives_the_ids_of_tokenizers():
    tokenizers = pytest.importorskip("tokenizers")
    path = smollm2.gguf_file()
    facts, ours = byte_bpe._facts(path), byte_bpe.ByteBpe(path)
    ids = {token: id_ for id_, token in enumerate(facts["tokens"])}
    merges = [tuple(pair.split(" ")) for pair in facts["merges"]]
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=ids, merges=merges))
    before = tokenizers.pre_tokenizers
    theirs.pre_tokenizer = before.Sequence(
        [before.Digits(individual_digits=True), before.ByteLevel(add_prefix_space=False)]
    )
    theirs.decoder = tokenizers.decoders.ByteLevel()
    kinds = zip(facts["tokens"], facts["token_type"], strict=True)
    theirs.add_special_tokens([token for token, kind in kinds if kind == 3])
    draw = random.Random(0)
    tricky = "ab cd12  \n\t'sé☃²한.,!<|>\x1c\x85\xa0\u200b"
    texts = ["".join(draw.choices(tricky, k=40)) for _ in range(1000)]
    texts += ["".join(chr(draw.randrange(32, 0x3000)) for _ in range(20)) for _ in range(500)]
    for text in ("a\x04b \x13\x14", "\x06", "\U00041234 x"):  # bytes it has no tokens for
        assert ours.encode(text) == theirs.encode(text).ids, text
    for text in [*texts, "<|im_start|>user\nIt's 1234 o'clock<|im_end|>\n"]:
        assert ours.encode(text) == theirs.encode(text).ids, text
        if "<|" not in text:
            assert ours.decode(ours.encode(text)) == text
