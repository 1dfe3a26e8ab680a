# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Byte-level BPE as GPT-2 and most open decoders have it, of a GGUF file or a tokenizer.json.

A text is cut at the special tokens it names, then into words by GPT-2's rule, with each digit apart
where the model says so; a word's UTF-8 bytes are joined pair by pair, the earliest learned pair
first. The vocabulary made of it is in `collection/vocabularies.py`.
"""

import functools
import hashlib
import heapq
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flan_jax.collection import tokenizer_json
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError

# tokenizer.ggml.pre -> whether each digit stands alone.
_DIGITS_APART = {"smollm": True, "gpt-2": False}
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # kinds of tokens
# Unicode's White_Space; Python's own class has U+001C to U+001F too.
_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CACHED_WORDS, _CACHED_LETTERS = 1 << 16, 64  # longer words seldom come again


class ByteBpe:
    """What turns text into the ids of a file's tokenizer, and back.

    Raises:
        UsageError: the tokenizer is of another kind, or the package gguf is needed and not there.
        DataError: the file is damaged.
    """

    def __init__(self, path: str | os.PathLike):
        facts = _json_facts(path) if Path(path).suffix == ".json" else _facts(path)
        tokens, kinds = facts["tokens"], facts["token_type"]
        self.size, self.eos_id = len(tokens), facts["eos_token_id"]
        self.fingerprint = hashlib.sha256(files.dumps(facts).encode()).hexdigest()
        self._digits_apart = _DIGITS_APART[facts["pre"]]
        self._ids = {token: id_ for id_, token in enumerate(tokens)}
        self._ranks = {tuple(pair.split(" ")): rank for rank, pair in enumerate(facts["merges"])}
        whole = [t for t, kind in zip(tokens, kinds, strict=True) if kind != _NORMAL]
        self._special = re.compile("|".join(map(re.escape, sorted(whole, key=len, reverse=True))))
        self._whole = frozenset(whole)
        letters = _letter_of_byte()
        bytes_of = {letter: bytes([byte]) for byte, letter in letters.items()}
        self._bytes = [
            token.encode() if kind == _USER_DEFINED
            else b"" if kind != _NORMAL
            else b"".join(bytes_of.get(letter, letter.encode()) for letter in token)
            for token, kind in zip(tokens, kinds, strict=True)
        ]  # fmt: skip
        self._word_ids = functools.lru_cache(_CACHED_WORDS)(self._encode_word)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without EOS; a special token's text gives its id.

        A byte that no token stands for gives nothing, as with the package tokenizers: SmolLM2
        never learned some control characters.
        """
        ids: list[int] = []
        end = 0
        for found in [*self._special.finditer(text), None] if self._whole else [None]:
            between = text[end : found.start()] if found else text[end:]
            for word in _words(between, self._digits_apart):
                is_short = len(word) <= _CACHED_LETTERS
                ids += self._word_ids(word) if is_short else self._encode_word(word)
            if found:
                ids.append(self._ids[found[0]])
                end = found.end()
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids; special tokens give nothing."""
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", errors="replace")

    def _encode_word(self, word: str) -> tuple[int, ...]:
        letters = _letter_of_byte()
        pieces = [letters[byte] for byte in word.encode("utf-8")]
        end = len(pieces)
        after, before = list(range(1, end + 1)), list(range(-1, end - 1))  # neighbours' places
        waiting: list[tuple[int, int]] = []  # (rank, place) of pairs, a heap; some are gone since

        def rank_at(place: int) -> int | None:
            if place < 0 or after[place] == end:
                return None
            return self._ranks.get((pieces[place], pieces[after[place]]))

        def consider(place: int) -> None:
            if (rank := rank_at(place)) is not None:
                heapq.heappush(waiting, (rank, place))

        for place in range(end):
            consider(place)
        while waiting:
            rank, place = heapq.heappop(waiting)
            if rank_at(place) != rank:
                continue
            joined = after[place]
            pieces[place] += pieces[joined]
            pieces[joined] = ""
            after[place] = after[joined]
            if after[place] < end:
                before[after[place]] = place
            consider(before[place])
            consider(place)
        return tuple(self._ids[piece] for piece in pieces if piece in self._ids)


def _json_facts(path: str | os.PathLike) -> dict[str, Any]:
    """Returns what a tokenizer.json says of its tokenizer."""
    try:
        facts = tokenizer_json.facts(Path(path))
        _check(facts)
        return facts
    except UsageError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"vocabulary {path}: a damaged tokenizer.json ({reason})") from None


def _facts(path: str | os.PathLike) -> dict[str, Any]:
    """Returns what a file says of its tokenizer."""
    try:
        import gguf
    except ModuleNotFoundError:
        raise UsageError(
            f"vocabulary {path}: GGUF files need the package gguf: pip install 'flan_jax[smollm2]'"
        ) from None
    try:
        fields = gguf.GGUFReader(os.fspath(path)).fields
        prefix = "tokenizer.ggml."
        found = {n.removeprefix(prefix): f for n, f in fields.items() if n.startswith(prefix)}
        kind = {name: found[name].contents() for name in ("model", "pre") if name in found}
        if kind.get("model") != "gpt2" or kind.get("pre") not in _DIGITS_APART:
            raise UsageError(
                f"vocabulary {path}: a tokenizer of kind {kind}; known is model 'gpt2' with pre "
                f"{' or '.join(map(repr, _DIGITS_APART))}"
            )
        names = ("tokens", "token_type", "merges", "eos_token_id")
        facts = {"pre": kind["pre"]} | {name: found[name].contents() for name in names}
        _check(facts)
        return facts
    except UsageError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"vocabulary {path}: a damaged GGUF file ({reason})") from None


def _check(facts: dict[str, Any]) -> None:
    """Raises a ValueError if what a file says does not fit together."""
    tokens, eos_id = facts["tokens"], facts["eos_token_id"]
    if len(facts["token_type"]) != len(tokens):
        raise ValueError(f"{len(tokens)} tokens, but kinds of {len(facts['token_type'])}")
    if not 0 <= eos_id < len(tokens):
        raise ValueError(f"EOS is token {eos_id} of {len(tokens)}")
    known = set(tokens)
    for pair in facts["merges"]:
        if pair.count(" ") != 1 or pair.replace(" ", "") not in known:
            raise ValueError(f"the merge {pair!r} makes no token")


def _words(text: str, digits_apart: bool) -> list[str]:
    words, numbers = _patterns()
    parts = numbers.split(text) if digits_apart else [text]
    return [word for part in parts for word in words.findall(part)]


@functools.cache
def _patterns() -> tuple[re.Pattern, re.Pattern]:
    """Returns GPT-2's rule for words, and the one that sets each digit apart."""
    classes: dict[str, list[str]] = {"L": [], "N": []}
    for code in range(sys.maxunicode + 1):
        if (kind := unicodedata.category(chr(code))[0]) in classes:
            classes[kind].append(code)
    letter, number = (_ranges(codes) for codes in classes.values())
    words = (
        rf"'(?:[sdmt]|ll|ve|re)| ?[{letter}]+| ?[{number}]+| ?[^{_SPACE}{letter}{number}]+"
        rf"|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"
    )
    return re.compile(words), re.compile(f"([{number}])")


def _ranges(codes: list[int]) -> str:
    """Returns characters as a class of a regular expression, neighbours together."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in ranges)


@functools.cache
def _letter_of_byte() -> dict[int, str]:
    """Returns the letter that stands for each byte: itself if it can be seen, else one after."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    letters = {byte: chr(byte) for byte in seen}
    unseen = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + i) for i, byte in enumerate(unseen)}
