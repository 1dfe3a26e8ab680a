# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The byte-level BPE of a tokenizer.json, the format of the package tokenizers.

Only what `collection/byte_bpe.py` does is taken: GPT-2's words, with or without each digit apart,
and special tokens. Anything else in the file is refused, as its ids would be others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.core import files
from flan_jax.core.errors import UsageError

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # kinds of tokens, as GGUF numbers them
_CONFIG = "tokenizer_config.json"


def facts(path: Path) -> dict[str, Any]:
    """Returns what a file says of its tokenizer, under the names of GGUF's `tokenizer.ggml`.

    Raises:
        UsageError: the tokenizer is of another kind, or the file beside it names no EOS.
        DataError: it is not JSON.
        ValueError, TypeError, LookupError: it is damaged.
    """
    json = files.read_json(path)
    model = json["model"]
    _expect(path, "model", model, type="BPE", dropout=None, continuing_subword_prefix="",
            end_of_word_suffix="", byte_fallback=False, ignore_merges=False)  # fmt: skip
    _expect(path, "the file", json, normalizer=None, truncation=None)
    after = json.get("post_processor") or {"type": "ByteLevel"}
    if after["type"] == "TemplateProcessing":
        _expect(path, "post_processor", after, special_tokens={})  # then it adds nothing
    else:
        _expect(path, "post_processor", after, type="ByteLevel")
    ids = dict(model["vocab"])
    kinds = dict.fromkeys(ids, _NORMAL)
    for added in json.get("added_tokens", ()):
        place = f"the added token {added['content']!r}"
        _expect(path, place, added, lstrip=False, rstrip=False, single_word=False)
        ids[added["content"]] = added["id"]
        kinds[added["content"]] = _CONTROL if added["special"] else _USER_DEFINED
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError("its ids are not 0, 1, 2, ...")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return {
        "pre": "smollm" if _has_digits_apart(path, json["pre_tokenizer"]) else "gpt-2",
        "tokens": tokens,
        "token_type": [kinds[token] for token in tokens],
        "merges": merges,
        "eos_token_id": ids[_eos(path)],
    }


def _has_digits_apart(path: Path, pre_tokenizer: Mapping[str, Any]) -> bool:
    """Returns whether each digit is a word; refuses words that are not GPT-2's."""
    several = pre_tokenizer["type"] == "Sequence"
    steps = pre_tokenizer["pretokenizers"] if several else [pre_tokenizer]
    first = steps[:-1]
    _expect(path, "pre_tokenizer", steps[-1], type="ByteLevel", add_prefix_space=False,
            use_regex=True)  # fmt: skip
    if len(first) > 1:
        raise _refusal(path, "pre_tokenizer", "type", "Sequence of more than two")
    for step in first:
        _expect(path, "pre_tokenizer", step, type="Digits", individual_digits=True)
    return bool(first)


def _eos(path: Path) -> str:
    """Returns the token that ends a text, which another file says."""
    config = path.parent / _CONFIG
    found = files.read_json(config).get("eos_token") if config.is_file() else None
    found = found["content"] if isinstance(found, dict) else found
    if not isinstance(found, str):
        raise UsageError(f"vocabulary {path}: {config} names no eos_token; add it there")
    return found


def _expect(path: Path, place: str, fields: Mapping[str, Any], **wanted: Any) -> None:
    """Checks that each field has the one value that can be used, or one that says nothing."""
    for name, value in wanted.items():
        if (there := fields.get(name)) is not None and there != value:
            raise _refusal(path, place, name, there)


def _refusal(path: Path, place: str, name: str, value: Any) -> UsageError:
    return UsageError(
        f"vocabulary {path}: {place} has {name} {value!r:.80}; known is byte-level BPE with the "
        "words of GPT-2 or SmolLM2; give another vocabulary, such as the model's .gguf file"
    )
