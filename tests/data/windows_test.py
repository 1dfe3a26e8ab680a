# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Windows: any order of asking, any process, any starting place gives the same rows."""

import dataclasses
import pickle

import numpy as np
import pytest

from flan_jax.collection.store import Store
from flan_jax.core.errors import UsageError
from flan_jax.data.windows import RowStream, WindowPlanner


@pytest.fixture
def stream(make_store):
    store = make_store({"a": 40, "b": 7, "c": 90})
    return RowStream(
        store=str(store.path), split="train", rates=(("a", 0.2), ("b", 0.3), ("c", 0.5)), seed=5,
        window_examples=64, max_input=48, max_target=16,
    )  # fmt: skip


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_windows_do_not_depend_on_the_order_of_asking(stream):
    planner = WindowPlanner(stream)
    expected = [planner(index) for index in range(6)]
    for order in ([5, 0, 3], [4, 2, 1]):
        other = WindowPlanner(stream)
        for index in order:
            assert_equal(other(index), expected[index])


def test_a_planner_begins_anywhere_and_can_be_pickled(stream):
    expected = WindowPlanner(stream)(4)
    schedule = stream.schedule(Store.open(stream.store))
    _, state = schedule.advance(schedule.start(), 4 * stream.window_examples)
    planner = WindowPlanner(stream, 4, schedule.to_json(state))
    assert_equal(planner(0), expected)
    assert_equal(pickle.loads(pickle.dumps(planner))(0), expected)
    with pytest.raises(UsageError, match="at example 256, window 5 begins at 320"):
        WindowPlanner(stream, 5, schedule.to_json(state))(0)


def test_a_window_holds_its_part_of_the_stream(stream):
    schedule = stream.schedule(Store.open(stream.store))
    planner, state = WindowPlanner(stream), schedule.start()
    for index in range(3):
        window = planner(index)
        assert (window["counts"] == state.counts).all()
        stretch, state = schedule.advance(state, stream.window_examples)
        dealt = sorted(zip(stretch.tasks, stretch.examples, strict=True))
        assert sorted(zip(window["tasks"], window["examples"], strict=True)) == dealt


def test_rows_come_in_a_random_order(stream):
    """The planner makes rows of long examples first; training must not see them in that order."""
    window = WindowPlanner(dataclasses.replace(stream, window_examples=600))(0)
    longest = np.maximum.reduceat(window["input_lengths"], window["splits"][:-1])
    first, second = np.array_split(longest, 2)
    assert abs(first.mean() - second.mean()) < 0.1 * longest.mean()


def test_lengths_and_starts_are_those_of_the_store(stream):
    store = Store.open(stream.store)
    window = WindowPlanner(stream)(1)
    columns = ("tasks", "examples", "starts", "input_lengths", "target_lengths")
    for task, example, start, num_inputs, num_targets in zip(
        *(window[name] for name in columns), strict=True
    ):
        assert store.task(stream.names[task], "train").offsets[example] == start
        inputs, targets = store.task(stream.names[task], "train").example(example)
        assert (len(inputs), len(targets)) == (num_inputs, num_targets)


def test_a_window_must_hold_an_example(stream):
    broken = dataclasses.replace(stream, window_examples=0)
    with pytest.raises(UsageError, match="window_examples must be > 0, got 0"):
        broken.check(Store.open(stream.store))
