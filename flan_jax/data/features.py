# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finite batches for evaluation: packed rows to measure a loss on.

They are all of one shape, so that it compiles once: a short last batch is filled up with empty
rows.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from flan_jax.collection.store import Store
from flan_jax.core.errors import UsageError
from flan_jax.data.packing import Batch
from flan_jax.data.row_layouts import LAYOUTS, RowLayout

WINDOW_EXAMPLES = 8192


def loss_batches(
    store: Store,
    *,
    names: Sequence[str],
    batch_size: int,
    split: str = "validation",
    feature_lengths: dict[str, int] | None = None,
    layout: str = LAYOUTS[0],
    num_examples: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields one pass over a split as packed rows, the same batches as in training.

    Args:
        store: a built token store.
        names: the mixture's tasks in the order of training's `member_names`; the position of a
            task is its `decoder_task_ids`. Tasks without this split are passed over.
        batch_size: rows of a batch over all processes; the last is filled with empty rows.
        split: the split to read.
        feature_lengths: tokens of `inputs` and `targets` a row holds; None: the store's.
        layout: of the rows, as in `TrainInput`.
        num_examples: examples of each task, its first ones; None: all.
        process_index: which of the processes this is; it gets its part of each batch.
        process_count: how many processes share a batch.
    """
    if batch_size <= 0 or batch_size % process_count:
        raise UsageError(
            f"batch_size {batch_size} must be > 0 and a multiple of {process_count} processes"
        )
    feature_lengths = feature_lengths or store.feature_lengths
    max_input, max_target = feature_lengths["inputs"], feature_lengths["targets"]
    rows_of = RowLayout(name=layout, max_input=max_input, max_target=max_target)
    per_host = batch_size // process_count
    mine = slice(process_index * per_host, (process_index + 1) * per_host)
    waiting = rows_of.empty(0)
    for window in _windows(store, names, split, num_examples):
        waiting = _concatenate(waiting, _pack(store, names, split, *window, rows_of))
        while len(waiting["decoder_loss_weights"]) >= batch_size:
            yield {name: rows[:batch_size][mine] for name, rows in waiting.items()}
            waiting = {name: rows[batch_size:] for name, rows in waiting.items()}
    num_left = len(waiting["decoder_loss_weights"])
    if num_left:
        last = _concatenate(waiting, rows_of.empty(batch_size - num_left))
        yield {name: rows[mine] for name, rows in last.items()}


def _windows(store, names, split, num_examples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields windows of the split's examples, task after task: which task, which of its own."""
    stored = set(store.tasks(split))
    present = [i for i, name in enumerate(names) if name in stored]
    if not present:
        raise UsageError(
            f"none of the {len(names)} tasks has a split {split!r} in the store {store.path}; "
            "build it with that split"
        )
    sizes = [store.task(names[i], split).num_examples for i in present]
    sizes = [min(size, num_examples or size) for size in sizes]
    tasks = np.repeat(present, sizes)
    examples = np.concatenate([np.arange(size) for size in sizes])
    for start in range(0, len(tasks), WINDOW_EXAMPLES):
        window = slice(start, start + WINDOW_EXAMPLES)
        yield tasks[window], examples[window]


def _pack(store, names, split, tasks, examples, rows_of: RowLayout) -> Batch:
    inputs, targets, starts = np.zeros((3, len(tasks)), np.int64)
    for task in np.unique(tasks):
        here, stored = tasks == task, store.task(names[task], split)
        starts[here] = stored.offsets[examples[here]]
        inputs[here] = stored.input_lengths[examples[here]]
        targets[here] = stored.target_lengths[examples[here]]
    plan = rows_of.plan(inputs, targets)
    order = plan.examples
    return rows_of.pack(
        tokens=store.gather(
            split, names, tasks[order], starts[order], inputs[order] + targets[order]),
        input_lengths=inputs[order], target_lengths=targets[order],
        task_ids=tasks[order], splits=plan.splits,
    )  # fmt: skip


def _concatenate(first: Batch, second: Batch) -> Batch:
    return {name: np.concatenate([first[name], second[name]]) for name in first}
