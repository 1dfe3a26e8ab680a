# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several processes, usually one a host, that work on one job: finding each other, and agreeing.

    JAX_COORDINATOR_ADDRESS    host:port where process 0 listens, the same for all
    JAX_NUM_PROCESSES          how many there are
    JAX_PROCESS_ID             which of them this one is, from 0

Without these variables a process is alone and nothing here does anything. `VARIABLES` are JAX's own
names; `FLAN_JAX_JOIN_TIMEOUT_S` is how long to wait for the others, 300 seconds by default.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from flan_jax.core import errors
from flan_jax.core.progress import say

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TIMEOUT_VARIABLE = "FLAN_JAX_JOIN_TIMEOUT_S"
_ARGUMENTS = ("num_processes", "process_id", "coordinator_address")
_TIMEOUT_S = 300
_MARGIN_S = 60  # jax's own timeout comes this much after ours
# After one process failed the others wait this long for it at their end, not jax's five minutes.
_SHUTDOWN_TIMEOUT_S = 20


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """Returns what `jax.distributed.initialize` needs to know, and `timeout_s`; None if alone.

    Raises:
        UsageError: some variables are missing or wrong.
    """
    given = {name: environment[name] for name in VARIABLES if environment.get(name)}
    if not given:
        return None
    if missing := [name for name in VARIABLES if name not in given]:
        raise errors.UsageError(
            f"{' and '.join(given)} set but not {' and '.join(missing)}; set all three for a job "
            "of several processes, none for one process"
        )
    address, num, index = (given[name] for name in VARIABLES)
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise errors.UsageError(f"{VARIABLES[0]} is {address!r}; give host:port of process 0")
    if not num.isdigit() or int(num) < 1:
        raise errors.UsageError(f"{VARIABLES[1]} is {num!r}; give the number of processes, >= 1")
    if not index.isdigit() or int(index) >= int(num):
        raise errors.UsageError(
            f"{VARIABLES[2]} is {index!r}; give this process's number, 0 to {int(num) - 1}"
        )
    timeout = environment.get(TIMEOUT_VARIABLE) or str(_TIMEOUT_S)
    if not timeout.isdigit() or int(timeout) < 1:
        raise errors.UsageError(f"{TIMEOUT_VARIABLE} is {timeout!r}; give whole seconds, >= 1")
    return {
        "coordinator_address": address,
        "num_processes": int(num),
        "process_id": int(index),
        "timeout_s": int(timeout),
    }


def join() -> None:
    """Meets the other processes of the environment's job; before anything asks jax for devices.

    A process that does not meet all others in time ends here with one line and exit code 1.

    Raises:
        UsageError: the variables are incomplete or wrong.
    """
    found = from_environment()
    if found is None or jax.distributed.is_initialized():
        return
    timeout = found.pop("timeout_s")
    num, index, address = (found[name] for name in _ARGUMENTS)
    say(f"hosts: process {index} of {num}, waiting for the others at {address}")

    def give_up() -> None:
        say(
            f"flan-jax: error: process {index} of {num} did not meet the others at {address} "
            f"within {timeout} s; start all {num} with the same {VARIABLES[0]}, see that the host "
            f"of process 0 lets them in at its port, or wait longer ({TIMEOUT_VARIABLE})"
        )
        os._exit(errors.EXIT_FAILED)

    # jax waits in C++, and after its own timeout ends the process with a stack trace.
    timer = threading.Timer(timeout, give_up)
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            **found,
            initialization_timeout=timeout + _MARGIN_S,
            shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S,
        )
    finally:
        timer.cancel()


def is_shared() -> bool:
    """Returns whether this process joined others; starts no device to find out."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Returns whether this process writes what is written once."""
    return jax.process_index() == 0


def agreed(value: int) -> int:
    """Returns process 0's value on every process; each must call this at the same place."""
    return shared(np.asarray(value)).item()


def shared(values: np.ndarray) -> np.ndarray:
    """Returns process 0's array on every process, which has one of the same shape there."""
    return values if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(values)


def gathered(text: str) -> list[str]:
    """Returns the text of each process, in their order; each must call this at the same place."""
    if not is_shared():
        return [text]
    mine = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.asarray(len(mine)))
    padded = np.zeros(max(sizes), np.uint8)
    padded[: len(mine)] = mine
    rows = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes().decode() for row, size in zip(rows, sizes, strict=True)]


def where(is_so: bool) -> list[int]:
    """Returns the processes where something is so; each must call this at the same place."""
    everywhere = multihost_utils.process_allgather(np.asarray(is_so))
    return np.flatnonzero(everywhere).tolist()


@contextlib.contextmanager
def all_or_none() -> Iterator[None]:
    """Makes an error of one process in the block an error of all, so that none waits for it."""
    if not is_shared():
        yield
        return
    error: Exception | None = None
    try:
        yield
    except Exception as caught:  # noqa: BLE001 - raised again below
        error = caught
    failed = where(error is not None)
    if error is not None:
        raise error
    if failed:
        raise errors.FlanError(f"process {failed[0]} of this job failed; its own message says why")
