# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sweeps: from a Gin file to runs in folders, and what is kept of all of them.

OUT/store/          the token store that all runs read (sweep_points.py)
OUT/<run>/          one run: checkpoints, metrics, predictions, scores.csv (sweep_runs.py)
OUT/<run>/log.txt   what the run said, where it had a process of its own
OUT/scores.csv      scores of all runs that are done
OUT/sweep.json      what the report needs to know of the sweep
"""

import contextlib
import functools
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax import sweep_jobs, sweep_points, sweep_runs
from flan_jax.core import errors, files
from flan_jax.core.progress import say
from flan_jax.scaling import processes, run_records, sweep
from flan_jax.scaling.run_records import Run
from flan_jax.sweep_points import Point

INFO_FILE = "sweep.json"
_VERSIONS = ("jax", "flax", "optax", "numpy")


def run(
    gin_file: str, out: str, *, parallel: int = 1, cores: int | None = None, retries: int = 0
) -> None:
    """Builds the store, carries out every run that is not done, and gathers the scores.

    Args:
        gin_file: binds `Sweep`.
        out: the sweep's folder.
        parallel: runs at a time. With 1 and no `cores`, runs go one after another in this process,
            on all its cores; else each is a process of its own.
        cores: processor cores for each run; None: an equal share of those there are. The number of
            cores changes the order of floating-point sums, and so the last digits of losses; with
            the same number the scores are the same bytes, however many runs go at a time.
        retries: how often at most a run is begun again whose process died.

    Raises:
        UsageError: the sweep or a recipe is misconfigured, or another sweep is in this folder.
        IncompleteError: some runs failed; the others are done.
        PreemptedError: asked to stop.
    """
    shares = processes.core_shares(parallel, cores)
    own_process = parallel > 1 or cores is not None
    with _locked(gin_file, out) as found:
        if own_process:
            command = functools.partial(_command_of, gin_file, out)
            execute = sweep.in_processes(command, num=parallel, cores=cores, retries=retries)
        else:
            execute = sweep.in_turn(
                lambda run, folder: sweep_runs.carry_out(found.points[run.name], folder)
            )
        found.facts["parallel"] = parallel
        found.facts["cores_per_run"] = len(shares[0]) if own_process else os.cpu_count()
        sweep.run_sweep(runs=found.runs, out=out, execute=execute, on_change=found.write_info)


def run_only(gin_file: str, out: str, name: str) -> None:
    """Carries out one run of a sweep whose store is built, done or not, and records it.

    Raises:
        UsageError: no such run, begun with another configuration, or another process is at it.
        FlanError: it failed.
        PreemptedError: asked to stop.
    """
    planned = {run.name: (run, point) for run, point in plan(gin_file, out)}
    if not sweep_points.are_built([point for _, point in planned.values()]):
        raise errors.UsageError(f"no store in {out}; run the whole sweep once, which builds it")
    if name not in planned:
        raise errors.unknown_name("run", name, planned, f"(of {gin_file}; --dry_run lists them)")
    run, point = planned[name]
    _refuse_stale(out, [run])
    message = sweep.attempt(out, run, lambda _, folder: sweep_runs.carry_out(point, folder))
    if message:
        raise errors.FlanError(message)
    say(f"sweep: {name} is done")


def plan(gin_file: str, out: str) -> list[tuple[Run, Point]]:
    """Returns every run of a sweep with how it is configured; builds and runs nothing.

    Raises:
        UsageError: the sweep or a recipe is misconfigured.
    """
    points = sweep_points.points(sweep_points.declared(gin_file), out)
    return list(zip(sweep_points.runs(points), points, strict=True))


def status(gin_file: str, out: str) -> str:
    """Returns the table of a sweep's runs and how far each is; builds and runs nothing."""
    planned = plan(gin_file, out)
    steps = {run.name: point.steps for run, point in planned}
    return run_records.table(out, [run for run, _ in planned], steps)


def write_job_specs(gin_file: str, out: str, path: str) -> int:
    """Writes a job for every run that is not done, after building the store that they read.

    Args:
        gin_file: binds `Sweep`.
        out: the sweep's folder.
        path: of the JSON file to write.

    Returns:
        How many there are.

    Raises:
        UsageError: as of `run`, or a run was begun with another configuration.
    """
    with _locked(gin_file, out) as found:
        _refuse_stale(out, found.runs)
        found.write_info(0)
        specs = sweep_jobs.specs(gin_file, out, found.runs, list(found.points.values()))
        files.write_json(path, specs)
    return len(specs)


def gather(gin_file: str, out: str) -> None:
    """Marks as done the runs that jobs did elsewhere, and gathers the scores of all.

    Raises:
        UsageError: as of `run`.
        IncompleteError: some runs are not done, or what is in their folders is not theirs.
    """
    missing = {}
    with _locked(gin_file, out) as found:
        for run in found.runs:
            point, folder = found.points[run.name], Path(out) / run.name
            state = run_records.status(out, run)
            if state["status"] == run_records.DONE:
                continue
            if state["status"] == run_records.STALE:  # what is there may be of before
                missing[run.name] = state["message"]
                continue
            fault = sweep_jobs.unfinished(point, folder)
            if fault:
                missing[run.name] = fault
            else:
                facts = sweep_runs.settle(point, folder, is_elsewhere=True)
                run_records.record(out, run, run_records.DONE, facts=facts)
                say(f"sweep: {run.name} is done")
        sweep.gather(out, found.runs)
        found.write_info(0)
        say(run_records.table(out, found.runs))
    if missing:
        raise errors.IncompleteError(
            f"{len(missing)} of {len(found.runs)} runs in {out} are not done: "
            + "; ".join(f"{name}: {fault}" for name, fault in missing.items())
        )


class _Locked:
    """A sweep whose stores are built and whose folder is held."""

    def __init__(self, gin_file: str, out: str):
        self._start, self._path = time.monotonic(), Path(out) / INFO_FILE
        declared = sweep_points.declared(gin_file)
        points = sweep_points.points(declared, out)
        sweep_points.build_stores(points)
        sweep_points.check_groups(points)
        build_s = round(time.monotonic() - self._start, 1)
        self._out, self.runs = out, sweep_points.runs(points)
        self.points = {run.name: point for run, point in zip(self.runs, points, strict=True)}
        before = files.read_json(self._path) if self._path.is_file() else {}
        self._wall_s = before.get("wall_s", 0.0)
        configs = {point.recipe: point.config for point in reversed(points)}
        self.facts = {
            "title": declared.title,
            "subject": declared.subject,
            "about": list(declared.about),
            "metric": declared.metric,
            "figures": list(declared.figures),
            "selection": declared.selection,
            "sizes": list(declared.recipes),
            "build_s": before.get("build_s") or build_s,
            "parallel": before.get("parallel"),  # None where jobs elsewhere did the runs
            "cores_per_run": before.get("cores_per_run"),
            "config": "\n".join(configs.values()),
            "machine": _machine(),
            "versions": {"flan_jax": flan_jax.__version__, **_library_versions()},
        }

    def write_info(self, num_ended: int) -> None:
        """Writes `sweep.json`; time counts once a run has ended."""
        wall_s = self._wall_s + (time.monotonic() - self._start if num_ended else 0.0)
        runs = [_described(self._out, run, self.points[run.name]) for run in self.runs]
        files.write_json(self._path, self.facts | {"wall_s": round(wall_s, 1), "runs": runs})


@contextlib.contextmanager
def _locked(gin_file: str, out: str) -> Iterator[_Locked]:
    sweep_points.declared(gin_file)  # what is wrong there makes no folder
    with files.locked(out, "sweep"):
        yield _Locked(gin_file, out)


def _refuse_stale(out: str, runs: Sequence[Run]) -> None:
    """Refuses to go on in folders whose scores would be taken for those of the configuration."""
    for run in runs:
        state = run_records.status(out, run)
        if state["status"] == run_records.STALE:
            raise errors.UsageError(f"{run.name}: {state['message']}")


def _command_of(gin_file: str, out: str, run: Run) -> list[str]:
    """Returns the command that carries out one run and ends with this process."""
    command = [sys.executable, "-P", "-m", "flan_jax", "sweep", gin_file, "--out", out]
    return [*command, "--only", run.name, "--stop_with_stdin"]


def _described(out: str, run: Run, point: Point) -> dict[str, Any]:
    """Returns what the report needs to know of a run."""
    state = run_records.status(out, run)
    return {
        "name": run.name,
        "size": point.recipe,
        "settings": dict(run.settings),
        "status": state["status"],
        "duration_s": state["duration_s"],
        "num_parameters": state["facts"].get("num_parameters"),
        "compute": state["facts"].get("compute"),
    }


def _library_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _VERSIONS}


def _machine() -> str:
    return f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}"
