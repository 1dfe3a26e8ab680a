# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the environment's variables make of a process that starts here: its place, its devices."""

import re
import socket
from collections.abc import Callable, Iterator, Mapping

from flan_jax.core import errors
from flan_jax.launching.doctor.findings import Finding, ok, problem, warning
from flan_jax.parallel import environments
from flan_jax.parallel.environments import Placement

_SHOWN = re.compile(
    r"JAX_.*|XLA_FLAGS|LIBTPU_INIT_ARGS|TPU_.*|MEGASCALE_.*|SLURM_(JOB_ID|STEP_NODELIST|NTASKS|"
    r"STEP_NUM_TASKS|PROCID|LOCALID)|CUDA_VISIBLE_DEVICES|FLAN_JAX_.*|.*_proxy",
    re.IGNORECASE,
)
_USER = re.compile(r"[^/@\s]+@")  # and password
_PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
_ABORT = "--megascale_abort_on_hangs=true"


def shown(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Says which variables are set that jax, libtpu or we look at; no password of a proxy."""
    found = [
        f"{name}={_USER.sub('...@', value) if name.lower().endswith('_proxy') else value}"
        for name, value in sorted(environment.items())
        if _SHOWN.fullmatch(name) and value
    ]
    yield ok("variables set: " + (", ".join(found) or "none that matter"))


def place(
    environment: Mapping[str, str],
    find: Callable[[], Placement | None],
    listener: Callable[[int], str],
) -> Iterator[Finding]:
    """Says which process of which job would start here, and warns of what may keep it waiting.

    Args:
        environment: the variables.
        find: tells the process's place, or raises a `FlanError`.
        listener: who listens at a port of this host; "" for nobody.
    """
    try:
        placement = find()
    except errors.FlanError as error:
        text, _, remedy = str(error).rpartition("; ")
        yield problem(text or remedy, remedy if text else "see docs/troubleshooting.md")
        return
    yield from _slices(environment)
    if placement is None:
        yield ok("a process started here would work alone")
        return
    index, num = placement.process_id, placement.num_processes
    yield ok(
        f"a process started here would be process {index} of {num}, by {placement.kind}; process 0 "
        f"listens at {placement.address}"
    )
    for note in placement.notes:
        yield ok(note)
    yield from _proxies(environment, placement.coordinator_host)
    if index == 0 and (holder := listener(placement.coordinator_port)):
        yield problem(
            f"port {placement.coordinator_port}, where process 0 would listen, is taken by "
            f"{holder}",
            f"end it, or choose another port ({environments.PORT_VARIABLE})",
        )


def who_listens(port: int, holder: Callable[[int], str]) -> str:
    """Returns who listens at a port of this host, in words; "" if nobody does.

    Args:
        port: the port.
        holder: finds the process; "" where it may not be seen.
    """
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError as error:
            return holder(port) or f"a process that cannot be seen ({error.strerror})"
    return ""


def _slices(environment: Mapping[str, str]) -> Iterator[Finding]:
    num = environment.get("MEGASCALE_NUM_SLICES", "")
    if num.isdigit() and int(num) > 1 and _ABORT not in environment.get("LIBTPU_INIT_ARGS", ""):
        yield warning(
            f"{num} slices, and libtpu waits without end for one that is lost",
            f"LIBTPU_INIT_ARGS={_ABORT}",
        )


def _proxies(environment: Mapping[str, str], host: str) -> Iterator[Finding]:
    names = [name for name in sorted(environment) if name.lower() in _PROXIES and environment[name]]
    passed_by = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if names and host not in passed_by.split(","):
        yield warning(
            f"{', '.join(names)} set: connections to {host} may go to the proxy and hang",
            f"unset them for the job, or add {host} to no_proxy",
        )
