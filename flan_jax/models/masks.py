# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Attention masks: boolean `[batch, 1, q_length, kv_length]`, True where a query may look.

Packed rows carry segment ids (0 is padding): a token looks only at tokens of its own segment, and
padding only at padding. What padding gets is never read, but stays finite even where a row of the
mask is empty (`MASKED`).
"""

import jax
import jax.numpy as jnp

# What a masked position gets. Finite, so that a row with nothing to look at stays finite too.
MASKED = -1e10


def key_mask(key_tokens: jax.Array) -> jax.Array:
    """Returns `[batch, 1, 1, kv_length]`, True where `key_tokens` `[batch, kv_length]` is > 0."""
    return key_tokens[:, None, None, :] > 0


def segment_mask(query_segments: jax.Array, key_segments: jax.Array) -> jax.Array:
    """Returns `[batch, 1, q_length, kv_length]`, True where both are of one segment."""
    return query_segments[:, None, :, None] == key_segments[:, None, None, :]


def causal_mask(length: int) -> jax.Array:
    """Returns `[1, 1, length, length]`, True at and before the query."""
    position = jnp.arange(length)
    return (position[:, None] >= position[None, :])[None, None]


def encoder_mask(tokens: jax.Array, segment_ids: jax.Array | None) -> jax.Array:
    """Returns the encoder's mask; without `segment_ids` each row is one example."""
    if segment_ids is None:
        return key_mask(tokens)
    return segment_mask(segment_ids, segment_ids)


def prefix_mask(prefix: jax.Array) -> jax.Array:
    """Returns `[batch, 1, length, length]`, True where both are 1 in `prefix` `[batch, length]`."""
    prefix = prefix > 0
    return jnp.logical_and(prefix[:, None, :, None], prefix[:, None, None, :])


def decoder_mask(
    length: int, segment_ids: jax.Array | None, prefix: jax.Array | None = None
) -> jax.Array:
    """Returns the decoder's self-attention mask: causal, and within one segment.

    Unpacked rows need no padding mask: padding comes last, where no earlier token looks.

    Args:
        length: of the rows.
        segment_ids: `[batch, length]`, or None where each row is one example.
        prefix: `[batch, length]`, 1 on the tokens that see all of their kind in their segment,
            later ones too: `decoder_causal_attention` for a prefix LM; None: wholly causal.
    """
    mask = causal_mask(length)
    if prefix is not None:
        mask = jnp.logical_or(mask, prefix_mask(prefix))
    if segment_ids is None:
        return mask
    return jnp.logical_and(mask, segment_mask(segment_ids, segment_ids))


def cross_mask(
    encoder_tokens: jax.Array,
    encoder_segment_ids: jax.Array | None,
    decoder_segment_ids: jax.Array | None,
) -> jax.Array:
    """Returns the mask of the decoder looking at the encoder."""
    if encoder_segment_ids is None or decoder_segment_ids is None:
        return key_mask(encoder_tokens)
    return segment_mask(decoder_segment_ids, encoder_segment_ids)
