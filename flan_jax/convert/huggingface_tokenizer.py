# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A vocabulary as the tokenizer files that transformers reads, with the same ids.

`spiece.model` is the vocabulary's own file. What transformers needs besides depends on it: its
T5Tokenizer does what T5's models do, NFKC and single spaces, and knows no bytes and no symbols. Any
other model is spelled out in `tokenizer.json`, to be loaded with AutoTokenizer.
"""

import base64
import re
from pathlib import Path
from typing import Any

from flan_jax.collection.vocabularies import ByteVocabulary, SentencePieceVocabulary, Vocabulary
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError

SPIECE, TOKENIZER = "spiece.model", "tokenizer.json"
CONFIG, SPECIAL = "tokenizer_config.json", "special_tokens_map.json"
CHAT_TEMPLATE = "chat_template.jinja"

_UNIGRAM, _BPE = 1, 2  # TrainerSpec.ModelType
_NORMAL, _USER_DEFINED = 1, 4  # SentencePiece.Type
_SPACE = "▁"


def find(folder: Path) -> str | None:
    """Returns the path of a folder's SentencePiece model; None if it has none."""
    path = folder / SPIECE
    return str(path) if path.is_file() else None


def chat_template(folder: Path) -> str:
    """Returns how a folder turns a conversation into a prompt, in Jinja; '' if it does not say."""
    path = folder / CHAT_TEMPLATE
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error.reason}); fetch it again") from None
    config = files.read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    found = config.get("chat_template", "") if isinstance(config, dict) else ""
    return found if isinstance(found, str) else ""  # a list: several for several purposes


def special_tokens(folder: Path) -> dict[str, str]:
    """Returns the texts of `bos_token` and `eos_token`, as far as a folder says them."""
    tokens = {}
    for name in (SPECIAL, CONFIG):
        found = files.read_json(folder / name) if (folder / name).is_file() else {}
        for kind in ("bos_token", "eos_token"):
            token = found.get(kind) if isinstance(found, dict) else None
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                tokens[kind] = token
    return tokens


def write(folder: Path, vocabulary: Vocabulary) -> None:
    """Writes the tokenizer's files into a folder that is there.

    Raises:
        UsageError: transformers has no tokenizer with these ids.
    """
    if isinstance(vocabulary, ByteVocabulary):
        files.write_json(folder / CONFIG, _config("ByT5Tokenizer", vocabulary.num_extra_ids))
        return
    if not isinstance(vocabulary, SentencePieceVocabulary):
        raise UsageError(f"vocabulary {vocabulary.name!r} has no form that transformers reads")
    content = vocabulary.serialized()
    model = _parse(content)
    ids = [model.trainer_spec.pad_id, model.trainer_spec.eos_id, model.trainer_spec.unk_id]
    kind = model.trainer_spec.model_type
    if kind not in (_UNIGRAM, _BPE) or ids != [0, 1, 2]:
        raise UsageError(
            f"vocabulary {vocabulary.name!r}: transformers' tokenizers for T5 need a unigram or "
            f"BPE model with pad 0, EOS 1 and unknown 2; it is of kind {kind} and has {ids}"
        )
    with files.atomic_open(folder / SPIECE, "wb") as file:
        file.write(content)
    special = {
        name: model.pieces[id_].piece
        for name, id_ in (("pad_token", 0), ("eos_token", 1), ("unk_token", 2))
    }
    if _is_like_t5(model):
        config = _config("T5Tokenizer", vocabulary.num_extra_ids)
        sentinels = [f"<extra_id_{i}>" for i in range(vocabulary.num_extra_ids)]
        special_tokens: dict[str, Any] = special | {"additional_special_tokens": sentinels}
    else:
        config = _config("PreTrainedTokenizerFast")
        special_tokens = special
        json = _tokenizer(model, vocabulary.num_extra_ids)
        files.write_json(folder / TOKENIZER, json)
    files.write_json(folder / CONFIG, config | special_tokens)
    files.write_json(folder / SPECIAL, special_tokens)


def _config(tokenizer_class: str, num_extra_ids: int | None = None) -> dict[str, Any]:
    extra = {} if num_extra_ids is None else {"extra_ids": num_extra_ids}
    return {
        "tokenizer_class": tokenizer_class,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    } | extra


def _parse(content: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2.ModelProto.FromString(content)


def _is_like_t5(model: Any) -> bool:
    """Returns whether transformers' T5Tokenizer gives the ids of a model."""
    normalizer = model.normalizer_spec
    plain = model.trainer_spec.model_type == _UNIGRAM and not model.trainer_spec.byte_fallback
    plain &= all(piece.type != _USER_DEFINED for piece in model.pieces)
    return plain and normalizer.remove_extra_whitespaces and normalizer.add_dummy_prefix


def _tokenizer(model: Any, num_extra_ids: int) -> dict[str, Any]:
    """Returns tokenizer.json for a model with the sentinels SeqIO adds at its end."""
    sentinels = [f"{_SPACE}<extra_id_{i}>" for i in reversed(range(num_extra_ids))]
    whole = [piece.piece for piece in model.pieces if piece.type == _USER_DEFINED] + sentinels
    spec = model.normalizer_spec
    normalizers: list[dict[str, Any]] = []
    if spec.precompiled_charsmap:
        charsmap = base64.b64encode(spec.precompiled_charsmap).decode()
        normalizers.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
    if spec.remove_extra_whitespaces:
        normalizers.append(_replace({"Regex": r"\A +| +\z"}, ""))
        normalizers.append(_replace({"Regex": " {2,}"}, " "))
    if spec.add_dummy_prefix:
        normalizers.append({"type": "Prepend", "prepend": " "})
    normalizers.append(_replace({"String": " "}, _SPACE))
    decoders: list[dict[str, Any]] = [
        _replace({"String": _SPACE}, " "),
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if spec.add_dummy_prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    if model.denormalizer_spec.precompiled_charsmap:
        # As collection/vocabularies.py spells the sign of a space and its own mark.
        decoders += [_replace({"String": "\ue000a"}, _SPACE)]
        decoders += [_replace({"String": "\ue000b"}, "\ue000")]
    eos = model.pieces[1].piece
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": id_, "content": model.pieces[id_].piece, "single_word": False,
                "lstrip": False, "rstrip": False, "normalized": False, "special": True,
            }
            for id_ in range(3)
        ],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        # These pieces stand alone whatever is around them; the longest is meant where two fit.
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "|".join(map(re.escape, sorted(whole, key=len, reverse=True)))},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_sequence("A"), _special(eos)],
            "pair": [_sequence("A"), _special(eos), _sequence("B"), _special(eos)],
            "special_tokens": {eos: {"id": eos, "ids": [1], "tokens": [eos]}},
        },
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _model(model, sentinels),
    }  # fmt: skip


def _model(model: Any, sentinels: list[str]) -> dict[str, Any]:
    """Returns the part of tokenizer.json that says what pieces there are."""
    byte_fallback = model.trainer_spec.byte_fallback
    if model.trainer_spec.model_type == _UNIGRAM:
        pieces = [[piece.piece, piece.score] for piece in model.pieces]
        return {
            "type": "Unigram",
            "unk_id": model.trainer_spec.unk_id,
            "vocab": pieces + [[sentinel, 0.0] for sentinel in sentinels],
            "byte_fallback": byte_fallback,
        }
    # SentencePiece joins whatever gives a piece, that of the best score first.
    normal = {
        piece.piece: (-piece.score, id_)
        for id_, piece in enumerate(model.pieces)
        if piece.type == _NORMAL
    }
    merges = [
        (rank, piece[:at], piece[at:])
        for piece, rank in normal.items()
        for at in range(1, len(piece))
        if piece[:at] in normal and piece[at:] in normal
    ]
    names = [piece.piece for piece in model.pieces] + sentinels
    return {
        "type": "BPE",
        "unk_token": model.pieces[model.trainer_spec.unk_id].piece,
        "fuse_unk": True,
        "vocab": {name: id_ for id_, name in enumerate(names)},
        "merges": [[left, right] for _, left, right in sorted(merges)],
        "byte_fallback": byte_fallback,
        "ignore_merges": True,  # what `pre_tokenizer` sets apart is one piece
    }


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _sequence(name: str) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": 0}}


def _special(piece: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": piece, "type_id": 0}}
