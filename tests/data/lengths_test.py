# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lengths and starts of a mixture's examples are those that the store has."""

import numpy as np
import pytest

from flan_jax.collection.store import INPUT_LENGTHS, Store
from flan_jax.core.errors import DataError
from flan_jax.data.lengths import MixtureLengths

SIZES = {"a": 40, "b": 1, "c": 150, "d:x.1": 16, "e": 15}


@pytest.mark.parametrize("longest", [(48, 16), (2000, 900), (200_000, 20)])
def test_every_example_is_found(make_store, longest):
    sizes = SIZES if longest[0] < 10_000 else {"a": 5, "b": 18}
    store = make_store(sizes, lengths=dict(zip(("inputs", "targets"), longest, strict=True)))
    names = [name for name in sizes if name != "c"] + ["c"] * ("c" in sizes)
    lengths = MixtureLengths(store, names, "train")
    tasks = np.repeat(np.arange(len(names)), [sizes[name] for name in names])
    examples = np.concatenate([np.arange(sizes[name]) for name in names])
    order = np.random.default_rng(0).permutation(len(tasks))
    tasks, examples = tasks[order], examples[order]
    inputs, targets, starts = lengths.look_up(tasks, examples)
    assert (inputs.dtype, targets.dtype, starts.dtype) == (np.int32, np.int32, np.int64)
    for row, (task, example) in enumerate(zip(tasks, examples, strict=True)):
        stored = store.task(names[task], "train")
        assert inputs[row] == stored.input_lengths[example]
        assert targets[row] == stored.target_lengths[example]
        assert starts[row] == stored.offsets[example]


@pytest.mark.parametrize("change", [lambda x: x + 1, lambda x: x[::-1] * 2 - x, np.zeros_like])
def test_lengths_of_another_build_are_named(make_store, change):
    store = make_store(SIZES)
    path = store.task("c", "train").folder / INPUT_LENGTHS
    found = np.load(path)
    np.save(path, change(found).astype(np.int32))
    store = Store.open(store.path)  # the size is right
    with pytest.raises(DataError, match=r"c/train/input_lengths.npy is not the file that was"):
        MixtureLengths(store, sorted(SIZES), "train")
