# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Texts as numbered words, and exact look-up of their n-grams by hash.

Words are runs of letters, digits and combining marks, in lower case and Unicode's compatible form
(NFKC); everything else parts them. In scripts written without spaces each character is a word.

Words are numbered without collision, so that comparing numbers compares the words themselves; only
n-grams are hashed, and what a hash finds is compared number by number.
"""

import itertools
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

# Numbers of words: none of the indexed texts has it; the gap between two texts.
UNKNOWN, GAP = 0, 1

_GAP = b"\x01"  # never in a word
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_MAX_FILTER_BITS = 26

# Han, kana, Thai, Lao, Burmese and Khmer: first and last code points.
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip


class _Translation(dict):
    """Code point -> what stands for it, made when first met."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        if unicodedata.category(sign)[0] not in "LNM":
            stands = " "
        elif any(first <= code <= last for first, last in _UNSPACED):
            stands = f" {sign} "
        else:
            stands = sign
        self[code] = stands
        return stands


_TRANSLATION = _Translation()
_ASCII_TRANSLATION = bytes(
    ord(chr(i).lower()) if i < 128 and chr(i).isalnum() else ord(" ") for i in range(256)
)


def spaced(text: str) -> bytes:
    """Returns a text's words with spaces between, UTF-8.

    Example:
        >>> spaced("It's 1.5 Ä!").decode().split()
        ['it', 's', '1', '5', 'ä']
    """
    if text.isascii():
        return text.encode("ascii").translate(_ASCII_TRANSLATION)
    text = unicodedata.normalize("NFKC", text).lower().translate(_TRANSLATION)
    return text.encode("utf-8", "surrogatepass")


class Numbering:
    """Numbers words in the order in which they are first met."""

    def __init__(self):
        self._numbers: dict[bytes, int] = {_GAP: GAP}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, words: Iterable[bytes]) -> list[int]:
        """Returns the numbers of words, new ones given to those not met before."""
        numbers = self._numbers
        return [numbers.setdefault(word, len(numbers) + 1) for word in words]

    def texts(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers the words of texts; one that was never added is `UNKNOWN`.

        Returns:
            numbers: [num_words] int32, `GAP` after each text.
            gaps: [num_texts] where the gaps are.
        """
        words = b"".join(spaced(text) + b" \x01 " for text in texts).split()
        found = map(self._numbers.get, words, itertools.repeat(UNKNOWN))
        numbers = np.fromiter(found, np.int32, len(words))
        return numbers, np.flatnonzero(numbers == GAP)


def prefix_sums(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns [num + 1] hashes of the beginnings, and [num] factors, for `window_hashes`."""
    inverse = pow(_BASE, -1, 1 << 64)
    powers, factors = (
        np.multiply.accumulate(np.r_[np.uint64(1), np.full(len(numbers), base, np.uint64)])
        for base in (inverse, _BASE)
    )
    sums = np.zeros(len(numbers) + 1, np.uint64)
    np.cumsum(numbers.astype(np.uint64) * powers[:-1], out=sums[1:])
    return sums, factors[:-1]


def window_hashes(sums: np.ndarray, factors: np.ndarray, n: int) -> np.ndarray:
    """Returns [num - n + 1] polynomial hashes, modulo 2**64, of all windows of n numbers."""
    if len(factors) < n:
        return np.zeros(0, np.uint64)
    return (sums[n:] - sums[:-n]) * factors[: len(factors) - n + 1]


class GramIndex:
    """The different n-grams of some texts, and where each of them is.

    Args:
        numbers: [num_words] of all texts.
        starts: [num_grams] where the n-grams begin; the same n-gram may be there many times.
        n: words of an n-gram.
    """

    def __init__(self, numbers: np.ndarray, starts: np.ndarray, n: int):
        self.n = n
        self._numbers = numbers
        hashes = window_hashes(*prefix_sums(numbers), n)[starts]
        order = np.argsort(hashes, kind="stable")
        hashes, starts = hashes[order], starts[order]
        is_new_hash = np.r_[True, hashes[1:] != hashes[:-1]][: len(hashes)]
        is_new = is_new_hash.copy()
        differs = ~is_new_hash[1:] & ~self._equal(starts[1:], numbers, starts[:-1])
        if differs.any():  # different n-grams of one hash: put equal ones side by side
            starts, is_new = self._regroup(starts, is_new_hash, differs)
        first = np.flatnonzero(is_new)
        self._places, self._bounds = starts, np.append(first, len(starts))
        self._hashes = hashes[first]
        runs = np.diff(np.flatnonzero(np.append(is_new_hash[first], True)))
        self._most_of_a_hash = int(runs.max(initial=0))
        bits = min(max(len(first).bit_length() + 4, 10), _MAX_FILTER_BITS)
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(1 << bits, bool)
        self._filter[self._hashes >> self._shift] = True

    def __len__(self) -> int:
        return len(self._hashes)

    def find(
        self, numbers: np.ndarray, sums: np.ndarray, factors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the windows of other texts that are indexed n-grams.

        Args:
            numbers: [num_words] of the texts, from the same `Numbering`.
            sums: of `prefix_sums`.
            factors: likewise.

        Returns:
            starts: [num_found] where the windows begin, ascending.
            grams: [num_found] which n-gram each of them is.
        """
        hashes = window_hashes(sums, factors, self.n)
        starts = np.flatnonzero(self._filter[hashes >> self._shift])
        hashes = hashes[starts]
        at = np.searchsorted(self._hashes, hashes)
        found, grams = [], []
        for _ in range(self._most_of_a_hash):
            inside = np.flatnonzero(at < len(self._hashes))
            inside = inside[self._hashes[at[inside]] == hashes[inside]]
            starts, hashes, at = starts[inside], hashes[inside], at[inside]
            if not len(at):
                break
            is_it = self._equal(starts, numbers, self._places[self._bounds[at]])
            found.append(starts[is_it])
            grams.append(at[is_it])
            at = at + 1
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        starts, grams = np.concatenate(found), np.concatenate(grams)
        order = np.argsort(starts)
        return starts[order], grams[order]

    def places(self, grams: np.ndarray) -> np.ndarray:
        """Returns where these n-grams begin in the indexed texts, all of them."""
        begins, ends = self._bounds[grams], self._bounds[grams + 1]
        lengths = ends - begins
        offsets = np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self._places[np.repeat(begins, lengths) + np.arange(lengths.sum()) - offsets]

    def _equal(self, starts: np.ndarray, numbers: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Whether n-grams at `starts` of `numbers` are those at `own` of the indexed texts."""
        equal = np.ones(len(starts), bool)
        for offset in range(self.n):
            equal &= numbers[starts + offset] == self._numbers[own + offset]
        return equal

    def _regroup(
        self, starts: np.ndarray, is_new_hash: np.ndarray, differs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        starts, is_new = starts.copy(), is_new_hash.copy()
        bounds = np.append(np.flatnonzero(is_new_hash), len(starts))
        for run in np.unique(np.searchsorted(bounds, np.flatnonzero(differs) + 1, "right") - 1):
            span = slice(bounds[run], bounds[run + 1])
            grams = {s: tuple(self._numbers[s : s + self.n]) for s in starts[span].tolist()}
            ordered = sorted(grams, key=grams.__getitem__)
            starts[span] = ordered
            is_new[span] = [
                i == 0 or grams[start] != grams[ordered[i - 1]] for i, start in enumerate(ordered)
            ]
        return starts, is_new
