# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where any row of the stream is: how many rows each window has, counted once and kept.

A checkpoint knows its window and needs none of this. A step without a checkpoint is found by the
rows before it, and how many rows a window has is known only when it has been planned. So windows
are planned up to the one wanted, from lengths alone, and their numbers of rows are kept in
`STORE/rows/<identity of the stream>.index`, beside the schedule's state at every 32nd window; a
later search, for any batch size or number of hosts, plans only what is missing.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.collection.store import Store
from flan_jax.core import files
from flan_jax.core.errors import UsageError
from flan_jax.core.progress import Progress, say
from flan_jax.data.mixture import MAX_POSITION, MixtureState
from flan_jax.data.windows import RowStream, WindowPlanner

FORMAT = 2  # of the file
FOLDER = "rows"

_STATE_EVERY = 32  # windows; the schedule alone is replayed between them, a few ms each
_SAVE_EVERY = 1024  # windows, so that a search that is stopped has not counted in vain


@dataclasses.dataclass(frozen=True)
class Place:
    """A place between two rows: `row` rows of the window are before it."""

    window: int
    row: int
    schedule: dict[str, Any]  # the schedule's JSON state at the window's beginning


def find_row(stream: RowStream, store: Store, row: int) -> Place:
    """Returns the place after the first `row` rows, as a run that has read them stands.

    What had to be counted for it is kept beside the store.

    Raises:
        UsageError: there is no such row.
    """
    if row < 0:
        raise UsageError(f"the stream of rows begins at 0, got row {row}")
    if row >= MAX_POSITION:  # a row holds an example at least
        raise UsageError(f"row {row} is beyond {MAX_POSITION}, the longest stream of rows")
    index = _RowIndex(stream, store)
    place = index.find(row)
    if place is None:
        index.forget("it counts other rows than there are")
        place = index.find(row)
    return place


class _RowIndex:
    """Rows of the first windows, and the schedule's state at some of them."""

    def __init__(self, stream: RowStream, store: Store):
        self._stream, self._schedule = stream, stream.schedule(store)
        self._identity = {"format": FORMAT, **stream.identity(store)}
        name = hashlib.sha256(files.dumps(self._identity).encode()).hexdigest()[:16]
        self._path = Path(store.path) / FOLDER / f"{name}.index"
        self._num_rows: list[int] = []  # of each window
        self._states: list[str] = []  # of every _STATE_EVERY-th window: which tasks are ahead
        self._keep = True  # until a failed write has been told
        self._load()

    def find(self, row: int) -> Place | None:
        """Returns the place after `row` rows; None if what was kept is wrong there."""
        kept = len(self._num_rows)
        self._extend(row)
        after = np.cumsum([0, *self._num_rows])
        # A run that has read a window's last row has not begun the next one.
        window = max(int(np.searchsorted(after, row)) - 1, 0)
        state = self._schedule.to_json(self._state_at(window))
        if window < kept:
            planned = WindowPlanner(self._stream, window, state)(0)
            if len(planned["splits"]) - 1 != self._num_rows[window]:
                return None
        return Place(window, row - int(after[window]), state)

    def forget(self, reason: str) -> None:
        """Says why what was kept does not count, and begins anew."""
        say(f"row index {self._path}: {reason}; counting again")
        self._num_rows, self._states = [], []

    def _extend(self, row: int) -> None:
        """Counts the rows of further windows until there are `row`."""
        total = sum(self._num_rows)
        if total >= row:
            return
        first = len(self._num_rows)
        state = self._schedule.to_json(self._state_at(first))
        planner = WindowPlanner(self._stream, first, state)
        with Progress("find row", total=row, unit="row", initial=total) as progress:
            while total < row:
                number = len(self._num_rows)
                window = planner(number - first)
                if number % _STATE_EVERY == 0:
                    begin = MixtureState(number * self._stream.window_examples, window["counts"])
                    self._states.append(self._schedule.to_json(begin)["ahead"])
                self._num_rows.append(len(window["splits"]) - 1)
                progress.advance(min(self._num_rows[-1], row - total))
                total += self._num_rows[-1]
                if (number + 1) % _SAVE_EVERY == 0:
                    self._save()
        self._save()

    def _state_at(self, window: int) -> MixtureState:
        """Returns the schedule's state at the beginning of a window that is kept, or the next."""
        last = min(window // _STATE_EVERY, len(self._states) - 1)
        if last < 0:
            state, last = self._schedule.start(), 0
        else:
            position = last * _STATE_EVERY * self._stream.window_examples
            state = self._schedule.from_json({"position": position, "ahead": self._states[last]})
        for _ in range(last * _STATE_EVERY, window):
            _, state = self._schedule.advance(state, self._stream.window_examples)
        return state

    def _load(self) -> None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            self.forget(f"it cannot be read ({error.strerror})")
            return
        digest, _, body = content.partition(b"\n")
        if digest.decode("ascii", "replace") != hashlib.sha256(body).hexdigest():
            self.forget("it is damaged (its hash)")
            return
        kept = json.loads(body)
        if kept["identity"] == self._identity:
            self._num_rows, self._states = kept["num_rows"], kept["states"]

    def _save(self) -> None:
        kept = {"identity": self._identity, "num_rows": self._num_rows, "states": self._states}
        body = files.dumps(kept).encode()
        try:
            with files.atomic_open(self._path, "wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        except OSError as error:
            if self._keep:
                say(f"row index {self._path}: cannot be written ({error.strerror}), not kept")
            self._keep = False
