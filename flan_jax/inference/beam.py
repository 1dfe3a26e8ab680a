# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Beam search with a length penalty; its results are those of transformers' `generate`.

A row runs `num_beams` hypotheses and keeps the best `num_beams` finished ones, ranked by
log-probability / length ** penalty, the end of sequence counted in both. Each position considers
the best 2 * `num_beams` continuations of the running ones:

* those among the best `num_beams` that end are finished;
* the best `num_beams` that do not end run on: as each hypothesis ends in one way only, there are
  always so many.

The row is done when as many have finished and the best running one, at its present length, ranks
no higher than the worst of them. That is a guess: with a penalty above 0 a longer one may rank
higher (transformers' `early_stopping=False`). At `max_length` every continuation ends.
"""

import dataclasses

import jax
import jax.numpy as jnp

from flan_jax.inference import processors
from flan_jax.inference.decode_config import RowSettings
from flan_jax.inference.strategy import Answers, Choice
from flan_jax.inference.top_k import top_k

# Below all log-probabilities and, unlike -inf, still ordered by what is added to it.
NEVER = -1e9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """The best finished hypotheses of each row, best first; a pytree."""

    tokens: jax.Array  # [batch, beams, num_slots] int32, 0 after the last
    logprobs: jax.Array  # [batch, beams, num_slots] float32; no slots: not asked for
    lengths: jax.Array  # [batch, beams] int32; 0: none yet
    scores: jax.Array  # [batch, beams] float32; NEVER: none yet


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamState:
    """What a search remembers of each row; a pytree."""

    totals: jax.Array  # [batch, beams] float32, the log-probability of each running hypothesis
    logprobs: jax.Array  # [batch, beams, num_slots] float32, of its tokens, or no slots
    finished: Finished


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beam:
    """Beam search; a `strategy.Strategy` whose members are the running hypotheses."""

    num_beams: int
    eos_id: int
    features: processors.Features = processors.Features()
    with_logprobs: bool = False

    @property
    def num_members(self) -> int:
        """Answers that a row makes at once."""
        return self.num_beams

    def start(self, batch_size: int, num_slots: int) -> BeamState:
        """Returns the state of fresh rows: all beams are equal, so only the first one counts."""
        few = (batch_size, self.num_beams)
        logprobs = jnp.zeros((*few, num_slots if self.with_logprobs else 0), jnp.float32)
        finished = Finished(
            tokens=jnp.zeros((*few, num_slots), jnp.int32),
            logprobs=logprobs,
            lengths=jnp.zeros(few, jnp.int32),
            scores=jnp.full(few, NEVER, jnp.float32),
        )
        totals = jnp.full(few, NEVER, jnp.float32).at[:, 0].set(0)
        return BeamState(totals=totals, logprobs=logprobs, finished=finished)

    def choose(
        self,
        logits: jax.Array,
        state: BeamState,
        rows: RowSettings,
        tokens: jax.Array,
        position: jax.Array,
        ended: jax.Array,
    ) -> Choice:
        """Returns the tokens of the next position; see `strategy.Strategy`."""
        logprobs = jax.nn.log_softmax(logits)
        scores = processors.apply(self.features, logprobs, rows, tokens, position, self.eos_id)
        totals, parents, ids = self._continuations(state.totals, scores)
        gained = jax.vmap(lambda row, parent, token: row[parent, token])(logprobs, parents, ids)
        continued = (
            _append(_of_members(tokens, parents), ids, position),
            _append(_of_members(state.logprobs, parents), gained, position),
        )

        length = position + 1
        ends = (ids == self.eos_id) | (length >= rows.max_length)[:, None]
        weight = length.astype(jnp.float32) ** rows.length_penalty
        finished = self._finish(state.finished, continued, totals, ends, length, weight)

        running_totals, kept = jax.lax.top_k(totals + NEVER * ends, self.num_beams)
        running = BeamState(
            totals=running_totals, logprobs=_of_members(continued[1], kept), finished=finished
        )
        over = (length >= rows.max_length) | (
            running_totals[:, 0] / weight <= finished.scores.min(axis=-1)
        )
        before = ended.all(axis=-1)
        return Choice(
            tokens=_of_members(ids, kept),
            parents=_of_members(parents, kept),
            ended=jnp.broadcast_to((before | over)[:, None], ended.shape),
            logprobs=_of_members(gained, kept) if self.with_logprobs else None,
            broken=~before & ~jnp.isfinite(jnp.max(logits, axis=-1)).all(axis=-1),
            state=jax.tree.map(lambda old, new: _where(before, old, new), state, running),
        )

    def result(
        self,
        state: BeamState,
        rows: RowSettings,
        tokens: jax.Array,
        logprobs: jax.Array | None,
        position: jax.Array,
    ) -> Answers:
        """Returns the finished hypotheses, best first; see `strategy.Strategy`."""
        del rows, tokens, logprobs, position
        finished = state.finished
        return Answers(
            tokens=finished.tokens,
            lengths=finished.lengths,
            logprobs=finished.logprobs if self.with_logprobs else None,
            scores=finished.scores,
        )

    def _continuations(
        self, totals: jax.Array, scores: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns totals, members and tokens `[batch, 2 * beams]` of the best, best first."""
        batch_size, num_beams, vocab_size = scores.shape
        width = min(2 * num_beams, vocab_size)
        best, ids = top_k(scores, width)  # of each beam: far fewer to compare across beams
        totals = (totals[..., None] + best).reshape(batch_size, num_beams * width)
        totals, at = jax.lax.top_k(totals, 2 * num_beams)
        ids = jnp.take_along_axis(ids.reshape(batch_size, num_beams * width), at, axis=1)
        return totals, at // width, ids

    def _finish(
        self,
        finished: Finished,
        continued: tuple[jax.Array, jax.Array],
        totals: jax.Array,
        ends: jax.Array,
        length: jax.Array,
        weight: jax.Array,
    ) -> Finished:
        """Returns the best of the finished and of the `num_beams` best continuations that end."""
        few = slice(self.num_beams)
        new = Finished(
            tokens=continued[0][:, few],
            logprobs=continued[1][:, few],
            lengths=jnp.where(ends[:, few], length[:, None], 0),
            scores=jnp.where(ends[:, few], totals[:, few] / weight[:, None], NEVER),
        )
        all_ = jax.tree.map(lambda a, b: jnp.concatenate((a, b), axis=1), finished, new)
        _, kept = jax.lax.top_k(all_.scores, self.num_beams)
        return jax.tree.map(lambda leaf: _of_members(leaf, kept), all_)


def _of_members(array: jax.Array, members: jax.Array) -> jax.Array:
    """Returns `[batch, num, ...]` of `array` `[batch, members, ...]`, `members` `[batch, num]`."""
    return jax.vmap(lambda row, at: row[at])(array, members)


def _append(array: jax.Array, values: jax.Array, position: jax.Array) -> jax.Array:
    """Returns `[batch, members, num_slots]` with `values` `[batch, members]` at `position`."""
    here = jnp.arange(array.shape[-1])[None, None] == position[:, None, None]
    return jnp.where(here, values[..., None], array)


def _where(condition: jax.Array, if_true: jax.Array, if_false: jax.Array) -> jax.Array:
    """Returns `jnp.where` by row: `condition` is `[batch]`."""
    return jnp.where(condition.reshape(-1, *(1,) * (if_false.ndim - 1)), if_true, if_false)
