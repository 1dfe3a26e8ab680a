# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Attention in decoding, where several answers to one prompt share what they know of it.

A row of a batch is one prompt, and its members are the answers decoded together: samples, beams, or
choices to score. What all members look at (the prompt, or a prefix of all prompts) is kept once, as
a `Part` of its own; what a member decoded is in the slots of its own cache.

Slots are a ring that all rows fill together, one slot a step, so that rows may begin at any step:
a row looks at the slots that are not older than itself. A token's distance is the slot's age.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from flan_jax.models.masks import MASKED

KeysValues = tuple[jax.Array, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Part:
    """Keys and values to look at: `[batch, groups, slots, kv]`, or one set of all rows (batch 1).

    Of each member its own: `[batch, groups, members, slots, kv]`. Mask and bias broadcast to
    `[batch, groups, members, heads, length, slots]`, `heads` being those of a group.
    """

    keys_values: KeysValues
    mask: jax.Array | None = None  # boolean; None: all is seen
    bias: jax.Array | None = None  # float32


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class At:
    """Where a step of decoding is; a pytree."""

    slot: jax.Array  # int32, the slot that this step fills
    position: jax.Array  # int32 [batch]: tokens a row has decoded
    # int32 [batch, members, slots]: whose slot a member looks at, its own in the slot of this step;
    # None: each at its own. So members take over each other's past without a copy (beam search).
    ancestors: jax.Array | None = None

    def ages(self, num_slots: int) -> jax.Array:
        """Returns int32 `[slots]`: how many steps ago each slot was filled, 0 for this one."""
        return (self.slot - jnp.arange(num_slots, dtype=jnp.int32)) % num_slots

    def own(self, keys_values: KeysValues, bias: jax.Array | None = None) -> Part:
        """Returns the members' own keys and values `[batch, groups, members, slots, kv]` as a part.

        Args:
            keys_values: of the members, this step's included.
            bias: `[groups, slots]`, or None.
        """
        batch, groups, members, num_slots, kv = keys_values[0].shape
        mask = self.ages(num_slots)[None, :] <= self.position[:, None]
        bias = None if bias is None else bias[None, :, None, None, None, :]
        if self.ancestors is None:
            return Part(keys_values, mask[:, None, None, None, None, :], bias)
        # Members see all slots of all of them, but for those that are no ancestor's.
        seen = self.ancestors[:, :, None, :] == jnp.arange(members)[None, None, :, None]
        mask = jnp.logical_and(seen, mask[:, None, None, :]).reshape(batch, members, -1)
        together = tuple(a.reshape(batch, groups, members * num_slots, kv) for a in keys_values)
        bias = None if bias is None else jnp.tile(bias, members)
        return Part(together, mask[:, None, :, None, None, :], bias)


def write(cache: KeysValues, new: KeysValues, slot: jax.Array) -> KeysValues:
    """Returns `cache` `[batch, groups, members, slots, kv]` with `new` (one slot) at `slot`."""
    return tuple(
        jax.lax.dynamic_update_slice_in_dim(whole, part, slot, axis=3)
        for whole, part in zip(cache, new, strict=True)
    )


def with_slots(by_layer: Sequence[KeysValues], num: int) -> list[KeysValues]:
    """Returns keys and values `[batch, groups, slots, kv]` with `num` empty slots appended."""
    widths = ((0, 0), (0, 0), (0, num), (0, 0))
    return [tuple(jnp.pad(a, widths) for a in of_layer) for of_layer in by_layer]


def attend(query: jax.Array, parts: Sequence[Part], scale: float | None = None) -> jax.Array:
    """Returns what queries find in all parts together, in their shape and dtype.

    Args:
        query: `[batch, groups, members, heads, length, kv]`, `heads` being those of a group.
        parts: where to look, under one softmax.
        scale: of the products of queries and keys; None: 1.
    """
    weights = [_weights(query, part, scale) for part in parts]
    shares = jax.nn.softmax(jnp.concatenate(weights, axis=-1), axis=-1).astype(query.dtype)
    mixed, start = None, 0
    for part in parts:
        value = part.keys_values[1]
        of_part = shares[..., start : start + value.shape[-2]]
        found = jnp.einsum(_equation(value, "{query}k,{slots}d->{query}d"), of_part, value)
        mixed = found if mixed is None else mixed + found
        start += value.shape[-2]
    return mixed


def _weights(query: jax.Array, part: Part, scale: float | None) -> jax.Array:
    key = part.keys_values[0]
    weights = jnp.einsum(
        _equation(key, "{query}d,{slots}d->{query}k"), query, key,
        preferred_element_type=jnp.float32,
    )  # fmt: skip
    if scale is not None:
        weights = weights * scale
    if part.bias is not None:
        weights = weights + part.bias
    return weights if part.mask is None else jnp.where(part.mask, weights, jnp.float32(MASKED))


def _equation(keys_or_values: jax.Array, form: str) -> str:
    slots = "bgmk" if keys_or_values.ndim == 5 else "bgk"
    return form.format(query="bgmhq", slots=slots)


def split_members(x: jax.Array, num_members: int, num_groups: int) -> jax.Array:
    """Returns `[batch, groups, members, heads, length, kv]` of `[batch, heads, length, kv]`.

    The length holds the members one after the other, and a group's heads are neighbours.
    """
    batch, heads, length, kv = x.shape
    shape = (batch, num_groups, heads // num_groups, num_members, length // num_members, kv)
    return x.reshape(shape).transpose(0, 1, 3, 2, 4, 5)


def join_members(x: jax.Array) -> jax.Array:
    """Returns `[batch, length, heads*kv]`: `split_members` undone, heads joined."""
    batch, groups, members, heads, length, kv = x.shape
    return x.transpose(0, 2, 4, 1, 3, 5).reshape(batch, members * length, groups * heads * kv)
