# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What can be known of a training before it is started far away, at a cost.

The configuration has been read and is complete before anything here is called. Here: does the mesh
cover the slice, are all paths where every host finds them, does the step fit (ahead of time, by the
real compiler); and the commands that look whether the token store and the buckets are there.
"""

import importlib.util
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax import config
from flan_jax.aot import results
from flan_jax.aot.compiling import Case, Report
from flan_jax.collection.store import MANIFEST
from flan_jax.core import errors
from flan_jax.core.progress import say
from flan_jax.launching import job as jobs
from flan_jax.launching.job import Job
from flan_jax.launching.plan import Command

EFFORT = "quick"  # of the compiler: tells what fits, within minutes for the largest models
_INCLUDE = re.compile(r"^\s*include\s+['\"](.+?)['\"]", re.MULTILINE)
_ANYWHERE = re.compile(r"package:|\w+://")  # of a vocabulary that every host can read
CompileStep = Callable[..., Report]  # (case, effort=)


def compiled_steps() -> str:
    """Returns the file where the reports of compiled steps are kept for the next launch."""
    return str(Path.home() / ".cache" / "flan_jax" / f"compiled_steps_{flan_jax.__version__}.json")


def read(job: Job, name: str, *, is_remote: bool) -> tuple[dict[str, Any], list[str]]:
    """Returns what the configuration binds for `train`, and what was found, in lines.

    Args:
        job: the job.
        name: of the configuration, for people.
        is_remote: whether it runs on hosts that have the buckets, and nothing else of this one.

    Raises:
        UsageError: it cannot run so.
    """
    for here, _ in job.uploads:
        _check_includes(here)
    train = {name: config.bound("train", name) for name in ("model", "data", "config")}
    found = [f"configuration: {name} reads and is complete"]
    if job.slice is not None:
        found.append(_mesh(train, job))
    if is_remote:
        for macro, path in paths(train).items():
            _check_path(macro, path)
        vocabulary = config.bound("build", "vocabulary") or "bytes"
        if vocabulary.endswith(".model") and not _ANYWHERE.match(vocabulary):
            _check_path("VOCABULARY", vocabulary)
        found.append(f"paths: {', '.join(paths(train))} are in buckets")
    return train, found


def paths(train: dict[str, Any]) -> dict[str, str]:
    """Returns the folders that a training needs, by their macros; left out: those it does not."""
    settings, store = train["config"], getattr(train["data"], "store", "")
    found = {
        "MODEL_DIR": settings.model_dir,
        "STORE_DIR": store,
        "INITIAL_CHECKPOINT_PATH": settings.initial_checkpoint_path,
    }
    return {macro: path for macro, path in found.items() if path}


def fit(train: dict[str, Any], job: Job, name: str, compile_step: CompileStep | None) -> str:
    """Returns a line on whether the step fits the job's slice.

    Args:
        train: what is bound for `train`.
        job: the job, with a slice.
        name: of the configuration.
        compile_step: compiles a case; None: nothing is compiled, as the user wanted it.

    Raises:
        DoesNotFitError: it does not.
    """
    if compile_step is None:
        return "memory: not looked at (--no_compile)"
    if importlib.util.find_spec("libtpu") is None:
        return (
            "memory: not looked at, as the TPU compiler is not installed; to have it: "
            "pip install 'flan_jax[aot]'"
        )
    case = Case(
        name=name,
        model=train["model"],
        data=train["data"],
        config=train["config"],
        slice=job.slice,
    )
    report = _kept(compile_step).run(case, EFFORT)
    limit = results.gib(report.limit_bytes)
    if not report.fits:
        raise errors.DoesNotFitError(
            f"{name} needs {results.gib(report.needed_bytes)} or more a device of "
            f"{job.slice.shown}, which has {limit}; give a larger slice, or see flan-jax compile "
            "--suggest"
        )
    return (
        f"memory: a step takes {results.gib(report.peak_bytes)} of the {limit} a device has, by "
        "the compiler"
    )


def storage(job: Job, train: dict[str, Any]) -> tuple[Command, ...]:
    """Returns the commands that look whether what the job needs is in its buckets.

    Args:
        job: the job, on hosts that have the buckets.
        train: what is bound for `train`.
    """
    found = []
    folders = paths(train)
    for bucket in job.buckets:
        found.append(
            Command(
                argv=("gcloud", "storage", "ls", f"gs://{bucket}"),
                why=f"is the bucket {bucket} there, and may it be read?",
                quiet=True,
            )
        )
    if "STORE_DIR" in folders:
        manifest = jobs.in_bucket(f"{folders['STORE_DIR'].rstrip('/')}/{MANIFEST}")
        found.append(
            Command(
                argv=("gcloud", "storage", "ls", manifest),
                why="is the token store built? (if not: flan-jax build, then copy it there)",
                quiet=True,
            )
        )
    if "INITIAL_CHECKPOINT_PATH" in folders:
        found.append(
            Command(
                argv=(
                    "gcloud", "storage", "ls", jobs.in_bucket(folders["INITIAL_CHECKPOINT_PATH"]),
                ),
                why="is the checkpoint to begin with there?",
                quiet=True,
            )
        )  # fmt: skip
    return tuple(found)


def _mesh(train: dict[str, Any], job: Job) -> str:
    shape, where = train["config"].mesh, job.slice
    if shape.num_slices != where.num_slices:
        raise errors.UsageError(
            f"the mesh has num_slices {shape.num_slices}, the job {where.num_slices} slice(s); "
            f"give --num_slices {shape.num_slices}, or "
            f"--gin.MeshShape.num_slices={where.num_slices}"
        )
    sizes = shape.resolve(where.num_devices)
    batch, parts = train["data"].batch_size, math.prod(sizes[:2])
    if batch % parts:
        raise errors.UsageError(
            f"a batch of {batch} rows does not divide over the {parts} parts of the mesh on "
            f"{where.shown}; give a BATCH_SIZE that does, a smaller slice, or a larger "
            "MeshShape.model"
        )
    text = " x ".join(
        f"{name} {n}" for name, n in zip(("slice", "data", "model"), sizes, strict=True)
    )
    return f"mesh: {text} on the {where.num_devices} devices of {where.shown}"


def _check_path(macro: str, path: str) -> None:
    if not jobs.is_mounted(path):
        raise errors.UsageError(
            f"{macro} is {path!r}, which the hosts of the job do not have; give a path in a "
            f"bucket, such as --gin.{macro}=gs://BUCKET/{Path(path).name}"
        )


def _check_includes(file: str) -> None:
    for name in _INCLUDE.findall(Path(file).read_text(encoding="utf-8")):
        if not (config.gin_root() / name).is_file():
            raise errors.UsageError(
                f"{file} includes {name!r}, which the hosts of the job do not have; write both "
                "into one file"
            )


def _kept(compile_step: CompileStep) -> results.Results:
    path = compiled_steps()
    try:
        return results.Results(path, compile_step)
    except errors.DataError:
        say(f"launch: {path} is of another version: begun anew")
        Path(path).unlink()
        return results.Results(path, compile_step)
