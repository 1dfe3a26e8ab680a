# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tokenizer files hold the vocabulary, and give its ids where transformers reads them."""

import io
import json

import hypothesis
import pytest
from hypothesis import strategies

from flan_jax.collection.vocabularies import (
    NUM_EXTRA_IDS,
    SentencePieceVocabulary,
    load_vocabulary,
    train_sentencepiece,
)
from flan_jax.convert import huggingface_tokenizer
from flan_jax.core.errors import DataError, UsageError

TEXTS = [f"the {a} of a {b}, seen {i} times" for i, (a, b) in enumerate(zip("wxyz", "abcd"))] * 9  # noqa: B905
MINI = "package:tasks/mini/vocabulary/sentencepiece.model"


def _trained(folder, **options):
    """Returns a vocabulary trained as T5's was: NFKC, single spaces, no bytes."""
    import sentencepiece

    model = io.BytesIO()
    defaults = dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=60, hard_vocab_limit=False,
        minloglevel=2, **(defaults | options),
    )  # fmt: skip
    path = folder / "trained.model"
    path.write_bytes(model.getvalue())
    return SentencePieceVocabulary(str(path), str(path))


@pytest.fixture(scope="module")
def like_t5(tmp_path_factory):
    return _trained(tmp_path_factory.mktemp("vocabulary"))


def _json(path):
    return json.loads(path.read_text())


def test_a_model_like_t5s_is_for_its_tokenizer(tmp_path, like_t5):
    assert huggingface_tokenizer.find(tmp_path) is None
    huggingface_tokenizer.write(tmp_path, like_t5)
    found = huggingface_tokenizer.find(tmp_path)
    assert load_vocabulary(found).fingerprint == like_t5.fingerprint
    config = _json(tmp_path / "tokenizer_config.json")
    assert (config["tokenizer_class"], config["extra_ids"]) == ("T5Tokenizer", 100)
    special = _json(tmp_path / "special_tokens_map.json")
    assert special.pop("additional_special_tokens")[::99] == ["<extra_id_0>", "<extra_id_99>"]
    assert special == {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    assert not (tmp_path / "tokenizer.json").exists()


def test_any_other_model_is_spelled_out(tmp_path):
    mini = load_vocabulary(MINI)
    huggingface_tokenizer.write(tmp_path, mini)
    config = _json(tmp_path / "tokenizer_config.json")
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    model = _json(tmp_path / "tokenizer.json")["model"]
    assert len(model["vocab"]) == mini.size and model["byte_fallback"]
    last = mini.size - 1
    assert model["vocab"]["▁<extra_id_0>"] == last and mini.encode(" <extra_id_0>")[-1] == last


def test_bytes_are_for_byt5(tmp_path):
    huggingface_tokenizer.write(tmp_path, load_vocabulary("bytes"))
    config = _json(tmp_path / "tokenizer_config.json")
    assert (config["tokenizer_class"], config["extra_ids"]) == ("ByT5Tokenizer", 125)


def test_a_model_that_transformers_would_read_otherwise_is_refused(tmp_path):
    vocabulary = _trained(tmp_path, eos_id=2, unk_id=1)
    with pytest.raises(UsageError, match="pad 0, EOS 1 and unknown 2; it is of kind 1"):
        huggingface_tokenizer.write(tmp_path, vocabulary)


TRICKY = [
    "", " ", "  two  spaces ", "a\nline\n\nand another", "x{y}<z>{", "é☃ 한 \U0001f600", "\t\ttabs",
    "<extra_id_0> and <extra_id_99>", "▁ looks like a space", " lead", "trail ", "\n", "\n \n",
]  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_transformers_gives_the_ids_of_a_lossless_vocabulary(tmp_path, model_type):
    transformers = pytest.importorskip("transformers")
    mini = load_vocabulary(MINI)  # it is a BPE model
    if model_type == "unigram":
        path = tmp_path / "unigram.model"
        mini = train_sentencepiece(TEXTS, path, 340, model_type=model_type)
    huggingface_tokenizer.write(tmp_path, mini)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == mini.size

    def check(text):
        ids = theirs(text).input_ids
        assert ids == [*mini.encode(text), mini.eos_id], text
        assert theirs.decode(ids, skip_special_tokens=True) == mini.decode(ids) == text

    for text in TRICKY:
        check(text)
    for id_ in range(3, mini.size - NUM_EXTRA_IDS):  # a piece is one, whatever it is made of
        check(mini.decode([id_]))
    for i in range(NUM_EXTRA_IDS):
        check(f"before <extra_id_{i}> after <extra_id_{i}>.")
    alphabet = strategies.sampled_from("abcdexyz .,{}<>\n\té☃▁0159")
    hypothesis.settings(max_examples=300, deadline=None)(
        hypothesis.given(strategies.text(alphabet, max_size=60))(check)
    )()


@pytest.mark.parity
@pytest.mark.parametrize("name", ["T5Tokenizer", "AutoTokenizer"])
def test_transformers_gives_the_ids_of_a_model_like_t5s(tmp_path, like_t5, name):
    transformers = pytest.importorskip("transformers")
    huggingface_tokenizer.write(tmp_path, like_t5)
    theirs = getattr(transformers, name).from_pretrained(tmp_path)
    assert len(theirs) == like_t5.size
    for text in [*TEXTS[:4], "  the  of\n a ", "ﬁ the", "unknown: Q", "", " "]:
        assert theirs(text).input_ids == [*like_t5.encode(text), 1], text
    for i in range(NUM_EXTRA_IDS):
        text = f"the <extra_id_{i}> a <extra_id_{i}>"
        assert theirs(text).input_ids == [*like_t5.encode(text), 1], text


@pytest.mark.parity
def test_transformers_gives_the_ids_of_bytes(tmp_path):
    transformers = pytest.importorskip("transformers")
    vocabulary = load_vocabulary("bytes")
    huggingface_tokenizer.write(tmp_path, vocabulary)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ["abc é", "\n{☃}"]:
        assert theirs(text).input_ids == [*vocabulary.encode(text), 1]


def test_what_a_folder_says_of_special_tokens_is_read(tmp_path):
    read = huggingface_tokenizer.special_tokens
    assert read(tmp_path) == {}
    of_map = {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(of_map))
    assert read(tmp_path) == {"bos_token": "<s>", "eos_token": "</s>"}
    config = {"bos_token": None, "eos_token": {"content": "<|end|>"}, "pad_token": "<pad>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert read(tmp_path) == {"bos_token": "<s>", "eos_token": "<|end|>"}


def test_a_chat_template_of_other_bytes_is_one_line(tmp_path):
    (tmp_path / "chat_template.jinja").write_bytes(b"{{ messages }} \xff")
    with pytest.raises(DataError, match=r"chat_template\.jinja: not UTF-8 text"):
        huggingface_tokenizer.chat_template(tmp_path)
