# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progress of long steps: a bar on a terminal, plain lines with rate and ETA in a log."""

import sys
import time

import tqdm

LOG_INTERVAL_S = 10.0


def say(message: str) -> None:
    """Prints one line to standard error without breaking a bar that is shown there."""
    tqdm.tqdm.write(message, file=sys.stderr)
    sys.stderr.flush()


class Progress:
    """Shows how far a step of `total` units is.

    On a terminal this is a tqdm bar; otherwise a line at most every `LOG_INTERVAL_S` seconds and
    one at the end, so that a log stays readable.

    Example:
        with Progress("build", total=len(tasks), unit="task") as progress:
            for task in tasks:
                ...
                progress.advance()
    """

    def __init__(self, name: str, total: int | None, unit: str = "step", initial: int = 0):
        self._name, self._total, self._unit = name, total, unit
        self._count, self._initial = initial, initial
        self._note = ""
        self._shown: int | None = None  # the count of the last line
        self._start = self._last = time.monotonic()
        # The first unit (it compiles, or opens files) says nothing of those to come.
        self._steady: tuple[int, float] | None = None
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(
                desc=name, total=total, unit=unit, initial=initial, dynamic_ncols=True,
                file=sys.stderr, leave=True,
            )  # fmt: skip

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        if self._bar is not None:
            self._bar.close()
        elif error_type is None and self._count != self._shown:
            self._line(time.monotonic())

    def advance(self, num: int = 1, note: str = "") -> None:
        """Counts `num` more units as done; `note` (a loss, a name) is shown beside them."""
        self._count += num
        self._note = note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(num)
            return
        now = time.monotonic()
        if self._steady is None:
            self._steady = (self._count, now)
        if now - self._last >= LOG_INTERVAL_S:
            self._last = now
            self._line(now)

    def _line(self, now: float) -> None:
        self._shown = self._count
        elapsed = max(now - self._start, 1e-9)
        rate = (self._count - self._initial) / elapsed
        if self._steady and self._steady[0] < self._count != self._total:
            count, since = self._steady
            rate = (self._count - count) / max(now - since, 1e-9)
        parts = [f"{self._count}/{self._total}" if self._total else f"{self._count}"]
        parts.append(
            f"{rate:.3g} {self._unit}/s"
            if rate >= 1 or rate == 0
            else f"{1 / rate:.3g} s/{self._unit}"
        )
        if self._total and rate > 0 and self._count < self._total:
            parts.append(f"ETA {(self._total - self._count) / rate:.0f} s")
        else:
            parts.append(f"took {elapsed:.1f} s")
        if self._note:
            parts.append(self._note)
        print(f"{self._name}: " + ", ".join(parts), file=sys.stderr, flush=True)
