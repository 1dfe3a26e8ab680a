# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns a hang into a named cause: where nothing moves for too long, stacks are kept, the job ends.

Whatever makes progress says so by `beat`, or is a step or a phase of the event log. A thread looks
at the time since; a process that waits for another one, for a disk or for a device that never
answers would otherwise wait for ever.
"""

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from flan_jax.core import errors, events
from flan_jax.core.progress import say
from flan_jax.parallel import lifeline

STACKS_FOLDER = "stacks"
_LOOKS = 10  # in the time allowed
# One that waits for the devices waits for another process, which should speak first.
_PATIENCE = 1.25

_last_beat = time.monotonic()


def beat() -> None:
    """Says that this process has got on."""
    global _last_beat
    _last_beat = time.monotonic()


class Watchdog:
    """While entered, ends this process if it does not get on; a context manager.

    Args:
        folder: of the run; `folder/stacks/` receives the stacks of all threads.
        timeout_s: seconds without a beat; 0 for no watch.
        name: of this process, such as 'process 1 of 4'.
        others: gives what other processes were last at, by number.
        end: ends the process with an exit code.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        timeout_s: float,
        name: str,
        others: Callable[[], Mapping[int, str]] = lifeline.others,
        end: Callable[[int], None] | None = None,
    ):
        self._folder, self._timeout_s, self._name = Path(folder), timeout_s, name
        self._others, self._end = others, end or _end
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        beat()
        if self._timeout_s:
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(self._timeout_s / _LOOKS):
            silent_s = time.monotonic() - max(_last_beat, events.current().since)
            is_waiting = events.current().part == events.WAITING
            if silent_s >= self._timeout_s * (_PATIENCE if is_waiting else 1):
                self._give_up(silent_s)
                return

    def _give_up(self, silent_s: float) -> None:
        doing = events.current()
        others = "; ".join(f"process {i} is at: {at}" for i, at in self._others().items())
        say(
            f"flan-jax: error: {self._name} has not got on for {silent_s:.0f} s; it is at: {doing}"
            + (f"; {others}" if others else "")
            + f"; {self._dump()}; start the same command again to go on from the last checkpoint, "
            "or set TrainConfig.hang_timeout_s higher if that takes so long"
        )
        events.record("hang", doing=str(doing), silent_s=round(silent_s, 1))
        events.close()
        self._end(errors.EXIT_FAILED)

    def _dump(self) -> str:
        """Writes the stacks of all threads; returns where, in words."""
        now = time.strftime("%Y%m%d_%H%M%S", time.gmtime())
        path = self._folder / STACKS_FOLDER / f"{self._name.replace(' ', '_')}.{now}.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                faulthandler.dump_traceback(file, all_threads=True)
        except OSError as error:  # the disk may be what hangs or is full
            faulthandler.dump_traceback(all_threads=True)
            return f"its stacks are above ({path} could not be written: {error.strerror})"
        return f"its stacks are in {path}"


def _end(exit_code: int) -> None:
    """Ends the process whatever its other threads are in."""
    lifeline.goodbye(exit_code)
    os._exit(exit_code)
