# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding (Su et al. 2021, 2104.09864): queries and keys turned by position.

A head's numbers are taken as pairs, and pair i of position p is turned by the angle
`p * theta^(-2i / head_dim)`; a product of query and key then depends on their distance alone.
Which numbers make a pair is a convention of the checkpoint: neighbours (`interleaved`: the paper,
PaLM, GPT-J) or one of either half (`halves`: Hugging Face's LLaMA and its kin).
"""

import jax
import jax.numpy as jnp

INTERLEAVED, HALVES = "interleaved", "halves"
PAIRINGS = (INTERLEAVED, HALVES)

Rotation = tuple[jax.Array, jax.Array]  # cosines and sines, float32 [batch, length, head_dim / 2]


def rotation(positions: jax.Array, head_dim: int, theta: float) -> Rotation:
    """Returns the rotation of each pair at `positions` `[batch, length]`; `head_dim` is even."""
    frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    angles = positions[:, :, None].astype(jnp.float32) * frequencies[None, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, by: Rotation, pairing: str) -> jax.Array:
    """Returns `x` `[batch, length, heads, head_dim]` turned, in its own dtype.

    Computed in float32: in bfloat16 a late position's angle would be off by degrees.
    """
    cosine, sine = (part[:, :, None, :] for part in by)
    pairs = x.astype(jnp.float32)
    if pairing == INTERLEAVED:
        pairs = pairs.reshape(*x.shape[:-1], -1, 2)
        first, second = pairs[..., 0], pairs[..., 1]
    else:
        first, second = jnp.split(pairs, 2, axis=-1)
    turned = first * cosine - second * sine, first * sine + second * cosine
    if pairing == INTERLEAVED:
        return jnp.stack(turned, axis=-1).reshape(x.shape).astype(x.dtype)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
