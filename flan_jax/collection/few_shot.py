# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exemplars: which rows a few-shot prompt may show, and which it does.

Exemplars come from the task's own train split. The pool is a seeded choice of its rows, the same
for every query of the task, so that drawing needs no second pass over the source. By the policy
`disjoint_pool` its rows are exemplars only, and at most a fifth of the split.
"""

from collections.abc import Callable, Sequence

from flan_jax.collection.parsing import Malformed
from flan_jax.collection.sources import choose
from flan_jax.collection.spec import (
    DISJOINT_POOL,
    EXCLUDE_SELF,
    PAPER,
    TRAIN,
    Drop,
    Fields,
    TaskSpec,
)
from flan_jax.core.rng import ExampleKey

# Candidates drawn beyond those wanted, to replace any that turn out to be the query itself.
_SPARE = 4
# Most of the train split that a disjoint pool takes: one row in this many.
_DISJOINT_SHARE = 5


class ExemplarPool:
    """Rows to draw exemplars from.

    Args:
        entries: (index in the train split, fields) of each row.
        policy: unless it is `paper`, the query's own row, or one that `same` calls the same, is
            never drawn.
    """

    def __init__(self, entries: Sequence[tuple[int, Fields]], *, policy: str = EXCLUDE_SELF):
        self._entries = list(entries)
        self._policy = policy
        # Train rows that are no queries, as they are exemplars.
        self.set_aside = frozenset(i for i, _ in entries if policy == DISJOINT_POOL)

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def load(cls, spec: TaskSpec, seed: int) -> "ExemplarPool":
        """Returns the pool of a task: up to `pool_size` rows of its train split."""
        num_rows = spec.source.num_rows(TRAIN)
        size = spec.few_shot.pool_size
        if spec.few_shot.policy == DISJOINT_POOL:
            size = min(size, num_rows // _DISJOINT_SHARE)
        chosen = choose(num_rows, size, seed, f"{spec.name}/exemplars")
        left = num_rows if chosen is None else len(chosen)
        entries = []
        rows = ((i, row) for i, row in spec.source.rows(TRAIN) if not isinstance(row, Malformed))
        for position, (index, row) in enumerate(rows):
            if left == 0:
                break
            if chosen is not None and position not in chosen:
                continue
            left -= 1
            try:
                entries.append((index, spec.map_row(row, TRAIN, index)))
            except Drop:
                continue
        return cls(entries, policy=spec.few_shot.policy)

    def draw(
        self,
        key: ExampleKey,
        num: int,
        *,
        train_index: int | None,
        same: Callable[[Fields], bool],
    ) -> list[tuple[int, Fields]]:
        """Returns up to `num` (index, fields), in random order.

        Args:
            key: the query's key.
            num: how many are wanted.
            train_index: the query's index if it is a row of the train split.
            same: whether fields show the query itself under another index.
        """
        if self._policy == PAPER:
            order = key.sample("exemplars", len(self._entries), num)
            return [self._entries[i] for i in order]
        drawn = []
        for i in key.sample("exemplars", len(self._entries), num + _SPARE):
            index, fields = self._entries[i]
            if index == train_index or same(fields):
                continue
            drawn.append((index, fields))
            if len(drawn) == num:
                break
        return drawn
