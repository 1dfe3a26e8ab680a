# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the decoding loop asks of a way to choose tokens: sampling, or a beam search.

A row of the loop is one prompt with `num_members` answers in the making: samples, or beams. The
loop gives a row that is done to another prompt, so all state has the rows as its leading axis.
"""

import dataclasses
from typing import Protocol

import jax

from flan_jax.core.tree import PyTree
from flan_jax.inference.decode_config import RowSettings


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """The tokens chosen at one position; a pytree."""

    tokens: jax.Array  # [batch, members] int32
    # [batch, members] int32, the member of its row that each one continues; None: itself
    parents: jax.Array | None
    ended: jax.Array  # [batch, members] bool, after these tokens
    # [batch, members] float32 by the model's own distribution; None: not asked for
    logprobs: jax.Array | None
    broken: jax.Array  # [batch] bool, rows with logits that are NaN or infinite: nothing to go by
    state: PyTree  # for the next position


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers of rows that are done, the best first if they are ranked; a pytree."""

    tokens: jax.Array  # [batch, members, num_slots] int32, 0 after the last
    lengths: jax.Array  # [batch, members] int32, the end of sequence counted
    # [batch, members, num_slots] float32 by the model's own distribution, 0 after the last
    logprobs: jax.Array | None
    scores: jax.Array | None  # [batch, members] float32; None: of samples without logprobs


class Strategy(Protocol):
    """How tokens are chosen; it must be hashable, to be a static argument of jit."""

    @property
    def num_members(self) -> int:
        """Answers that a row makes at once."""
        ...

    def start(self, batch_size: int, num_slots: int) -> PyTree:
        """Returns the state of fresh rows, for answers of at most `num_slots` tokens."""
        ...

    def choose(
        self,
        logits: jax.Array,
        state: PyTree,
        rows: RowSettings,
        tokens: jax.Array,
        position: jax.Array,
        ended: jax.Array,
    ) -> Choice:
        """Returns the tokens of the next position.

        Args:
            logits: `[batch, members, vocab]` float32, as the model gives them.
            state: what `start`, or the choice before, gave.
            rows: what each row's request asks for.
            tokens: `[batch, members, num_slots]` int32, the answers so far, 0 after.
            position: `[batch]` int32, how many tokens each row's answers have.
            ended: `[batch, members]` bool, which answers have ended before.
        """
        ...

    def result(
        self,
        state: PyTree,
        rows: RowSettings,
        tokens: jax.Array,
        logprobs: jax.Array | None,
        position: jax.Array,
    ) -> Answers:
        """Returns the answers, of which those of rows that are not done mean nothing.

        Args:
            state: what the last choice gave.
            rows: what each row's request asks for.
            tokens: `[batch, members, num_slots]` int32, as the loop appended them.
            logprobs: the same of `Choice.logprobs`, float32.
            position: `[batch]` int32, how many tokens each row's answers have.
        """
        ...
