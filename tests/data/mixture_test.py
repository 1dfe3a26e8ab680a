# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mixing: shares exact over every prefix, each example once per pass, state that resumes."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.core.errors import DataError, UsageError
from flan_jax.data import mixture


def make_schedule(rates, sizes=7, seed=0):
    rates = {f"task{i:03d}": rate for i, rate in enumerate(rates)}
    sizes = [sizes] * len(rates) if isinstance(sizes, int) else sizes
    return mixture.MixtureSchedule(rates, dict(zip(rates, sizes, strict=True)), seed=seed)


def run(schedule, nums, state=None):
    """Tasks and examples of consecutive stretches, and the state after them."""
    state = state or schedule.start()
    tasks, examples = [], []
    for num in nums:
        stretch, state = schedule.advance(state, num)
        tasks.append(stretch.tasks)
        examples.append(stretch.examples)
    return np.concatenate(tasks), np.concatenate(examples), state


rate_lists = st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=40)


@given(rate_lists, st.integers(0, 5), st.lists(st.integers(1, 300), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None)
def test_counts_stay_within_one_of_the_rate_over_every_prefix(rates, seed, nums):
    schedule = make_schedule(rates, seed=seed)
    tasks, _, state = run(schedule, nums)
    dealt = np.cumsum(tasks[:, None] == np.arange(len(rates)), axis=0)
    positions = np.arange(1, len(tasks) + 1)[:, None]
    given_rates = np.array(rates) / np.sum(rates)
    assert np.abs(dealt - positions * schedule.rates).max() < 1
    assert np.abs(dealt - positions * given_rates).max() < 1 + 1e-5
    assert (state.counts == dealt[-1]).all() and state.position == len(tasks)


@given(
    st.lists(st.tuples(st.floats(0.05, 1.0), st.integers(1, 30)), min_size=1, max_size=6),
    st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_each_pass_over_a_task_holds_each_example_once(members, seed):
    rates, sizes = zip(*members, strict=True)
    tasks, examples, _ = run(make_schedule(rates, list(sizes), seed), [500])
    for task, size in enumerate(sizes):
        drawn = examples[tasks == task]
        for start in range(0, len(drawn), size):
            one_pass = drawn[start : start + size]
            assert len(set(one_pass)) == len(one_pass)
            assert one_pass.min() >= 0 and one_pass.max() < size


DYADIC = [1, 2, 3, 10, 16]  # of 32: at multiples of 32 every task has had just its share


def state_at(schedule, position):
    """The state at a position where every task has had a whole number of examples."""
    shares = [round(rate * 2**32) for rate in schedule.rates]
    assert all(position * share % 2**32 == 0 for share in shares)
    return mixture.MixtureState(position, np.array([position * s >> 32 for s in shares], np.int64))


def check_shares(schedule, state, num):
    """Checks counts against exact integers over every prefix of the next positions."""
    tasks, _, after = run(schedule, [num], state)
    shares = np.array([round(rate * 2**32) for rate in schedule.rates], object)
    counts = state.counts.astype(object)
    for position, task in enumerate(tasks.tolist(), start=state.position + 1):
        counts[task] += 1
        assert (np.abs(counts * 2**32 - position * shares) < 2**32).all()
    assert (after.counts == counts).all()
    reopened = schedule.from_json(schedule.to_json(after))
    assert (reopened.counts == counts).all() and reopened.position == after.position


@given(rate_lists, st.integers(1, 2**16 - 1))
@settings(max_examples=25, deadline=None)
def test_counts_stay_exact_far_out(rates, num_periods):
    schedule = make_schedule(rates, 10**6)
    check_shares(schedule, state_at(schedule, num_periods * 2**32), 200)


@pytest.mark.parametrize("position", [2**31 - 160, 2**32 - 160, 2**40, mixture.MAX_POSITION - 320])
@pytest.mark.parametrize("rates", [DYADIC, [1]])
def test_counts_stay_exact_across_powers_of_two(position, rates):
    schedule = make_schedule(rates, 10**6)
    check_shares(schedule, state_at(schedule, position), 320)


def test_the_stream_ends_at_the_last_position():
    schedule = make_schedule(DYADIC)
    state = state_at(schedule, mixture.MAX_POSITION - 32)
    schedule.advance(state, 32)
    with pytest.raises(ValueError, match=f"{mixture.MAX_POSITION + 1} is beyond"):
        schedule.advance(state, 33)


@pytest.mark.parametrize(
    "position,expected",
    [(0, "6c45ebda73548591"), (2**30, "b6179a1867d1bb99"), (2**31 - 8192, "9e295c5eb9676531")],
)
def test_what_is_dealt_never_changes(position, expected):
    """Published runs depend on it; the digests are those of the first version."""
    schedule = make_schedule(DYADIC, [7, 100, 1000, 33, 12345], seed=3)
    tasks, examples, _ = run(schedule, [4096], state_at(schedule, position))
    assert (tasks.dtype, examples.dtype) == (np.int32, np.int64)
    found = hashlib.sha256(tasks.astype("<i4").tobytes() + examples.astype("<i8").tobytes())
    assert found.hexdigest()[:16] == expected


def test_passes_and_seeds_differ():
    def passes(seed):
        _, examples, _ = run(make_schedule([1.0], 100, seed), [300])
        return [tuple(p) for p in examples.reshape(3, 100)]

    assert len({*passes(0), *passes(1)}) == 6


def test_a_tasks_order_does_not_depend_on_its_mixture():
    alone, together = make_schedule([0.3], 50), make_schedule([0.3, 0.2, 0.5], 50)
    _, expected, _ = run(alone, [50])
    tasks, examples, _ = run(together, [200])
    assert (examples[tasks == 0][:50] == expected).all()


@given(rate_lists, st.lists(st.integers(1, 120), min_size=2, max_size=6))
@settings(max_examples=40, deadline=None)
def test_the_stream_goes_on_from_a_state_that_was_saved(rates, nums):
    schedule = make_schedule(rates, 11)
    _, _, state = run(schedule, nums[:1])
    tasks, examples, _ = run(schedule, nums[1:], state)
    reopened = make_schedule(rates, 11)
    again = run(reopened, nums[1:], reopened.from_json(schedule.to_json(state)))
    assert (tasks == again[0]).all() and (examples == again[1]).all()


def test_the_state_of_many_tasks_is_small():
    schedule = make_schedule([1.0 + i for i in range(1836)])
    _, _, state = run(schedule, [5000])
    assert len(schedule.to_json(state)["ahead"]) == 460


def test_a_state_of_another_mixture_is_refused():
    schedule, other = make_schedule([0.5, 0.5]), make_schedule([0.1] * 9)
    _, _, state = run(other, [1])
    with pytest.raises(DataError, match="at position 1 does not belong to this mixture of 2"):
        schedule.from_json(other.to_json(state))
    with pytest.raises(DataError, match="at position 3 does not belong to this mixture of 2"):
        schedule.from_json({"position": 3, "ahead": "c0"})  # both ahead: 4 examples


@given(st.integers(1, 5000), st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_permute_is_a_bijection(size, key):
    image = mixture.permute(np.arange(size), size, np.uint64(key))
    assert (np.sort(image) == np.arange(size)).all()


def test_permute_takes_sizes_and_keys_elementwise():
    sizes = np.array([5, 1, 1000, 64])
    keys = np.array([1, 2, 3, 2**63], np.uint64)
    indices = np.array([4, 0, 999, 63])
    one_by_one = [
        mixture.permute(np.array([i]), s, k)[0]
        for i, s, k in zip(indices, sizes, keys, strict=True)
    ]
    assert mixture.permute(indices, sizes, keys).tolist() == one_by_one


@pytest.mark.parametrize("size", [6, 60, 1000])
def test_permute_sends_an_index_anywhere(size):
    images = mixture.permute(np.zeros(20 * size, int), size, np.arange(20 * size))
    counts = np.bincount(images, minlength=size)
    # Chi-squared over `size` cells: mean size - 1, standard deviation sqrt(2 size).
    chi_squared = ((counts - 20) ** 2 / 20).sum()
    assert abs(chi_squared - (size - 1)) < 5 * np.sqrt(2 * size)


@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan"), float("inf")])
def test_a_rate_must_be_a_positive_number(rate):
    with pytest.raises(UsageError, match=f"'task001': rate must be > 0, got {rate}"):
        make_schedule([1.0, rate])


def test_a_rate_too_small_to_schedule_is_an_error():
    with pytest.raises(UsageError, match=r"'task001': rate 1e-12 is under 2\*\*-32"):
        make_schedule([1.0, 1e-12])


def test_an_empty_task_is_named():
    with pytest.raises(DataError, match="'task001' has no examples"):
        make_schedule([1.0, 1.0], [3, 0])


def test_random_order_is_a_permutation_by_name():
    orders = [tuple(mixture.random_order(50, seed, name)) for seed in (0, 1) for name in "ab"]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == 4
    assert len(mixture.random_order(0, 0, "a")) == 0
