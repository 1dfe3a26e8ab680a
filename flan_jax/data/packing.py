# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several examples in one row of fixed lengths: which go together, and the arrays that result.

`plan_rows` decides from lengths alone; `pack_rows` builds the encoder-decoder features under
T5X's names. `plan_decoder_rows` and `pack_decoder_rows` do the same for decoder-only models, where
an example's inputs and targets follow each other in one row. No example is cut, split or left out,
and all are pure functions of their arguments.

The plan is best-fit decreasing in two dimensions. Both lengths are weighted by how scarce their
side is; a row starts with the largest examples left, long inputs and long targets in balance, and
is closed by the ones that come nearest to filling what remains on both sides at once. On uniform
lengths of 10-120 and 2-32 into 512 and 128 it fills over 99 % of the side that binds; best fit by
the weighted sum alone, over all open rows, filled 96 %.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from flan_jax.core.errors import DataError, UsageError

Batch = dict[str, np.ndarray]

ENCODER_FEATURES = ("encoder_input_tokens", "encoder_segment_ids", "encoder_positions")
DECODER_FEATURES = (
    "decoder_target_tokens",
    "decoder_input_tokens",
    "decoder_segment_ids",
    "decoder_positions",
    "decoder_loss_weights",
    "decoder_task_ids",
)
# What rows of a decoder-only model have beside `DECODER_FEATURES`.
PREFIX_FEATURE = "decoder_causal_attention"

# Resolution of the weights. Scaled lengths are then integers that float64 holds exactly, so
# that "fits" is exact and the same on every machine.
_SCALE = 1 << 10
# A row is filled straight from the largest examples left while they are below this part of the
# room left; only the last few picks are searched for. (4 is slower and fills no better.)
_BULK_PART = 3
# Examples looked at for one pick, out of those that fit by the weighted sum, largest first.
_NUM_CANDIDATES = 1024


@dataclasses.dataclass(frozen=True)
class RowPlan:
    """Which examples each row holds.

    Row r holds `examples[splits[r]:splits[r + 1]]`, in ascending order. Every example of the
    window occurs exactly once.
    """

    examples: np.ndarray  # [num_examples] int64, indices into the window
    splits: np.ndarray  # [num_rows + 1] int64, from 0 to num_examples

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.splits) - 1

    def rows(self) -> list[np.ndarray]:
        """Returns the examples of each row."""
        return np.split(self.examples, self.splits[1:-1])

    def permuted(self, order: np.ndarray) -> "RowPlan":
        """Returns the plan with its rows in the given order."""
        starts, lengths = self.splits[:-1][order], np.diff(self.splits)[order]
        splits = np.concatenate([[0], np.cumsum(lengths)])
        return RowPlan(self.examples[_spans(starts, lengths)], splits)

    @classmethod
    def unpacked(cls, num_examples: int) -> "RowPlan":
        """Returns the plan of one example a row."""
        return cls(np.arange(num_examples), np.arange(num_examples + 1))


def plan_rows(
    input_lengths: np.ndarray, target_lengths: np.ndarray, *, max_input: int, max_target: int
) -> RowPlan:
    """Returns rows within both lengths that hold every example once.

    Args:
        input_lengths: [num_examples] tokens of each example's inputs.
        target_lengths: [num_examples] tokens of each example's targets.
        max_input: tokens of inputs that a row holds.
        max_target: tokens of targets that a row holds.

    Raises:
        DataError: an example is longer than a row.
    """
    inputs = np.asarray(input_lengths, np.int64)
    targets = np.asarray(target_lengths, np.int64)
    _check_row({"inputs": max_input, "targets": max_target})
    _check_sides(inputs, targets)
    _check_fit(inputs, 1, max_input, "inputs")
    _check_fit(targets, 1, max_target, "targets")
    return _plan(inputs, targets, max_input, max_target)


def plan_decoder_rows(
    input_lengths: np.ndarray, target_lengths: np.ndarray, *, max_length: int
) -> RowPlan:
    """Returns rows of one length that hold every example once, its inputs and targets together.

    Args:
        input_lengths: [num_examples] tokens of each example's inputs; may be 0.
        target_lengths: [num_examples] tokens of each example's targets.
        max_length: tokens that a row holds.

    Raises:
        DataError: an example is longer than a row, or has no targets.
    """
    inputs = np.asarray(input_lengths, np.int64)
    targets = np.asarray(target_lengths, np.int64)
    _check_row({"inputs and targets": max_length})
    _check_sides(inputs, targets)
    _check_fit(inputs, 0, max_length, "inputs")
    _check_fit(targets, 1, max_length, "targets")
    _check_fit(inputs + targets, 1, max_length, "inputs and targets")
    # The other side counts examples: it never binds, and mixes short examples with long ones.
    return _plan(inputs + targets, np.ones_like(inputs), max_length, max_length)


def _plan(inputs: np.ndarray, targets: np.ndarray, max_input: int, max_target: int) -> RowPlan:
    if not len(inputs):
        return RowPlan(np.zeros(0, np.int64), np.zeros(1, np.int64))
    planner = _Planner(inputs, targets, max_input, max_target)
    rows = []
    while planner.num_left:
        rows.append(planner.next_row())
    splits = np.cumsum([0] + [len(row) for row in rows])
    return RowPlan(np.concatenate([np.sort(row) for row in rows]), splits)


class _Planner:
    """Examples not yet in a row, by descending weighted size, each side scaled by its scarcity."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, max_input: int, max_target: int):
        demand = np.array([inputs.sum() / max_input, targets.sum() / max_target])
        weights = np.maximum(1, np.rint(demand / demand.max() * _SCALE)).astype(np.int64)
        x_unit, y_unit = int(weights[0]) * max_target, int(weights[1]) * max_input
        self._room = float(x_unit * max_input), float(y_unit * max_target)
        x, y = (inputs * x_unit).astype(np.float64), (targets * y_unit).astype(np.float64)
        self._total = float(x.sum()), float(y.sum())
        self._order = np.argsort(-(x + y), kind="stable")
        self._load(x[self._order], y[self._order])
        self.num_left = len(inputs)

    def _load(self, x: np.ndarray, y: np.ndarray) -> None:
        self._x, self._y = x, y
        self._negative_size = -(x + y)
        self._taken = np.zeros(len(x), bool)
        self._lists = x.tolist(), y.tolist()
        self._least = (float(x.min()), float(y.min())) if len(x) else (0.0, 0.0)
        # Examples with more than their share of inputs, and those with more of targets.
        of_targets = y * self._total[0] > x * self._total[1]
        self._kinds = [np.flatnonzero(of_targets == kind).tolist()[::-1] for kind in (False, True)]

    def next_row(self) -> np.ndarray:
        """Takes the examples of one more row and returns their indices."""
        if 4 * (len(self._x) - self.num_left) > len(self._x):
            keep = ~self._taken
            self._order = self._order[keep]
            self._load(self._x[keep], self._y[keep])
        picked, room_x, room_y = self._take_largest()
        while room_x >= self._least[0] and room_y >= self._least[1]:
            found = self._nearest(room_x, room_y)
            if found < 0:
                break
            room_x -= self._lists[0][found]
            room_y -= self._lists[1][found]
            self._take(found, picked)
        return self._order[picked]

    def _take(self, at: int, picked: list[int]) -> None:
        picked.append(at)
        self._taken[at] = True
        self._x[at] = np.inf  # fits nowhere
        self.num_left -= 1

    def _take_largest(self) -> tuple[list[int], float, float]:
        """Takes the largest examples left while they are small beside the room left.

        Of those with more inputs and those with more targets than the average the row takes the
        kind that it has less of. (Taking the largest of both made rows of long targets alone,
        which left a fifth of their inputs empty: 96 % filled, not 99 %, on the mini collection.)
        """
        (x, y), (room_x, room_y) = self._lists, self._room
        picked: list[int] = []
        while (at := self._next_largest(room_x, room_y)) >= 0:
            if picked and (
                (x[at] + y[at]) * _BULK_PART > room_x + room_y or x[at] > room_x or y[at] > room_y
            ):
                break
            room_x -= x[at]
            room_y -= y[at]
            self._take(at, picked)
        return picked, room_x, room_y

    def _next_largest(self, room_x: float, room_y: float) -> int:
        """Returns the largest example of the kind that the row has less of, or -1."""
        heads = []
        for kind in self._kinds:
            while kind and self._taken[kind[-1]]:
                kind.pop()
            heads.append(kind[-1] if kind else -1)
        if min(heads) < 0:
            return max(heads)
        used_x, used_y = self._room[0] - room_x, self._room[1] - room_y
        if used_x == used_y == 0:
            return min(heads)
        return heads[used_y * self._total[0] <= used_x * self._total[1]]

    def _nearest(self, room_x: float, room_y: float) -> int:
        """Returns which example leaves the least (squared) room on both sides, or -1."""
        low = int(self._negative_size.searchsorted(-(room_x + room_y)))
        num = _NUM_CANDIDATES
        while low < len(self._x):
            left_x = room_x - self._x[low : low + num]
            left_y = room_y - self._y[low : low + num]
            fits = np.minimum(left_x, left_y) >= 0
            left = np.where(fits, left_x * left_x + left_y * left_y, np.inf)
            best = int(left.argmin())
            if fits[best]:
                return low + best
            low, num = low + num, 4 * num
        return -1


def pack_rows(
    *,
    tokens: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    task_ids: np.ndarray,
    splits: np.ndarray,
    max_input: int,
    max_target: int,
) -> Batch:
    """Returns the encoder-decoder features of packed rows, int32, zeros on padding.

    Segments count from 1 in each row, positions from 0 in each segment. `decoder_input_tokens`
    are the targets shifted right within their segment, starting with 0. `decoder_loss_weights`
    are 1 on the tokens of targets and `decoder_task_ids` there tell whose they are.

    Args:
        tokens: [num_tokens] for each example its inputs, then its targets.
        input_lengths: [num_examples] in the order of `tokens`.
        target_lengths: [num_examples] likewise.
        task_ids: [num_examples] likewise.
        splits: [num_rows + 1]; row r holds examples splits[r] to splits[r + 1] - 1.
        max_input: length of the encoder features.
        max_target: length of the decoder features.

    Raises:
        DataError: the examples of a row do not fit it.
    """
    sides = np.array([input_lengths, target_lengths], np.int64)
    is_input = np.repeat(np.arange(sides.size) % 2 == 0, sides.T.reshape(-1))
    inputs = _Rows(sides[0], splits, max_input, "inputs")
    targets = _Rows(sides[1], splits, max_target, "targets")
    target_tokens = targets.place(tokens[~is_input])
    return {
        "encoder_input_tokens": inputs.place(tokens[is_input]),
        "encoder_segment_ids": inputs.segments,
        "encoder_positions": inputs.positions,
        "decoder_target_tokens": target_tokens,
        "decoder_input_tokens": targets.shifted(target_tokens),
        "decoder_segment_ids": targets.segments,
        "decoder_positions": targets.positions,
        "decoder_loss_weights": targets.is_token.astype(np.int32),
        "decoder_task_ids": targets.spread(task_ids),
    }


def pack_decoder_rows(
    *,
    tokens: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    task_ids: np.ndarray,
    splits: np.ndarray,
    max_length: int,
) -> Batch:
    """Returns the features of packed rows for a decoder-only model, int32, zeros on padding.

    They are those of `seqio.PrefixLMFeatureConverter(pack=True)`, and `decoder_task_ids`. An
    example is one segment: its inputs, then its targets. `decoder_target_tokens` are both and
    `decoder_input_tokens` both shifted right within the segment, starting with 0.
    `decoder_loss_weights` are 1 on targets alone. `decoder_causal_attention` is 1 where
    `decoder_input_tokens` are that 0 or of the inputs: the prefix, which a prefix LM lets see all
    of itself (`models/masks.py`) and a causal LM ignores.

    Args:
        tokens: [num_tokens] for each example its inputs, then its targets.
        input_lengths: [num_examples] in the order of `tokens`.
        target_lengths: [num_examples] likewise.
        task_ids: [num_examples] likewise.
        splits: [num_rows + 1]; row r holds examples splits[r] to splits[r + 1] - 1.
        max_length: length of the features.

    Raises:
        DataError: the examples of a row do not fit it.
    """
    input_lengths = np.asarray(input_lengths, np.int64)
    lengths = input_lengths + np.asarray(target_lengths, np.int64)
    rows = _Rows(lengths, splits, max_length, "inputs and targets")
    target_tokens, num_inputs = rows.place(tokens), rows.spread(input_lengths)
    is_target = rows.is_token & (rows.positions >= num_inputs)
    is_prefix = rows.is_token & (rows.positions <= num_inputs)
    return {
        "decoder_target_tokens": target_tokens,
        "decoder_input_tokens": rows.shifted(target_tokens),
        "decoder_segment_ids": rows.segments,
        "decoder_positions": rows.positions,
        "decoder_loss_weights": is_target.astype(np.int32),
        "decoder_task_ids": rows.spread(task_ids),
        PREFIX_FEATURE: is_prefix.astype(np.int32),
    }


class _Rows:
    """Rows of one width, in which a row's examples follow each other and padding comes last.

    What is given out is [num_rows, width] int32 (`is_token`: bool), 0 on padding. All is made in
    order, by runs; only tokens are put at their places. (Putting every feature at its places took
    twice as long.)
    """

    def __init__(self, lengths: np.ndarray, splits: np.ndarray, width: int, side: str):
        total = np.concatenate([[0], np.cumsum(lengths)])
        used = np.diff(total[splits])
        if len(used) and used.max() > width:
            raise DataError(f"row {used.argmax()} holds {used.max()} tokens of {side}, not {width}")
        self._shape = len(used), width
        self._ends = np.asarray(splits[1:])
        # Tokens of each example, and after a row's last one the row's padding.
        self._runs = np.insert(lengths, self._ends, width - used)
        self.segments = self.spread(
            np.arange(1, len(lengths) + 1) - np.repeat(splits[:-1], np.diff(splits))
        )
        self.is_token = self.segments > 0
        starts = _exclusive_cumsum(self._runs).astype(np.int32)
        positions = np.arange(self.segments.size, dtype=np.int32) - np.repeat(starts, self._runs)
        self.positions = positions.reshape(self._shape) * self.is_token

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Returns the value of each example on all its tokens."""
        values = np.insert(np.asarray(values, np.int32), self._ends, 0)
        return np.repeat(values, self._runs).reshape(self._shape)

    def place(self, tokens: np.ndarray) -> np.ndarray:
        """Returns the rows that hold these tokens of the examples, in their order."""
        placed = np.zeros(self._shape, np.int32)
        placed[self.is_token] = tokens
        return placed

    def shifted(self, placed: np.ndarray) -> np.ndarray:
        """Returns placed tokens one to the right, 0 where a segment begins."""
        shifted = np.zeros_like(placed)
        shifted[:, 1:] = placed[:, :-1]
        shifted *= self.positions > 0
        return shifted


def empty_rows(num_rows: int, max_input: int, max_target: int) -> Batch:
    """Returns rows that hold nothing: zeros, and no weight in any loss."""
    nothing = np.zeros(0, np.int32)
    return pack_rows(
        tokens=nothing, input_lengths=nothing, target_lengths=nothing, task_ids=nothing,
        splits=np.zeros(num_rows + 1, np.int64), max_input=max_input, max_target=max_target,
    )  # fmt: skip


def empty_decoder_rows(num_rows: int, max_length: int) -> Batch:
    """Returns rows for a decoder-only model that hold nothing."""
    nothing = np.zeros(0, np.int32)
    return pack_decoder_rows(
        tokens=nothing, input_lengths=nothing, target_lengths=nothing, task_ids=nothing,
        splits=np.zeros(num_rows + 1, np.int64), max_length=max_length,
    )  # fmt: skip


def _check_row(lengths: Mapping[str, int]) -> None:
    if min(lengths.values()) <= 0:
        given = ", ".join(f"{most} for {side}" for side, most in lengths.items())
        raise UsageError(f"feature lengths must be > 0, got {given}")


def _check_sides(inputs: np.ndarray, targets: np.ndarray) -> None:
    if inputs.shape != targets.shape or inputs.ndim != 1:
        raise ValueError(f"lengths of inputs {inputs.shape} and targets {targets.shape} differ")


def _check_fit(lengths: np.ndarray, least: int, most: int, side: str) -> None:
    bad = np.flatnonzero((lengths > most) | (lengths < least))
    if len(bad):
        raise DataError(
            f"example {bad[0]} of the window has {lengths[bad[0]]} tokens of {side}, a row "
            f"holds {least} to {most}; raise the feature length or build the store with this one"
        )


def _exclusive_cumsum(lengths: np.ndarray) -> np.ndarray:
    return np.cumsum(lengths) - lengths


def _spans(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns start, start + 1, ... for each span, one after another."""
    return np.repeat(starts - _exclusive_cumsum(lengths), lengths) + np.arange(lengths.sum())
