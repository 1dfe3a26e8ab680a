# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Self-attention of decoder-only models: rotary positions, keys and values shared by query heads.

With one key-value head it is multi-query attention (PaLM), with as many as query heads multi-head,
between the two grouped-query. Dropout, the layout of the cache and what `fused` means are those of
`models/attention.py`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan_jax.core import axes
from flan_jax.models import rotary
from flan_jax.models.attention import MASKED, KeysValues, fused
from flan_jax.models.dropout import drop
from flan_jax.models.layers import Dense, DType, Init
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
        keys_values = self._keys_values(x, turned)
        return self._attend(x, keys_values, mask, turned, kept), keys_values

    def step(
        self, x: jax.Array, cache: KeysValues, index: jax.Array, mask: jax.Array, turned: Rotation
    ) -> tuple[jax.Array, KeysValues]:
        """Does one position, and returns the cache with its keys and values at `index`.

        Args:
            x: `[batch, 1, embed]`.
            cache: `[batch, kv_heads, slots, kv]` each.
            index: int32, the slot to fill.
            mask: `[batch, 1, 1, slots]`, True on the slots to look at, `index` among them.
            turned: the rotation of each row's position.
        """
        cache = tuple(
            jax.lax.dynamic_update_slice_in_dim(whole, new, index, axis=2)
            for whole, new in zip(cache, self._keys_values(x, turned), strict=True)
        )
        return self._attend(x, cache, mask, turned, None), cache

    def _keys_values(self, x: jax.Array, turned: Rotation) -> KeysValues:
        key = rotary.rotate(self._split(self.key(x), self.num_kv_heads), turned, self.pairing)
        value = self._split(self.value(x), self.num_kv_heads)
        return key.transpose(0, 2, 1, 3), value.transpose(0, 2, 1, 3)

    def _attend(
        self,
        x: jax.Array,
        keys_values: KeysValues,
        mask: jax.Array,
        turned: Rotation,
        kept: jax.Array | None,
    ) -> jax.Array:
        key, value = keys_values
        batch, length, groups = *x.shape[:2], self.num_kv_heads
        query = rotary.rotate(self._split(self.query(x), self.num_heads), turned, self.pairing)
        query = query.transpose(0, 2, 1, 3)
        if self.fused and kept is None and length > 1:  # one query has nothing to fuse
            mixed = fused(query, key, value, mask, None, scale=self.head_dim**-0.5)
            return self.out(mixed.reshape(batch, length, self.num_heads * self.head_dim))
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
        return self.out(mixed.reshape(batch, length, self.num_heads * self.head_dim))

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
