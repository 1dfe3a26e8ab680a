# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T5's relative position bias: a learned number per head and bucket of distances.

One table serves all layers of a stack. Packed rows need no positions: a segment's tokens are
contiguous, so their distances in the row are their distances in the example.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.core import axes
from flan_jax.models.layers import Init, ParamSpec, declare


def relative_bucket(
    distance: np.ndarray, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> np.ndarray:
    """Returns the bucket of each distance, as T5X computes it.

    Half of the buckets are exact small distances; the other half grow logarithmically up to
    `max_distance`, beyond which all distances share the last one. Bidirectional buckets are split
    once more between the two directions; otherwise later keys count as distance 0.

    Args:
        distance: integers, key position - query position.
        bidirectional: whether keys may lie after the query (the encoder).
        num_buckets: number of buckets.
        max_distance: distance from which on the last bucket is used.

    Returns:
        int32 of the shape of `distance`, in [0, num_buckets).
    """
    offset = np.zeros(distance.shape, np.int32)
    if bidirectional:
        num_buckets //= 2
        offset = np.where(distance > 0, num_buckets, 0).astype(np.int32)
        back = np.abs(distance)
    else:
        back = np.maximum(-distance, 0)
    num_exact = num_buckets // 2
    # float32 and its epsilon decide which side of a boundary a distance falls; T5X has both.
    ratio = back.astype(np.float32) / num_exact + np.finfo(np.float32).eps
    steps = np.log(ratio) / np.log(max_distance / num_exact) * (num_buckets - num_exact)
    far = np.minimum(num_exact + steps.astype(np.int32), num_buckets - 1)
    return offset + np.where(back < num_exact, back, far).astype(np.int32)


def spread(by_distance: jax.Array, q_length: int, kv_length: int) -> jax.Array:
    """Lays a bias by distance out as a matrix that is constant along its diagonals.

    A gather would do, but its gradient is a scatter over every (query, key) pair. Reading the
    repeated row with a stride one shorter than its length shifts each row by one instead, and has
    a padding as its gradient.

    Args:
        by_distance: `[heads, q_length + kv_length - 1]`, for the distances (key - query) from
            -(q_length - 1) to kv_length - 1.
        q_length: number of queries.
        kv_length: number of keys.

    Returns:
        `[heads, q_length, kv_length]`.
    """
    num_heads, num = by_distance.shape
    if q_length == 1:
        return by_distance[:, None, :]
    rows = jnp.broadcast_to(by_distance[:, None, :], (num_heads, q_length, num))
    flat = rows.reshape(num_heads, q_length * num)
    flat = flat[:, q_length - 1 : q_length - 1 + q_length * (num - 1)]
    return flat.reshape(num_heads, q_length, num - 1)[:, :, :kv_length]


class RelativePositionBias(nn.Module):
    """The bias table of one stack."""

    num_heads: int
    bidirectional: bool
    num_buckets: int = 32
    max_distance: int = 128

    def setup(self):
        """Declares parameters and submodules."""
        self.rel_embedding = declare(
            self,
            "rel_embedding",
            ParamSpec(
                Init("uniform", fan="fan_avg"),
                (self.num_heads, self.num_buckets),
                (axes.HEADS, axes.RELPOS_BUCKETS),
            ),
        )

    def by_distance(self, q_length: int, kv_length: int) -> jax.Array:
        """Returns float32 `[heads, q_length + kv_length - 1]`, see `spread`."""
        buckets = relative_bucket(
            np.arange(-(q_length - 1), kv_length),
            bidirectional=self.bidirectional,
            num_buckets=self.num_buckets,
            max_distance=self.max_distance,
        )
        return jnp.take(self.rel_embedding, buckets, axis=1, mode="clip")

    def __call__(self, q_length: int, kv_length: int) -> jax.Array:
        """Returns the float32 bias `[1, heads, q_length, kv_length]`."""
        return spread(self.by_distance(q_length, kv_length), q_length, kv_length)[None]
