# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches from a token store, through Grain.

The batch at step s is rows s * batch_size to (s + 1) * batch_size - 1 of the row stream
(`data/windows.py`), so what is trained on does not depend on hosts, workers or restarts. Grain
plans windows ahead, in a thread or in worker processes; this process reads the tokens of its own
rows only. Between two batches the state is (window, row): going on costs the same anywhere.
"""

import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping
from multiprocessing import connection
from typing import Any

import grain
import numpy as np
from absl import flags

from flan_jax.collection.store import Store
from flan_jax.core.errors import EXIT_FAILED, UsageError, unknown_name
from flan_jax.core.progress import say
from flan_jax.data import resuming, row_index
from flan_jax.data.mixture import MAX_POSITION, MixtureState
from flan_jax.data.packing import Batch, RowPlan
from flan_jax.data.row_layouts import LAYOUTS
from flan_jax.data.windows import RowStream, Window, WindowPlanner

STATE_FORMAT = 1

# Positions of rows that are made at a time, one batch at least: so many that what a call of numpy
# costs by itself counts little, so few that they stay in a processor's cache.
_POSITIONS = 1 << 16

_NUM_NAMED = 3  # tasks that the line about repeats names


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainInput:
    """What to train on. Frozen and hashable; `feature_lengths` may be given as a dict."""

    # Path of a built token store.
    store: str
    # A mixture or task that the store's manifest knows; None: the mixture it was built for.
    mixture: str | None = None
    # (task, rate) to use instead of the rates that the manifest records for `mixture`.
    rates: tuple[tuple[str, float], ...] | None = None
    # Rows of a batch, over all hosts.
    batch_size: int
    # Tokens of `inputs` and `targets` a row holds; None: the lengths the store was built with.
    feature_lengths: tuple[tuple[str, int], ...] | None = None
    # Chooses the order of examples and rows.
    seed: int = 0
    # Examples planned together: more fill rows better and take more memory.
    window_examples: int = 8192
    # Processes that plan windows; 0: a thread of this process.
    num_workers: int = 0
    # False: one example a row.
    pack: bool = True
    # "encoder_decoder"; or "decoder": inputs and targets in one row, as long as both lengths.
    layout: str = LAYOUTS[0]

    MAY_CHANGE = ("store", "num_workers")  # when a run goes on; the store's content may not

    def __post_init__(self):
        for name in ("rates", "feature_lengths"):
            value = getattr(self, name)
            if value is not None:
                pairs = value.items() if isinstance(value, Mapping) else value
                object.__setattr__(self, name, tuple(sorted((k, v) for k, v in pairs)))
        if self.batch_size <= 0:
            raise UsageError(f"batch_size must be > 0, got {self.batch_size}")
        if self.num_workers < 0:
            raise UsageError(f"num_workers must be >= 0, got {self.num_workers}")
        if self.layout not in LAYOUTS:
            raise unknown_name("layout", self.layout, LAYOUTS)
        if self.feature_lengths is not None:
            names = [name for name, _ in self.feature_lengths]
            if names != ["inputs", "targets"]:
                raise UsageError(f"feature lengths must be of 'inputs' and 'targets', got {names}")

    def stream(self, store: Store) -> RowStream:
        """Returns what decides the rows, with the store's answers for what is left open."""
        lengths = dict(self.feature_lengths or store.feature_lengths)
        rates = self.rates or tuple(sorted(store.mixture_rates(self.mixture).items()))
        return RowStream(
            store=str(store.path), split="train", rates=rates, seed=self.seed,
            window_examples=self.window_examples, max_input=lengths["inputs"],
            max_target=lengths["targets"], pack=self.pack, layout=self.layout,
        )  # fmt: skip


def open_train(
    config: TrainInput,
    state: Mapping[str, Any] | None = None,
    *,
    step: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> "TrainIterator":
    """Returns this process's batches, from the beginning, a saved state, or any step.

    Args:
        config: what to train on.
        state: what `TrainIterator.state` gave; going on costs the same at any step.
        step: how many batches to pass over, where there is no state. Costs what planning their
            rows takes the first time; the count is kept beside the store (`data/row_index.py`).
        process_index: which of the processes this is; it gets its part of each batch.
        process_count: how many processes share a batch.

    Raises:
        UsageError: the configuration does not fit the store, the hosts, or the state.
        DataError: the store is damaged.
    """
    mine = resuming.rows_of_process(config.batch_size, process_index, process_count)
    store = Store.open(config.store)
    stream = config.stream(store)
    stream.check(store)
    identity = stream.identity(store)
    if state is not None:
        if step is not None:
            raise UsageError(f"give a state of the input or step {step}, not both")
        _check_state(state, identity)
    elif step is not None:
        place = row_index.find_row(stream, store, step * config.batch_size)
        state = {"step": step, **dataclasses.asdict(place)}
    return TrainIterator(config, store, stream, identity, state, mine)


@dataclasses.dataclass(frozen=True)
class _Made:
    """Rows of a window that have been made, the next batches' too."""

    window: int
    rows: np.ndarray  # [num_rows] which of the window, ascending
    batch: Batch


class TrainIterator(Iterator[Batch]):
    """Endless batches of this process's rows. Close it, or use it in a `with` block."""

    def __init__(self, config, store, stream, identity, state, mine):
        self._config, self._store, self._stream = config, store, stream
        self._identity = identity
        self._schedule = stream.schedule(store)
        self._step = 0 if state is None else state["step"]
        self._window = 0 if state is None else state["window"]
        self._row = 0 if state is None else state["row"]
        start = None if state is None else state["schedule"]
        self._counts = (
            self._schedule.start() if start is None else self._schedule.from_json(start)
        ).counts
        self._mine = mine
        self._windows = _open_windows(WindowPlanner(stream, self._window, start), config)
        self._current: Window | None = None
        self._made = _Made(-1, np.zeros(0, np.int64), {})
        self._num_rows, self._num_tokens = 0, np.zeros(2, np.int64)
        # Whether to say when the first pass over a task ends, where none has; one process does.
        self._tells = mine.start == 0 and bool((self._counts <= self._schedule.num_examples).all())

    @property
    def member_names(self) -> tuple[str, ...]:
        """Tasks of the mixture, sorted; `decoder_task_ids` count them from 0."""
        return self._stream.names

    @property
    def feature_lengths(self) -> dict[str, int]:
        """Tokens of `inputs` and `targets` that a row holds."""
        return {"inputs": self._stream.max_input, "targets": self._stream.max_target}

    def __enter__(self) -> "TrainIterator":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends Grain's thread or workers."""
        self._windows.close()

    def __next__(self) -> Batch:
        parts = []
        missing = self._config.batch_size
        while missing:
            window = self._load_window()
            first = self._row
            self._row = min(first + missing, len(window["splits"]) - 1)
            done = self._config.batch_size - missing
            low, high = (
                min(max(first + mine - done, first), self._row)
                for mine in (self._mine.start, self._mine.stop)
            )
            if low < high:
                parts.append(self._take_rows(window, low, high))
            self._count(window, first, self._row)
            missing -= self._row - first
        self._step += 1
        if self._tells:
            self._tell_repeats()
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def state(self) -> dict[str, Any]:
        """Returns, as JSON values, the place after the batches so far; the same on every host."""
        position = self._window * self._stream.window_examples
        return {
            "format": STATE_FORMAT,
            "step": self._step,
            "window": self._window,
            "row": self._row,
            "schedule": self._schedule.to_json(MixtureState(position, self._counts)),
            "identity": self._identity,
        }

    def report(self) -> dict[str, Any]:
        """Returns what has been given, over all hosts.

        `examples`, their `shares` and `epochs` per task count from the first step of the run, as
        do `repeats`, examples beyond a first pass, of the tasks that have some; `fill` is the part
        of the positions of `inputs` and of `targets` (of a decoder's `rows`) that held tokens since
        the iterator opened.
        """
        seen = self._seen()
        epochs, shares = seen / self._schedule.num_examples, seen / max(seen.sum(), 1)
        repeats = np.maximum(seen - self._schedule.num_examples, 0).tolist()
        lengths = np.array(list(self._stream.rows.lengths.values()))
        is_one = len(lengths) == 1
        num_tokens = self._num_tokens.sum(keepdims=True) if is_one else self._num_tokens
        fill = num_tokens / np.maximum(self._num_rows * lengths, 1)
        sides = ("rows",) if is_one else ("inputs", "targets")
        return {
            "examples": dict(zip(self.member_names, seen.tolist(), strict=True)),
            "shares": dict(zip(self.member_names, shares.tolist(), strict=True)),
            "epochs": dict(zip(self.member_names, epochs.tolist(), strict=True)),
            "repeats": {n: num for n, num in zip(self.member_names, repeats, strict=True) if num},
            "fill": dict(zip(sides, fill.tolist(), strict=True)),
        }

    def _seen(self) -> np.ndarray:
        """Returns [num_tasks] examples given so far."""
        if self._current is None:
            return self._counts
        num = self._current["splits"][self._row]
        return self._counts + np.bincount(self._current["tasks"][:num], minlength=len(self._counts))

    def _tell_repeats(self) -> None:
        """Says once that a task is past one pass; `report` counts the repeats from there on."""
        repeated = np.flatnonzero(self._seen() > self._schedule.num_examples)
        if not len(repeated):
            return
        self._tells = False
        named = ", ".join(repr(self.member_names[at]) for at in repeated[:_NUM_NAMED])
        more = f" and {len(repeated) - _NUM_NAMED} more" if len(repeated) > _NUM_NAMED else ""
        say(
            f"train input: from step {self._step} on examples are seen more than once, first of "
            f"{named}{more}; `repeats` in metrics.jsonl counts them"
        )

    def _load_window(self) -> Window:
        """Returns the window that holds the next row."""
        if self._current is None:
            self._current = next(self._windows)
        while self._row >= len(self._current["splits"]) - 1:
            self._row -= len(self._current["splits"]) - 1
            self._window += 1
            self._current = next(self._windows)
            self._counts = self._current["counts"]
        return self._current

    def _take_rows(self, window: Window, low: int, high: int) -> Batch:
        """Returns rows of this process, `low` to `high` - 1 of the window."""
        made = self._made
        at = int(np.searchsorted(made.rows, low))
        if made.window != self._window or at == len(made.rows) or made.rows[at] != low:
            self._made = made = self._make_rows(window, low, high)
            at = 0
        return {name: rows[at : at + high - low] for name, rows in made.batch.items()}

    def _make_rows(self, window: Window, low: int, high: int) -> "_Made":
        """Makes rows, and with them this process's rows of the next batches in the window."""
        mine, splits = np.arange(self._mine.start, self._mine.stop), window["splits"]
        num_rows = _POSITIONS // sum(self._stream.rows.lengths.values()) - (high - low)
        batches = np.arange(max(num_rows // len(mine), 0)) * self._config.batch_size
        rows = np.concatenate([np.arange(low, high), (self._row + batches[:, None] + mine).ravel()])
        rows = rows[rows < len(splits) - 1]
        plan = RowPlan(np.arange(splits[-1]), splits).permuted(rows)
        tasks, starts, inputs, targets = (
            window[name][plan.examples]
            for name in ("tasks", "starts", "input_lengths", "target_lengths")
        )
        batch = self._stream.rows.pack(
            tokens=self._store.gather(
                self._stream.split, self.member_names, tasks, starts, inputs + targets
            ),
            input_lengths=inputs,
            target_lengths=targets,
            task_ids=tasks,
            splits=plan.splits,
        )
        return _Made(self._window, rows, batch)

    def _count(self, window: Window, low: int, high: int) -> None:
        inside = slice(window["splits"][low], window["splits"][high])
        self._num_rows += high - low
        self._num_tokens += [
            window["input_lengths"][inside].sum(), window["target_lengths"][inside].sum()
        ]  # fmt: skip


def _open_windows(planner: WindowPlanner, config: TrainInput):
    """Returns Grain's iterator of windows in order, planned ahead."""
    ahead = grain.ReadOptions(num_threads=0 if config.num_workers else 1, prefetch_buffer_size=1)
    windows = grain.MapDataset.range(MAX_POSITION // config.window_examples).map(planner)
    windows = windows.to_iter_dataset(ahead)
    if config.num_workers:
        # Grain's workers read absl flags, which a program without absl's main never parses.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        options = grain.MultiprocessingOptions(num_workers=config.num_workers)
        windows = windows.mp_prefetch(options, worker_init_fn=_end_with_parent)
    return iter(windows)


def _end_with_parent(*_: int) -> None:
    """Ends this worker when the process it works for is killed; Grain's would stay for ever."""

    def wait() -> None:
        connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(EXIT_FAILED)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _check_state(state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    if state.get("format") != STATE_FORMAT:
        raise UsageError(
            f"input state has format {state.get('format')!r}, this code reads {STATE_FORMAT}; "
            "start in a new model directory"
        )
    resuming.check_identity(state["identity"], identity)
