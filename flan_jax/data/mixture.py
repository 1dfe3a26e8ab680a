# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which example stands at each position of the training stream: exact mixing, no shuffle buffer.

Two independent parts:

* `MixtureSchedule` deals positions to tasks so that after any number of positions each task has
  had its rate's share to within one example. Each rate is a fraction with denominator 2**32;
  the j-th example of a task with rate r may stand at positions floor((j - 1) / r) + 1 to
  ceil(j / r) (counted from 1), and of those released the one due first goes first. Such a
  schedule always exists (Tijdeman 1980, "The chairman assignment problem") and earliest due
  first finds it. Sampling tasks at random would drift by the square root of the position.
* `permute` gives each pass over a task its own order: a bijection computed per index, so that
  any example of any pass is found without a list of the others.

Both are functions of names and numbers alone. The state between two positions is how many
examples each task has had, which is floor or ceil of its share: one bit a task.
"""

import dataclasses
import hashlib
import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np

from flan_jax.core.errors import DataError, UsageError

_SHARE_BITS = 32
_DENOMINATOR = 1 << _SHARE_BITS
# Longest stream: 2e12 batches of 128 examples. Up to it every number of `_deal` fits int64.
MAX_POSITION = 1 << 48

_NUM_ROUNDS = 6
_WORD = np.uint64(0xFFFFFFFFFFFFFFFF)


@dataclasses.dataclass(frozen=True)
class MixtureState:
    """Where the stream stands: the next position, and how many examples each task has had."""

    position: int
    counts: np.ndarray  # [num_tasks] int64, sums to position


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A stretch of the stream: for each position a task, and which example of it."""

    tasks: np.ndarray  # [num] int32, index into the sorted names
    examples: np.ndarray  # [num] int64, index into the task's examples


class MixtureSchedule:
    """The stream of examples of a mixture, from its rates, sizes and seed.

    Args:
        rates: task name to its rate; any positive numbers, they are divided by their sum.
        num_examples: task name to how many examples it has.
        seed: chooses the order of examples within passes and among tasks due together.
    """

    def __init__(self, rates: Mapping[str, float], num_examples: Mapping[str, int], *, seed: int):
        self.names = tuple(sorted(rates))
        if not self.names:
            raise UsageError("a mixture needs at least one task, got none")
        self.num_examples = np.array([num_examples.get(n, 0) for n in self.names], np.int64)
        for name, num in zip(self.names, self.num_examples, strict=True):
            if num <= 0:
                raise DataError(f"task {name!r} has no examples; rebuild it or drop it")
        self._shares = _to_shares({name: rates[name] for name in self.names})
        self._keys = np.array([_task_key(seed, name) for name in self.names], np.uint64)

    @property
    def rates(self) -> np.ndarray:
        """[num_tasks] float64, summing to one, exactly as scheduled."""
        return self._shares / _DENOMINATOR

    def start(self) -> MixtureState:
        """Returns the state before the first position."""
        return MixtureState(0, np.zeros(len(self.names), np.int64))

    def advance(self, state: MixtureState, num: int) -> tuple[Stretch, MixtureState]:
        """Returns the next `num` positions, and the state after them."""
        tasks = self._deal(state, num)
        draws = state.counts[tasks] + _occurrence(tasks)
        counts = state.counts + np.bincount(tasks, minlength=len(self.names))
        examples = self._examples(tasks, draws)
        return Stretch(tasks, examples), MixtureState(state.position + num, counts)

    def to_json(self, state: MixtureState) -> dict[str, Any]:
        """Returns the state as JSON values; a bit a task, in hexadecimal."""
        ahead = state.counts > self._floors(state.position)
        return {"position": state.position, "ahead": np.packbits(ahead).tobytes().hex()}

    def from_json(self, value: Mapping[str, Any]) -> MixtureState:
        """Returns the state that `to_json` gave.

        Raises:
            DataError: the value is not a state of this schedule.
        """
        position = int(value["position"])
        bits = np.frombuffer(bytes.fromhex(value["ahead"]), np.uint8)
        num = len(self.names)
        if len(bits) == -(-num // 8):
            counts = self._floors(position) + np.unpackbits(bits, count=num).astype(np.int64)
            if counts.sum() == position:
                return MixtureState(position, counts)
        raise DataError(
            f"input state at position {position} does not belong to this mixture of {num} tasks; "
            "resume with the mixture and rates that the run began with"
        )

    def _floors(self, position: int) -> np.ndarray:
        return _scaled(position, self._shares, round_up=False)

    def _deal(self, state: MixtureState, num: int) -> np.ndarray:
        """Returns [num] the task of each position: of the examples released, the one due first."""
        first, last = state.position + 1, state.position + num
        if last > MAX_POSITION:
            raise ValueError(f"position {last} is beyond {MAX_POSITION}, the longest stream")
        # Examples that may stand at or before `last` and have not been dealt.
        ends = _scaled(last, self._shares, round_up=True)
        open_counts = np.maximum(ends - state.counts, 0)
        task = np.repeat(np.arange(len(self.names), dtype=np.int32), open_counts)
        draw = state.counts[task] + _occurrence(task) + 1  # counted from 1
        share = self._shares[task]
        released = _place_of(draw - 1, share, round_up=False) + 1
        due = _place_of(draw, share, round_up=True)
        # Ties would always fall in the order of names; a hash lets tasks change places.
        tie = _mix(self._keys[task] ^ _mix(draw.astype(np.uint64)))
        by_due = np.lexsort((task, tie, due))
        rank = np.empty(len(task), np.int64)
        rank[by_due] = np.arange(len(task))
        by_release = np.argsort(released, kind="stable")
        ranks, releases = rank[by_release].tolist(), released[by_release].tolist()
        dealt, ready, at = [], [], 0
        for position in range(first, last + 1):
            while at < len(ranks) and releases[at] <= position:
                heapq.heappush(ready, ranks[at])
                at += 1
            dealt.append(heapq.heappop(ready))
        return task[by_due[np.array(dealt, np.int64)]]

    def _examples(self, tasks: np.ndarray, draws: np.ndarray) -> np.ndarray:
        sizes = self.num_examples[tasks]
        passes = (draws // sizes).astype(np.uint64)
        return permute(draws % sizes, sizes, _mix(self._keys[tasks] + _mix(passes)))


def permute(indices: np.ndarray, sizes: np.ndarray | int, keys: np.ndarray | int) -> np.ndarray:
    """Returns the image of each index under the bijection of [0, size) that its key chooses.

    A Feistel network on the least power of two that holds `size`, walked until it lands inside
    (less than two steps on average). Elementwise: sizes and keys may differ.

    Args:
        indices: [num] int64 in [0, size).
        sizes: [num] or one number, > 0.
        keys: [num] or one number, uint64.

    Returns:
        [num] int64.
    """
    values = np.asarray(indices).astype(np.uint64)
    sizes = np.broadcast_to(np.asarray(sizes, np.uint64), values.shape)
    keys = np.broadcast_to(np.asarray(keys, np.uint64), values.shape)
    bits = np.frexp(np.maximum(sizes, 2) - np.uint64(1))[1].astype(np.uint64)
    result = _feistel(values, bits, keys)
    walking = np.flatnonzero(result >= sizes)
    while len(walking):
        stepped = _feistel(result[walking], bits[walking], keys[walking])
        result[walking] = stepped
        walking = walking[stepped >= sizes[walking]]
    return result.astype(np.int64)


def random_order(num: int, seed: int, name: str) -> np.ndarray:
    """Returns a permutation of range(num), a function of the arguments alone."""
    return permute(np.arange(num), max(num, 1), np.uint64(_task_key(seed, name)))


def _feistel(values: np.ndarray, bits: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """One pass over `bits` bits: each half in turn is changed by a hash of the other."""
    one = np.uint64(1)
    low_bits = bits >> one
    high_bits = bits - low_bits
    low_mask, high_mask = (one << low_bits) - one, (one << high_bits) - one
    low, high = values & low_mask, values >> low_bits
    for number in range(_NUM_ROUNDS):
        round_key = keys + np.uint64((0x9E3779B97F4A7C15 * (number + 1)) & int(_WORD))
        if number % 2:
            low = low ^ (_mix(round_key ^ high) & low_mask)
        else:
            high = high ^ (_mix(round_key ^ low) & high_mask)
    return (high << low_bits) | low


def _mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64: every bit of the result depends on every bit of the value."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _occurrence(tasks: np.ndarray) -> np.ndarray:
    """Returns for each element how many equal ones stand before it."""
    order = np.argsort(tasks, kind="stable")
    ordered = tasks[order]
    new = np.ones(len(tasks), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    starts = np.maximum.accumulate(np.where(new, np.arange(len(tasks)), 0))
    result = np.empty(len(tasks), np.int64)
    result[order] = np.arange(len(tasks)) - starts
    return result


def _scaled(position: int, shares: np.ndarray, *, round_up: bool) -> np.ndarray:
    """Returns [num_tasks] int64 position * share / 2**32, exact and rounded to an integer.

    The product passes 64 bits beyond position 2**31. Its high part is a multiple of 2**32, so it
    is scaled without rounding; the low part is at most 2**64 - 2**32, which uint64 holds.
    """
    high, low = divmod(position, _DENOMINATOR)
    product = np.uint64(low) * shares.astype(np.uint64)
    product += np.uint64(_DENOMINATOR - 1 if round_up else 0)
    return high * shares + (product >> np.uint64(_SHARE_BITS)).astype(np.int64)


def _place_of(draws: np.ndarray, shares: np.ndarray, *, round_up: bool) -> np.ndarray:
    """Returns [num] int64 draw * 2**32 / share, exact and rounded to an integer.

    Split as in `_scaled`: whole multiples of the share, and a remainder below 2**32.
    """
    whole, rest = np.divmod(draws, shares)
    shares = shares.astype(np.uint64)
    product = rest.astype(np.uint64) << np.uint64(_SHARE_BITS)
    product += shares - np.uint64(1) if round_up else np.uint64(0)
    return whole * _DENOMINATOR + (product // shares).astype(np.int64)


def _to_shares(rates: Mapping[str, float]) -> np.ndarray:
    """Returns integers that sum to the denominator, nearest to the rates (largest remainders)."""
    values = np.array(list(rates.values()), np.float64)
    for name, value in zip(rates, values, strict=True):
        if not (np.isfinite(value) and value > 0):
            raise UsageError(f"task {name!r}: rate must be > 0, got {value}; drop the task instead")
    exact = values / values.sum() * _DENOMINATOR
    shares = np.floor(exact).astype(np.int64)
    if shares.min() == 0:
        name = list(rates)[int(shares.argmin())]
        raise UsageError(
            f"task {name!r}: rate {rates[name]} is under 2**-32 of the mixture; raise it or drop "
            "the task"
        )
    remainders = np.argsort(-(exact - shares), kind="stable")
    shares[remainders[: _DENOMINATOR - int(shares.sum())]] += 1
    return shares


def _task_key(seed: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}\x00{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
