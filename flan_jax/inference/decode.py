# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoding: from prompts to tokens, in one compiled loop with a key-value cache.

The loop knows neither the model's family nor how a token is chosen; `greedy` gives it the best
token. A call compiles once per model and shape, so callers pad prompts to a few lengths and batches
to one size.
"""

import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from flan_jax.core.errors import UsageError
from flan_jax.core.tree import PyTree

PAD_ID = 0


class Decoder(Protocol):
    """What decoding asks of a model; it must be hashable, to be a static argument of jit."""

    def first_tokens(self, prompts: jax.Array) -> jax.Array:
        """Returns `[batch]` int32, the tokens before the first position."""
        ...

    def init_cache(self, params: PyTree, prompts: jax.Array, *, max_length: int) -> Any:
        """Returns a cache for `max_length` positions."""
        ...

    def decode_step(self, params: PyTree, cache: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
        """Returns logits `[batch, vocab]` after `tokens` `[batch]`, and the next cache."""
        ...


class Select(Protocol):
    """How a position's tokens are chosen; it must be hashable too."""

    def __call__(self, logits: jax.Array, position: jax.Array) -> jax.Array:
        """Returns int32 tokens `[batch]` for float32 `logits` `[batch, vocab]`."""
        ...


def greedy(
    model: Decoder,
    params: PyTree,
    prompts: jax.Array,
    *,
    max_length: int,
    eos_id: int,
) -> jax.Array:
    """Returns the most likely token at each position, up to and including the end of sequence.

    Args:
        model: a `models.t5.T5` or a `models.decoder.DecoderLM`.
        params: its parameters.
        prompts: `[batch, length]` int32, one a row, padded with 0 at the end.
        max_length: positions to decode at most; the loop ends earlier when all rows have ended.
        eos_id: the token that ends a sequence.

    Returns:
        `[batch, max_length]` int32: the tokens, `eos_id` last if the row ended, then 0.
    """
    shape = jnp.shape(prompts)
    if len(shape) != 2:
        raise UsageError(f"greedy: prompts must be [batch, length], got shape {shape}")
    if max_length < 1:
        raise UsageError(f"greedy: max_length must be at least 1, got {max_length}")
    return generate(model, params, prompts, best, max_length=max_length, eos_id=eos_id)


def best(logits: jax.Array, position: jax.Array) -> jax.Array:
    """Returns the token of the highest logit, the lowest id among equals."""
    del position
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames=("model", "select", "max_length", "eos_id"))
def generate(
    model: Decoder,
    params: PyTree,
    prompts: jax.Array,
    select: Select,
    *,
    max_length: int,
    eos_id: int,
) -> jax.Array:
    """Decodes with `select` choosing each token; arguments and result as in `greedy`."""
    batch_size = prompts.shape[0]
    cache = model.init_cache(params, prompts, max_length=max_length)
    tokens = jnp.full((max_length, batch_size), PAD_ID, jnp.int32)

    def unfinished(state) -> jax.Array:
        position, _, ended, _, _ = state
        return jnp.logical_and(position < max_length, jnp.logical_not(jnp.all(ended)))

    def step(state):
        position, last, ended, tokens, cache = state
        logits, cache = model.decode_step(params, cache, last)
        chosen = jnp.where(ended, PAD_ID, select(logits, position))
        tokens = jax.lax.dynamic_update_index_in_dim(tokens, chosen, position, axis=0)
        return position + 1, chosen, jnp.logical_or(ended, chosen == eos_id), tokens, cache

    start = (
        jnp.zeros((), jnp.int32),
        model.first_tokens(prompts),
        jnp.zeros((batch_size,), bool),
        tokens,
        cache,
    )
    return jax.lax.while_loop(unfinished, step, start)[3].T
