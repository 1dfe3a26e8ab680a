# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Self-attention of decoder-only models: rotary positions, keys and values shared by query heads.

With one key-value head it is multi-query attention (PaLM), with as many as query heads multi-head,
between the two grouped-query. Dropout, the layout of the cache and what `fused` means are those of
`models/attention.py`.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan_jax.core import axes
from flan_jax.models import cached_attention, rotary
from flan_jax.models.attention import fused
from flan_jax.models.cached_attention import KeysValues, Part
from flan_jax.models.dropout import drop
from flan_jax.models.layers import Dense, DType, Init
from flan_jax.models.masks import MASKED
from flan_jax.models.rotary import Rotation
from flan_jax.parallel.rules import ShardingRules, constrain


class RotaryAttention(nn.Module):
    """Attention of `x` over itself and over what came before it."""

    num_heads: int
    num_kv_heads: int  # divides num_heads; each serves num_heads / num_kv_heads query heads
    head_dim: int
    emb_dim: int
    pairing: str  # of rotary.PAIRINGS
    dropout_rate: float
    dtype: DType = "float32"
    rules: ShardingRules | None = None
    fused: bool = False

    def setup(self):
        """Declares parameters and submodules."""
        # A single key-value head is whole on every device, however its query heads are split.
        shared = axes.KV if self.num_kv_heads == 1 else axes.JOINED_KV
        self.query = self._dense(self.num_heads, axes.JOINED_KV)
        self.key = self._dense(self.num_kv_heads, shared)
        self.value = self._dense(self.num_kv_heads, shared)
        self.out = Dense(
            self.emb_dim,
            (axes.JOINED_KV, axes.EMBED),
            kernel_init=Init("normal"),
            dtype=self.dtype,
            rules=self.rules,
        )

    def __call__(
        self, x: jax.Array, mask: jax.Array, turned: Rotation, kept: jax.Array | None = None
    ) -> tuple[jax.Array, KeysValues]:
        """Returns `[batch, length, embed]`, and the keys and values that were attended to.

        Args:
            x: `[batch, length, embed]`.
            mask: boolean, broadcastable to `[batch, 1, length, length]`.
            turned: the rotation of each position.
            kept: dropout mask `[batch, heads, 1, length]` of the weights, or None.
        """
        key, value = self.keys_values(x, turned)
        query = self._queries(x, turned)
        batch, length, groups = *x.shape[:2], self.num_kv_heads
        if self.fused and kept is None and length > 1:  # one query has nothing to fuse
            mixed = fused(query, key, value, mask, None, scale=self.head_dim**-0.5)
            mixed = mixed.reshape(batch, length, self.num_heads * self.head_dim)
            return self.out(mixed), (key, value)
        # Query head h uses key-value head h // (num_heads / num_kv_heads).
        query = query.reshape(batch, groups, -1, length, self.head_dim)
        weights = jnp.einsum("bghqd,bgkd->bghqk", query, key, preferred_element_type=jnp.float32)
        weights = weights * self.head_dim**-0.5
        weights = jnp.where(mask[:, :, None], weights, jnp.float32(MASKED))
        weights = jax.nn.softmax(weights, axis=-1).astype(self.dtype)
        if kept is not None:
            kept = kept.reshape(batch, groups, -1, *kept.shape[2:])
        weights = drop(weights, kept, self.dropout_rate)
        mixed = jnp.einsum("bghqk,bgkd->bghqd", weights, value).transpose(0, 3, 1, 2, 4)
        # [batch, length, heads*kv]
        mixed = mixed.reshape(batch, length, self.num_heads * self.head_dim)
        return self.out(mixed), (key, value)

    def keys_values(
        self, x: jax.Array, turned: Rotation, num_members: int | None = None
    ) -> KeysValues:
        """Returns keys and values of `x` `[batch, length, embed]`.

        Each `[batch, kv_heads, length, kv]`, or of members one after the other in the length
        `[batch, kv_heads, members, length / members, kv]`.
        """
        key = rotary.rotate(self._split(self.key(x), self.num_kv_heads), turned, self.pairing)
        value = self._split(self.value(x), self.num_kv_heads)
        key, value = key.transpose(0, 2, 1, 3), value.transpose(0, 2, 1, 3)
        if num_members is None:
            return key, value
        split = (*key.shape[:2], num_members, -1, self.head_dim)
        return key.reshape(split), value.reshape(split)

    def look(
        self, x: jax.Array, parts: Sequence[Part], num_members: int, turned: Rotation
    ) -> jax.Array:
        """Returns what members find in ready keys and values, without dropout.

        Args:
            x: `[batch, length, embed]`, the members one after the other in the length.
            parts: where to look, a key-value head a group.
            num_members: of a row.
            turned: the rotation of each position.
        """
        query = self._queries(x, turned)
        query = cached_attention.split_members(query, num_members, self.num_kv_heads)
        mixed = cached_attention.attend(query, parts, self.head_dim**-0.5)
        return self.out(cached_attention.join_members(mixed))

    def _queries(self, x: jax.Array, turned: Rotation) -> jax.Array:
        """Returns `[batch, heads, length, kv]`."""
        query = rotary.rotate(self._split(self.query(x), self.num_heads), turned, self.pairing)
        return query.transpose(0, 2, 1, 3)

    def _dense(self, num_heads: int, axis: str) -> Dense:
        return Dense(
            num_heads * self.head_dim,
            (axes.EMBED, axis),
            kernel_init=Init("normal"),
            dtype=self.dtype,
            rules=self.rules,
        )

    def _split(self, x: jax.Array, num_heads: int) -> jax.Array:
        """Returns `[batch, length, heads, kv]` of a projection `[batch, length, heads*kv]`."""
        x = x.reshape(*x.shape[:2], num_heads, self.head_dim)
        heads = None if num_heads == 1 else axes.HEADS
        return constrain(x, (axes.BATCH, axes.LENGTH, heads, axes.KV), self.rules)
