# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Multi-head attention with T5X's parameters, written plainly: this is the reference.

Fused kernels have no dropout of T5's kind; `fused` uses them where nothing is dropped: evaluation,
encoding and training without dropout. On a GPU in bfloat16 that is cuDNN's kernel, which never
writes the weights and takes the bias rounded; on a CPU and a TPU `jax.nn.dot_product_attention` is
the plain form again and gains nothing.

Keys and values are kept as `[batch, heads, length, kv]`: the layout in which the cache of a decoder
is read without a transposition at every step.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan_jax.core import axes
from flan_jax.models import cached_attention
from flan_jax.models.cached_attention import KeysValues, Part
from flan_jax.models.dropout import drop
from flan_jax.models.layers import Dense, DType, Init
from flan_jax.models.masks import MASKED
from flan_jax.parallel.rules import ShardingRules, constrain

KINDS = ("plain", "fused")


class Attention(nn.Module):
    """Attention of `x` over itself or over an encoded sequence."""

    num_heads: int
    head_dim: int
    emb_dim: int
    dropout_rate: float
    dtype: DType = "float32"
    rules: ShardingRules | None = None
    fused: bool = False

    def setup(self):
        """Declares parameters and submodules."""

        def project(scale: float = 1.0) -> Dense:
            return Dense(
                self.num_heads * self.head_dim,
                (axes.EMBED, axes.JOINED_KV),
                kernel_init=Init("normal", scale),
                dtype=self.dtype,
                rules=self.rules,
            )

        # T5 has no 1/sqrt(head_dim) in the attention; the query's initializer carries it.
        self.query = project(1.0 / self.head_dim)
        self.key = project()
        self.value = project()
        self.out = Dense(
            self.emb_dim,
            (axes.JOINED_KV, axes.EMBED),
            kernel_init=Init("normal"),
            dtype=self.dtype,
            rules=self.rules,
        )

    def __call__(
        self,
        x: jax.Array,
        source: jax.Array,
        mask: jax.Array,
        bias: jax.Array | None,
        kept: jax.Array | None = None,
    ) -> jax.Array:
        """Returns `[batch, q_length, embed]`.

        Args:
            x: `[batch, q_length, embed]`, where the queries come from.
            source: `[batch, kv_length, embed]`, where keys and values come from.
            mask: boolean, broadcastable to `[batch, heads, q_length, kv_length]`.
            bias: float32, broadcastable to the same, or None.
            kept: dropout mask `[batch, heads, 1, kv_length]` of the weights, or None.
        """
        key, value = self.keys_values(source)
        query = self._split_heads(self.query(x))
        if self.fused and kept is None and query.shape[2] > 1:  # one query has nothing to fuse
            mixed = fused(query, key, value, mask, bias, scale=1.0)
            return self.out(mixed.reshape(*x.shape[:2], self.num_heads * self.head_dim))
        weights = jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32)
        if bias is not None:
            weights = weights + bias
        weights = jnp.where(mask, weights, jnp.float32(MASKED))
        weights = jax.nn.softmax(weights, axis=-1).astype(self.dtype)
        weights = drop(weights, kept, self.dropout_rate)
        # Transposed separately: inside the einsum it takes the CPU backend twice as long.
        mixed = jnp.einsum("bhqk,bhkd->bhqd", weights, value).transpose(0, 2, 1, 3)
        # [batch, q_length, heads*kv]
        return self.out(mixed.reshape(*mixed.shape[:2], self.num_heads * self.head_dim))

    def keys_values(self, source: jax.Array, num_members: int | None = None) -> KeysValues:
        """Returns keys and values of `source` `[batch, kv_length, embed]`.

        Each `[batch, heads, kv_length, kv]`, or of members one after the other in the length
        `[batch, heads, members, kv_length / members, kv]`.
        """
        key, value = (self._split_heads(of(source)) for of in (self.key, self.value))
        if num_members is None:
            return key, value
        split = (*key.shape[:2], num_members, -1, self.head_dim)
        return key.reshape(split), value.reshape(split)

    def look(self, x: jax.Array, parts: Sequence[Part], num_members: int) -> jax.Array:
        """Returns what members find in ready keys and values, without dropout.

        Args:
            x: `[batch, length, embed]`, the members one after the other in the length.
            parts: where to look, a head a group.
            num_members: of a row.
        """
        query = self._split_heads(self.query(x))
        query = cached_attention.split_members(query, num_members, self.num_heads)
        return self.out(cached_attention.join_members(cached_attention.attend(query, parts)))

    def _split_heads(self, x: jax.Array) -> jax.Array:
        """Returns `[batch, heads, length, kv]` of a projection `[batch, length, heads*kv]`."""
        x = x.reshape(*x.shape[:2], self.num_heads, self.head_dim)
        x = constrain(x, (axes.BATCH, axes.LENGTH, axes.HEADS, axes.KV), self.rules)
        return x.transpose(0, 2, 1, 3)


def fused(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    bias: jax.Array | None,
    *,
    scale: float,
) -> jax.Array:
    """Returns `[batch, q_length, heads, kv]` of `[batch, heads, length, kv]` each.

    Keys and values may have fewer heads, each for as many query heads in a row.
    """
    on_gpu = query.dtype == jnp.bfloat16 and jax.default_backend() == "gpu"
    if on_gpu:
        # cuDNN wants both in the dtype of the queries, and no broadcast over their length.
        mask = jnp.broadcast_to(mask, (*mask.shape[:2], query.shape[2], key.shape[2]))
        bias = None if bias is None else bias.astype(query.dtype)
    query, key, value = (x.transpose(0, 2, 1, 3) for x in (query, key, value))
    return jax.nn.dot_product_attention(
        query, key, value, bias, mask, scale=scale, implementation="cudnn" if on_gpu else "xla"
    )
