# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cores, memory and limits of this host, or of the container that we are in."""

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from flan_jax.launching.doctor.findings import Finding, ok, warning

GIB = 1 << 30
# Docker gives a container 64 MiB unless told otherwise (docs.docker.com, --shm-size).
_MIN_SHARED_BYTES = 128 << 20
_MIN_FILES = 1024  # what Linux gives a process unless told otherwise


def cores(num: int) -> Iterator[Finding]:
    """Says on how many cores this process may run."""
    yield ok(f"{num} CPU core(s)")


def memory(meminfo: str, limits: tuple[str, ...]) -> Iterator[Finding]:
    """Says how much memory there is.

    Args:
        meminfo: /proc/meminfo.
        limits: what control groups allow, in bytes; "max" or a huge number for no limit.
    """
    found = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    total, available = (int(found[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    limit = min((int(text) for text in limits if text.strip().isdigit()), default=total)
    inside = f", of which this container may use {gib(limit)}" if limit < total else ""
    yield ok(f"{gib(total)} of memory, {gib(available)} of it free{inside}")


def shared_memory(folder: str = "/dev/shm") -> Iterator[Finding]:
    """Says how much shared memory there is; processes that prepare batches pass them there."""
    size = shutil.disk_usage(folder).total
    if size < _MIN_SHARED_BYTES:
        yield warning(
            f"{folder} has {size >> 20} MiB: too little for batches of num_workers > 0",
            "start the container with --shm-size=2g; in Kubernetes mount an emptyDir with "
            f"medium: Memory at {folder}",
        )
    else:
        yield ok(f"{folder} has {gib(size)}")


def open_files(limit: int) -> Iterator[Finding]:
    """Says how many files a process may have open."""
    if limit != resource.RLIM_INFINITY and limit < _MIN_FILES:
        yield warning(f"a process may have only {limit} files open", f"ulimit -n {_MIN_FILES}")
    else:
        shown = "any number of" if limit == resource.RLIM_INFINITY else limit
        yield ok(f"a process may have {shown} files open (ulimit -n)")


def locked_memory(limit: int, num_tpu_chips: int) -> Iterator[Finding]:
    """Says whether libtpu may keep enough memory from being moved, for the chips to reach it."""
    if num_tpu_chips and limit != resource.RLIM_INFINITY and limit < GIB:
        yield warning(
            f"a process may lock only {limit >> 20} MiB of memory: too little for TPUs",
            "ulimit -l unlimited; for a service of systemd LimitMEMLOCK=infinity",
        )


def gib(num_bytes: float) -> str:
    """Returns a size for people.

    Example:
        >>> gib(3 << 29)
        '1.5 GiB'
    """
    return f"{num_bytes / GIB:.1f} GiB"


def num_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_limits(root: Path = Path("/sys/fs/cgroup")) -> tuple[str, ...]:
    """Returns what control groups, of the old kind and the new, say of memory."""
    files = (root / "memory.max", root / "memory" / "memory.limit_in_bytes")
    return tuple(file.read_text() for file in files if file.is_file())
