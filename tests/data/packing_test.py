# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Packing: every example once, whole, apart from its neighbours, and rows nearly full."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.core.errors import DataError, UsageError
from flan_jax.data import packing

MAX_INPUT, MAX_TARGET = 40, 12


def fill(inputs, targets, max_input, max_target):
    plan = packing.plan_rows(inputs, targets, max_input=max_input, max_target=max_target)
    return inputs.sum() / (plan.num_rows * max_input), targets.sum() / (plan.num_rows * max_target)


@st.composite
def windows(draw):
    num = draw(st.integers(1, 80))
    seed = draw(st.integers(0, 2**32 - 1))
    longest = draw(st.tuples(st.integers(1, MAX_INPUT), st.integers(1, MAX_TARGET)))
    random = np.random.default_rng(seed)
    inputs = random.integers(1, longest[0] + 1, num)
    targets = random.integers(1, longest[1] + 1, num)
    return inputs, targets


def make_tokens(inputs, targets):
    """Tokens that differ everywhere, so that any mix-up shows."""
    return np.arange(1, 1 + (inputs + targets).sum(), dtype=np.int32)


def split_examples(tokens, inputs, targets):
    """The (inputs, targets) pairs that flat tokens hold, as tuples."""
    pairs, at = [], 0
    for num_inputs, num_targets in zip(inputs, targets, strict=True):
        end = at + num_inputs + num_targets
        pairs.append((tuple(tokens[at : at + num_inputs]), tuple(tokens[at + num_inputs : end])))
        at = end
    return pairs


def pack(inputs, targets, plan, task_ids=None):
    tokens = make_tokens(inputs, targets)
    starts = np.cumsum(inputs + targets) - (inputs + targets)
    spans = [tokens[starts[e] : starts[e] + inputs[e] + targets[e]] for e in plan.examples]
    task_ids = np.zeros(len(inputs), int) if task_ids is None else task_ids
    batch = packing.pack_rows(
        tokens=np.concatenate(spans),
        input_lengths=inputs[plan.examples],
        target_lengths=targets[plan.examples],
        task_ids=task_ids[plan.examples],
        splits=plan.splits,
        max_input=MAX_INPUT,
        max_target=MAX_TARGET,
    )
    return split_examples(tokens, inputs, targets), batch


@given(windows())
@settings(max_examples=60, deadline=None)
def test_every_example_is_in_exactly_one_row_that_it_fits(window):
    inputs, targets = window
    plan = packing.plan_rows(inputs, targets, max_input=MAX_INPUT, max_target=MAX_TARGET)
    assert sorted(plan.examples) == list(range(len(inputs)))
    for row in plan.rows():
        assert len(row) and list(row) == sorted(row)
        assert inputs[row].sum() <= MAX_INPUT and targets[row].sum() <= MAX_TARGET


@given(windows())
@settings(max_examples=40, deadline=None)
def test_rows_decode_back_to_the_examples_of_the_window(window):
    inputs, targets = window
    plan = packing.plan_rows(inputs, targets, max_input=MAX_INPUT, max_target=MAX_TARGET)
    expected, batch = pack(inputs, targets, plan)
    found = []
    for r in range(plan.num_rows):
        encoder, decoder = batch["encoder_segment_ids"][r], batch["decoder_segment_ids"][r]
        for segment in range(1, encoder.max() + 1):
            found.append(
                (
                    tuple(batch["encoder_input_tokens"][r][encoder == segment]),
                    tuple(batch["decoder_target_tokens"][r][decoder == segment]),
                )
            )
        assert encoder.max() == decoder.max() == len(plan.rows()[r])
        assert not batch["encoder_input_tokens"][r][encoder == 0].any()
        assert not batch["decoder_target_tokens"][r][decoder == 0].any()
    assert found == [expected[e] for e in plan.examples]


@given(windows())
@settings(max_examples=40, deadline=None)
def test_positions_shift_and_weights_follow_the_segments(window):
    inputs, targets = window
    task_ids = np.arange(len(inputs)) % 5
    plan = packing.plan_rows(inputs, targets, max_input=MAX_INPUT, max_target=MAX_TARGET)
    _, batch = pack(inputs, targets, plan, task_ids)
    for r, row in enumerate(plan.rows()):
        for side, lengths in (("encoder", inputs), ("decoder", targets)):
            segments, positions = batch[f"{side}_segment_ids"][r], batch[f"{side}_positions"][r]
            ids = np.repeat(np.arange(1, len(row) + 1), lengths[row])
            restarts = np.concatenate([np.arange(n) for n in lengths[row]])
            assert (segments[: len(ids)] == ids).all() and not segments[len(ids) :].any()
            assert (positions[: len(ids)] == restarts).all() and not positions[len(ids) :].any()
        target, shifted = batch["decoder_target_tokens"][r], batch["decoder_input_tokens"][r]
        for segment, example in enumerate(row, start=1):
            inside = batch["decoder_segment_ids"][r] == segment
            assert (shifted[inside] == np.concatenate([[0], target[inside][:-1]])).all()
            assert (batch["decoder_task_ids"][r][inside] == task_ids[example]).all()
        padding = batch["decoder_segment_ids"][r] == 0
        assert (batch["decoder_loss_weights"][r] == ~padding).all()
        assert not shifted[padding].any() and not batch["decoder_task_ids"][r][padding].any()


def test_a_literal_row():
    batch = packing.pack_rows(
        tokens=np.array([11, 12, 13, 21, 22, 31, 41, 42], np.uint16),
        input_lengths=[3, 1],
        target_lengths=[2, 2],
        task_ids=[4, 7],
        splits=np.array([0, 2]),
        max_input=6,
        max_target=5,
    )
    expected = {
        "encoder_input_tokens": [11, 12, 13, 31, 0, 0],
        "encoder_segment_ids": [1, 1, 1, 2, 0, 0],
        "encoder_positions": [0, 1, 2, 0, 0, 0],
        "decoder_target_tokens": [21, 22, 41, 42, 0],
        "decoder_input_tokens": [0, 21, 0, 41, 0],
        "decoder_segment_ids": [1, 1, 2, 2, 0],
        "decoder_positions": [0, 1, 0, 1, 0],
        "decoder_loss_weights": [1, 1, 1, 1, 0],
        "decoder_task_ids": [4, 4, 7, 7, 0],
    }
    assert {name: value.tolist() for name, value in batch.items()} == {
        name: [row] for name, row in expected.items()
    }
    assert {value.dtype for value in batch.values()} == {np.dtype(np.int32)}


@pytest.mark.parametrize("num,least", [(8192, 0.97), (1024, 0.97)])
def test_uniform_lengths_fill_the_side_that_binds(num, least):
    random = np.random.default_rng(3)
    inputs, targets = random.integers(10, 121, num), random.integers(2, 33, num)
    assert max(fill(inputs, targets, 512, 128)) >= least


def test_long_inputs_with_short_targets_fill_the_encoder():
    random = np.random.default_rng(4)
    inputs = np.clip(random.lognormal(4.9, 0.8, 8192).astype(int), 5, 2048)
    targets = np.clip(random.lognormal(1.6, 1.2, 8192).astype(int), 2, 512)
    assert fill(inputs, targets, 2048, 512)[0] >= 0.99


def test_long_targets_are_spread_over_rows_of_long_inputs():
    random = np.random.default_rng(6)
    inputs = random.integers(20, 45, 8192)
    is_long = random.random(8192) < 0.2
    targets = np.where(is_long, random.integers(12, 20, 8192), random.integers(2, 6, 8192))
    assert max(fill(inputs, targets, 512, 128)) >= 0.97


def test_rows_of_few_examples_fill_both_sides_where_both_are_scarce():
    """Lengths as chain of thought has them: of two long inputs only short ones fit together."""
    random, parts = np.random.default_rng(1), [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]
    inputs, targets = (
        np.interp(random.random(4096), parts, lengths).astype(int)
        for lengths in ([10, 31, 55, 105, 310, 468, 512], [8, 18, 24, 34, 54, 92, 128])
    )
    assert max(fill(inputs, targets, 512, 128)) >= 0.97


@given(windows(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_what_is_not_compared_could_not_have_been_nearest(window, seed):
    """Beside a search that looks at all examples left, block by block as the planner does."""
    random, num_candidates = np.random.default_rng(seed), packing._NUM_CANDIDATES
    planner = packing._Planner(*window, MAX_INPUT, MAX_TARGET)
    for at in np.flatnonzero(random.random(planner._num) < 0.3).tolist():
        planner._take(at, [])
    rooms = [random.integers(0, most + 1) * unit for most, unit in
             zip((MAX_INPUT, MAX_TARGET), planner._units, strict=True)]  # fmt: skip
    left_x, left_y = rooms[0] - planner._x, rooms[1] - planner._y
    low = int(np.sum(np.array(planner._negative_size) < -sum(rooms)))
    try:
        packing._NUM_CANDIDATES = 4
        expected, num = -1, 4
        while low < planner._num and expected < 0:
            block = range(low, min(low + num, planner._num))
            fits = [(left_x[i] ** 2 + left_y[i] ** 2, i) for i in block
                    if left_x[i] >= 0 and left_y[i] >= 0]  # fmt: skip
            expected, low, num = min(fits, default=(0, -1))[1], low + num, 4 * num
        assert planner._nearest(*map(float, rooms)) == expected
    finally:
        packing._NUM_CANDIDATES = num_candidates


def test_the_plan_depends_on_the_lengths_alone():
    random = np.random.default_rng(5)
    inputs, targets = random.integers(1, 41, 300), random.integers(1, 13, 300)
    lengths = {"max_input": MAX_INPUT, "max_target": MAX_TARGET}
    first = packing.plan_rows(inputs, targets, **lengths)
    again = packing.plan_rows(inputs.astype(np.int32), targets.astype(np.uint16), **lengths)
    assert (first.examples == again.examples).all() and (first.splits == again.splits).all()


def test_permuted_moves_whole_rows():
    plan = packing.RowPlan(np.array([3, 0, 1, 4, 2]), np.array([0, 1, 4, 5]))
    moved = plan.permuted(np.array([2, 0, 1]))
    assert [list(row) for row in moved.rows()] == [[2], [3], [0, 1, 4]]


@pytest.mark.parametrize(
    "inputs,targets,message",
    [
        ([5, 41], [1, 1], "example 1 of the window has 41 tokens of inputs, a row holds 1 to 40"),
        ([5], [13], "13 tokens of targets"),
        ([5, 0], [1, 1], "example 1 of the window has 0 tokens"),
    ],
)
def test_an_example_that_does_not_fit_is_an_error(inputs, targets, message):
    with pytest.raises(DataError, match=message):
        packing.plan_rows(inputs, targets, max_input=MAX_INPUT, max_target=MAX_TARGET)


def test_lengths_of_a_row_must_be_positive():
    with pytest.raises(UsageError, match="must be > 0, got 0 for inputs"):
        packing.plan_rows([1], [1], max_input=0, max_target=1)


def test_pack_rows_refuses_a_row_that_overflows_into_the_next():
    with pytest.raises(DataError, match="row 1 holds 7 tokens of inputs, not 6"):
        packing.pack_rows(
            tokens=np.arange(12), input_lengths=[2, 4, 3], target_lengths=[1, 1, 1],
            task_ids=[0, 0, 0], splits=np.array([0, 1, 3]), max_input=6, max_target=5,
        )  # fmt: skip


def test_empty_rows_are_zeros():
    batch = packing.empty_rows(3, 6, 5)
    assert batch["encoder_input_tokens"].shape == (3, 6)
    assert batch["decoder_loss_weights"].shape == (3, 5)
    assert not any(value.any() for value in batch.values())


def test_no_examples_give_no_rows():
    assert packing.plan_rows([], [], max_input=4, max_target=4).num_rows == 0
