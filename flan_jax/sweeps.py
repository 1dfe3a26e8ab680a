# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sweeps: from a Gin file to runs in folders, and what is kept of all of them.

OUT/store/          the token store that all runs read (sweep_points.py)
OUT/<run>/          one run: checkpoints, metrics, predictions, scores.csv (sweep_runs.py)
OUT/<run>/log.txt   what the run said, where it had a process of its own
OUT/scores.csv      scores of all runs that are done
OUT/sweep.json      what the report needs to know of the sweep
"""

import functools
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax import jobs, sweep_points, sweep_runs
from flan_jax.core import errors, files
from flan_jax.core.progress import say
from flan_jax.scaling import processes, sweep
from flan_jax.sweep_points import Point

INFO_FILE = "sweep.json"
_VERSIONS = ("jax", "flax", "optax", "numpy")


def run(gin_file: str, out: str, *, parallel: int = 1, cores: int | None = None) -> None:
    """Builds the store, carries out every run that is not done, and gathers the scores.

    Args:
        gin_file: binds `Sweep`.
        out: the sweep's folder.
        parallel: runs at a time. With 1 and no `cores`, runs go one after another in this process,
            on all its cores; else each is a process of its own.
        cores: processor cores for each run; None: an equal share of those there are. The number of
            cores changes the order of floating-point sums, and so the last digits of losses; with
            the same number the scores are the same bytes, however many runs go at a time.

    Raises:
        UsageError: the sweep or a recipe is misconfigured, or another sweep is in this folder.
        IncompleteError: some runs failed; the others are done.
        PreemptedError: asked to stop.
    """
    start = time.monotonic()
    found = sweep_points.declared(gin_file)
    shares = processes.core_shares(parallel, cores)
    own_process = parallel > 1 or cores is not None
    with files.locked(out, "sweep"):
        points = sweep_points.points(found, out)
        sweep_points.build_stores(points)
        build_s = time.monotonic() - start
        runs = sweep_points.runs(points)
        info_path = Path(out) / INFO_FILE
        before = files.read_json(info_path) if info_path.is_file() else {}
        facts = _facts(found, points) | {
            "build_s": before.get("build_s") or round(build_s, 1),
            "parallel": parallel,
            "cores_per_run": len(shares[0]) if own_process else os.cpu_count(),
        }

        def write_info(num_ended: int) -> None:
            wall_s = before.get("wall_s", 0.0) + (time.monotonic() - start if num_ended else 0.0)
            files.write_json(
                info_path,
                facts | {"wall_s": round(wall_s, 1), "runs": _described(out, runs, points)},
            )

        if own_process:
            execute = sweep.in_processes(
                functools.partial(_command_of, gin_file, out),
                num=parallel,
                cores=cores,
            )
        else:
            by_name = {run.name: point for run, point in zip(runs, points, strict=True)}
            execute = sweep.in_turn(
                lambda run, folder: sweep_runs.carry_out(by_name[run.name], folder)
            )
        sweep.run_sweep(runs=runs, out=out, execute=execute, on_change=write_info)


def run_only(gin_file: str, out: str, name: str) -> None:
    """Carries out one run of a sweep whose store is built, done or not, and records it.

    Raises:
        UsageError: no such run, or another process is at it.
        FlanError: it failed.
        PreemptedError: asked to stop.
    """
    points = sweep_points.points(sweep_points.declared(gin_file), out)
    if not sweep_points.are_built(points):
        raise errors.UsageError(f"no store in {out}; run the whole sweep once, which builds it")
    runs = {run.name: (run, p) for run, p in zip(sweep_points.runs(points), points, strict=True)}
    if name not in runs:
        raise errors.unknown_name("run", name, runs, f"(of {gin_file}; --dry_run lists them)")
    run, point = runs[name]
    message = sweep.attempt(out, run, lambda _, folder: sweep_runs.carry_out(point, folder))
    if message:
        raise errors.FlanError(message)
    say(f"sweep: {name} is done")


def status(gin_file: str, out: str) -> str:
    """Returns the table of a sweep's runs and how far each is; builds and runs nothing."""
    points = sweep_points.points(sweep_points.declared(gin_file), out)
    runs = sweep_points.runs(points)
    if not sweep_points.are_built(points):
        return "\n".join(f"{run.name}  pending" for run in runs)
    return sweep.status_table(out, runs)


def _facts(found: jobs.Sweep, points: Sequence[Point]) -> dict[str, Any]:
    """Returns what `sweep.json` says of the sweep as a whole."""
    return {
        "title": found.title,
        "subject": found.subject,
        "about": list(found.about),
        "metric": found.metric,
        "figures": list(found.figures),
        "selection": found.selection,
        "sizes": list(found.recipes),
        "config": "\n".join({point.recipe: point.config for point in reversed(points)}.values()),
        "machine": _machine(),
        "versions": {"flan_jax": flan_jax.__version__, **_library_versions()},
    }


def _command_of(gin_file: str, out: str, run: sweep.Run) -> list[str]:
    """Returns the command that carries out one run and ends with this process."""
    command = [sys.executable, "-P", "-m", "flan_jax", "sweep", gin_file, "--out", out]
    return [*command, "--only", run.name, "--stop_with_stdin"]


def _described(
    out: str, runs: Sequence[sweep.Run], points: Sequence[Point]
) -> list[dict[str, Any]]:
    """Returns what the report needs to know of each run."""
    described = []
    for run, point in zip(runs, points, strict=True):
        state = sweep.status(out, run)
        described.append(
            {
                "name": run.name,
                "size": point.recipe,
                "settings": dict(run.settings),
                "status": state["status"],
                "duration_s": state["duration_s"],
                "num_parameters": state["facts"].get("num_parameters"),
                "compute": state["facts"].get("compute"),
            }
        )
    return described


def _library_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _VERSIONS}


def _machine() -> str:
    return f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}"
