# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training step of a run, compiled for a TPU slice on a machine that has no TPU.

The real compiler (libtpu) gets the step that `training/loop.py` runs, with shapes in place of
arrays: it says whether the step fits in memory, how full that gets, and what the step does. It
proves compilation, memory and sharding; no speed, which is estimated here, and no numbers.
"""

import contextlib
import dataclasses
import importlib.util
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding

from flan_jax.aot import flops, hlo
from flan_jax.aot.slices import Generation, Slice
from flan_jax.core import axes, errors
from flan_jax.data.loader import TrainInput
from flan_jax.data.packing import Batch
from flan_jax.data.row_layouts import LAYOUTS, RowLayout
from flan_jax.data.seqio_loader import SeqioInput
from flan_jax.models.model import Model
from flan_jax.parallel import arrays
from flan_jax.parallel.mesh import make_mesh
from flan_jax.parallel.rules import resolve
from flan_jax.training.loop import step_spec
from flan_jax.training.state import abstract_state, num_params
from flan_jax.training.step import StepSpec, eval_step, jitted_train_step
from flan_jax.training.train_config import TrainConfig

# How hard the compiler tries. 'quick' takes a third to a seventh of the time of 'default', which
# takes more memory where there is some (`plans.has_room`). 'memory' makes no program: the compiler
# is asked to fit the step into next to nothing, and its refusal, after seconds, tells what the step
# needs.
MEMORY = "memory"
EFFORTS = {MEMORY: -1.0, "quick": -1.0, "default": 0.0}
_NEXT_TO_NOTHING = {"xla_tpu_max_hbm_size_mib": "1"}

_OUT_OF_MEMORY = (
    re.compile(r"memory required for HLO temporaries \(([\d.]+)([KMGT])\) exceeds available HBM "
               r"\(([\d.]+)([KMGT])\)"),
    re.compile(r"Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm"),
)  # fmt: skip
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A run and the slice to compile its step for."""

    name: str  # of the run, for people
    model: Model
    data: TrainInput | SeqioInput
    config: TrainConfig
    slice: Slice


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What the report needs of a compiled step."""

    peak_bytes: int  # of one device's memory
    flops: float  # of one device, as the compiler counts: a loop's body once
    bytes_accessed: float  # likewise
    text: str  # HLO


class OutOfMemory(Exception):
    """The compiler found that the step does not fit."""

    def __init__(self, needed_bytes: int, limit_bytes: int):
        super().__init__(f"{needed_bytes} bytes are needed, there are {limit_bytes}")
        self.needed_bytes, self.limit_bytes = needed_bytes, limit_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A roofline's lower bounds of the time of a step, in seconds; nothing was timed."""

    compute_s: float  # matrix products at the peak rate
    memory_s: float  # bytes moved in HBM, at its bandwidth
    ici_s: float | None  # bytes of collectives, at the links' bandwidth; None: not known
    step_s: float  # the largest of these
    mfu: float  # model FLOPs of that time, in units of the peak


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the compiler says of a step, in JSON values. Bytes are of one device."""

    name: str
    slice: str
    num_slices: int
    num_devices: int
    mesh: dict[str, int]
    rules: str
    remat_policy: str
    num_microbatches: int
    batch_size: int
    row_lengths: list[int]  # tokens of inputs and of targets
    num_params: int
    effort: str
    versions: dict[str, str]
    fits: bool
    limit_bytes: int
    peak_bytes: int | None = None  # None: it does not fit
    needed_bytes: int | None = None  # at least so much is needed; None: it fits
    model_flops: int  # 3 times the forward pass's matrix products, all devices
    step_flops: int  # matrix products of the step as traced, what remat computes again included
    compiler_flops: float | None = None  # of one device, each loop's body counted once
    bytes_accessed: float | None = None  # moved in HBM, loops counted as often as they run
    compiler_bytes: float | None = None  # the compiler's number, each loop's body counted once
    collectives: dict[str, dict[str, float]] | None = None  # kind -> count, bytes
    unknown_loops: int | None = None  # loops whose body was counted once
    estimate: Estimate | None = None  # this and what is counted: of a program that was made
    trace_s: float
    compile_s: float

    def as_json(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return dataclasses.asdict(self)


Compiler = Callable[[jax.stages.Lowered, dict[str, str]], Program]  # with the compiler's options


def compile_step(
    case: Case,
    *,
    effort: str = "quick",
    compiler: Compiler | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Report:
    """Compiles a run's training step for a slice and returns what the compiler says.

    The number of a mixture's members is in its store, which is not opened: the step is compiled for
    the fewest (`losses.MEMBER_MULTIPLE`), and more of them take a few kilobytes.

    Args:
        case: the run and the slice.
        effort: a key of `EFFORTS`.
        compiler: compiles what was lowered; the real one when None.
        devices: what to compile for; those of the slice when None.

    Raises:
        UsageError: something does not divide over the mesh, or libtpu is not installed.
    """
    if devices is None:
        devices = slice_devices(case.slice)
    config = _on_slices(case.config, case.slice)
    mesh = make_mesh(config.mesh, devices)
    spec = step_spec(case.model, config, batch_size=case.data.batch_size, mesh=mesh)
    start = time.monotonic()
    state, batch, key = abstract_inputs(spec, case.data, mesh)
    # Under the mesh itself jax would run small computations on devices that are not there.
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        traced = jitted_train_step(spec, mesh).trace(state, batch, key)
        forward = jax.make_jaxpr(lambda *given: eval_step(*given, spec=spec))(state.params, batch)
        lowered = traced.lower()
    facts = {
        "name": case.name,
        "slice": case.slice.name,
        "num_slices": case.slice.num_slices,
        "num_devices": mesh.size,
        "mesh": dict(mesh.shape),
        "rules": spec.model.rules.name,
        "remat_policy": spec.model.config.remat_policy,
        "num_microbatches": spec.num_microbatches,
        "batch_size": case.data.batch_size,
        "row_lengths": list(_lengths(case.data).values()),
        "num_params": num_params(state.params),
        "effort": effort,
        "versions": versions(),
        "model_flops": 3 * flops.matrix_flops(forward),
        "step_flops": flops.matrix_flops(traced.jaxpr),
        "trace_s": round(time.monotonic() - start, 2),
    }
    start = time.monotonic()
    try:
        with _effort(effort):
            options = _NEXT_TO_NOTHING if effort == MEMORY else {}
            program = (compiler or _compile)(lowered, options)
    except OutOfMemory as error:
        limit = case.slice.generation.hbm_bytes
        fits = effort == MEMORY and error.needed_bytes <= limit
        name = "peak_bytes" if fits else "needed_bytes"
        found = {"fits": fits, "limit_bytes": limit, name: error.needed_bytes}
    else:
        found = _measured(program, case.slice, mesh.size, facts)
    return Report(**facts, **found, compile_s=round(time.monotonic() - start, 2))


def abstract_inputs(
    spec: StepSpec, data: TrainInput | SeqioInput, mesh: Mesh
) -> tuple[Any, dict[str, jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]:
    """Returns state, batch and key of a training step as shapes, dtypes and shardings."""
    state = abstract_state(spec.model, spec.optimizer, mesh)
    batch = {}
    for name, row in one_row(data).items():
        shape, names = (data.batch_size, *row.shape[1:]), (axes.BATCH, *[None] * (row.ndim - 1))
        place = resolve(names, spec.model.rules.activations, shape, mesh, what=f"batch {name!r}")
        sharding = NamedSharding(mesh, place)
        batch[name] = jax.ShapeDtypeStruct(shape, row.dtype, sharding=sharding)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return state, batch, jax.ShapeDtypeStruct((), key.dtype, sharding=arrays.replicated(mesh))


def one_row(data: TrainInput | SeqioInput) -> Batch:
    """Returns the features of one packed row, as training reads them; no store is opened."""
    lengths = _lengths(data)
    layout = LAYOUTS[0] if isinstance(data, SeqioInput) else data.layout
    rows = RowLayout(name=layout, max_input=lengths["inputs"], max_target=lengths["targets"])
    one = np.ones(1, np.int64)
    return rows.pack(
        tokens=np.ones(2, np.int32), input_lengths=one, target_lengths=one,
        task_ids=0 * one, splits=np.arange(2),
    )  # fmt: skip


def slice_devices(found: Slice) -> Sequence[jax.Device]:
    """Returns the devices of a slice, as the compiler describes them.

    Raises:
        UsageError: libtpu is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise errors.UsageError(
            "compiling for TPUs needs libtpu, which is not installed; run: "
            "pip install 'flan_jax[aot]'"
        )
    name, options = found.topology
    return topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices


def versions() -> dict[str, str]:
    """Returns the versions that decide what the compiler says; '' for one that is not there."""
    found = {}
    for name in ("jax", "jaxlib", "libtpu"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def out_of_memory(message: str) -> OutOfMemory | None:
    """Returns what a compiler's message says of memory; None if it is about something else.

    Example:
        >>> text = "the total memory required for HLO temporaries (24.50G) exceeds available HBM "
        >>> out_of_memory(text + "(15.75G).").needed_bytes / 2**30
        24.5
    """
    for pattern in _OUT_OF_MEMORY:
        if found := pattern.search(message):
            needed, unit, limit, limit_unit = found.groups()
            return OutOfMemory(
                int(float(needed) * _UNITS[unit]), int(float(limit) * _UNITS[limit_unit])
            )
    return None


def estimate(
    generation: Generation, num_devices: int, *, step_flops: float, model_flops: float,
    bytes_accessed: float, collectives: Mapping[str, hlo.Collective],
) -> Estimate:  # fmt: skip
    """Returns a roofline of a step; the links are taken to be used in all directions at once."""
    peak = generation.peak_flops * num_devices
    compute_s, memory_s = step_flops / peak, bytes_accessed / generation.hbm_bandwidth
    ici_s = None
    if generation.ici_bandwidth is not None:
        # An all-reduce is a reduce-scatter and an all-gather.
        sent = sum(c.bytes * (2 if kind == "all-reduce" else 1) for kind, c in collectives.items())
        ici_s = sent / generation.ici_bandwidth
    step_s = max(compute_s, memory_s, ici_s or 0.0)
    return Estimate(
        compute_s=compute_s, memory_s=memory_s, ici_s=ici_s, step_s=step_s,
        mfu=model_flops / (peak * step_s),
    )  # fmt: skip


def _compile(lowered: jax.stages.Lowered, options: dict[str, str]) -> Program:
    try:
        compiled = lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        found = out_of_memory(str(error))
        if found is None:
            raise
        raise found from error
    cost = compiled.cost_analysis()
    return Program(
        peak_bytes=compiled.memory_analysis().peak_memory_in_bytes,
        flops=cost.get("flops", 0.0),
        bytes_accessed=cost.get("bytes accessed", 0.0),
        text=compiled.as_text(),
    )


def _measured(program: Program, where: Slice, num_devices: int, facts: Mapping[str, Any]) -> dict:
    counts = hlo.count(program.text)
    return {
        "fits": True,
        "peak_bytes": program.peak_bytes,
        "limit_bytes": where.generation.hbm_bytes,
        "compiler_flops": program.flops,
        "bytes_accessed": counts.bytes_accessed,
        "compiler_bytes": program.bytes_accessed,
        "collectives": {k: dataclasses.asdict(c) for k, c in counts.collectives.items()},
        "unknown_loops": counts.unknown_loops,
        "estimate": estimate(
            where.generation, num_devices, step_flops=facts["step_flops"],
            model_flops=facts["model_flops"], bytes_accessed=counts.bytes_accessed,
            collectives=counts.collectives,
        ),
    }  # fmt: skip


def _on_slices(config: TrainConfig, where: Slice) -> TrainConfig:
    mesh = dataclasses.replace(config.mesh, num_slices=where.num_slices)
    return dataclasses.replace(config, mesh=mesh)


def _lengths(data: TrainInput | SeqioInput) -> dict[str, int]:
    if data.feature_lengths is None:
        raise errors.UsageError(
            "TrainInput.feature_lengths is not set, and no store is opened to look; give "
            "TASK_FEATURE_LENGTHS, such as {'inputs': 2048, 'targets': 512}"
        )
    return dict(data.feature_lengths)


@contextlib.contextmanager
def _effort(name: str) -> Iterator[None]:
    """Sets jax's own setting while a step is compiled."""
    before = jax.config.jax_exec_time_optimization_effort
    jax.config.update("jax_exec_time_optimization_effort", EFFORTS[name])
    try:
        yield
    finally:
        jax.config.update("jax_exec_time_optimization_effort", before)
