# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""GPUs of a SLURM cluster: a batch script of one step, with one task for each GPU.

Files lie on the cluster's shared file system. How the step ends decides (launch/slurm/README.md):

    0           done
    2, 3        wrong usage, does not fit: another start would end the same
    75          preempted, or its time is nearly up: the job is put back into the queue
    any other   the same, as long as the job was not started more than 50 times

SLURM tells the tasks that their time is up, GRACE_S before. The batch script itself is only told to
stop (SIGTERM) when someone wants the job to end; then it is not put back. Not here: containers.
"""

import argparse
import getpass
import re
import shlex

from flan_jax.core import errors
from flan_jax.launching import plan as plans
from flan_jax.launching import shipped
from flan_jax.launching.job import Job, in_bucket
from flan_jax.launching.plan import Command, Plan, WriteFile

SLICES = REMOTE = False

# From the request to stop until the job's time is up, and from the first task that ends until the
# last: for the last save.
GRACE_S = 300
_MAX_RESTARTS = 50
# What SLURM takes in a line of options without quotes, and without a pattern such as %j.
_PLAIN = re.compile(r"[\w./+@:,=-]+")

_BODY = "slurm/job.sh"  # of launch/; its first lines are about itself


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Adds the target's own arguments."""
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--gpus_per_node", type=int, default=8, metavar="G", help="and as many tasks (default: 8)"
    )
    parser.add_argument("--partition", help="where the GPUs are (default: the cluster's)")
    parser.add_argument("--account", help="whom it is charged to (default: yours)")
    parser.add_argument(
        "--time", metavar="D-HH:MM:SS", help="of one start, then it saves and is put back into the "
        "queue (default: the partition's)"
    )  # fmt: skip
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="OPTION",
        help="a further option of sbatch, such as --sbatch=--cpus-per-task=12; may be repeated",
    )


def plan(job: Job, args: argparse.Namespace) -> Plan:
    """Returns what `args.do` does."""
    mine = (f"--name={job.name}", f"--user={getpass.getuser()}")
    match args.do:
        case "start":
            return _start(job, args)
        case "status":
            columns = "JobID,State,ExitCode,Start,Elapsed,NodeList"
            history = ("sacct", "--allocations", "--duplicates", *mine, f"--format={columns}")
            steps = (
                Command(argv=("squeue", *mine), why="the job, if it is queued or runs"),
                Command(argv=(*history, "--starttime=now-30days"), why="all its starts"),
            )
        case "logs":
            log = f"{_logs(job)}/process_0.log"
            steps = (Command(argv=("tail", "--lines=200", log), why="what process 0 printed last"),)
        case "stop":
            steps = (
                Command(argv=("scancel", "--state=PENDING", *mine), why="not to start it again"),
                Command(
                    argv=("scancel", "--batch", "--signal=TERM", *mine),
                    why=f"to save and end, within {GRACE_S} s",
                ),
            )
        case _:
            steps = (
                Command(argv=("scancel", *mine), why="to end at once, wherever it is; files stay"),
            )
    return Plan(steps=steps)


def do(job: Job, args: argparse.Namespace, action: str) -> None:
    """Carries out an action."""
    del action  # the plan is made for it
    plans.run(plan(job, args))


def _start(job: Job, args: argparse.Namespace) -> Plan:
    file = f"{job.name}.sbatch"
    return Plan(
        steps=(
            Command(
                argv=("mkdir", "--parents", _logs(job)),
                why="a job whose log cannot be opened fails without a word",
            ),
            WriteFile(path=file, text=script(job, args), why="the job"),
            Command(argv=("sbatch", file), why="queue it"),
        ),
        notes=("look after the job with --do status, logs, stop",),
    )


def script(job: Job, args: argparse.Namespace) -> str:
    """Returns the batch script of a job.

    Raises:
        UsageError: a number or name is wrong, or a path is in a bucket.
    """
    for name in ("nodes", "gpus_per_node"):
        if getattr(args, name) < 1:
            raise errors.UsageError(f"--{name} must be >= 1, got {getattr(args, name)}")
    if job.buckets:
        found = ", ".join(in_bucket(f"/gcs/{bucket}") for bucket in job.buckets)
        raise errors.UsageError(
            f"--target slurm mounts no buckets, and the arguments name {found}; give folders of "
            "the cluster's shared file system"
        )
    options = [
        f"--job-name={job.name}",
        f"--nodes={args.nodes}",
        f"--ntasks-per-node={args.gpus_per_node}",
        f"--gpus-per-node={args.gpus_per_node}",
        *(
            f"--{name}={value}"
            for name in ("partition", "account", "time")
            if (value := getattr(args, name))
        ),
        *args.sbatch,
    ]
    for option in options:
        if not (_PLAIN.fullmatch(option) and option.startswith("--")):
            raise errors.UsageError(
                f"{option!r} is no option for sbatch here: it begins with '--', and has letters, "
                "digits and ./+@:,=_- only"
            )
    options += [
        "--requeue",  # also when a node fails
        f"--signal=TERM@{GRACE_S}",
        "--dependency=singleton",  # two of a name would write the same files
        f"--output={_logs(job)}/slurm-%j.log",
        "--open-mode=append",
    ]
    settings = [
        *(f"export {n}={shlex.quote(v)}" for n, v in sorted(job.environment.items())),
        f"max_restarts={_MAX_RESTARTS} grace_s={GRACE_S}",
        f"logs={_logs(job)}",
        "train=(",
        "  flan-jax train",
        *(f"  {shlex.quote(argument)}" for argument in job.train),
        ")",
    ]
    header = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options)]
    _, body = (shipped.folder() / _BODY).read_text(encoding="utf-8").split("\n\n", 1)
    return "\n".join([*header, "", *settings, "", body])


def _logs(job: Job) -> str:
    """Returns the folder of the logs, which all nodes must see."""
    if not job.model_dir:
        raise errors.UsageError("no MODEL_DIR; give --gin.MODEL_DIR=FOLDER, where the logs are")
    if not _PLAIN.fullmatch(job.model_dir):
        raise errors.UsageError(
            f"MODEL_DIR {job.model_dir!r} cannot be given to SLURM: use letters, digits and "
            "./+@:,=_- only"
        )
    return f"{job.model_dir}/logs"
