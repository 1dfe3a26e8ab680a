# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several processes, usually one a host, that work on one job: finding each other, and agreeing.

    JAX_COORDINATOR_ADDRESS    host:port where process 0 listens, the same for all
    JAX_NUM_PROCESSES          how many there are
    JAX_PROCESS_ID             which of them this one is, from 0

Without these variables a process is alone and nothing here does anything.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from flan_jax.core import errors
from flan_jax.core.progress import say

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TIMEOUT_VARIABLE = "FLAN_JAX_JOIN_TIMEOUT_S"
_TIMEOUT_S = 300
# After one process failed the others wait this long for it at their end, not jax's five minutes.
_SHUTDOWN_TIMEOUT_S = 20


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """Returns what `jax.distributed.initialize` needs to know; None for a process alone.

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
        "initialization_timeout": int(timeout),
    }


def join() -> None:
    """Meets the other processes of the environment's job; before anything asks jax for devices.

    Raises:
        UsageError: the variables are incomplete or wrong.
        FlanError: the others did not come in time.
    """
    found = from_environment()
    if found is None or jax.distributed.is_initialized():
        return
    num, index, address, timeout = (
        found[name]
        for name in ("num_processes", "process_id", "coordinator_address", "initialization_timeout")
    )
    say(f"hosts: process {index} of {num}, waiting for the others at {address}")
    try:
        jax.distributed.initialize(**found, shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S)
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise errors.FlanError(
            f"process {index} of {num} did not meet the others at {address} within {timeout} s "
            f"({reason}); start all {num} within {TIMEOUT_VARIABLE} seconds of each other, and see "
            "that process 0 runs at that address and that its port is open"
        ) from None


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Joins the job of the environment; while inside, a process that is lost ends in one line."""
    join()
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not is_shared():
            raise
        reason = str(error).split("\n", maxsplit=1)[0]
        raise errors.FlanError(
            f"lost another process of this job ({reason}); start all processes again to go on"
        ) from error


def is_shared() -> bool:
    """Returns whether this process joined others; starts no device to find out."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def place() -> dict[str, int]:
    """Returns which process this is and how many there are, as the data readers take it."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def is_first() -> bool:
    """Returns whether this process writes what is written once."""
    return jax.process_index() == 0


def agreed(value: bool) -> bool:
    """Returns process 0's value on every process; each must call this at the same place."""
    if jax.process_count() == 1:
        return value
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def wait_for_all(place: str) -> None:
    """Returns once every process came to this place; at once for a process alone."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(place)


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
    failed = np.flatnonzero(multihost_utils.process_allgather(np.asarray(error is not None)))
    if error is not None:
        raise error
    if len(failed):
        raise errors.FlanError(f"process {failed[0]} of this job failed; its own message says why")
