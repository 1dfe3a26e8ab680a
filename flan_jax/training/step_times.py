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
        self._seconds = {events.GETTING_DATA: 0.0, events.WAITING: 0.0}

    @contextlib.contextmanager
    def at(self, part: str) -> Iterator[None]:
        """Counts the time inside as spent on `events.GETTING_DATA` or `events.WAITING`."""
        start = time.monotonic()
        with events.part(part):
            yield
        self._seconds[part] += time.monotonic() - start

    def begin(self, step: int) -> None:
        """Says that a step begins, now that its batch is there."""
        data_s, wait_s = self._seconds[events.GETTING_DATA], self._seconds[events.WAITING]
        rest_s = time.monotonic() - self._since - data_s - wait_s
        events.step(step, data_s=data_s, wait_s=wait_s, dispatch_s=max(rest_s, 0.0))
        self.restart()
