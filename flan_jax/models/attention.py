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

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan_jax.core import axes
from flan_jax.models.dropout import drop
from flan_jax.models.layers import Dense, DType, Init
from flan_jax.parallel.rules import ShardingRules, constrain

# What a masked position gets. Finite, so that a row with nothing to look at stays finite too.
MASKED = -1e10

KINDS = ("plain", "fused")

KeysValues = tuple[jax.Array, jax.Array]  # each [batch, heads, kv_length, kv]


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
        return self.attend(x, self.keys_values(source), mask, bias, kept)

    def keys_values(self, source: jax.Array) -> KeysValues:
        """Returns keys and values of `source` `[batch, kv_length, embed]`."""
        return self._split_heads(self.key(source)), self._split_heads(self.value(source))

    def extend(self, x: jax.Array, cache: KeysValues, index: jax.Array) -> KeysValues:
        """Returns `cache` with keys and values of `x` `[batch, 1, embed]` written at `index`."""
        key, value = cache
        new_key, new_value = self.keys_values(x)
        return (
            jax.lax.dynamic_update_slice_in_dim(key, new_key, index, axis=2),
            jax.lax.dynamic_update_slice_in_dim(value, new_value, index, axis=2),
        )

    def attend(
        self,
        x: jax.Array,
        keys_values: KeysValues,
        mask: jax.Array,
        bias: jax.Array | None,
        kept: jax.Array | None = None,
    ) -> jax.Array:
        """Returns `[batch, q_length, embed]` given ready keys and values; else as `__call__`."""
        key, value = keys_values
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
