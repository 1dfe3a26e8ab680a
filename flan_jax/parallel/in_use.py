# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What to tell where another process has the port or the TPU that this one needs."""

import os
from pathlib import Path

from flan_jax.core import errors
from flan_jax.parallel import tpu_lock

_LISTENING = "0A"
_MAX_COMMAND = 80


def port_holder(port: int, proc: Path = Path("/proc")) -> str:
    """Returns the process that listens at a port of this host, for people; '' if it is not seen."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in _read(proc / "net" / table).splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    for folder in proc.glob("[0-9]*"):
        if sockets & _opened(folder):
            command = _read(folder / "cmdline").replace("\0", " ").strip()
            return f"process {folder.name} ({command[:_MAX_COMMAND]})"
    return ""


def tpu_error(error: Exception) -> errors.FlanError | None:
    """Returns what to tell instead of `error` if that says that the TPU is in use, else None."""
    text = str(error)
    lowered = text.lower()
    if "tpu" not in lowered or not ("already in use" in lowered or "lockfile" in lowered):
        return None
    holder = tpu_lock.holder()
    if holder is not None:
        return errors.FlanError(
            f"the TPU of this host is in use by {holder}; wait for that process or end it, then "
            "start again (what only prepares data runs with JAX_PLATFORMS=cpu)"
        )
    return errors.FlanError(
        f"the TPU of this host is in use ({text.splitlines()[0]}), but no process is seen that "
        f"has it; one of another container may (sudo lsof /dev/accel* /dev/vfio/*), else a process "
        f"that died left its lock: sudo rm {tpu_lock.LOCK_FILE}"
    )


def _opened(folder: Path) -> set[str]:
    """Returns what a process has open; nothing where that may not be read."""
    found = set()
    try:
        for name in os.listdir(folder / "fd"):
            found.add(os.readlink(folder / "fd" / name))
    except OSError:  # another user's, or it just ended
        return found
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
