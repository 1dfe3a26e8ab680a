# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What jax can compute on, and what keeps it from a TPU or GPU that is there.

jax is asked in a process of its own: starting a TPU may hang, for want of the other hosts or since
another process has it, and then that process can be ended and the reason looked for.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flan_jax.launching.doctor.findings import Finding, ok, problem, warning
from flan_jax.parallel import tpu_lock

# jax says that it waits for the TPU after 60 s; a healthy one is ready before.
TIMEOUT_S = 90
_ASK = (
    "import jax, json; devices = jax.devices(); print(json.dumps({"
    "'platform': jax.default_backend(), 'kind': devices[0].device_kind, "
    "'count': len(devices), 'local': jax.local_device_count()}))"
)
_GOOGLE, _NVIDIA = "0x1ae0", "0x10de"
# PCI numbers of TPUs, as jax 0.10.2 knows them (jax/_src/hardware_utils.py).
_TPUS = {
    "0x0027": "v3",
    "0x005e": "v4",
    "0x0062": "v5p",
    "0x0063": "v5e",
    "0x006f": "v6e",
    "0x0076": "TPU7x",
}
_DISPLAY = "0x03"  # how the class of a graphics card begins


@dataclasses.dataclass(frozen=True)
class Answer:
    """What jax said about its devices."""

    platform: str = ""  # "" if it did not answer
    kind: str = ""
    count: int = 0  # of the whole job
    local: int = 0  # of this host
    error: str = ""  # why there is no answer
    took_too_long: bool = False


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Accelerators on this host's PCI bus."""

    tpus: Sequence[str] = ()  # the generation of each chip
    num_gpus: int = 0


def ask(
    environment: Mapping[str, str],
    timeout_s: float = TIMEOUT_S,
    argv: Sequence[str] = (sys.executable, "-c", _ASK),
) -> Answer:
    """Asks jax in another process, which is ended if it takes longer."""
    process = subprocess.Popen(
        argv,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, said = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Answer(error=f"no answer within {timeout_s:g} s", took_too_long=True)
    lines = [line for line in said.splitlines() if line.strip()]
    if process.returncode:
        reason = lines[-1] if lines else f"its process ended with code {process.returncode}"
        return Answer(error=reason)
    return Answer(**json.loads(out.splitlines()[-1]))


def hardware(bus: Path = Path("/sys/bus/pci/devices")) -> Hardware:
    """Returns the TPU chips and GPUs that the kernel knows of."""
    tpus, num_gpus = [], 0
    for device in sorted(bus.glob("*")):
        try:
            vendor, number, kind = (
                (device / name).read_text().strip() for name in ("vendor", "device", "class")
            )
        except OSError:  # taken off just now
            continue
        if vendor == _GOOGLE and number in _TPUS:
            tpus.append(_TPUS[number])
        num_gpus += vendor == _NVIDIA and kind.startswith(_DISPLAY)
    return Hardware(tpus, num_gpus)


def devices(
    answer: Answer,
    found: Hardware,
    *,
    wanted: str,
    holder: tpu_lock.Holder | None,
    has_libtpu: bool,
) -> Iterator[Finding]:
    """Compares what jax has with what is there.

    Args:
        answer: what jax said.
        found: what is on the PCI bus.
        wanted: JAX_PLATFORMS, which limits jax.
        holder: another process that has the TPU.
        has_libtpu: whether libtpu is installed.
    """
    asked = f" (JAX_PLATFORMS={wanted})" if wanted else ""
    if holder is not None and found.tpus:
        yield problem(
            f"{holder} has the TPU of this host",
            f"wait for it, or end it: kill {holder.pid}",
        )
    elif holder is not None:
        yield warning(
            f"{holder} has libtpu's lock, so no other process here compiles for TPUs",
            "wait for it, or set ALLOW_MULTIPLE_LIBTPU_LOAD=1 for both, as flan-jax compile does",
        )
    if answer.took_too_long:
        yield problem(f"jax gave {answer.error}{asked}", _why_it_hangs(found, holder))
    elif answer.error:
        yield problem(f"jax has no devices{asked}: {answer.error}", _why_it_fails(found, wanted))
    else:
        local = f", {answer.local} of them here" if answer.local != answer.count else ""
        name = (
            answer.kind
            if answer.kind == answer.platform
            else (f"{answer.kind} ({answer.platform})")
        )
        yield ok(f"jax computes on {answer.count} x {name}{local}{asked}")
    if found.tpus and answer.platform not in ("tpu", ""):
        chips = f"{len(found.tpus)} TPU {found.tpus[0]} chip(s) are here, and jax does not use them"
        if not has_libtpu:
            yield problem(f"{chips}: libtpu is not installed", "pip install 'flan_jax[tpu]'")
        elif wanted and "tpu" not in wanted.split(","):
            yield warning(f"{chips}: JAX_PLATFORMS is {wanted}", "unset JAX_PLATFORMS")
        elif holder is None:
            yield problem(chips, "run it with JAX_PLATFORMS=tpu, to be told why")
    if found.num_gpus and answer.platform == "cpu" and not wanted:
        yield warning(
            f"{found.num_gpus} NVIDIA GPU(s) are here, and jax does not use them",
            "pip install 'flan_jax[gpu]'; then see that nvidia-smi works",
        )
    if has_libtpu and not found.tpus and not answer.error:
        yield ok("libtpu is installed and no TPU is here: it compiles for TPUs, flan-jax compile")


def lock_file(path: Path, holder: tpu_lock.Holder | None) -> Iterator[Finding]:
    """Says whether libtpu can take its lock, a file that a user of the host leaves behind."""
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        yield problem(
            f"{path} belongs to another user: libtpu will not start",
            f"if nobody uses the TPU: sudo rm {path}",
        )
    elif path.exists() and holder is None:
        yield ok(f"{path} is held by nobody")


def against_slice(answer: Answer, name: str, num_devices: int) -> Iterator[Finding]:
    """Compares jax's devices with those of the slice that a job is meant for."""
    if answer.error:
        return
    if answer.platform != "tpu" or answer.count != num_devices:
        yield warning(
            f"{name} has {num_devices} TPU devices, and jax here {answer.count} of {answer.kind}",
            "run doctor on every worker of the slice at once (ssh --worker=all)",
        )
    else:
        yield ok(f"as many devices as {name} has")


def _why_it_hangs(found: Hardware, holder: tpu_lock.Holder | None) -> str:
    if holder is not None:
        return "the other process keeps it from starting"
    if found.tpus:
        return (
            "a slice starts when all its hosts do: run this on every worker at once "
            "(--worker=all); of several slices, see that the MEGASCALE variables are today's"
        )
    return "see which platform it starts: JAX_PLATFORMS=cpu flan-jax doctor should answer"


def _why_it_fails(found: Hardware, wanted: str) -> str:
    if "tpu" in wanted and not found.tpus:
        return "no TPU is on this host's PCI bus: unset JAX_PLATFORMS, or run on a TPU VM"
    if "cuda" in wanted or "gpu" in wanted:
        return "pip install 'flan_jax[gpu]', and see that nvidia-smi works; or unset JAX_PLATFORMS"
    return "mend what the message names, or try JAX_PLATFORMS=cpu"
