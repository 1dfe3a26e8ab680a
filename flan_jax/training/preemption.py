# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Notices that the machine wants this process to stop (SIGTERM), without stopping it."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

from flan_jax.core.progress import say


class Interrupted(BaseException):
    """Raised by SIGTERM inside `PreemptionGuard.interruptible`; no `Exception`, see there."""


class PreemptionGuard:
    """While entered, SIGTERM sets a flag that the loop reads between steps.

    With several processes, jax's coordination service agrees on the step at which all of them
    stop, since each may be told at another moment; it has a signal handler of its own.
    """

    def __init__(self):
        self._asked_at: float | None = None
        self._previous = None
        self._interruptible = False

    def __enter__(self) -> "PreemptionGuard":
        # Python allows handlers in the main thread only; elsewhere the owner of that must act.
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and jax.process_count() == 1:
            self._previous = signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(self, *_) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def requested(self, step: int) -> bool:
        """Returns whether to save and stop after `step`; the same on every process."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked_at is not None

    def waited_s(self) -> float | None:
        """Returns how long ago this process was asked to stop, in seconds; None if it cannot tell.

        It can where it is the only one; of several, jax is told of the signal.
        """
        return None if self._asked_at is None else time.monotonic() - self._asked_at

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Lets SIGTERM end the block at once, by `Interrupted`, where this process is the only one.

        For long work that can be done again (an evaluation): the grace a machine gives before it
        goes is for saving. Several processes must do the same, so there the block is finished.
        """
        self._interruptible = True
        try:
            if self._asked_at is not None:
                raise Interrupted
            yield
        finally:
            self._interruptible = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            say("SIGTERM: will save and stop")
        if self._interruptible:
            self._interruptible = False
            raise Interrupted
