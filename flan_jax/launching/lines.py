# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lines added to a file of the run's folder, which may be full or read-only for a while.

Such a folder is often a mounted bucket: what is written there is seen by others when the file is
closed, and each closing costs an upload. So lines are gathered, and written at most each second.
"""

import threading
import time
from pathlib import Path

from flan_jax.core.progress import say

_PERIOD_S = 1.0
_MAX_WAITING_BYTES = 1 << 20


class LineFile:
    """A file that lines are added to; while it cannot be written the newest of them wait.

    Args:
        path: the file; its folder is made if absent.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._written_s = 0.0
        self._failed = False

    def add(self, line: bytes) -> None:
        """Takes a line, to be written soon."""
        with self._lock:
            self._waiting.append(line if line.endswith(b"\n") else line + b"\n")

    def write(self, *, now: bool = False) -> None:
        """Writes what waits, if the last time is long enough ago; `now`: in any case.

        A failure is told once, and tried again the next time.
        """
        if not self._waiting or (time.monotonic() - self._written_s < _PERIOD_S and not now):
            return
        with self._lock:
            self._written_s = time.monotonic()
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "ab", buffering=0) as file:
                    while self._waiting:
                        file.write(self._waiting[0])
                        del self._waiting[0]
                self._failed = False
            except OSError as error:
                if not self._failed:
                    say(f"launch: {self.path} cannot be written now ({error.strerror or error})")
                self._failed = True
                while sum(map(len, self._waiting)) > _MAX_WAITING_BYTES:
                    del self._waiting[0]
