# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the runs of a sweep will compute, told before any of them begins.

FLOPs are exact, from shapes; nothing is compiled for them. For a slice the TPU compiler says
whether the step fits and how full memory gets, once for all runs of one program. Its time is a
lower bound (a roofline; nothing is timed), and so are the hours and their cost.
"""

import dataclasses
from collections.abc import Callable, Sequence

from flan_jax import config, sweeps
from flan_jax.aot import results, slices
from flan_jax.aot.compiling import Case, Report
from flan_jax.aot.slices import Slice
from flan_jax.core.tables import aligned
from flan_jax.scaling import compute, run_records
from flan_jax.scaling.compute import RunCompute

# A chip of these generations is two jax devices.
_DEVICES_PER_CHIP = {"v2": 2, "v3": 2, "tpu7x": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planned:
    """One run before it begins."""

    name: str
    status: str
    compute: RunCompute | None  # None: it trains nothing
    report: Report | None = None  # of its step on the slice; None: not asked for


def plan(
    gin_file: str,
    out: str,
    *,
    slice_name: str | None = None,
    num_slices: int = 1,
    compile_with: Callable[[Case], Report] | None = None,
) -> list[Planned]:
    """Returns what every run will compute.

    Args:
        gin_file: binds `Sweep`.
        out: the sweep's folder; it tells which runs are done.
        slice_name: to compile for, such as 'v4-32'; None: nothing is compiled.
        num_slices: so many of them.
        compile_with: compiles a case; needed with a slice.

    Raises:
        UsageError: the sweep is misconfigured, or there is no such slice.
    """
    where = None if slice_name is None else slices.find(slice_name, num_slices)
    known: dict[str, RunCompute] = {}
    made = []
    for run, point in sweeps.plan(gin_file, out):
        status = run_records.status(out, run)["status"]
        if not point.trains:
            made.append(Planned(name=run.name, status=status, compute=None))
            continue
        point.configure("STORE", "MODEL_DIR")
        model, data, training = (config.bound("train", n) for n in ("model", "data", "config"))
        shape = repr((type(model), model.config, data.batch_size, data.feature_lengths))
        key = f"{shape} {len(point.steps)}"
        if key not in known:
            known[key] = compute.planned(model, data, training, len(point.steps))
        report = None
        if where is not None:
            case = Case(name=point.recipe, model=model, data=data, config=training, slice=where)
            report = compile_with(case)
        made.append(Planned(name=run.name, status=status, compute=known[key], report=report))
    return made


def misfits(made: Sequence[Planned]) -> list[str]:
    """Returns the names of the runs whose step does not fit."""
    return [run.name for run in made if run.report is not None and not run.report.fits]


def text(made: Sequence[Planned], where: Slice | None = None, price: float | None = None) -> str:
    """Returns the plan for people, with totals of the runs that are not done.

    Args:
        made: from `plan`.
        where: the slice that was compiled for.
        price: of a chip-hour, in any currency.
    """
    head = ["run", "status", "parameters", "steps", "positions", "FLOPs"]
    if where is not None:
        head += ["memory a device", "step, at least", "chip-hours, at least"]
        head += ["cost, at least"] if price is not None else []
    rows, flops, hours = [head], 0.0, 0.0
    for run in made:
        if run.compute is None:
            rows.append([run.name, run.status, *["-"] * (len(head) - 2)])
            continue
        found = run.compute
        cells = [run.name, run.status, f"{found.num_params:,}", f"{found.num_steps:,}",
                 f"{found.num_positions:,}", f"{found.train_flops:.2e}"]  # fmt: skip
        own = 0.0
        if where is not None:
            own = chip_hours(run, where) or 0.0
            cells += _on_slice(run, where)
            cells += [f"{own * price:,.2f}" if own else "-"] if price is not None else []
        if run.status != run_records.DONE:
            flops, hours = flops + found.train_flops, hours + own
        rows.append(cells)
    left = [run for run in made if run.status != run_records.DONE]
    total = f"{len(left)} of {len(made)} runs are not done: {flops:.2e} FLOPs"
    if where is not None:
        total += f", at least {hours:,.3g} chip-hours on {where.shown}"
        total += f", {hours * price:,.2f} at {price:g} an hour" if price is not None else ""
        total += ". The least times are a roofline's; real ones are longer"
    lines = aligned(rows, right=range(2, len(head)))
    return "\n".join([*lines, "", f"{total}."])


def chip_hours(run: Planned, where: Slice) -> float | None:
    """Returns the hours of a run's steps times chips, at the roofline's pace; None if unknown."""
    if run.report is None or run.report.estimate is None or run.compute is None:
        return None
    generation = where.name.split("-")[0]
    chips = where.num_devices / _DEVICES_PER_CHIP.get(generation, 1)
    return run.compute.num_steps * run.report.estimate.step_s * chips / 3600


def _on_slice(run: Planned, where: Slice) -> list[str]:
    report, hours = run.report, chip_hours(run, where)
    size = report.peak_bytes if report.fits else report.needed_bytes
    memory = "" if size is None else results.gib(size)
    if not report.fits:
        memory = f"does not fit: {memory} of {results.gib(report.limit_bytes)}"
    step = "-" if report.estimate is None else f"{report.estimate.step_s:.3g} s"
    return [memory, step, "-" if hours is None else f"{hours:,.3g}"]
