# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The steps of a job on Cloud TPU VMs: request, wait, copy, install, start, ask, stop."""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

import flan_jax
from flan_jax.core import errors
from flan_jax.launching import gcloud, shipped
from flan_jax.launching import job as jobs
from flan_jax.launching.gcloud import Place, Request
from flan_jax.launching.job import Job
from flan_jax.launching.plan import Command, Plan, Step, Wait

# The image of a worker, by generation (docs.cloud.google.com/tpu/docs/runtimes).
RUNTIMES = {
    "v2": "tpu-ubuntu2204-base",
    "v3": "tpu-ubuntu2204-base",
    "v4": "tpu-ubuntu2204-base",
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}
TRIES = 3  # of what goes over ssh
_WORKER = "flan_jax_worker.sh"
_LOG_BYTES = 16384


def place_of(args: argparse.Namespace) -> Place:
    """Returns where the TPUs are."""
    if not args.zone:
        raise errors.UsageError("no zone; give --zone ZONE, such as --zone us-central2-b")
    return Place(zone=args.zone, project=args.project)


def nodes(job: Job) -> list[str]:
    """Returns the names of the slices."""
    if job.num_slices == 1:
        return [job.name]
    return [f"{job.name}-{index}" for index in range(job.num_slices)]


def runtime(job: Job) -> str:
    """Returns the image of the job's workers.

    Raises:
        UsageError: the Cloud TPU API has none.
    """
    generation = job.slice.name.partition("-")[0]
    if generation not in RUNTIMES:
        raise errors.UsageError(
            f"the Cloud TPU API does not serve {job.slice.name}; use --target gke "
            "(launch/README.md)"
        )
    return RUNTIMES[generation]


def start(job: Job, args: argparse.Namespace, found: Request) -> Plan:
    """Returns the steps that lead from what was found of the request to a running job."""
    place = place_of(args)
    steps: list[Step] = []
    files = [package for package in args.package if Path(package).is_file()]
    installed = [Path(package).name if package in files else package for package in args.package]
    if not args.package:
        wheel, build = _wheel(job)
        steps.append(build)
        files, installed = [wheel], [f"{Path(wheel).name}[tpu]"]
    if found.state in gcloud.GONE or found.state == gcloud.FAILED:
        why = f"delete what is left of {job.name}"
        steps.append(Command(argv=gcloud.delete(job.name, place), why=why))
    if found.state not in (gcloud.ACTIVE, *gcloud.WAITING):
        steps.append(_create(job, args, place))
    steps.append(
        Wait(
            argv=gcloud.describe(job.name, place),
            why="wait until the TPUs are there",
            lacks=gcloud.lacks,
            # Google ends the request itself; this is for when it does not.
            timeout_s=args.max_wait_h * 3600 + 600 if args.max_wait_h else float("inf"),
        )
    )
    script = _relative(shipped.folder() / "tpu_vm" / _WORKER)
    for node in nodes(job):
        argv = gcloud.copy([script, *files], node, place)
        steps.append(Command(argv=argv, why=f"copy to all workers of {node}", tries=TRIES))
    buckets = [f"--bucket={bucket}" for bucket in job.buckets]
    steps += on_workers(job, place, "install and mount on", "install", *buckets, *installed)
    steps += [
        Command(
            argv=gcloud.ssh(node, place, _worker("start", *_training(job, index))),
            why=f"start on all workers of {node}",
            tries=TRIES,
        )
        for index, node in enumerate(nodes(job))
    ]
    steps += on_workers(job, place, "is it alive? ask", "status", job.name)
    return Plan(steps=tuple(steps))


def _create(job: Job, args: argparse.Namespace, place: Place) -> Command:
    single = job.num_slices == 1
    argv = (
        "gcloud", "compute", "tpus", "queued-resources", "create", job.name, *place.flags(),
        f"--accelerator-type={job.slice.name}",
        f"--runtime-version={runtime(job)}",
        *(
            [f"--node-id={job.name}"]
            if single
            else [f"--node-count={job.num_slices}", f"--node-prefix={job.name}"]
        ),
        *(["--spot"] if args.spot else []),
        *(["--reserved"] if args.reserved else []),
        *([f"--valid-until-duration={args.max_wait_h}h"] if args.max_wait_h else []),
        *([f"--network={args.network}"] if args.network else []),
        *([f"--subnetwork={args.subnetwork}"] if args.subnetwork else []),
        *([f"--service-account={args.vm_service_account}"] if args.vm_service_account else []),
        "--quiet",
    )  # fmt: skip
    return Command(argv=argv, why=f"request {job.slice.shown}")


def _wheel(job: Job) -> tuple[str, Command]:
    """Returns the path of a wheel of this checkout, and how to build it."""
    sources = shipped.checkout()
    if sources is None:
        raise errors.UsageError(
            "there is no checkout here to build a wheel of; give what pip is to install on the "
            "workers, such as --package 'flan_jax[tpu]' or --package FILE.whl"
        )
    folder = Path("runs", "launch", job.name)
    name = f"flan_jax-{flan_jax.__version__}-py3-none-any.whl"
    found = shutil.which("python")
    is_first = found and os.path.dirname(found) == os.path.dirname(sys.executable)
    python = "python" if is_first else sys.executable
    argv = (
        python, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={folder}",
        _relative(sources),
    )  # fmt: skip
    return str(folder / name), Command(argv=argv, why="build a wheel of this checkout")


def _training(job: Job, index: int) -> list[str]:
    """Returns the arguments of the worker's `start`, for the slice of that index."""
    variables = [f"{name}={value}" for name, value in job.environment.items()]
    return [job.name, str(index), job.model_dir, *variables, "--", *job.train]


def on_workers(job: Job, place: Place, why: str, *arguments: str) -> list[Command]:
    """Returns the commands that have all workers of all slices do something."""
    return [
        Command(
            argv=gcloud.ssh(node, place, _worker(*arguments)),
            why=f"{why} all workers of {node}",
            tries=TRIES,
        )
        for node in nodes(job)
    ]


def _worker(*arguments: str) -> str:
    return shlex.join(["bash", _WORKER, *arguments])


def log_of(job: Job) -> str:
    """Returns where the supervisor of worker 0 keeps what its process prints."""
    return jobs.in_bucket(f"{job.model_dir}/logs/process_0.log")


def logs(job: Job) -> Command:
    """Returns the command that prints the end of that."""
    if not job.model_dir:
        raise errors.UsageError("no MODEL_DIR, which holds the logs; give --gin.MODEL_DIR=...")
    argv = ("gcloud", "storage", "cat", f"--range=-{_LOG_BYTES}", log_of(job))
    return Command(argv=argv, why="the end of what process 0 printed")


def _relative(path: Path) -> str:
    """Returns a path from the working folder if it is inside it: shorter."""
    found = os.path.relpath(path)
    return str(path) if found.startswith("..") else found
