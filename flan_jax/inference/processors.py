# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What changes the logits before a token is chosen: pure functions, in transformers' order.

All look at the answer so far and never at the prompt, in encoder-decoders and decoders alike. A
program contains those that its requests use (`Features`); each row says how (`RowSettings`).
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from flan_jax.inference.decode_config import DecodeConfig, RowSettings

# The logit of a token that must not come. It is finite, so that a row in which every token is
# banned has no inf - inf, and far from the end of float32, so that it can be added to and scaled.
BANNED = -1e30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """Which processors a program contains."""

    repetition: bool = False
    ngrams: tuple[int, ...] = ()  # sizes that may not repeat
    min_length: bool = False
    forced: bool = False

    @classmethod
    def of(cls, configs: Sequence[DecodeConfig]) -> "Features":
        """Returns the fewest that serve all of these requests."""
        return cls(
            repetition=any(config.repetition_penalty != 1 for config in configs),
            ngrams=tuple(sorted({c.no_repeat_ngram for c in configs if c.no_repeat_ngram > 0})),
            min_length=any(config.min_length > 0 for config in configs),
            forced=any(config.forced_prefix for config in configs),
        )


def apply(
    features: Features,
    logits: jax.Array,
    rows: RowSettings,
    tokens: jax.Array,
    position: jax.Array,
    eos_id: int,
) -> jax.Array:
    """Returns the logits after all processors.

    Args:
        features: the processors to run.
        logits: `[batch, members, vocab]` float32.
        rows: how each row wants them.
        tokens: `[batch, members, num_slots]` int32, the answers so far, in order.
        position: `[batch]` int32, how many tokens the answers of each row have.
        eos_id: the token that ends an answer.
    """
    if features.repetition:
        logits = repeat_less(logits, tokens, position, rows.repetition_penalty)
    for size in features.ngrams:
        logits = no_repeat_ngram(logits, tokens, position, size, rows.no_repeat_ngram == size)
    if features.min_length:
        logits = at_least(logits, position, rows.min_length, eos_id)
    if features.forced:
        logits = forced(logits, position, rows.forced, rows.num_forced)
    return logits


def repeat_less(
    logits: jax.Array, tokens: jax.Array, position: jax.Array, penalty: jax.Array
) -> jax.Array:
    """Makes the tokens of an answer less likely: divides positive logits, multiplies negative ones.

    Args:
        logits: `[batch, members, vocab]` float32.
        tokens: `[batch, members, num_slots]` int32.
        position: `[batch]` int32.
        penalty: `[batch]` float32; 1 changes nothing.
    """
    old = jnp.take_along_axis(logits, tokens, axis=-1)
    factor = penalty[:, None, None]
    new = jnp.where(old < 0, old * factor, old / factor)
    return _put(logits, tokens, new, _before(tokens, position))


def no_repeat_ngram(
    logits: jax.Array, tokens: jax.Array, position: jax.Array, size: int, wanted: jax.Array
) -> jax.Array:
    """Bans the tokens that would make `size` tokens in a row occur a second time in an answer.

    Args:
        logits: `[batch, members, vocab]` float32.
        tokens: `[batch, members, num_slots]` int32.
        position: `[batch]` int32.
        size: how many tokens in a row.
        wanted: `[batch]` bool, the rows that want it.
    """
    num_windows = tokens.shape[-1] - size + 1
    if num_windows < 1:
        return logits
    # A window is `size` tokens in a row; its last one is banned if the others end the answer.
    lasts = tokens[..., size - 1 :]
    banned = _before(tokens, position)[..., size - 1 :] & wanted[:, None, None]
    for i in range(size - 1):
        place = jnp.maximum(position - (size - 1) + i, 0)[:, None, None]
        end = jnp.take_along_axis(tokens, place, axis=-1)
        banned &= tokens[..., i : i + num_windows] == end
    return _put(logits, lasts, BANNED, banned)


def at_least(
    logits: jax.Array, position: jax.Array, min_length: jax.Array, eos_id: int
) -> jax.Array:
    """Bans the end of sequence until an answer has `min_length` `[batch]` tokens."""
    banned = (_ids(logits) == eos_id) & (position < min_length)[:, None, None]
    return jnp.where(banned, BANNED, logits)


def forced(
    logits: jax.Array, position: jax.Array, prefix: jax.Array, num_forced: jax.Array
) -> jax.Array:
    """Lets only the token of a row's prefix come, whatever was banned, until the prefix is over.

    Args:
        logits: `[batch, members, vocab]` float32.
        position: `[batch]` int32.
        prefix: `[batch, longest]` int32, 0 after the last.
        num_forced: `[batch]` int32, tokens of each row's prefix.
    """
    place = jnp.minimum(position, prefix.shape[-1] - 1)[:, None]
    token = jnp.take_along_axis(prefix, place, axis=-1)[:, :, None]
    only = jnp.where(_ids(logits) == token, 0.0, BANNED)
    return jnp.where((position < num_forced)[:, None, None], only, logits)


def _ids(logits: jax.Array) -> jax.Array:
    """Returns `[1, 1, vocab]` int32, the token that each logit is of."""
    return jnp.arange(logits.shape[-1], dtype=jnp.int32)[None, None]


def _before(tokens: jax.Array, position: jax.Array) -> jax.Array:
    """Returns `[batch, 1, num_slots]` bool: which slots hold a token of the answer."""
    return jnp.arange(tokens.shape[-1])[None, None] < position[:, None, None]


def _put(
    logits: jax.Array, tokens: jax.Array, values: jax.Array | float, chosen: jax.Array
) -> jax.Array:
    """Returns the logits with those of the `chosen` ones of `tokens` set to `values`."""
    batch_size, num_members, vocab_size = logits.shape
    index = (
        jnp.arange(batch_size)[:, None, None],
        jnp.arange(num_members)[None, :, None],
        jnp.where(chosen, tokens, vocab_size),  # past the end: dropped
    )
    return logits.at[index].set(values, mode="drop")
