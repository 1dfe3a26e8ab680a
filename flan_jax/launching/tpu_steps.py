# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The steps of a job on Cloud TPU VMs: request, wait, copy, install, start, ask, stop."""

import argparse
import functools
import math
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import flan_jax
from flan_jax.core import errors
from flan_jax.launching import gcloud, shipped
from flan_jax.launching import job as jobs
from flan_jax.launching.gcloud import Place, Request, Worker
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
_EXTRAS = re.compile(r"\[[\w,-]*\]$")  # of a requirement


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
    packages = args.package
    for file in _files(packages):
        if not Path(file).is_file():
            raise errors.UsageError(f"--package: there is no file {file!r}")
    if not packages:
        wheel, build = _wheel(job)
        steps.append(build)
        packages = [f"{wheel}[tpu]"]
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
            timeout_s=args.max_wait_h * 3600 + 600 if args.max_wait_h else math.inf,
        )
    )
    files = [_relative(shipped.folder() / "tpu_vm" / _WORKER), *_files(packages)]
    for node in nodes(job):
        argv = gcloud.copy(files, node, place)
        steps.append(Command(argv=argv, why=f"copy to all workers of {node}", tries=TRIES))
    if found.state == gcloud.ACTIVE:
        steps += stop(job, place)
    wanted = [f"--bucket={bucket}" for bucket in job.buckets] + _on_worker(packages)
    steps += on_workers(job, place, "install and mount on", "install", *wanted)
    for index, node in enumerate(nodes(job)):
        argv = gcloud.ssh(node, place, _worker("start", *_training(job, index)))
        why = f"start on all workers of {node}"
        steps.append(Command(argv=argv, why=why, tries=TRIES))
    for node, asked in zip(nodes(job), status(job, place), strict=True):
        why = f"does every worker of {node} run?"
        steps.append(Wait(argv=asked.argv, why=why, lacks=functools.partial(lacks_workers, node)))
    return Plan(steps=tuple(steps))


def stop(job: Job, place: Place) -> list[Command]:
    """Returns the commands that have the job save and stop: all slices are asked, then waited for.

    Otherwise the supervisors of the last would start again what those of the first have stopped.
    """
    return [
        *on_workers(job, place, "ask", "stop", job.name, "--no-block"),
        *on_workers(job, place, "wait until it has saved:", "stop", job.name),
    ]


def status(job: Job, place: Place) -> list[Command]:
    """Returns the commands that ask all workers for the state of their part of the job."""
    return on_workers(job, place, "ask", "status", job.name)


def lacks_workers(node: str, text: str) -> str | None:
    """Returns which workers of a node do not run yet; None if all do.

    Raises:
        UsageError: the training is misconfigured.
        DoesNotFitError: it needs more memory.
        FlanError: it failed otherwise.
    """
    workers = gcloud.read_workers(node, text)
    check_alive(workers)
    late = [str(worker) for worker in workers if worker.state not in ("running", "done")]
    return "; ".join(late) or None


def check_alive(workers: Sequence[Worker]) -> None:
    """Checks that no worker's part of the job has failed; raises as `lacks_workers`."""
    for worker in workers:
        if worker.exit_code is not None:
            kinds = {2: errors.UsageError, 3: errors.DoesNotFitError}
            raise kinds.get(worker.exit_code, errors.FlanError)(
                f"{worker}; its log says why: --do logs"
            )


def pinned(job: Job, args: argparse.Namespace) -> argparse.Namespace:
    """Returns arguments with the wheel that was built, lest a later start build another."""
    wheel, _ = _wheel(job) if not args.package else ("", None)
    return argparse.Namespace(**vars(args) | {"package": args.package or [f"{wheel}[tpu]"]})


def _files(packages: Sequence[str]) -> list[str]:
    """Returns the files among what pip is to install, to be copied."""
    bases = (_EXTRAS.sub("", package) for package in packages)
    return [base for base in bases if base.endswith(".whl")]


def _on_worker(packages: Sequence[str]) -> list[str]:
    """Returns what pip is to install, with files where they are copied to."""
    files = _files(packages)
    is_file = [_EXTRAS.sub("", package) in files for package in packages]
    return [Path(p).name if f else p for p, f in zip(packages, is_file, strict=True)]


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
