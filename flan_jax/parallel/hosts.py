# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several processes, usually one a host, that work on one job: finding each other, and agreeing.

How a process learns which one it is: `parallel.environments`; by hand it is three variables,

    JAX_COORDINATOR_ADDRESS    host:port where process 0 listens, the same for all
    JAX_NUM_PROCESSES          how many there are
    JAX_PROCESS_ID             which of them this one is, from 0

A process that nothing says this of is alone, and nothing here does anything. Others meet
(`parallel.preflight`), start jax, and from then on watch each other (`parallel.lifeline`).

    FLAN_JAX_JOIN_TIMEOUT_S       how long to wait for the others, 120 seconds by default
    FLAN_JAX_COORDINATOR_PORT     the port of process 0, where the environment gives its host only
    FLAN_JAX_SILENCE_TIMEOUT_S    how long another may give no sign of life, 60 seconds by default
"""

import collections
import contextlib
import functools
import importlib
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from jax._src import hardware_utils  # what jax itself goes by to tell a TPU host
from jax.experimental import multihost_utils

from flan_jax.core import errors
from flan_jax.core.progress import say
from flan_jax.parallel import environments, lifeline, preflight, reports
from flan_jax.parallel.environments import Placement

TIMEOUT_VARIABLE = "FLAN_JAX_JOIN_TIMEOUT_S"
_TIMEOUT_S = 120
_SILENCE_TIMEOUT_S = 60
_MARGIN_S = 60  # jax's own timeouts come this much after ours
# Who is done waits for the others as long as they work: if one is lost, the lifeline ends it.
_SHUTDOWN_TIMEOUT_S = 7 * 24 * 3600


def join(facts: Mapping[str, str] | None = None) -> None:
    """Meets the other processes of the environment's job; before anything asks jax for devices.

    Args:
        facts: what must be the same on all hosts, by name; `config.model_dir` among them is also
            a folder whose free space is looked at.

    Raises:
        UsageError: the variables are incomplete or wrong, or the processes differ.
        FlanError: some do not come in time.
    """
    if jax.distributed.is_initialized():
        return
    num_tpu_chips, _ = hardware_utils.num_available_tpu_chips_and_device_id()
    placement = environments.find(
        os.environ,
        num_tpu_chips=num_tpu_chips,
        metadata=functools.partial(environments.ask_metadata_server, os.environ),
    )
    timeout_s = _seconds(TIMEOUT_VARIABLE, _TIMEOUT_S)
    silence_timeout_s = _seconds(lifeline.TIMEOUT_VARIABLE, _SILENCE_TIMEOUT_S)
    if placement is None:
        if environments.is_pathways(os.environ):
            _start_pathways()
        return
    say(
        f"hosts: process {placement.process_id} of {placement.num_processes} ({placement.kind}), "
        f"waiting for the others at {placement.address}"
    )
    for note in placement.notes:
        say(f"hosts: {note}")
    host_names: Sequence[str] = ("",)
    if placement.num_processes > 1:
        facts = dict(facts or {})
        model_dir = facts.get("config.model_dir", "").strip("'")
        folders = [tempfile.gettempdir(), *([model_dir] if model_dir else [])]
        meeting = preflight.meet(
            placement, reports.report(placement, facts, folders, num_tpu_chips), timeout_s
        )
        host_names = meeting.verdict.host_names
        if placement.process_id == 0:
            for note in meeting.verdict.notes:
                say(f"hosts: {note}")
        lifeline.start(
            process_id=placement.process_id,
            host_names=host_names,
            channels=meeting.channels,
            silence_timeout_s=silence_timeout_s,
        )
    _initialize(placement, timeout_s, silence_timeout_s)
    _check_devices(host_names)


def _seconds(variable: str, default: int) -> int:
    given = os.environ.get(variable) or str(default)
    if not given.isdigit() or int(given) < 1:
        raise errors.UsageError(f"{variable} is {given!r}; give whole seconds, >= 1")
    return int(given)


def _start_pathways() -> None:
    try:
        module = importlib.import_module("pathwaysutils")
    except ImportError:
        raise errors.UsageError(
            "JAX_PLATFORMS asks for Pathways' proxy, but pathwaysutils is not installed: pip "
            "install pathwaysutils"
        ) from None
    module.initialize()


def _initialize(placement: Placement, timeout_s: int, silence_timeout_s: int) -> None:
    """Starts jax's own service, for processes that have met."""

    def give_up() -> None:
        say(
            f"flan-jax: error: process {placement.process_id} of {placement.num_processes} met the "
            f"others at {placement.address}, but jax did not within {timeout_s} s more; see their "
            f"logs, or wait longer ({TIMEOUT_VARIABLE})"
        )
        os._exit(errors.EXIT_FAILED)

    # jax waits in C++, and after its own timeout ends the process with a stack trace.
    timer = threading.Timer(timeout_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            coordinator_address=placement.address,
            num_processes=placement.num_processes,
            process_id=placement.process_id,
            local_device_ids=placement.local_device_ids,
            cluster_detection_method="deactivate",  # all is said
            initialization_timeout=timeout_s + _MARGIN_S,
            heartbeat_timeout_seconds=silence_timeout_s + _MARGIN_S,
            shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S,
        )
    finally:
        timer.cancel()


def _check_devices(host_names: Sequence[str]) -> None:
    """Starts the devices, and checks that each process has as many."""
    counts = collections.Counter(device.process_index for device in jax.devices())
    if len({counts[index] for index in range(len(host_names))}) > 1:
        usual, _ = collections.Counter(counts.values()).most_common(1)[0]
        odd = [
            f"process {index} ({name}) has {counts[index]}"
            for index, name in enumerate(host_names)
            if counts[index] != usual
        ]
        raise errors.UsageError(
            f"the hosts of this job differ in devices: {', '.join(odd[:5])}"
            f"{', ...' if len(odd) > 5 else ''}, the others {usual}; see that all are of one kind, "
            "and that none has lost a chip"
        )


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
    code = 0 if error is None else getattr(error, "exit_code", errors.EXIT_FAILED)
    codes = multihost_utils.process_allgather(np.asarray(code)).tolist()
    if error is not None:
        raise error
    if any(codes):
        index = next(i for i, other in enumerate(codes) if other)
        # With its exit code, as another start mends some errors and not others.
        kinds = {kind.exit_code: kind for kind in (errors.UsageError, errors.DoesNotFitError)}
        kind = kinds.get(codes[index], errors.FlanError)
        raise kind(f"process {index} of this job failed; its own message says why")
