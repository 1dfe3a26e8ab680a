# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows for decoder-only models: SeqIO's features, every example once, whole, apart, rows full."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.core.errors import DataError, UsageError
from flan_jax.data import packing

MAX_LENGTH = 40


@st.composite
def windows(draw):
    """Lengths of inputs, some of them 0, and of targets, that fit a row together."""
    num, seed = draw(st.integers(1, 80)), draw(st.integers(0, 2**32 - 1))
    longest_input = draw(st.integers(0, MAX_LENGTH - 1))
    longest_target = draw(st.integers(1, MAX_LENGTH - longest_input))
    random = np.random.default_rng(seed)
    return random.integers(0, longest_input + 1, num), random.integers(1, longest_target + 1, num)


def make_tokens(inputs, targets):
    """The (inputs, targets) of each example, tokens that differ everywhere."""
    ends = np.cumsum(inputs + targets)
    tokens = np.arange(1, 1 + ends[-1] if len(ends) else 1, dtype=np.int32)
    spans = np.split(tokens, ends[:-1])
    return [(span[:num], span[num:]) for span, num in zip(spans, inputs, strict=True)]


def pack(examples, splits, max_length=MAX_LENGTH, task_ids=None):
    """Packs (inputs, targets) pairs in their order."""
    return packing.pack_decoder_rows(
        tokens=np.concatenate([part for pair in examples for part in pair]),
        input_lengths=[len(inputs) for inputs, _ in examples],
        target_lengths=[len(targets) for _, targets in examples],
        task_ids=np.zeros(len(examples), int) if task_ids is None else task_ids,
        splits=np.asarray(splits),
        max_length=max_length,
    )


def fill(inputs, targets, max_length):
    plan = packing.plan_decoder_rows(inputs, targets, max_length=max_length)
    return (inputs + targets).sum() / (plan.num_rows * max_length)


@given(windows())
@settings(max_examples=60, deadline=None)
def test_every_example_is_in_exactly_one_row_that_it_fits(window):
    inputs, targets = window
    plan = packing.plan_decoder_rows(inputs, targets, max_length=MAX_LENGTH)
    assert sorted(plan.examples) == list(range(len(inputs)))
    for row in plan.rows():
        assert len(row) and list(row) == sorted(row)
        assert (inputs + targets)[row].sum() <= MAX_LENGTH


@given(windows())
@settings(max_examples=40, deadline=None)
def test_rows_decode_back_to_the_examples_of_the_window(window):
    inputs, targets = window
    plan = packing.plan_decoder_rows(inputs, targets, max_length=MAX_LENGTH)
    examples = make_tokens(inputs, targets)
    batch = pack([examples[e] for e in plan.examples], plan.splits)
    found = []
    for r, row in enumerate(plan.rows()):
        tokens, segments = batch["decoder_target_tokens"][r], batch["decoder_segment_ids"][r]
        weights = batch["decoder_loss_weights"][r]
        assert segments.max() == len(row) and not tokens[segments == 0].any()
        for segment in range(1, len(row) + 1):
            inside = segments == segment
            found.append((tokens[inside & (weights == 0)], tokens[inside & (weights == 1)]))
    for example, (got_inputs, got_targets) in zip(plan.examples, found, strict=True):
        assert (got_inputs == examples[example][0]).all()
        assert (got_targets == examples[example][1]).all()


@given(windows())
@settings(max_examples=40, deadline=None)
def test_nothing_of_a_segment_depends_on_its_neighbours(window):
    inputs, targets = window
    task_ids = np.arange(len(inputs)) % 5 + 1
    plan = packing.plan_decoder_rows(inputs, targets, max_length=MAX_LENGTH)
    examples, order = make_tokens(inputs, targets), plan.examples
    batch = pack([examples[e] for e in order], plan.splits, task_ids=task_ids[order])
    alone = pack(examples, np.arange(len(examples) + 1), task_ids=task_ids)
    segments = batch.pop("decoder_segment_ids")
    alone.pop("decoder_segment_ids")
    for r, row in enumerate(plan.rows()):
        for segment, example in enumerate(row, start=1):
            length = inputs[example] + targets[example]
            for name, values in batch.items():
                expected = alone[name][example]
                assert (values[r][segments[r] == segment] == expected[:length]).all(), name
                assert not expected[length:].any() and not values[r][segments[r] == 0].any(), name


def seqio_rows(examples, lengths, **converter):
    """The rows that SeqIO's converter makes of the examples, in its order."""
    import seqio
    import tensorflow as tf

    dataset = tf.data.Dataset.from_generator(
        lambda: ({"inputs": inputs, "targets": targets} for inputs, targets in examples),
        output_signature={k: tf.TensorSpec([None], tf.int32) for k in ("inputs", "targets")},
    )
    rows = seqio.PrefixLMFeatureConverter(**converter)(dataset, lengths).as_numpy_iterator()
    rows = list(rows)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def examples():
    """Examples of many lengths; every seventh has no inputs, and ids repeat."""
    random = np.random.default_rng(8)
    inputs, targets = random.integers(1, 20, 60), random.integers(1, 9, 60)
    inputs[::7] = 0
    return [
        (random.integers(1, 9, num_inputs, np.int32), random.integers(1, 9, num_targets, np.int32))
        for num_inputs, num_targets in zip(inputs, targets, strict=True)
    ]


@pytest.mark.slow  # imports TensorFlow
def test_packed_rows_are_those_of_seqios_prefix_lm_converter(examples):
    expected = seqio_rows(examples, {"inputs": 30, "targets": 10}, pack=True)
    num_in_row = expected["decoder_segment_ids"].max(axis=1)
    assert num_in_row.sum() == len(examples) and num_in_row.max() > 2
    batch = pack(examples, np.concatenate([[0], np.cumsum(num_in_row)]))
    batch.pop("decoder_task_ids")
    assert sorted(batch) == sorted(expected)
    for name, values in expected.items():
        assert (batch[name] == values).all(), name


@pytest.mark.slow  # imports TensorFlow
def test_rows_of_one_example_are_those_of_seqios_unpacked_converter(examples):
    expected = seqio_rows(examples, {"inputs": 30, "targets": 10}, pack=False)
    batch = pack(examples, np.arange(len(examples) + 1))
    added = {"decoder_segment_ids", "decoder_positions", "decoder_task_ids"}
    assert set(batch) - added == set(expected)
    # Unpacked, SeqIO shifts the last token into the padding, where nothing reads it.
    expected["decoder_input_tokens"][expected["decoder_target_tokens"] == 0] = 0
    for name, values in expected.items():
        assert (batch[name] == values).all(), name


def test_a_literal_row():
    batch = packing.pack_decoder_rows(
        tokens=np.array([7, 8, 5, 1, 3, 9, 1, 8, 4, 9, 3, 1, 4, 1], np.uint16),
        input_lengths=[4, 5],
        target_lengths=[3, 2],
        task_ids=[4, 6],
        splits=np.array([0, 2]),
        max_length=15,
    )
    expected = {
        "decoder_target_tokens": [7, 8, 5, 1, 3, 9, 1, 8, 4, 9, 3, 1, 4, 1, 0],
        "decoder_input_tokens": [0, 7, 8, 5, 1, 3, 9, 0, 8, 4, 9, 3, 1, 4, 0],
        "decoder_segment_ids": [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 0],
        "decoder_positions": [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0],
        "decoder_loss_weights": [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0],
        "decoder_causal_attention": [1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0],
        "decoder_task_ids": [4, 4, 4, 4, 4, 4, 4, 6, 6, 6, 6, 6, 6, 6, 0],
    }
    assert {name: value.tolist() for name, value in batch.items()} == {
        name: [row] for name, row in expected.items()
    }
    assert {value.dtype for value in batch.values()} == {np.dtype(np.int32)}


def test_uniform_lengths_fill_the_rows():
    random = np.random.default_rng(3)
    inputs, targets = random.integers(10, 121, 8192), random.integers(2, 33, 8192)
    assert fill(inputs, targets, 640) >= 0.99


def test_examples_of_half_a_row_and_more_are_joined_by_short_ones():
    random = np.random.default_rng(4)
    is_long = random.random(4096) < 0.2
    inputs = np.where(is_long, random.integers(250, 480, 4096), random.integers(5, 60, 4096))
    assert fill(inputs, random.integers(2, 20, 4096), 512) >= 0.97


def test_the_plan_depends_on_the_lengths_alone():
    random = np.random.default_rng(5)
    inputs, targets = random.integers(0, 31, 300), random.integers(1, 11, 300)
    first = packing.plan_decoder_rows(inputs, targets, max_length=MAX_LENGTH)
    again = packing.plan_decoder_rows(
        inputs.astype(np.uint16), targets.astype(np.int32), max_length=MAX_LENGTH
    )
    assert (first.examples == again.examples).all() and (first.splits == again.splits).all()


@pytest.mark.parametrize(
    "inputs,targets,message",
    [
        (
            [5, 30], [1, 11],
            "example 1 of the window has 41 tokens of inputs and targets, a row holds 1 to 40",
        ),
        ([5, 5], [1, 0], "example 1 of the window has 0 tokens of targets"),
        ([-1], [5], "example 0 of the window has -1 tokens of inputs"),
    ],
)  # fmt: skip
def test_an_example_that_does_not_fit_is_an_error(inputs, targets, message):
    with pytest.raises(DataError, match=message):
        packing.plan_decoder_rows(inputs, targets, max_length=MAX_LENGTH)


def test_the_length_of_a_row_must_be_positive():
    with pytest.raises(UsageError, match="must be > 0, got 0 for inputs and targets"):
        packing.plan_decoder_rows([1], [1], max_length=0)


def test_pack_decoder_rows_refuses_a_row_that_overflows_into_the_next():
    with pytest.raises(DataError, match="row 1 holds 9 tokens of inputs and targets, not 8"):
        packing.pack_decoder_rows(
            tokens=np.arange(12), input_lengths=[2, 4, 3], target_lengths=[1, 1, 1],
            task_ids=[0, 0, 0], splits=np.array([0, 1, 3]), max_length=8,
        )  # fmt: skip


def test_empty_rows_are_zeros_and_no_examples_give_no_rows():
    batch = packing.empty_decoder_rows(3, 6)
    assert {value.shape for value in batch.values()} == {(3, 6)}
    assert not any(value.any() for value in batch.values())
    assert set(batch) == {*packing.DECODER_FEATURES, packing.PREFIX_FEATURE}
    assert packing.plan_decoder_rows([], [], max_length=4).num_rows == 0
