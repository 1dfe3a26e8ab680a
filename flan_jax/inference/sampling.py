# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Choosing tokens one by one: the likeliest, or drawn by temperature, top-k and top-p.

The vocabulary is looked at in blocks, and nothing is drawn or sorted per entry of it: the compiled
program of a position reads the logits a few times and does the rest on block maxima and block sums.
Measured on two cores, 320 rows of 32,128 logits: one Gumbel variable per entry takes 205 ms.

All ties go to the lowest id. Transformers keeps every token that ties with the k-th; here k is k.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random

from flan_jax.core import errors
from flan_jax.inference import processors, shapes
from flan_jax.inference.decode_config import DecodeConfig, RowSettings
from flan_jax.inference.strategy import Answers, Choice
from flan_jax.inference.top_k import top_k

# Vectorized by XLA on CPUs as a sum or maximum over 32; over 64, a sum takes five times as long.
BLOCK = 32

# exp of less is taken as 0. Far from float32's smallest numbers, a weight is 0 or not in every
# program alike, however the compiler computes it.
_SMALLEST_EXPONENT = -80.0

# Keep a banned logit's exponent below that, and a difference of 0 at 0.
_TEMPERATURES = (1e-30, 1e27)

# Rounds of a position have random numbers of their own up to here; tens are many.
_MAX_STEPS = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """Chooses each member's tokens by itself; a `strategy.Strategy`."""

    num_members: int
    eos_id: int
    features: processors.Features = processors.Features()
    max_top_k: int = 0  # the largest top-k that a row may have; 0: none has one
    use_top_p: bool = False  # whether a row may have a top-p
    sampled: bool = False  # whether a row may have a temperature
    with_logprobs: bool = False

    def start(self, batch_size: int, num_slots: int) -> tuple[()]:
        """Returns nothing: a token depends on the answer so far alone."""
        del batch_size, num_slots
        return ()

    def choose(
        self,
        logits: jax.Array,
        state: tuple[()],
        rows: RowSettings,
        tokens: jax.Array,
        position: jax.Array,
        ended: jax.Array,
    ) -> Choice:
        """Returns the tokens of the next position; see `strategy.Strategy`."""
        raw = changed = _Blocks.of(logits)
        if self.features != processors.Features():
            logits = processors.apply(self.features, logits, rows, tokens, position, self.eos_id)
            changed = _Blocks.of(logits)
        chosen = changed.argmax()
        if self.sampled:
            drawn = self._draw(logits, changed, rows, position, ended)
            chosen = jnp.where((rows.temperature > 0)[:, None], drawn, chosen)
        return Choice(
            tokens=chosen,
            parents=None,
            ended=ended | (chosen == self.eos_id),
            logprobs=raw.logprobs_of(chosen) if self.with_logprobs else None,
            broken=jnp.any(raw.is_broken() & ~ended, axis=1),
            state=state,
        )

    def result(
        self,
        state: tuple[()],
        rows: RowSettings,
        tokens: jax.Array,
        logprobs: jax.Array | None,
        position: jax.Array,
    ) -> Answers:
        """Returns the loop's tokens, in the order of the members; see `strategy.Strategy`."""
        del state, rows
        slots = jnp.arange(tokens.shape[-1], dtype=jnp.int32)[None, None]
        decoded = position[:, None]
        ends = jnp.where(tokens == self.eos_id, slots + 1, tokens.shape[-1])
        return Answers(
            tokens=tokens,
            lengths=jnp.minimum(jnp.min(ends, axis=-1), decoded),
            logprobs=logprobs,
            scores=None if logprobs is None else jnp.sum(logprobs, axis=-1),
        )

    def _draw(
        self,
        logits: jax.Array,
        blocks: "_Blocks",
        rows: RowSettings,
        position: jax.Array,
        ended: jax.Array,
    ) -> jax.Array:
        """Returns a token `[batch, members]` for every row with a temperature; others get any."""
        vocab_size = logits.shape[-1]
        weights = _Weights.of(blocks, rows.temperature)
        draws = _Draws.of(rows, self.num_members, position)
        uniforms = draws.uniforms(0)
        wanted = (rows.temperature > 0)[:, None] & ~ended
        limited = ((rows.top_k > 0) & (rows.top_k < vocab_size))[:, None]
        nothing = jnp.zeros(ended.shape, jnp.int32)

        # Which of the two a program needs changes with its rows, and each is worth skipping.
        from_all = wanted & ~limited
        drawn = jax.lax.cond(
            jnp.any(from_all),
            lambda: _draw_from_all(
                blocks.values,
                weights,
                uniforms,
                draws if self.use_top_p else None,
                rows.top_p,
                from_all,
            ),
            lambda: nothing,
        )
        if self.max_top_k:
            num_candidates = min(self.max_top_k, vocab_size)
            among = jax.lax.cond(
                jnp.any(wanted & limited),
                lambda: _draw_from_likeliest(logits, weights, uniforms, rows, num_candidates),
                lambda: nothing,
            )
            drawn = jnp.where(limited, among, drawn)
        return jnp.minimum(drawn, vocab_size - 1)


def strategy(configs: Sequence[DecodeConfig], *, eos_id: int, with_logprobs: bool) -> Sampling:
    """Returns the smallest program that serves all of these requests.

    The largest top-k is rounded up to a power of two, so that few programs are compiled.
    """
    beams = [config.num_beams for config in configs if config.num_beams > 1]
    if beams or not configs:
        found = f"one of {beams[0]} beams" if beams else "none"
        raise errors.UsageError(
            f"sampling: requests must be for samples, got {found}; give beams to inference.beam"
        )
    sampled = [config for config in configs if config.temperature > 0]
    top_k = max((config.top_k for config in sampled), default=0)
    return Sampling(
        num_members=max(config.num_samples for config in configs),
        eos_id=eos_id,
        features=processors.Features.of(configs),
        max_top_k=shapes.power_of_two(top_k) if top_k else 0,
        use_top_p=any(config.top_p < 1 for config in sampled),
        sampled=bool(sampled),
        with_logprobs=with_logprobs,
    )


def row_key(seed: int, prompt: Sequence[int]) -> np.ndarray:
    """Returns the random key `[2]` uint32 of a prompt's row: a hash of the seed and the tokens."""
    digest = hashlib.blake2b(f"{seed}\x00".encode(), digest_size=8)
    digest.update(np.asarray(prompt, "<i8").tobytes())
    return np.frombuffer(digest.digest(), "<u4").astype(np.uint32)


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """Logits of a vocabulary in blocks, and what is found with one look at each logit."""

    values: jax.Array  # [..., blocks, BLOCK], the last one filled up with -inf
    maxima: jax.Array  # [..., blocks]

    @classmethod
    def of(cls, logits: jax.Array) -> "_Blocks":
        vocab_size = logits.shape[-1]
        if missing := -vocab_size % BLOCK:
            widths = [(0, 0)] * (logits.ndim - 1) + [(0, missing)]
            logits = jnp.pad(logits, widths, constant_values=-jnp.inf)
        values = logits.reshape(*logits.shape[:-1], -1, BLOCK)
        return cls(values, _apart(jnp.max(values, axis=-1)))

    def peak(self) -> jax.Array:
        """Returns the highest `[...]`; of nothing but -inf, a finite one."""
        return jnp.maximum(jnp.max(self.maxima, axis=-1), processors.BANNED)

    def is_broken(self) -> jax.Array:
        """Returns whether the highest `[...]` is NaN or infinite; one NaN is the highest."""
        return ~jnp.isfinite(jnp.max(self.maxima, axis=-1))

    def argmax(self) -> jax.Array:
        """Returns the ids `[...]` of the highest, int32, the lowest among equals.

        As `jnp.argmax`, which reads 320 rows of 32,128 in 21 ms on two CPU cores; this takes 5.
        """
        block = jnp.argmax(self.maxima, axis=-1).astype(jnp.int32)
        within = jnp.argmax(_block_at(self.values, block), axis=-1).astype(jnp.int32)
        return block * BLOCK + within

    def logprobs_of(self, tokens: jax.Array) -> jax.Array:
        """Returns the log-probabilities `[...]` of `tokens` `[...]`."""
        peak = self.peak()
        sums = _apart(jnp.sum(jnp.exp(self.values - peak[..., None, None]), axis=-1))
        block = _block_at(self.values, tokens // BLOCK)
        logits = jnp.take_along_axis(block, tokens[..., None] % BLOCK, axis=-1)[..., 0]
        return logits - peak - jnp.log(jnp.sum(sums, axis=-1))


def _apart(of_blocks: jax.Array) -> jax.Array:
    """Returns the same, which the compiler computes as we wrote it.

    It would merge a reduction of each block with that of all blocks into one over the vocabulary,
    which is not vectorized: the log-probabilities then take 37 ms of a CPU core, not 13.
    """
    return jax.lax.optimization_barrier(of_blocks)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Weights:
    """Turns logits into probabilities, but for a factor: the likeliest token weighs 1."""

    peak: jax.Array  # [batch, members]
    temperature: jax.Array  # [batch]

    @classmethod
    def of(cls, blocks: _Blocks, temperature: jax.Array) -> "_Weights":
        return cls(blocks.peak(), jnp.clip(temperature, *_TEMPERATURES))

    def __call__(self, logits: jax.Array) -> jax.Array:
        """Returns the weights of logits `[batch, members, ...]`."""
        more = (1,) * (logits.ndim - 2)
        peak = self.peak.reshape(self.peak.shape + more)
        exponent = (logits - peak) / self.temperature.reshape(-1, 1, *more)
        return jnp.where(exponent > _SMALLEST_EXPONENT, jnp.exp(exponent), 0.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Draws:
    """The random numbers of a position, each of a row's key, a member and a round alone."""

    keys: jax.Array  # [batch, 2] uint32
    members: jax.Array  # [batch, members] uint32
    position: jax.Array  # [batch] uint32

    @classmethod
    def of(cls, rows: RowSettings, num_members: int, position: jax.Array) -> "_Draws":
        members = rows.first_member[:, None] + jnp.arange(num_members)[None]
        return cls(rows.key, members.astype(jnp.uint32), position.astype(jnp.uint32))

    def uniforms(self, step: jax.Array | int) -> jax.Array:
        """Returns `[batch, members, 2]` float32 in [0, 1), multiples of 2**-24, of a round.

        One threefry block gives both: its key is the row's, its counter all the rest. That compiles
        in a third of the time of folding each into a key.
        """

        def of_row(key, members, position):
            low = jnp.full_like(members, position * _MAX_STEPS + jnp.uint32(step))
            return random.threefry_2x32(key, jnp.concatenate([members, low])).reshape(2, -1).T

        bits = jax.vmap(of_row)(self.keys, self.members, self.position)
        return (bits >> 8).astype(jnp.float32) * 2.0**-24


def _draw_from_likeliest(
    logits: jax.Array,
    weights: _Weights,
    uniforms: jax.Array,
    rows: RowSettings,
    num_candidates: int,
) -> jax.Array:
    """Draws from the row's top-k tokens, and of those from its top-p; `[batch, members]`."""
    values, ids = top_k(logits, num_candidates)
    rank = jnp.arange(num_candidates)[None, None]
    weight = jnp.where(rank < rows.top_k[:, None, None], weights(values), 0.0)
    sums = jnp.cumsum(weight, axis=-1)
    before = jnp.pad(sums[..., :-1], ((0, 0), (0, 0), (1, 0)))
    inside = before < rows.top_p[:, None, None] * sums[..., -1:]
    weight = jnp.where(inside | (rank == 0), weight, 0.0)
    place = _pick(weight, uniforms[..., 0])
    return jnp.take_along_axis(ids, place[..., None], axis=-1)[..., 0]


def _draw_from_all(
    blocks: jax.Array,
    weights: _Weights,
    uniforms: jax.Array,
    more: _Draws | None,
    top_p: jax.Array,
    wanted: jax.Array,
) -> jax.Array:
    """Draws from the whole vocabulary, or from a row's top-p tokens of it; `[batch, members]`.

    A token belongs to the top-p if those likelier than it weigh less than top-p together. So no
    order is needed: draw from all; if those likelier than the token weigh too much, draw again from
    them alone, which leaves out no token of the top-p; and so on. A few rounds settle a row: each
    one cuts off a part of the weight that is uniformly distributed.
    """
    ids = jnp.arange(blocks.shape[-2] * BLOCK, dtype=jnp.int32).reshape(1, 1, -1, BLOCK)

    def draw(sums, bound, bound_id, uniforms):
        block = _pick(sums, uniforms[..., 0])
        values = _block_at(blocks, block)
        block_ids = block[..., None] * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)[None, None]
        likelier = _likelier(values, block_ids, bound[..., None], bound_id[..., None])
        place = _pick(jnp.where(likelier, weights(values), 0.0), uniforms[..., 1])[..., None]
        token = jnp.take_along_axis(block_ids, place, axis=-1)[..., 0]
        return token, jnp.take_along_axis(values, place, axis=-1)[..., 0]

    sums = _apart(jnp.sum(weights(blocks), axis=-1))
    nowhere = jnp.full(wanted.shape, -jnp.inf), jnp.full(wanted.shape, ids.size, jnp.int32)
    token, value = draw(sums, *nowhere, uniforms)
    if more is None:  # no row has a top-p
        return token
    enough = top_p[:, None] * jnp.sum(sums, axis=-1)

    def redraw(carry):
        step, settled, token, value = carry
        likelier = _likelier(blocks, ids, value[..., None, None], token[..., None, None])
        sums = _apart(jnp.sum(jnp.where(likelier, weights(blocks), 0.0), axis=-1))
        weight = jnp.sum(sums, axis=-1)
        # So written, a row of NaN is settled.
        settled |= ~((weight >= enough) & (weight > 0))
        new_token, new_value = draw(sums, value, token, more.uniforms(step))
        token = jnp.where(settled, token, new_token)
        return step + 1, settled, token, jnp.where(settled, value, new_value)

    start = (1, ~wanted | (top_p >= 1)[:, None], token, value)
    return jax.lax.while_loop(lambda carry: ~jnp.all(carry[1]), redraw, start)[2]


def _likelier(
    logits: jax.Array, ids: jax.Array, bound: jax.Array, bound_id: jax.Array
) -> jax.Array:
    """Returns which tokens come before the bound's when the likeliest, of lowest id, is first."""
    return (logits > bound) | ((logits == bound) & (ids < bound_id))


def _pick(weights: jax.Array, uniform: jax.Array) -> jax.Array:
    """Returns `[...]` int32, an index of the last axis of `weights`, drawn in proportion to them.

    One of weight 0 is never picked, whatever `uniform` `[...]` of [0, 1] and the rounding of the
    sums. If all are 0, the result is the last.
    """
    sums = jnp.where(weights > 0, jnp.cumsum(weights, axis=-1), 0.0)
    total = jnp.max(sums, axis=-1, keepdims=True)
    above = (sums > uniform[..., None] * total) | (sums == total)
    last = weights.shape[-1] - 1
    places = jnp.arange(last + 1, dtype=jnp.int32).reshape((1,) * (weights.ndim - 1) + (-1,))
    return jnp.min(jnp.where(above, places, last), axis=-1)


def _block_at(blocks: jax.Array, index: jax.Array) -> jax.Array:
    """Returns `[..., BLOCK]`, the block at `index` `[...]` of `[..., blocks, BLOCK]`."""
    return jnp.take_along_axis(blocks, index[..., None, None], axis=-2)[..., 0, :]
