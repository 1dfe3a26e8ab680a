# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How long each example of a mixture is and where it starts, held in little memory.

All that planning a window asks of a store. Lengths of 15 million examples take 30 to 60 MB: the
smallest unsigned type that holds a side's longest, and starts only of every 16th example, from
which the others are counted. (Stored starts, 8 bytes an example, would take 120 MB; maps of the
stored files count as much once random reads have touched their pages.)
"""

from collections.abc import Sequence

import numpy as np

from flan_jax.collection.store import INPUT_LENGTHS, TARGET_LENGTHS, Store, TaskStore
from flan_jax.core.errors import DataError

_BLOCK = 16  # examples between two known starts


class MixtureLengths:
    """The lengths of the examples of several tasks.

    Args:
        store: a built store.
        names: its tasks; lookups count them from 0.
        split: their split.

    Raises:
        DataError: the stored lengths are not those that the manifest tells of.
    """

    def __init__(self, store: Store, names: Sequence[str], split: str):
        # Not `store.task`, which would keep what it reads.
        tasks = [TaskStore(store, name, split) for name in names]
        sizes = [task.num_examples for task in tasks]
        self._first = np.cumsum([0, *sizes])
        # In blocks, the last filled up with zeros: [num_blocks, _BLOCK].
        self._inputs, self._targets = (
            np.zeros((-(-int(self._first[-1]) // _BLOCK), _BLOCK), np.min_scalar_type(most))
            for most in (
                max(task.info[f"max_{side}_tokens"] for task in tasks)
                for side in ("input", "target")
            )
        )
        for task, first in zip(tasks, self._first.tolist(), strict=False):
            place = slice(first, first + task.num_examples)
            # One side is let go before the other is read.
            self._inputs.reshape(-1)[place] = _checked(task, "input", task.input_lengths)
            del task.input_lengths
            self._targets.reshape(-1)[place] = _checked(task, "target", task.target_lengths)
            del task.target_lengths
        of_blocks = self._inputs.sum(1, dtype=np.int64) + self._targets.sum(1, dtype=np.int64)
        self._before_block = np.cumsum(of_blocks) - of_blocks
        of_tasks = [t.info["num_input_tokens"] + t.info["num_target_tokens"] for t in tasks]
        self._before_task = np.cumsum([0, *of_tasks])

    def look_up(
        self, tasks: np.ndarray, examples: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns lengths of inputs, of targets (int32), and first tokens (int64) of examples.

        Args:
            tasks: [num] index into the names.
            examples: [num] index into the task's examples.
        """
        block, at = np.divmod(self._first[tasks] + examples, _BLOCK)
        inputs, targets = self._inputs[block], self._targets[block]
        each = np.arange(len(block))
        is_before = np.arange(_BLOCK) < at[:, None]
        before = sum(np.sum(side, 1, np.int64, where=is_before) for side in (inputs, targets))
        starts = self._before_block[block] + before - self._before_task[tasks]
        return inputs[each, at].astype(np.int32), targets[each, at].astype(np.int32), starts


def _checked(task: TaskStore, side: str, lengths: np.ndarray) -> np.ndarray:
    recorded = task.info[f"num_{side}_tokens"], task.info[f"max_{side}_tokens"]
    found = int(lengths.sum(dtype=np.int64)), int(lengths.max(initial=0))
    if found != recorded or lengths.min(initial=1) < 0:
        name = INPUT_LENGTHS if side == "input" else TARGET_LENGTHS
        raise DataError(
            f"{task.folder / name} is not the file that was built: its lengths sum to {found[0]}, "
            f"the longest is {found[1]}, the manifest has {recorded[0]} and {recorded[1]}; "
            "delete its folder and run `flan-jax build` again"
        )
    return lengths
