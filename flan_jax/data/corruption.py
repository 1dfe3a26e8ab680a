# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text to training pairs: span corruption, prefix language modeling, and mixtures of denoisers.

Pure functions of token arrays. All that is random comes from the example's own key, so a pair
depends on (seed, task, chunk) only. The lengths and the structure are those of T5's preprocessors
(`random_spans_noise_mask`, `random_spans_helper`, `random_prefix_noise_mask`); the draws are not,
since TensorFlow's generator is not used. No token is lost: a pair holds its chunk, in order.

The published objectives are the constants at the end.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from flan_jax.core.errors import UsageError, unknown_name
from flan_jax.core.rng import ExampleKey

# Raised whenever a change gives other pairs for the same chunk and key.
VERSION = 1

# What a denoiser does with a chunk.
SPANS = "spans"  # spans of noise, each replaced by a sentinel
RANDOM_SPLIT = "random_split"  # a prefix of any length, each equally likely, and what follows it
SUFFIX = "suffix"  # a prefix, and what follows it: a fixed share of the chunk
KINDS = (SPANS, RANDOM_SPLIT, SUFFIX)

_EOS = 1  # one token on either side


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoiser:
    """One way to make pairs from chunks of text.

    Args:
        name: what it is called in names of tasks.
        kind: of `KINDS`.
        density: share of a chunk's tokens that are noise, which is to be restored. A suffix of
            density None has the target's share of both feature lengths.
        mean_span: mean length of a span of noise, for `SPANS`.
        mode: text before the inputs that tells which denoiser it is; "" for none.
        join: whether documents are joined before they are cut, so that chunks are equally long.
        share: its part in a mixture.
    """

    name: str
    kind: str = SPANS
    density: float | None = None
    mean_span: float | None = None
    mode: str = ""
    join: bool = True
    share: float = 1.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise unknown_name("kind", self.kind, KINDS, place=f"denoiser {self.name!r}")
        if self.density is not None and not 0 < self.density < 1:
            raise UsageError(
                f"denoiser {self.name!r}: density must be between 0 and 1, got {self.density}"
            )
        if self.kind == SPANS and (self.density is None or not (self.mean_span or 0) >= 1):
            raise UsageError(
                f"denoiser {self.name!r}: spans need a density and a mean_span >= 1, got "
                f"{self.density} and {self.mean_span}"
            )


@dataclasses.dataclass(frozen=True)
class Room:
    """How much one pair may hold.

    Args:
        inputs: most tokens of the inputs, EOS included.
        targets: most tokens of the targets, EOS included.
        num_sentinels: sentinels of the vocabulary.
        num_mode_tokens: tokens that the denoiser's mode takes of the inputs.
    """

    inputs: int
    targets: int
    num_sentinels: int
    num_mode_tokens: int = 0


def span_counts(length: int, density: float, mean_span: float) -> tuple[int, int]:
    """Returns how many tokens of a chunk are noise, and in how many spans."""
    if length < 2:
        return length, length  # all of it: T5 would ask for nothing
    num_noise = min(max(round(length * density), 1), length - 1)
    num_spans = max(round(num_noise / mean_span), 1)
    return num_noise, min(num_spans, length - num_noise)  # text stands before every span


def pair_lengths(denoiser: Denoiser, length: int, room: Room) -> tuple[int, int]:
    """Returns the most tokens that a chunk's inputs and targets take, EOS and mode included."""
    fixed = _EOS + room.num_mode_tokens
    if denoiser.kind == SPANS:
        num_noise, num_spans = span_counts(length, denoiser.density, denoiser.mean_span)
        return length - num_noise + num_spans + fixed, num_noise + num_spans + _EOS
    if denoiser.kind == RANDOM_SPLIT:  # the longest prefix leaves one token, and so the shortest
        return max(length - 1, 0) + fixed, max(length - 1, 1) + _EOS
    num_targets = _suffix_length(denoiser, length, room)
    return length - num_targets + fixed, num_targets + _EOS


def chunk_length(denoiser: Denoiser, room: Room) -> int:
    """Returns the longest chunk whose pair has room; any shorter one has it too.

    T5's `random_spans_helper` with a bound on the targets and on the sentinels besides.

    Raises:
        UsageError: not even two tokens have room.
    """
    length = 1
    while _fits(denoiser, length + 1, room):
        length += 1
    if length < 2:
        raise UsageError(
            f"denoiser {denoiser.name!r}: no text has room in {room.inputs} tokens of inputs and "
            f"{room.targets} of targets, with {room.num_sentinels} sentinels and "
            f"{room.num_mode_tokens} tokens of mode; raise the feature lengths, or "
            "choose a vocabulary with sentinels where it has none"
        )
    return length


def chunks(documents: Iterable[np.ndarray], length: int, *, join: bool) -> Iterator[np.ndarray]:
    """Cuts documents into chunks of at most `length` tokens; no token is lost.

    Args:
        documents: arrays of tokens; an empty one gives nothing.
        length: most tokens of a chunk, >= 2.
        join: cut the documents as if they were one. Else none shares a chunk with another, and
            each may end with a short one.
    """
    if not join:
        for document in documents:
            yield from _cut(document, length, is_last=True)[0]
        return
    waiting: list[np.ndarray] = []
    num_waiting = 0
    for document in documents:
        waiting.append(np.asarray(document))
        num_waiting += len(document)
        if num_waiting > length + 1:
            done, rest = _cut(np.concatenate(waiting), length, is_last=False)
            yield from done
            waiting, num_waiting = [rest], len(rest)
    if waiting:
        yield from _cut(np.concatenate(waiting), length, is_last=True)[0]


def noise_mask(key: ExampleKey, length: int, density: float, mean_span: float) -> np.ndarray:
    """Returns [length] bool, True on noise: spans that alternate with text, noise last.

    The number of spans and of noise tokens is `span_counts`; with these every mask is equally
    likely, as in T5.
    """
    num_noise, num_spans = span_counts(length, density, mean_span)
    if num_noise == length:
        return np.ones(length, bool)
    noise = _segments(key, "noise", num_noise, num_spans)
    text = _segments(key, "text", length - num_noise, num_spans)
    return np.repeat(np.arange(2 * num_spans) % 2 == 1, np.stack([text, noise], 1).reshape(-1))


def mark_spans(tokens: np.ndarray, mask: np.ndarray, first_sentinel: int) -> np.ndarray:
    """Returns the tokens with each run of True replaced by one sentinel, ids descending."""
    starts = mask & ~np.concatenate([[False], mask[:-1]])
    marked = np.where(starts, first_sentinel + 1 - np.cumsum(starts), tokens)
    return marked[starts | ~mask].astype(tokens.dtype)


def denoise(
    denoiser: Denoiser, tokens: np.ndarray, key: ExampleKey, room: Room, first_sentinel: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a chunk's inputs and targets, without mode and EOS.

    Args:
        denoiser: how to make the pair.
        tokens: [length] a chunk of at most `chunk_length` tokens.
        key: decides the pair.
        room: as given to `chunk_length`.
        first_sentinel: id of the first sentinel; the next ones go down from it.
    """
    length = len(tokens)
    if denoiser.kind == SPANS:
        mask = noise_mask(key, length, denoiser.density, denoiser.mean_span)
        inputs = mark_spans(tokens, mask, first_sentinel)
        if mask.all():  # one token: a sentinel stands before it too
            return inputs, np.concatenate([inputs, tokens])
        return inputs, mark_spans(tokens, ~mask, first_sentinel)
    if denoiser.kind == RANDOM_SPLIT:
        split = key.integer("split", length - 1) + 1 if length > 1 else 0
    else:
        split = length - _suffix_length(denoiser, length, room)
    return tokens[:split], tokens[split:]


def _suffix_length(denoiser: Denoiser, length: int, room: Room) -> int:
    if length < 2:
        return length
    share = denoiser.density
    if share is None:
        targets = room.targets - _EOS
        share = targets / max(room.inputs - _EOS - room.num_mode_tokens + targets, 1)
    return min(max(round(length * share), 1), length - 1)


def _fits(denoiser: Denoiser, length: int, room: Room) -> bool:
    inputs, targets = pair_lengths(denoiser, length, room)
    num_spans = 0
    if denoiser.kind == SPANS:
        num_spans = span_counts(length, denoiser.density, denoiser.mean_span)[1]
    return inputs <= room.inputs and targets <= room.targets and num_spans <= room.num_sentinels


def _cut(tokens: np.ndarray, length: int, *, is_last: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns chunks and the rest, which is empty if `is_last`; a chunk of one token is avoided."""
    tokens = np.asarray(tokens)
    done, start = [], 0
    while len(tokens) - start > length + 1:
        done.append(tokens[start : start + length])
        start += length
    rest = tokens[start:]
    if not is_last or not len(rest):
        return done, rest
    if len(rest) > length:  # by one: the last two chunks share
        return [*done, rest[: length // 2], rest[length // 2 :]], rest[:0]
    return [*done, rest], rest[:0]


def _segments(key: ExampleKey, name: str, num_items: int, num_segments: int) -> np.ndarray:
    """Returns the lengths of `num_segments` parts of `num_items`, none of them empty."""
    ends = np.sort(key.sample(name, num_items - 1, num_segments - 1)).astype(np.int64) + 1
    return np.diff(ends, prepend=0, append=num_items)


# T5's span corruption (Raffel et al. 2020, section 3.3.4).
T5_SPANS = Denoiser(name="span_corruption", density=0.15, mean_span=3.0)

# T5's prefix language modeling (Raffel et al. 2020, section 3.2.3), with which T5 1.1 was adapted
# for 100,000 steps (Lester et al. 2021, section 3.1) before Flan-T5 was made of it. Documents are
# not joined, as in T5's `prefix_lm`.
PREFIX_LM = Denoiser(name="prefix_lm", kind=RANDOM_SPLIT, join=False)

# The modes of the released UL2 and of U-PaLM (Tay et al. 2022, 2210.11399).
NLU, S2S, NLG = "[NLU]", "[S2S]", "[NLG]"

# UL2's seven denoisers, equally often (Tay et al. 2022, 2205.05131, table 1): regular, sequential,
# extreme.
UL2 = (
    Denoiser(name="ul2_r_mean3_15", density=0.15, mean_span=3.0, mode=NLU),
    Denoiser(name="ul2_r_mean8_15", density=0.15, mean_span=8.0, mode=NLU),
    Denoiser(name="ul2_s_25", kind=SUFFIX, density=0.25, mode=S2S),
    Denoiser(name="ul2_x_mean3_50", density=0.5, mean_span=3.0, mode=NLG),
    Denoiser(name="ul2_x_mean8_50", density=0.5, mean_span=8.0, mode=NLG),
    Denoiser(name="ul2_x_mean64_15", density=0.15, mean_span=64.0, mode=NLG),
    Denoiser(name="ul2_x_mean64_50", density=0.5, mean_span=64.0, mode=NLG),
)

# UL2R, which made U-PaLM of PaLM (Tay et al. 2022, 2210.11399): half prefix language modeling, with
# inputs and targets filled (1,024 tokens each there), a quarter regular and a quarter extreme
# denoising: long spans or half of the text. How the two share the quarter is not said: equally.
UL2R = (
    Denoiser(name="ul2r_s", kind=SUFFIX, mode=S2S, share=0.5),
    Denoiser(name="ul2r_r_mean3_15", density=0.15, mean_span=3.0, mode=NLU, share=0.25),
    Denoiser(name="ul2r_x_mean32_15", density=0.15, mean_span=32.0, mode=NLG, share=0.125),
    Denoiser(name="ul2r_x_mean3_50", density=0.5, mean_span=3.0, mode=NLG, share=0.125),
)
