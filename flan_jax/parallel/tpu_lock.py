# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who uses the TPU of this host: libtpu lets in one process at a time, by a lock on a file.

A second process is told "TPU already in use" at best; a process that hangs, or one that was
forgotten, keeps the chips until it ends. All that is read here is Linux's /proc.
"""

import contextlib
import dataclasses
import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

LOCK_FILE = "/tmp/libtpu_lockfile"
_CHIPS = ("/dev/accel*", "/dev/vfio/[0-9]*")  # v4 and older; v5e and newer
_MAX_SHOWN = 200  # characters of a command line


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process that has the TPU; as text, in words for people."""

    pid: int
    command: str  # its command line, "" if that may not be read

    def __str__(self) -> str:
        return f"process {self.pid}" + (f" ({self.command})" if self.command else "")


def holder(paths: Iterable[str] | None = None, proc: Path = Path("/proc")) -> Holder | None:
    """Returns the other process of this host that has the TPU, if one can be found.

    Processes of other users show their locks, not the files that they opened.

    Args:
        paths: files that tell; by default libtpu's lock file and the chips.
        proc: where the kernel tells about processes.
    """
    if paths is None:
        paths = [LOCK_FILE, *(chip for pattern in _CHIPS for chip in glob.glob(pattern))]
    paths = {os.path.realpath(path) for path in paths if os.path.exists(path)}
    if not paths:
        return None
    locking = set(_locking({os.stat(path).st_ino for path in paths}, proc))
    for folder in sorted(proc.glob("[0-9]*"), key=lambda f: (int(f.name) not in locking, f.name)):
        pid = int(folder.name)
        opened = _opened(folder)
        # An inode's number is unique in its file system only, so a look at the files decides.
        has_it = pid in locking if opened is None else bool(paths & opened)
        if has_it and pid != os.getpid():
            return Holder(pid, _command(folder))
    return None


def _locking(inodes: set[int], proc: Path) -> Iterator[int]:
    """Yields the processes that have locks on these files."""
    with contextlib.suppress(OSError):
        for line in (proc / "locks").read_text().splitlines():
            # 1: FLOCK  ADVISORY  WRITE 1234 08:01:131 0 EOF; those that wait have an arrow.
            words = line.split()
            if len(words) >= 6 and words[1] != "->" and int(words[5].split(":")[-1]) in inodes:
                yield int(words[4])


def _opened(folder: Path) -> set[str] | None:
    """Returns the files that a process has open; None if that may not be read."""
    found = set()
    try:
        for descriptor in os.listdir(folder / "fd"):
            with contextlib.suppress(OSError):  # closed just now
                found.add(os.readlink(folder / "fd" / descriptor))
    except PermissionError:
        return None
    except OSError:  # it just ended
        return set()
    return found


def _command(folder: Path) -> str:
    try:
        raw = (folder / "cmdline").read_bytes()
    except OSError:
        return ""
    words = raw.replace(b"\0", b" ").decode(errors="replace").split()
    return " ".join(words)[:_MAX_SHOWN]
