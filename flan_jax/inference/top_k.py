# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The few largest of many numbers, as sampling and beam search need them of a vocabulary."""

import jax
import jax.numpy as jnp

BLOCK = 32  # columns; measured among 16 to 128, for vocabularies of 32,128


def top_k(x: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Returns the `k` largest numbers of the last axis, largest first, and where they are.

    As `jax.lax.top_k`, but each number is looked at once, for the maximum of its block of columns:
    the `k` largest are in the `k` blocks of the largest maxima.

    Args:
        x: `[..., vocab]`, without NaN.
        k: at most `vocab`.

    Returns:
        Values `[..., k]` and int32 ids `[..., k]`; among equal numbers the lowest ids come first.
    """
    *leading, vocab_size = x.shape
    num_blocks = -(-vocab_size // BLOCK)
    if k >= num_blocks:
        return jax.lax.top_k(x, k)
    padding = num_blocks * BLOCK - vocab_size
    x = jnp.pad(x, [(0, 0)] * len(leading) + [(0, padding)], constant_values=-jnp.inf)
    x = x.reshape(*leading, num_blocks, BLOCK)
    _, blocks = jax.lax.top_k(x.max(axis=-1), k)
    blocks = jnp.sort(blocks, axis=-1)  # columns in their order, for the lowest ids among equals
    columns = jnp.take_along_axis(x, blocks[..., None], axis=-2).reshape(*leading, k * BLOCK)
    values, at = jax.lax.top_k(columns, k)
    return values, jnp.take_along_axis(blocks, at // BLOCK, axis=-1) * BLOCK + at % BLOCK
