# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Notices that the machine wants this process to stop (SIGTERM), without stopping it."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils

from flan_jax.core.progress import say


class PreemptionGuard:
    """While entered, SIGTERM sets a flag that the loop reads between steps.

    With several processes, jax's coordination service agrees on the step at which all of them
    stop, since each may be told at another moment.
    """

    def __init__(self):
        self._requested = False
        self._previous = None

    def __enter__(self) -> "PreemptionGuard":
        # Python allows handlers in the main thread only; elsewhere the owner of that must act.
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(self, *_) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def requested(self, step: int) -> bool:
        """Returns whether to save and stop after `step`; the same on every process."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._requested

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._requested = True
        say("SIGTERM: will save after this step and stop")
