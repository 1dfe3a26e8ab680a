# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the processes of a job tell each other when they meet, and what follows from it.

Pure but for `report`, which looks at this machine; `parallel.preflight` carries the messages.
"""

import dataclasses
import itertools
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

import flan_jax
from flan_jax.core import errors
from flan_jax.parallel.environments import Placement

PACKAGES = ("jax", "jaxlib", "libtpu")
MAX_CLOCK_S = 5.0  # clocks further apart are told
MIN_FREE_BYTES = 1 << 30  # less is told
_MAX_SHOWN = 5
_MAX_VALUE = 200  # characters
_NOT_SET = "not set"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a process says of itself."""

    process_id: int
    host: str
    pid: int
    same: Mapping[str, str]  # what must be the same on all: versions, settings
    free_bytes: Mapping[str, int]  # folder -> free space of its disk
    clock: float  # seconds since 1970; of a received report, ahead of process 0's

    @property
    def name(self) -> str:
        """For people."""
        return f"process {self.process_id} ({self.host})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of the meeting, the same for all processes."""

    error: str = ""
    exit_code: int = errors.EXIT_FAILED
    notes: tuple[str, ...] = ()
    host_names: tuple[str, ...] = ()  # by process, once all are there

    def check(self) -> None:
        """Raises the error, if there is one."""
        if self.error:
            kind = errors.UsageError if self.exit_code == errors.EXIT_USAGE else errors.FlanError
            raise kind(self.error)


def report(
    placement: Placement, facts: Mapping[str, str], folders: Iterable[str], num_tpu_chips: int
) -> Report:
    """Returns what this process says.

    Args:
        placement: its place.
        facts: what else must be the same on all.
        folders: whose disks' free space to tell.
        num_tpu_chips: of this machine.
    """
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    versions |= {name: _version(name) for name in PACKAGES}
    return Report(
        process_id=placement.process_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        same={
            "number of processes": str(placement.num_processes),
            **versions,
            "flan_jax": flan_jax.__version__,
            "TPU chips": str(num_tpu_chips),
            **facts,
        },
        free_bytes={f: free for f in folders if (free := _free_bytes(f)) is not None},
        clock=time.time(),
    )


def judge(
    reports: Mapping[int, Sequence[Report]],
    num_processes: int,
    host_names: Mapping[int, str],
    waited_s: float,
) -> Verdict:
    """Returns the verdict on those who are there.

    Args:
        reports: by process; each has one, but where two claim a number.
        num_processes: how many there should be.
        host_names: by process, where the environment tells.
        waited_s: how long.
    """
    there = [found[0] for _, found in sorted(reports.items())]
    # What differs may well be why some are missing, such as two jobs at one port.
    differing = list(_differences(there))
    if wrong := [*wrong_numbers(reports, num_processes), *differing]:
        return Verdict(
            error=f"the processes of this job do not belong together: {'; '.join(wrong)}; start "
            "each of them once, with the same command and the same versions",
            # A number claimed twice may be of a process that is just ending.
            exit_code=errors.EXIT_USAGE if differing else errors.EXIT_FAILED,
        )
    if missing := [index for index in range(num_processes) if index not in reports]:
        return Verdict(error=_missing(missing, num_processes, host_names, waited_s))
    return Verdict(notes=tuple(_notes(there)), host_names=tuple(found.host for found in there))


def _missing(
    missing: Sequence[int], num_processes: int, host_names: Mapping[int, str], waited_s: float
) -> str:
    shown = [f"{i} ({host_names[i]})" if i in host_names else str(i) for i in missing[:_MAX_SHOWN]]
    more = f" and {len(missing) - _MAX_SHOWN} more" if len(missing) > _MAX_SHOWN else ""
    return (
        f"{_processes(len(missing))} {', '.join(shown)}{more} of {num_processes} did not come "
        f"within {waited_s:.0f} s; start the same command on every host, and see the logs of those "
        "that are missing"
    )


def wrong_numbers(reports: Mapping[int, Sequence[Report]], num_processes: int) -> Iterable[str]:
    """Yields which numbers are claimed twice, or are none of the job's."""
    for index, found in sorted(reports.items()):
        if len(found) > 1:
            places = " and ".join(f"{r.host}, pid {r.pid}" for r in found[:2])
            yield f"two say they are process {index} ({places})"
        if index >= num_processes:
            yield f"{found[0].name} came to a job of {num_processes} processes"


def _differences(there: Sequence[Report]) -> Iterable[str]:
    names = dict.fromkeys(name for found in there for name in found.same)
    wrong = [n for n in names if len({found.same.get(n, _NOT_SET) for found in there}) > 1]
    for name in wrong[:_MAX_SHOWN]:
        by_value: dict[str, list[Report]] = {}
        for found in there:
            by_value.setdefault(found.same.get(name, _NOT_SET), []).append(found)
        yield f"{name} is " + " but ".join(
            f"{value[:_MAX_VALUE]} on {_named(where)}"
            for value, where in itertools.islice(by_value.items(), 3)
        )
    if len(wrong) > _MAX_SHOWN:
        yield f"{len(wrong) - _MAX_SHOWN} more differ"


def _named(where: Sequence[Report]) -> str:
    shown = ", ".join(f"{found.process_id} ({found.host})" for found in where[:_MAX_SHOWN])
    more = f" and {len(where) - _MAX_SHOWN} more" if len(where) > _MAX_SHOWN else ""
    return f"{_processes(len(where))} {shown}{more}"


def _processes(num: int) -> str:
    return "process" if num == 1 else "processes"


def _notes(there: Sequence[Report]) -> Iterable[str]:
    ahead = max(there, key=lambda found: found.clock)
    behind = min(there, key=lambda found: found.clock)
    if (apart_s := ahead.clock - behind.clock) > MAX_CLOCK_S:
        yield (
            f"the clock of {ahead.name} is {apart_s:.0f} s ahead of that of {behind.name}; times "
            "in logs do not compare"
        )
    for found in there:
        for folder, size in found.free_bytes.items():
            if size < MIN_FREE_BYTES:
                yield f"{size >> 20} MiB are free at {folder} on {found.name}"


def read_report(message: Mapping[str, Any]) -> Report | None:
    """Returns a report as another process sent it, its clock beside ours; None if it is none."""
    found = message.get("report")
    fields = {field.name for field in dataclasses.fields(Report)}
    if not isinstance(found, dict) or set(found) != fields:
        return None
    plain = {"process_id": int, "host": str, "pid": int, "clock": float}
    tables = {"same": str, "free_bytes": int}
    if not all(type(found[name]) is kind for name, kind in plain.items()):
        return None
    if not all(isinstance(found[name], dict) for name in tables):
        return None
    if not all(type(v) is kind for name, kind in tables.items() for v in found[name].values()):
        return None
    if found["process_id"] < 0:
        return None
    return Report(**{**found, "clock": found["clock"] - time.time()})


def read_verdict(message: Mapping[str, Any]) -> Verdict | None:
    """Returns the verdict that process 0 sent; None if it is none."""
    found = message.get("verdict")
    if not isinstance(found, dict):
        return None
    try:
        verdict = Verdict(**found)
        return dataclasses.replace(
            verdict, notes=tuple(verdict.notes), host_names=tuple(verdict.host_names)
        )
    except TypeError:
        return None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _free_bytes(folder: str) -> int | None:
    """Returns the free space of a folder's disk, also where the folder is still to be made."""
    path = os.path.abspath(folder)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None
