# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What was compiled once is not compiled again: reports kept in a file, and shown as text."""

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from flan_jax.aot import compiling
from flan_jax.aot.compiling import Case, Estimate, Report
from flan_jax.core import errors, files, settings
from flan_jax.core.tables import aligned

CompileStep = Callable[..., Report]  # (case, effort=)


def key(case: Case, effort: str) -> str:
    """Returns what tells compilations apart: shapes, layout, slice, effort and versions."""
    config, data = case.config, case.data
    rules = case.model.rules
    decisive = {
        "model": {"class": type(case.model).__name__, **dataclasses.asdict(case.model.config)},
        "rules": config.rules if rules is None else rules.name,
        "mesh": dataclasses.asdict(config.mesh),
        "optimizer": settings.describe(config.optimizer),
        "loss": settings.describe(config.loss),
        "num_microbatches": config.num_microbatches,
        "batch": [data.batch_size, data.feature_lengths, getattr(data, "layout", "")],
        "topology": case.slice.topology,
        "effort": effort,
        "versions": compiling.versions(),
    }
    return hashlib.sha256(files.dumps(decisive).encode()).hexdigest()[:16]


class Results:
    """Reports in a JSON file, each under the key of its case.

    Args:
        path: the file; None keeps nothing.
        compile_step: compiles a case: a `Worker`'s, or `compiling.compile_step`.

    Raises:
        DataError: the file holds something else.
    """

    def __init__(self, path: str | None, compile_step: CompileStep):
        self._path, self._compile_step = path, compile_step
        self._reports: dict[str, dict] = {}
        if path is not None and Path(path).exists():
            self._reports = _read(path)

    def known(self, name: str) -> Report | None:
        """Returns the report that is kept under a key."""
        found = self._reports.get(name)
        return None if found is None else from_json(found)

    def run(self, case: Case, effort: str) -> Report:
        """Returns the report of a case; compiles it unless it is known, and keeps the report."""
        name = key(case, effort)
        report = self.known(name)
        if report is None:
            report = self._compile_step(case, effort=effort)
            self._reports[name] = report.as_json()
            if self._path is not None:
                files.write_json(self._path, self._reports)
        return report

    def keep_only(self, names: Collection[str]) -> None:
        """Forgets all reports but those under these keys."""
        self._reports = {name: self._reports[name] for name in names if name in self._reports}
        if self._path is not None:
            files.write_json(self._path, self._reports)


def from_json(values: dict) -> Report:
    """Returns the report of `Report.as_json`."""
    found = values["estimate"]
    return Report(**values | {"estimate": None if found is None else Estimate(**found)})


def _read(path: str) -> dict[str, dict]:
    found = files.read_json(path)
    try:
        for values in found.values():
            from_json(values)
    except (AttributeError, KeyError, TypeError):
        raise errors.DataError(
            f"{path} holds no results of this version of flan-jax compile; name another file, or "
            "delete it"
        ) from None
    return found


def shown(report: Report, title: str) -> str:
    """Returns a report for people."""
    return "\n".join([title, *("  " + line for line in aligned(list(_rows(report)), right=()))])


def gib(size: float) -> str:
    """Returns bytes as `1.23 GiB`."""
    return f"{size / 2**30:.2f} GiB"


def layout(report: Report) -> str:
    """Returns how the step lies on the slice."""
    mesh = " x ".join(f"{name} {size}" for name, size in report.mesh.items())
    parts = "" if report.num_microbatches == 1 else f", {report.num_microbatches} microbatches"
    return f"mesh {mesh}, rules {report.rules}, remat {report.remat_policy}{parts}"


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    inputs, targets = report.row_lengths
    yield "devices", f"{report.num_devices}, {layout(report)}"
    yield "batch", f"{report.batch_size} rows of {inputs} + {targets} tokens"
    yield "parameters", f"{report.num_params:,}"
    if report.fits:
        part = report.peak_bytes / report.limit_bytes
        limit = gib(report.limit_bytes)
        yield "fits", f"yes: {gib(report.peak_bytes)} a device at its peak, {part:.0%} of {limit}"
    else:
        needed, limit = gib(report.needed_bytes), gib(report.limit_bytes)
        yield "fits", f"no: {needed} or more needed a device, {limit} there"
    yield "model FLOPs", f"{report.model_flops:.4g} a step: 3 x the forward pass's matrix products"
    yield "step's FLOPs", f"{report.step_flops:.4g} in matrix products, with what remat repeats"
    if report.estimate is not None:
        yield from _measured_rows(report)
    names = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    yield "compiled", f"in {report.compile_s:.0f} s at effort {report.effort!r}, {names}"


def _measured_rows(report: Report) -> Iterator[tuple[str, str]]:
    yield (
        "compiler's count",
        f"{report.compiler_flops:.4g} FLOPs, {report.compiler_bytes:.4g} bytes a device, the body "
        "of each loop once",
    )
    yield "memory traffic", f"{report.bytes_accessed:.4g} bytes a device, with all rounds of loops"
    for kind, found in report.collectives.items():
        yield kind, f"{found['count']:.0f} a step, {found['bytes']:.4g} bytes a device"
    if report.unknown_loops:
        yield "", f"{report.unknown_loops} loop(s) of unknown length counted once"
    found = report.estimate
    links = "not known" if found.ici_s is None else f"{found.ici_s:.3f}"
    yield (
        "step, estimated",
        f"{found.step_s:.3f} s or more (compute {found.compute_s:.3f}, memory {found.memory_s:.3f}"
        f", links {links}), MFU {found.mfu:.0%} or less: a roofline, nothing was timed",
    )
