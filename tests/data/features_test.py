# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finite batches: every example once, rows of one shape."""

import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.data import features

SIZES = {"a": {"validation": 30}, "b": {"train": 5}, "c": {"train": 3, "validation": 11}}
NAMES = ("a", "b", "c")


def collect(batches):
    found = []
    for batch in batches:
        for r in range(len(batch["decoder_segment_ids"])):
            for segment in range(1, batch["decoder_segment_ids"][r].max() + 1):
                encoder = batch["encoder_segment_ids"][r] == segment
                decoder = batch["decoder_segment_ids"][r] == segment
                (task,) = set(batch["decoder_task_ids"][r][decoder])
                found.append(
                    (
                        NAMES[task],
                        tuple(batch["encoder_input_tokens"][r][encoder]),
                        tuple(batch["decoder_target_tokens"][r][decoder]),
                    )
                )
    return sorted(found)


def expected(store, sizes):
    return sorted(
        (name, *map(tuple, store.task(name, "validation").example(i)))
        for name, size in sizes.items()
        for i in range(size)
    )


@pytest.mark.parametrize("window", [7, 8192])
def test_loss_batches_are_one_pass_with_an_empty_end(make_store, monkeypatch, window):
    monkeypatch.setattr(features, "WINDOW_EXAMPLES", window)
    store = make_store(SIZES)
    batches = list(features.loss_batches(store, names=NAMES, batch_size=8))
    assert collect(batches) == expected(store, {"a": 30, "c": 11})
    assert all(len(rows) == 8 for batch in batches for rows in batch.values())
    num_rows = sum((batch["decoder_loss_weights"].sum(axis=1) > 0).sum() for batch in batches)
    assert len(batches) == -(-num_rows // 8)


def test_loss_batches_for_a_decoder_hold_inputs_and_targets_in_one_row(make_store):
    store = make_store(SIZES)
    batches = list(features.loss_batches(store, names=NAMES, batch_size=8, layout="decoder"))
    lengths = store.feature_lengths
    width = lengths["inputs"] + lengths["targets"]
    assert all(rows.shape == (8, width) for batch in batches for rows in batch.values())
    for name, weighs in (("inputs", 0), ("targets", 1)):
        chosen = [
            batch["decoder_target_tokens"][
                (batch["decoder_segment_ids"] > 0) & (batch["decoder_loss_weights"] == weighs)
            ]
            for batch in batches
        ]
        stored = [
            store.task(task, "validation").example(i)[name == "targets"]
            for task, size in (("a", 30), ("c", 11))
            for i in range(size)
        ]
        assert sorted(np.concatenate(chosen)) == sorted(np.concatenate(stored)), name


def test_an_unknown_layout_is_refused(make_store):
    with pytest.raises(UsageError, match="unknown layout 'decodr'; did you mean 'decoder'"):
        list(features.loss_batches(make_store(SIZES), names=NAMES, batch_size=8, layout="decodr"))


def test_the_last_loss_batch_ends_with_rows_of_no_weight(make_store):
    store = make_store({"a": {"validation": 1}})
    (batch,) = features.loss_batches(store, names=["a"], batch_size=3)
    assert [any(row) for row in batch["decoder_loss_weights"]] == [True, False, False]
    assert not any(rows[1:].any() for rows in batch.values())


def test_loss_batches_may_stop_at_some_examples_of_each_task(make_store):
    store = make_store(SIZES)
    batches = features.loss_batches(store, names=NAMES, batch_size=4, num_examples=12)
    assert collect(batches) == expected(store, {"a": 12, "c": 11})


def test_hosts_share_the_loss_batches(make_store):
    store = make_store(SIZES)
    whole = list(features.loss_batches(store, names=NAMES, batch_size=6))
    halves = [
        list(features.loss_batches(
            store, names=NAMES, batch_size=6, process_index=i, process_count=2))
        for i in range(2)
    ]  # fmt: skip
    assert len(halves[0]) == len(halves[1]) == len(whole)
    for first, second, both in zip(*halves, whole, strict=True):
        for name in both:
            np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), both[name])


def test_a_split_that_no_task_has_is_an_error(make_store):
    store = make_store({"a": 4})
    with pytest.raises(UsageError, match="none of the 1 tasks has a split 'validation'"):
        next(features.loss_batches(store, names=["a"], batch_size=2))
    with pytest.raises(UsageError, match="batch_size 3 must be > 0 and a multiple of 2 processes"):
        next(features.loss_batches(
            store, names=["a"], batch_size=3, split="train", process_count=2))  # fmt: skip
