# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a process learns which process of a job it is: from variables and Google's metadata server.

Looked at in this order; the first that applies decides:

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID    set by hand or by a launcher
    JAX_PLATFORMS=proxy    Pathways: one process drives all devices, it is alone
    SLURM_*                a step of several tasks, started by srun
    TPU_WORKER_HOSTNAMES or TPU_PROCESS_ADDRESSES, TPU_WORKER_ID    GKE, where this machine has TPUs
    metadata               a Cloud TPU VM, where this machine has TPUs
    none                   the process is alone

On TPUs, `MEGASCALE_*` make several slices one job (Multislice). The rules and ports are those of
`jax.distributed.initialize`, which would itself wait where values are stale or incomplete; two
differ. TPUs are left alone where JAX_PLATFORMS does not name them (a data worker on a TPU host),
and the metadata server is asked briefly, and only on Cloud TPU VMs.
"""

import dataclasses
import re
import types
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence

from flan_jax.core import errors

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
PORT_VARIABLE = "FLAN_JAX_COORDINATOR_PORT"
SLURM_VARIABLES = (
    "SLURM_JOB_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)
SLICE_VARIABLES = ("MEGASCALE_COORDINATOR_ADDRESS", "MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID")
_TPU_PORT = 8482  # jax's since 0.8.1
_SLURM_PORTS = 61440, 4096  # first port and how many, after the job's number

Metadata = Callable[[str], str | None]  # attribute -> value, None if the machine has no such


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """Which process of which job this one is."""

    kind: str  # what said so, for people
    coordinator_host: str
    coordinator_port: int
    num_processes: int
    process_id: int
    # Process -> host name or address, as far as the environment tells.
    host_names: Mapping[int, str] = dataclasses.field(
        default_factory=lambda: types.MappingProxyType({})
    )
    local_device_ids: tuple[int, ...] | None = None  # None: all devices of the host
    notes: tuple[str, ...] = ()  # what else to tell people

    @property
    def address(self) -> str:
        """Where process 0 listens."""
        return f"{self.coordinator_host}:{self.coordinator_port}"


def find(
    environment: Mapping[str, str], *, num_tpu_chips: int, metadata: Metadata
) -> Placement | None:
    """Returns this process's place in its job; None if it is alone.

    Args:
        environment: the variables.
        num_tpu_chips: of this machine.
        metadata: asks the metadata server for an attribute of this machine.

    Raises:
        UsageError: variables are missing, wrong, or contradict each other.
    """
    if any(environment.get(name) for name in VARIABLES):
        return _explicit(environment)
    if is_pathways(environment):
        return None
    if all(environment.get(name) for name in SLURM_VARIABLES):
        return _slurm(environment, has_tpus=num_tpu_chips > 0)
    platforms = environment.get("JAX_PLATFORMS", "").split(",")
    if num_tpu_chips == 0 or not {"", "tpu"} & set(platforms):
        return None
    addresses = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if addresses:
        return _gke(environment, addresses)
    if "TPU_SKIP_MDS_QUERY" in environment:
        return None
    return _tpu_vm(environment, metadata)


def is_pathways(environment: Mapping[str, str]) -> bool:
    """Returns whether one process drives all devices, through Pathways' proxy."""
    return "proxy" in environment.get("JAX_PLATFORMS", "").split(",")


def ask_metadata_server(environment: Mapping[str, str], attribute: str) -> str | None:
    """Returns an attribute of this Google Cloud machine; None if it has no such.

    Raises:
        FlanError: the server does not answer.
    """
    server = environment.get("GCE_METADATA_IP", "metadata.google.internal")
    url = f"http://{server}/computeMetadata/v1/instance/attributes/{attribute}"
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    error: OSError | None = None
    for _ in range(3):
        try:
            with opener.open(request, timeout=2) as answer:
                return answer.read(1 << 20).decode()
        except urllib.error.HTTPError as found:
            if found.code == 404:
                return None
            error = found
        except OSError as found:
            error = found
    raise errors.FlanError(
        f"this machine has TPUs, but Google's metadata server does not say which worker it is "
        f"({server}: {error}); set {', '.join(VARIABLES)}, or TPU_SKIP_MDS_QUERY=1 for a process "
        "that works alone"
    )


def _explicit(environment: Mapping[str, str]) -> Placement:
    given = {name: environment[name] for name in VARIABLES if environment.get(name)}
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
    return Placement(
        kind=f"{VARIABLES[0]}",
        coordinator_host=host,
        coordinator_port=int(port),
        num_processes=int(num),
        process_id=int(index),
    )


def _port(environment: Mapping[str, str], default: int) -> int:
    for name in (PORT_VARIABLE, "JAX_COORDINATOR_PORT"):
        if given := environment.get(name):
            if not given.isdigit() or not 1 <= int(given) <= 65535:
                raise errors.UsageError(f"{name} is {given!r}; give a port, 1 to 65535")
            return int(given)
    return default


def _whole(environment: Mapping[str, str], name: str) -> int:
    if not environment[name].isdigit():
        raise errors.UsageError(f"{name} is {environment[name]!r}; it must be a whole number")
    return int(environment[name])


# SLURM


def _slurm(environment: Mapping[str, str], *, has_tpus: bool) -> Placement | None:
    # An allocation's first shell knows the job's number of tasks, but is a step of one task.
    tasks = "SLURM_STEP_NUM_TASKS" if environment.get("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"
    num = _whole(environment, tasks)
    if num <= 1:
        return None
    nodes = expand_nodes(environment["SLURM_STEP_NODELIST"])
    first_port, num_ports = _SLURM_PORTS
    proxies = sorted(name for name in environment if name.lower().endswith("_proxy"))
    notes = ()
    if proxies:
        notes = (f"{', '.join(proxies)} set: on some clusters this keeps the hosts from meeting",)
    return Placement(
        kind="SLURM",
        coordinator_host=nodes[0],
        coordinator_port=_port(
            environment, first_port + _whole(environment, "SLURM_JOB_ID") % num_ports
        ),
        num_processes=num,
        process_id=_whole(environment, "SLURM_PROCID"),
        host_names=dict(enumerate(nodes)) if len(nodes) == num else {},
        local_device_ids=None if has_tpus else _slurm_devices(environment, len(nodes) == num),
        notes=notes,
    )


def _slurm_devices(environment: Mapping[str, str], one_per_node: bool) -> tuple[int, ...] | None:
    """Returns which of the devices it can see a task takes; None: all of them.

    As jax has it, task k of a node takes device k; but a node's only task takes all, and a task
    that was given one device (`--gpus-per-task=1`) takes that.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    if environment.get("JAX_LOCAL_DEVICE_IDS") or one_per_node or visible.isdigit():
        return None
    return (_whole(environment, "SLURM_LOCALID"),)


def expand_nodes(text: str) -> list[str]:
    """Returns the host names of a SLURM node list.

    Example:
        >>> expand_nodes("login,node[001,007-008]")
        ['login', 'node001', 'node007', 'node008']
    """
    found = []
    # A comma inside brackets belongs to its host.
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        found.extend(_expand_brackets(part))
    if not found:
        raise errors.UsageError(f"SLURM_STEP_NODELIST is {text!r}; it names no host")
    return found


def _expand_brackets(text: str) -> list[str]:
    matched = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", text)
    if matched is None:
        return [text]
    before, inside, after = matched.groups()
    numbers = []
    for part in inside.split(","):
        first, _, last = part.partition("-")
        last = last or first
        if not (first.isdigit() and last.isdigit()):
            raise errors.UsageError(f"SLURM_STEP_NODELIST: {text!r} is no list of hosts")
        numbers += [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    return [before + number + rest for number in numbers for rest in _expand_brackets(after)]


# TPU


def _gke(environment: Mapping[str, str], addresses: str) -> Placement | None:
    workers = [address.strip().partition(":")[0] for address in addresses.split(",")]
    if not environment.get("TPU_WORKER_ID") and len(workers) > 1:
        raise errors.UsageError(
            f"TPU_WORKER_HOSTNAMES names {len(workers)} hosts but TPU_WORKER_ID is not set; GKE "
            "sets both where a pod asks for google.com/tpu"
        )
    # GKE sets MEGASCALE_* in the environment; a pod may not be able to reach the metadata server.
    index = _whole(environment, "TPU_WORKER_ID") if environment.get("TPU_WORKER_ID") else 0
    return _tpu("GKE", environment, workers, index, environment.get)


def _tpu_vm(environment: Mapping[str, str], metadata: Metadata) -> Placement | None:
    index, endpoints = metadata("agent-worker-number"), metadata("worker-network-endpoints")
    if index is None or endpoints is None:
        return None
    workers = []
    for endpoint in endpoints.split(","):
        # Either a host name, or name:id:address.
        parts = endpoint.strip().split(":")
        if len(parts) not in (1, 3):
            raise errors.FlanError(f"worker-network-endpoints of this machine: {endpoint!r}?")
        workers.append(parts[-1])
    tpu_env = _read_tpu_env(metadata("tpu-env") or "")

    def value(name: str) -> str | None:
        return environment.get(name) or tpu_env.get(name)

    return _tpu("Cloud TPU VM", environment, workers, int(index), value)


def _read_tpu_env(text: str) -> dict[str, str]:
    """Returns the values of lines such as `MEGASCALE_NUM_SLICES: '2'`."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip().strip("'") for name, _, value in pairs}


def _tpu(
    kind: str,
    environment: Mapping[str, str],
    workers: Sequence[str],
    index: int,
    value: Callable[[str], str | None],
) -> Placement | None:
    """Returns the place of worker `index` of a slice's `workers`; `value` gives MEGASCALE_*."""
    if index >= len(workers):
        raise errors.UsageError(
            f"{kind} says this is worker {index} of a slice, but names {len(workers)} hosts "
            f"({', '.join(workers[:4])}{', ...' if len(workers) > 4 else ''}); TPU_WORKER_ID and "
            "the list of hosts do not belong together"
        )
    first, num_slices, slice_id = _slices(value)
    if num_slices * len(workers) == 1:
        return None
    notes = ()
    if num_slices > 1:
        shown = ", ".join(f"{name}={value(name)}" for name in SLICE_VARIABLES)
        notes = (f"slice {slice_id} of {num_slices} with {len(workers)} hosts each ({shown})",)
    start = slice_id * len(workers)
    return Placement(
        kind=kind,
        coordinator_host=(first or workers[0]).partition(":")[0],
        coordinator_port=_port(environment, _TPU_PORT),
        num_processes=num_slices * len(workers),
        process_id=start + index,
        host_names={start + number: name for number, name in enumerate(workers)},
        notes=notes,
    )


def _slices(value: Callable[[str], str | None]) -> tuple[str, int, int]:
    """Returns process 0's address ('' if this slice has it), the number of slices, and which."""
    given = {name: found for name in SLICE_VARIABLES if (found := value(name))}
    if given.items() <= {SLICE_VARIABLES[1]: "1", SLICE_VARIABLES[2]: "0"}.items():
        return "", 1, 0
    shown = ", ".join(f"{name}={found}" for name, found in given.items())
    if missing := [name for name in SLICE_VARIABLES if name not in given]:
        raise errors.UsageError(
            f"Multislice: {shown}, but {' and '.join(missing)} not set; set all three on each host "
            "of each slice, none for a job of one slice"
        )
    address, num, index = (given[name] for name in SLICE_VARIABLES)
    if not num.isdigit() or not index.isdigit() or int(index) >= int(num):
        raise errors.UsageError(
            f"Multislice: {shown}; slices are numbered from 0 to MEGASCALE_NUM_SLICES - 1: these "
            "values are wrong, or left over from another job"
        )
    return address, int(num), int(index)
