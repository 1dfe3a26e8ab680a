# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What this host did with its time between two steps, for the event log."""

import contextlib
import time
from collections.abc import Iterator

from flan_jax.core import events


class StepTimes:
    """Tells the event log of each step and of what this host did since the one before.

    All hosts make a step together and take the same time for it. Where one of them is slow, it has
    more work of its own (data, dispatch) and waits less for the device than the others do.
    """

    def __init__(self):
        self.restart()

    def restart(self) -> None:
        """Begins anew, after something that belongs to no step."""
        self._since = time.monotonic()
        self._data_s = self._wait_s = 0.0

    @contextlib.contextmanager
    def getting_data(self) -> Iterator[None]:
        """Counts the time inside as spent on the next batch."""
        start = time.monotonic()
        with events.part(events.GETTING_DATA):
            yield
        self._data_s += time.monotonic() - start

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as spent on waiting for the device."""
        start = time.monotonic()
        with events.part(events.WAITING):
            yield
        self._wait_s += time.monotonic() - start

    def begin(self, step: int) -> None:
        """Says that a step begins, now that its batch is there."""
        rest_s = time.monotonic() - self._since - self._data_s - self._wait_s
        events.step(step, data_s=self._data_s, wait_s=self._wait_s, dispatch_s=max(rest_s, 0.0))
        self.restart()
