# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The compiled programs of decoding: admit prompts to rows, run positions, hand out answers.

A program has a fixed number of rows, a prompt each, with the answers to it as members. All state
has the rows first, so that a finished row is given to the next prompt while the others go on. What
is kept of prompts and of the answers lies in slots (`models/cached_attention.py`), of which there
are few at first: `widened` makes room for longer prompts, `grown` for longer answers, and
`enlarged` for more rows.

The host side, which knows prompts and requests, is `inference/lane.py`.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from flan_jax.core import axes
from flan_jax.core.tree import PyTree
from flan_jax.inference.decode_config import RowSettings
from flan_jax.inference.strategy import Answers, Strategy
from flan_jax.models.cached_attention import At
from flan_jax.models.model import Model
from flan_jax.parallel.rules import constrain

PAD_ID = 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What a program keeps between calls; a pytree of `[batch, ...]`, but for `slot`."""

    prompts: Any  # the model's, without the prefix that all share
    own: PyTree  # the members' keys and values, by layer
    last: jax.Array  # [batch, members] int32, what the next step takes
    tokens: jax.Array  # [batch, members, slots] int32, the answers so far, 0 after
    logprobs: jax.Array  # [batch, members, slots] float32 of them; no slots: not asked for
    position: jax.Array  # [batch] int32, tokens decoded
    ended: jax.Array  # [batch, members] bool
    broken: jax.Array  # [batch] bool, ended as there were no numbers to go by, see `Choice`
    strategy: PyTree
    slot: jax.Array  # int32, the slot that the next step fills
    ancestors: jax.Array | None  # [batch, members, slots] int32, see `At`; None: no beams

    @property
    def num_slots(self) -> int:
        """The most tokens an answer may have before `grown`."""
        return self.tokens.shape[2]


@functools.partial(
    jax.jit,
    static_argnames=(
        "model", "strategy", "batch_size", "width", "num_slots", "with_logprobs", "reorders",
    ),
)  # fmt: skip
def start(
    model: Model,
    strategy: Strategy,
    params: PyTree,
    *,
    batch_size: int,
    width: int,
    num_slots: int,
    with_logprobs: bool,
    reorders: bool,
) -> State:
    """Returns the state of rows that hold no prompt.

    Args:
        model: from `Model.for_decoding`, with `params`.
        strategy: how tokens are chosen.
        params: its parameters.
        batch_size: number of rows.
        width: tokens that a prompt may have.
        num_slots: tokens that an answer may have.
        with_logprobs: whether log-probabilities of the tokens are kept.
        reorders: whether members take over each other's answers (a beam search).
    """
    members = strategy.num_members
    shape = (batch_size, members, num_slots)
    slots = jnp.broadcast_to(jnp.arange(members, dtype=jnp.int32)[None, :, None], shape)
    prompts = jax.eval_shape(model.prompt_cache, params, jnp.zeros((batch_size, width), jnp.int32))
    state = State(
        prompts=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), prompts),
        own=model.own_cache(batch_size, members, num_slots),
        last=jnp.zeros(shape[:2], jnp.int32),
        tokens=jnp.zeros(shape, jnp.int32),
        logprobs=jnp.zeros(shape if with_logprobs else (*shape[:2], 0), jnp.float32),
        position=jnp.zeros(batch_size, jnp.int32),
        ended=jnp.ones(shape[:2], bool),
        broken=jnp.zeros(batch_size, bool),
        strategy=strategy.start(batch_size, num_slots),
        slot=jnp.zeros((), jnp.int32),
        ancestors=slots if reorders else None,
    )
    return _laid(state, model)


@functools.partial(jax.jit, static_argnames=("model", "strategy"), donate_argnames=("state",))
def admit(
    model: Model,
    strategy: Strategy,
    params: PyTree,
    state: State,
    prefix: PyTree,
    prompts: jax.Array,
    num_tokens: jax.Array,
    rows: jax.Array,
) -> State:
    """Returns `state` with prompts `[num, width]` in the rows `[num]`; a row may come twice.

    Each has `num_tokens` `[num]`. `prefix` is what they begin with, left out of them: from
    `Model.prefix_cache`, or empty.
    """
    known = model.prompt_cache(params, prompts, prefix, num_tokens)
    first = model.first_tokens(known, strategy.num_members)
    if prefix:
        known = dataclasses.replace(known, prefix=())
    num, slots = len(rows), state.num_slots
    new = dataclasses.replace(
        state,
        prompts=_padded(known, state.prompts, but=0),
        own=None,  # what a row of before left there is older than the new one, and not seen
        last=first,
        tokens=jnp.zeros((num, *state.tokens.shape[1:]), jnp.int32),
        logprobs=jnp.zeros((num, *state.logprobs.shape[1:]), jnp.float32),
        position=jnp.zeros(num, jnp.int32),
        ended=jnp.zeros((num, state.ended.shape[1]), bool),
        broken=jnp.zeros(num, bool),
        strategy=strategy.start(num, slots),
        slot=None,
        ancestors=None,
    )
    old = dataclasses.replace(state, own=None, slot=None, ancestors=None)

    def put(whole: jax.Array, part: jax.Array) -> jax.Array:
        # One after the other: XLA's CPU backend scatters number by number.
        for i in range(num):
            at = (rows[i], *(0,) * (whole.ndim - 1))
            whole = jax.lax.dynamic_update_slice(whole, part[i : i + 1], at)
        return whole

    changed = jax.tree.map(put, old, new)
    changed = dataclasses.replace(
        changed, own=state.own, slot=state.slot, ancestors=state.ancestors
    )
    return _laid(changed, model)


@functools.partial(jax.jit, static_argnames=("model", "strategy"), donate_argnames=("state",))
def run(
    model: Model,
    strategy: Strategy,
    params: PyTree,
    state: State,
    prefix: PyTree,
    settings: RowSettings,
    stopped: jax.Array,
    num_steps: jax.Array,
    least_active: jax.Array,
) -> State:
    """Decodes positions of all rows, until there is something for the host to do.

    Args:
        model: from `Model.for_decoding`, with `params`.
        strategy: how tokens are chosen.
        params: its parameters.
        state: what `admit` or the run before gave.
        prefix: what all prompts begin with, as in `admit`.
        settings: of the rows.
        stopped: `[batch, members]` bool, answers that the host ended.
        num_steps: positions to decode at most.
        least_active: ends when fewer rows than this are still at work.
    """
    state = dataclasses.replace(state, ended=jnp.logical_or(state.ended, stopped))
    num_slots, index = state.num_slots, jnp.arange(state.num_slots, dtype=jnp.int32)

    def goes_on(carry) -> jax.Array:
        state, step = carry
        active = jnp.logical_not(jnp.all(state.ended, axis=1))
        fits = jnp.all(jnp.where(active, state.position, 0) < num_slots)
        return (step < num_steps) & (jnp.sum(active) >= least_active) & fits

    def one(carry):
        state, step = carry
        prompts = dataclasses.replace(state.prompts, prefix=prefix) if prefix else state.prompts
        ancestors = state.ancestors
        if ancestors is not None:
            itself = jnp.arange(ancestors.shape[1], dtype=jnp.int32)[None, :, None]
            ancestors = jnp.where(index == state.slot, itself, ancestors)
        at = At(state.slot, jnp.minimum(state.position, num_slots - 1), ancestors)
        logits, own = model.decode_step(params, prompts, state.own, state.last, at)
        choice = strategy.choose(
            logits, state.strategy, settings, state.tokens, state.position, state.ended
        )
        before, tokens, logprobs = state.ended, state.tokens, state.logprobs
        if choice.parents is not None:
            before, tokens, logprobs, ancestors = (
                _taken(a, choice.parents) for a in (before, tokens, logprobs, ancestors)
            )
        chosen = jnp.where(before, PAD_ID, choice.tokens)
        here = (index[None, :] == state.position[:, None])[:, None, :] & ~before[:, :, None]
        tokens = jnp.where(here, chosen[:, :, None], tokens)
        if choice.logprobs is not None:
            logprobs = jnp.where(here, choice.logprobs[:, :, None], logprobs)
        active = jnp.logical_not(jnp.all(before, axis=1))
        position = jnp.where(active, state.position + 1, state.position)
        broken = jnp.logical_or(state.broken, choice.broken)
        over = jnp.logical_or(position >= settings.max_length, broken)
        after = State(
            prompts=state.prompts,
            own=own,
            last=chosen,
            tokens=tokens,
            logprobs=logprobs,
            position=position,
            ended=jnp.logical_or(choice.ended, over[:, None]),
            broken=broken,
            strategy=choice.state,
            slot=(state.slot + 1) % num_slots,
            ancestors=ancestors,
        )
        return _laid(after, model), step + 1

    return jax.lax.while_loop(goes_on, one, (state, jnp.zeros((), jnp.int32)))[0]


@functools.partial(jax.jit, static_argnames=("strategy",))
def answers(strategy: Strategy, state: State, settings: RowSettings) -> Answers:
    """Returns the answers of rows that are done; of the others it means nothing."""
    logprobs = state.logprobs if state.logprobs.shape[2] else None
    return strategy.result(state.strategy, settings, state.tokens, logprobs, state.position)


@functools.partial(jax.jit, static_argnames=("width",))
def widened(state: State, width: int) -> State:
    """Returns `state` with room for prompts of `width` tokens."""
    return dataclasses.replace(state, prompts=state.prompts.widened(width))


@functools.partial(jax.jit, static_argnames=("batch_size",))
def enlarged(state: State, batch_size: int) -> State:
    """Returns `state` with `batch_size` rows, the new ones empty."""
    more = batch_size - len(state.position)

    def pad(leaf: jax.Array) -> jax.Array:
        return jnp.pad(leaf, [(0, more), *[(0, 0)] * (leaf.ndim - 1)])

    larger = jax.tree.map(pad, dataclasses.replace(state, slot=None))
    ended = jnp.pad(state.ended, ((0, more), (0, 0)), constant_values=True)
    return dataclasses.replace(larger, slot=state.slot, ended=ended)


@functools.partial(jax.jit, static_argnames=("strategy", "num_slots"))
def grown(strategy: Strategy, state: State, num_slots: int) -> State:
    """Returns `state` with room for answers of `num_slots` tokens, more than now."""
    old = state.num_slots
    more = [(0, 0), (0, 0), (0, num_slots - old)]

    def unrolled(array: jax.Array, axis: int) -> jax.Array:
        """Puts the oldest slot first, so that the new ones come after the newest."""
        array = jnp.roll(array, -state.slot, axis=axis)
        widths = [(0, 0)] * array.ndim
        widths[axis] = (0, num_slots - old)
        return jnp.pad(array, widths)

    ancestors = state.ancestors
    with_logprobs = state.logprobs.shape[2] > 0
    target = jax.eval_shape(lambda: strategy.start(len(state.position), num_slots))
    return dataclasses.replace(
        state,
        own=jax.tree.map(lambda leaf: unrolled(leaf, 3), state.own),
        tokens=jnp.pad(state.tokens, more),
        logprobs=jnp.pad(state.logprobs, more) if with_logprobs else state.logprobs,
        strategy=_padded(state.strategy, target),
        slot=jnp.full((), old, jnp.int32),
        ancestors=None if ancestors is None else unrolled(ancestors, 2),
    )


def _laid(state: State, model: Model) -> State:
    """Lays out a state on the mesh, if there is one: what is large by rows and heads."""
    if model.rules is None:
        return state
    heads = axes.HEADS if model.config.num_kv_heads > 1 else None

    def by_row(leaf: jax.Array) -> jax.Array:
        if leaf.ndim < 4:
            return whole(leaf)
        return constrain(leaf, (axes.BATCH, heads, *[None] * (leaf.ndim - 2)), model.rules)

    def whole(leaf: jax.Array) -> jax.Array:  # the host of each process reads it
        return constrain(leaf, (None,) * leaf.ndim, model.rules)

    large = dict(prompts=state.prompts, own=state.own)
    rest = dataclasses.replace(state, prompts=None, own=None)
    laid = {name: jax.tree.map(by_row, tree) for name, tree in large.items()}
    return dataclasses.replace(jax.tree.map(whole, rest), **laid)


def _taken(array: jax.Array, parents: jax.Array) -> jax.Array:
    """Returns `array` `[batch, members, ...]` with each member's numbers its parent's."""
    at = parents.reshape(*parents.shape, *(1,) * (array.ndim - 2))
    return jnp.take_along_axis(array, at, axis=1)


def _padded(tree: PyTree, like: PyTree, but: int | None = None) -> PyTree:
    """Returns `tree` with zeros appended to its arrays, to the shapes of `like` (`but` an axis)."""

    def pad(leaf: jax.Array, target: jax.Array) -> jax.Array:
        sizes = enumerate(zip(leaf.shape, target.shape, strict=True))
        return jnp.pad(leaf, [(0, 0 if i == but else to - of) for i, (of, to) in sizes])

    return jax.tree.map(pad, tree, like)
