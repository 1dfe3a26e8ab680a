# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dropout with all masks of a forward pass drawn at once.

One draw of T5X's distribution instead of one per place: a random generator takes XLA about half a
second to compile, and a small T5 has some thirty places. Layers get their masks as arguments, so
scanned and looped layers drop the same numbers, and no mask means no dropout.

T5 shares a mask over the length: of hidden states `[batch, length, embed]` a whole feature drops,
of attention weights `[batch, heads, q_length, kv_length]` a whole key.
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np


def draw(
    key: jax.Array, rate: float, batch_size: int, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, jax.Array]:
    """Returns a boolean mask `[batch, *shape]` for each name, True where a number is kept."""
    sizes = [math.prod(shape) for shape in shapes.values()]
    kept = jax.random.bernoulli(key, 1.0 - rate, (batch_size, sum(sizes)))
    parts = jnp.split(kept, np.cumsum(sizes)[:-1], axis=1)
    return {
        name: part.reshape(batch_size, *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def drop(x: jax.Array, kept: jax.Array | None, rate: float) -> jax.Array:
    """Zeroes what is not `kept` and scales the rest by 1 / (1 - rate); None returns `x`.

    Args:
        x: any array.
        kept: boolean, of the rank of `x` and broadcastable to it.
        rate: the probability that `kept` was drawn with.
    """
    return x if kept is None else jnp.where(kept, x / (1.0 - rate), 0.0)
