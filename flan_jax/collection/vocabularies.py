# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Vocabularies: SentencePiece models, ByT5's bytes, byte-level BPE; training a SentencePiece model.

Encoding here needs neither TensorFlow nor SeqIO (they are imported only for `Vocabulary.seqio`
and for `gs://` paths), and gives the ids that the SeqIO vocabulary gives.

A model trained here loses nothing: `decode(encode(text)) == text` for any text.
"""

import abc
import functools
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.collection import byte_bpe, remote, sources
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError

T5_VOCABULARY = "gs://t5-data/vocabs/cc_all.32000/sentencepiece.model"
BYTES = "bytes"
_BYTE_BPE = (".gguf", ".json")

# Sentinels after the model's own pieces, as in T5.
NUM_EXTRA_IDS = 100
# ByT5 (Xue et al. 2022): 3 special ids, 256 bytes and 125 sentinels make its 384 embeddings.
NUM_BYTE_EXTRA_IDS = 125
# Embedding rows are padded to this multiple, so that any mesh up to 128 divides them.
PADDING_MULTIPLE = 128

# Always pieces of their own: T5's vocabulary lacks all of them.
SYMBOLS = ("\n", "{", "}", "<")

# SentencePiece writes a space as U+2581. So that this sign survives in text, it is spelled as two
# characters around the private-use U+E000 while encoded, and U+E000 itself likewise.
_NORMALIZATION = "2581\tE000 61\nE000\tE000 62\n"
_DENORMALIZATION = "E000 61\t2581\nE000 62\tE000\n"


class Vocabulary(abc.ABC):
    """Text to token ids and back; pad is 0, and encoding adds no EOS."""

    pad_id = 0
    eos_id = 1
    # As given to `load_vocabulary`.
    name: str
    # Ids in use, the sentinels included.
    size: int
    # SHA-256 of what decides the ids.
    fingerprint: str

    @property
    def padded_size(self) -> int:
        """`size` rounded up to a multiple of 128: the embedding's rows."""
        return -(-self.size // PADDING_MULTIPLE) * PADDING_MULTIPLE

    def facts(self) -> dict[str, Any]:
        """Returns what stores and checkpoints keep of the vocabulary."""
        names = ("name", "fingerprint", "size", "padded_size", "eos_id")
        return {name: getattr(self, name) for name in names}

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without EOS."""

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids up to the first EOS; padding gives nothing."""

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text, without EOS."""
        return [self.encode(text) for text in texts]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns the int32 ids of each text, without EOS."""
        return [np.asarray(ids, np.int32) for ids in self.encode_all(texts)]

    @property
    @abc.abstractmethod
    def seqio(self) -> Any:
        """The same vocabulary as SeqIO knows it."""

    def _clean(self, ids: Sequence[int]) -> list[int]:
        ids = [int(i) for i in ids]
        if self.eos_id in ids:
            ids = ids[: ids.index(self.eos_id)]
        if ids and max(ids) >= self.padded_size or min(ids, default=0) < 0:
            raise DataError(
                f"id {max(ids) if min(ids) >= 0 else min(ids)} is outside the vocabulary "
                f"{self.name!r} of {self.padded_size} ids; decode with the vocabulary the ids "
                "were made with"
            )
        return ids


class SentencePieceVocabulary(Vocabulary):
    """A SentencePiece model with `<extra_id_*>` sentinels at its end, as T5 uses it."""

    def __init__(self, name: str, path: str, extra_ids: int = NUM_EXTRA_IDS):
        content = _read(path)
        self.name, self._path, self.num_extra_ids = name, path, extra_ids
        self._processor = _processor(content, path, extra_ids)
        self.size = self._processor.get_piece_size()
        self.eos_id = self._processor.eos_id()
        self.fingerprint = hashlib.sha256(content).hexdigest()
        if self._processor.pad_id() != self.pad_id or self.eos_id < 0:
            raise UsageError(
                f"vocabulary {name!r}: pad must be id 0 and there must be an EOS, got pad "
                f"{self._processor.pad_id()} and EOS {self.eos_id}; train it with `flan-jax vocab`"
            )

    def __reduce__(self):
        return SentencePieceVocabulary, (self.name, self._path, self.num_extra_ids)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without EOS."""
        return self._processor.encode(text)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text, without EOS."""
        return self._processor.encode(list(texts), num_threads=1)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids up to the first EOS; padding gives nothing."""
        unknown = self._processor.unk_id()
        ids = [i if i < self.size else unknown for i in self._clean(ids) if i != self.pad_id]
        return self._processor.decode(ids)

    def serialized(self) -> bytes:
        """Returns the model file, which has no sentinels."""
        return _read(self._path)

    def pieces(self, text: str) -> list[str]:
        """Returns the pieces of a text, for people to look at."""
        return self._processor.encode(text, out_type=str)

    @functools.cached_property
    def seqio(self) -> Any:
        """The same vocabulary as SeqIO knows it."""
        import seqio

        return seqio.SentencePieceVocabulary(self._path, extra_ids=self.num_extra_ids)


class ByteVocabulary(Vocabulary):
    """UTF-8 bytes after three special ids, and sentinels at the end, as ByT5 uses them."""

    _OFFSET = 3

    def __init__(self, extra_ids: int = NUM_BYTE_EXTRA_IDS):
        self.name, self.num_extra_ids = BYTES, extra_ids
        self.size = self._OFFSET + 256 + extra_ids
        self.fingerprint = hashlib.sha256(f"bytes\x00{extra_ids}".encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without EOS."""
        return [byte + self._OFFSET for byte in text.encode("utf-8")]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids up to the first EOS; bytes that are no UTF-8 give nothing."""
        low = self._OFFSET
        kept = bytes(i - low for i in self._clean(ids) if low <= i < low + 256)
        return kept.decode("utf-8", errors="ignore")

    @functools.cached_property
    def seqio(self) -> Any:
        """The same vocabulary as SeqIO knows it."""
        import seqio

        return seqio.ByteVocabulary(extra_ids=self.num_extra_ids)


class ByteBpeVocabulary(Vocabulary):
    """The byte-level BPE of a file; its id 0, whatever it stands for, is padding."""

    def __init__(self, name: str, path: str):
        if not os.path.isfile(path):
            raise UsageError(
                f"vocabulary {path}: no such file; name a .gguf file or a tokenizer.json"
            )
        self.name, self._path = name, path
        self._bpe = byte_bpe.ByteBpe(path)
        self.size, self.eos_id = self._bpe.size, self._bpe.eos_id
        self.fingerprint = self._bpe.fingerprint

    def __reduce__(self):
        return ByteBpeVocabulary, (self.name, self._path)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without EOS; a special token's text gives its id."""
        return self._bpe.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids up to the first EOS; special tokens give nothing."""
        return self._bpe.decode([i for i in self._clean(ids) if i < self.size])

    @property
    def seqio(self) -> Any:
        """There is none."""
        raise UsageError(
            f"vocabulary {self.name!r}: SeqIO knows no byte-level BPE; use it with tasks declared "
            "for flan_jax, not with foreign ones"
        )


@functools.lru_cache(maxsize=8)
def load_vocabulary(name: str) -> Vocabulary:
    """Returns a vocabulary by name.

    Args:
        name: `bytes` (ByT5's), a SentencePiece model, a GGUF file, `*.gguf`, or a `tokenizer.json`
            beside its `tokenizer_config.json`. A file is given by its path, a `gs://` path, or
            `package:NAME/REST` inside an importable package.

    Raises:
        UsageError: there is no such file, or it holds no vocabulary that is known.
    """
    if name == BYTES:
        return ByteVocabulary()
    if name.startswith("gs://"):
        return SentencePieceVocabulary(name, name)
    path = os.path.abspath(sources.resolve(name))
    return (
        ByteBpeVocabulary(name, path)
        if path.endswith(_BYTE_BPE)
        else SentencePieceVocabulary(name, path)
    )


def train_sentencepiece(
    texts: Iterable[str],
    out: str | os.PathLike,
    size: int,
    *,
    symbols: Sequence[str] = SYMBOLS,
    model_type: str = "unigram",
    character_coverage: float = 1.0,
) -> Vocabulary:
    r"""Trains a SentencePiece model that loses nothing, and returns it as a vocabulary.

    Identity normalization, all white space kept, bytes for characters outside the vocabulary; pad
    is 0, EOS 1, unknown 2. A text gets a leading space, so that a word is the same piece at the
    start of a text as inside it.

    Args:
        texts: what to train on; the same texts in the same order give the same bytes.
        out: the model file to write.
        size: the number of pieces, sentinels not counted. Fewer result if the text has fewer.
        symbols: texts that are always a piece of their own.
        model_type: `unigram` or `bpe`.
        character_coverage: share of characters that get pieces; the rest are bytes.

    Raises:
        UsageError: `size` does not hold the bytes, symbols and characters.
    """
    import sentencepiece

    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules, back = Path(folder, "rules.tsv"), Path(folder, "back.tsv")
        rules.write_text(_NORMALIZATION, encoding="utf-8")
        back.write_text(_DENORMALIZATION, encoding="utf-8")
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                vocab_size=size,
                model_type=model_type,
                character_coverage=character_coverage,
                user_defined_symbols=list(symbols),
                normalization_rule_tsv=str(rules),
                denormalization_rule_tsv=str(back),
                remove_extra_whitespaces=False,
                add_dummy_prefix=True,
                byte_fallback=True,
                hard_vocab_limit=False,
                max_sentence_length=1 << 20,
                num_threads=1,  # sums of floats in one order: the same bytes each time
                pad_id=0,
                eos_id=1,
                unk_id=2,
                bos_id=-1,
                minloglevel=2,
            )
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UsageError(
                f"cannot train a vocabulary of size {size}: {reason}; give more text or another "
                "size"
            ) from None
    with files.atomic_open(out, "wb") as file:
        file.write(_without_paths(model.getvalue()))
    load_vocabulary.cache_clear()
    return load_vocabulary(str(out))


def _processor(content: bytes, path: str, extra_ids: int):
    """Returns a processor of the model with sentinels added the way SeqIO adds them."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    try:
        model = sentencepiece_model_pb2.ModelProto.FromString(content)
    except Exception as error:
        if type(error).__name__ != "DecodeError":
            raise
        model = None
    if model is None or not model.pieces:
        raise UsageError(f"vocabulary {path}: not a SentencePiece model; name another file")
    user_defined = sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED
    for i in reversed(range(extra_ids)):
        model.pieces.add(piece=f"▁<extra_id_{i}>", score=0.0, type=user_defined)
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model.SerializeToString())
    return processor


def _without_paths(content: bytes) -> bytes:
    """Returns a model without the temporary paths that training put into it."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(content)
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    model.denormalizer_spec.ClearField("normalization_rule_tsv")
    model.trainer_spec.ClearField("model_prefix")
    return model.SerializeToString(deterministic=True)


def _read(path: str) -> bytes:
    if remote.is_remote(path):
        import tensorflow as tf

        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                return file.read()
        except tf.errors.OpError as error:
            raise UsageError(
                f"vocabulary {path}: cannot be read ({type(error).__name__}); check the network "
                "and your access, or name a local copy"
            ) from None
    if not os.path.isfile(path):
        raise UsageError(
            f"vocabulary {path}: no such file; name a sentencepiece.model file or {BYTES!r}"
        )
    return Path(path).read_bytes()
