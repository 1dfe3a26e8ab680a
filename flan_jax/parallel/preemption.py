# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Notices that the machine wants this process to stop (SIGTERM), and stops where nothing is lost.

One process notices by a signal handler. Of several each may be told at another moment, and jax,
which has a handler of its own then, agrees on a common place: all count how often they have asked
(`requested`, `stop_if_asked`), which they do in lockstep, and stop at the same count.
"""

import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

from flan_jax.core import errors
from flan_jax.core.progress import say
from flan_jax.parallel import watchdog

# Counted through all guards of a process: the place agreed on is a count that is still to come.
_QUESTIONS = itertools.count(1)
_active: "PreemptionGuard | None" = None


class PreemptionGuard:
    """While entered, SIGTERM sets a flag that the loop reads between steps."""

    def __init__(self):
        self._asked_at: float | None = None
        self._agreed = False  # of several processes: this is the place, or it was
        self._previous = None
        self._outer: PreemptionGuard | None = None
        self._interruptible = False

    def __enter__(self) -> "PreemptionGuard":
        global _active
        # Python allows handlers in the main thread only; elsewhere the owner of that must act.
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and jax.process_count() == 1:
            self._previous = signal.signal(signal.SIGTERM, self._on_signal)
        self._outer, _active = _active, self
        return self

    def __exit__(self, *_) -> None:
        global _active
        _active = self._outer
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def requested(self) -> bool:
        """Returns whether to save and stop here; the same on every process, which all ask."""
        if jax.process_count() == 1:
            return self._asked_at is not None
        reached = multihost_utils.reached_preemption_sync_point(next(_QUESTIONS))
        self._agreed = self._agreed or reached
        return self._agreed

    def waited_s(self) -> float | None:
        """Returns how long ago this process was asked to stop, in seconds; None if it cannot tell.

        It can where it is the only one; of several, jax is told of the signal.
        """
        return None if self._asked_at is None else time.monotonic() - self._asked_at

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Lets a request to stop end the block by a `PreemptedError`.

        For long work that can be done again (an evaluation, a compilation): the grace a machine
        gives before it goes is for saving. A process alone leaves the block at the signal, several
        at the same call of `stop_if_asked`.
        """
        self._interruptible = True
        try:
            if self._asked_at is not None or self._agreed:
                raise _stopped()
            yield
        finally:
            self._interruptible = False

    def stop_if_asked(self) -> None:
        """Raises a `PreemptedError` inside `interruptible` if this is the place to stop."""
        if self._interruptible and self.requested():
            raise _stopped()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            say("SIGTERM: will save and stop")
        if self._interruptible:
            self._interruptible = False
            raise _stopped()


def stop_if_asked() -> None:
    """A place in long work where all processes may stop together; outside of a guard it is none.

    Of several processes all must call it equally often, each time at the same place of the work.

    Raises:
        PreemptedError: this is the place to stop.
    """
    watchdog.beat()
    if _active is not None:
        _active.stop_if_asked()


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Makes `stop_if_asked` do so in the block, also where no training guards it.

    A process alone needs no guard: the command line stops at the signal.
    """
    if _active is not None or jax.process_count() == 1:
        yield
        return
    with PreemptionGuard() as guard, guard.interruptible():
        yield


def _stopped() -> errors.PreemptedError:
    return errors.PreemptedError(
        "asked to stop; what was done so far is kept; start the same command again to go on"
    )
