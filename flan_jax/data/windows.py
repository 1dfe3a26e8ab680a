# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The stream of packed rows, window by window, decided from stored lengths alone.

The stream of examples (`data/mixture.py`) is cut into windows of a fixed number of examples;
each is planned alone (`data/packing.py`) and its rows are put in a random order. So the rows of
a window are a function of (store, rates, seed, window, lengths of a row), whoever asks.
"""

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np

from flan_jax.collection.store import Store
from flan_jax.core.errors import UsageError
from flan_jax.data import packing
from flan_jax.data.lengths import MixtureLengths
from flan_jax.data.mixture import MixtureSchedule, MixtureState, random_order
from flan_jax.data.row_layouts import LAYOUTS, RowLayout

Window = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowStream:
    """What decides the rows: two equal ones give the same rows anywhere."""

    # Path of the token store.
    store: str
    split: str
    # (task, rate), sorted by task.
    rates: tuple[tuple[str, float], ...]
    seed: int
    # Examples a window holds.
    window_examples: int
    # Tokens of inputs and of targets a row holds.
    max_input: int
    max_target: int
    # False: one example a row.
    pack: bool = True
    # Of `row_layouts.LAYOUTS`.
    layout: str = LAYOUTS[0]

    @property
    def rows(self) -> RowLayout:
        """How examples lie in a row."""
        return RowLayout(name=self.layout, max_input=self.max_input, max_target=self.max_target)

    def plan(self, inputs: np.ndarray, targets: np.ndarray) -> packing.RowPlan:
        """Returns which of the examples of these lengths go together."""
        if not self.pack:
            return packing.RowPlan.unpacked(len(inputs))
        return self.rows.plan(inputs, targets)

    @property
    def names(self) -> tuple[str, ...]:
        """The members, in the order that their ids count."""
        return tuple(name for name, _ in self.rates)

    def check(self, store: Store) -> None:
        """Raises a `UsageError` if the store cannot give these rows."""
        if self.window_examples <= 0:
            raise UsageError(f"window_examples must be > 0, got {self.window_examples}")
        for side, most in (("input", self.max_input), ("target", self.max_target)):
            for name in self.names:
                longest = store.task(name, self.split).info[f"max_{side}_tokens"]
                if longest > most:
                    raise UsageError(
                        f"task {name!r} in {store.path} has an example of {longest} tokens of "
                        f"{side}s, a row holds {most}; raise the {side}s' feature length or "
                        "build a store with this one"
                    )

    def identity(self, store: Store) -> dict[str, Any]:
        """Returns JSON values that are equal if and only if the rows are, wherever the store is."""
        rates = "\x00".join(f"{name}={rate!r}" for name, rate in self.rates)
        return {
            "store": store.fingerprint(self.split, self.names)[:16],
            "rates": hashlib.sha256(rates.encode()).hexdigest()[:16],
            "seed": self.seed,
            "window_examples": self.window_examples,
            "feature_lengths": list(self.rows.lengths.values()),
            "pack": self.pack,
            "packer": packing.VERSION,
        }

    def schedule(self, store: Store) -> MixtureSchedule:
        """Returns the schedule of the stream's examples."""
        sizes = {name: store.task(name, self.split).num_examples for name in self.names}
        return MixtureSchedule(dict(self.rates), sizes, seed=self.seed)


class WindowPlanner:
    """Plans windows; picklable, it opens the store where it runs.

    `planner(i)` is window `first_window + i`: a dict of `counts` [num_tasks] examples of each
    task before the window, `splits` [num_rows + 1], and for each example in the order of rows
    `tasks`, `examples`, `starts` (its first token), `input_lengths`, `target_lengths`.

    Args:
        stream: what decides the rows.
        first_window: window that index 0 stands for.
        state: the schedule's JSON state at its beginning; None at window 0.
    """

    def __init__(self, stream: RowStream, first_window: int = 0, state: dict | None = None):
        self._stream, self._first, self._state = stream, first_window, state

    def __getstate__(self):
        return self._stream, self._first, self._state

    def __setstate__(self, state):
        self._stream, self._first, self._state = state

    @functools.cached_property
    def _reader(self) -> "_Reader":
        return _Reader(self._stream, self._first, self._state)

    def __call__(self, index: int) -> Window:
        """Returns window `first_window + index`."""
        return self._reader.window(self._first + int(index))


class _Reader:
    """The schedule, the lengths of all examples, and the place reached."""

    def __init__(self, stream: RowStream, first_window: int, state: dict | None):
        self._stream = stream
        store = Store.open(stream.store)
        self._schedule = stream.schedule(store)
        start = self._schedule.start() if state is None else self._schedule.from_json(state)
        if start.position != first_window * stream.window_examples:
            raise UsageError(
                f"input state is at example {start.position}, window {first_window} begins at "
                f"{first_window * stream.window_examples}; resume from an unchanged checkpoint"
            )
        self._start = first_window, start
        self._reached = self._start
        self._lengths = MixtureLengths(store, stream.names, stream.split)

    def window(self, number: int) -> Window:
        stream = self._stream
        if self._reached[0] > number:
            self._reached = self._start
        reached, state = self._reached
        while reached < number:
            reached, state = reached + 1, self._next(state)[1]
        stretch, after = self._next(state)
        self._reached = number + 1, after

        inputs, targets, starts = self._lengths.look_up(stretch.tasks, stretch.examples)
        plan = stream.plan(inputs, targets)
        plan = plan.permuted(random_order(plan.num_rows, stream.seed, f"rows/{number}"))
        return {
            "counts": state.counts,
            "splits": plan.splits,
            "tasks": stretch.tasks[plan.examples],
            "examples": stretch.examples[plan.examples],
            "starts": starts[plan.examples],
            "input_lengths": inputs[plan.examples],
            "target_lengths": targets[plan.examples],
        }

    def _next(self, state: MixtureState):
        return self._schedule.advance(state, self._stream.window_examples)
