# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The target `local`: a job on this machine, in the foreground, started again until it is done.

One process drives all accelerators of a machine. Several processes are what a job of several hosts
is made of: on the CPU they rehearse it.
"""

import argparse
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.core import errors, files
from flan_jax.core.progress import say
from flan_jax.launching import plan as plans
from flan_jax.launching import supervise
from flan_jax.launching.job import MOUNTS, Job
from flan_jax.launching.plan import Command, Plan

SLICES = REMOTE = False
_NUM_LINES = 50  # of a log
_POLL_S = 0.2
_HOLDER = re.compile(r"\(process (\d+) on (\S+)\)")  # of a lock, as core/files.py writes it


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Adds the target's own arguments."""
    parser.add_argument(
        "--num_processes",
        type=int,
        default=1,
        metavar="N",
        help="processes, as many as the hosts of the job that they rehearse (default: 1)",
    )
    parser.add_argument(
        "--cores", type=int, metavar="C", help="of each process (default: an equal share)"
    )
    parser.add_argument(
        "--max_failures",
        type=int,
        default=supervise.MAX_FAILURES,
        metavar="N",
        help="give up after so many attempts in a row that crash and make no new checkpoint "
        f"(default: {supervise.MAX_FAILURES})",
    )


def plan(job: Job, args: argparse.Namespace) -> Plan:
    """Returns what `args.do` does.

    Raises:
        UsageError: it cannot be done here.
    """
    folder, shown = _folder(job), Path(job.model_dir)
    log = folder / supervise.LOGS / "process_0.log"
    match args.do:
        case "start":
            argv = (*_variables(job), *_supervise(job, args), "--", *job.train)
            return Plan(
                steps=(Command(argv=argv, why="train here, and again until it is done"),),
                notes=(f"logs: {shown / supervise.LOGS}; attempts: {shown / supervise.JOURNAL}",),
            )
        case "status":
            return Plan(steps=(), notes=(f"reads {shown / supervise.JOURNAL}",))
        case "logs":
            argv = ("tail", "-n", str(_NUM_LINES), str(log))
            return Plan(steps=(Command(argv=argv, why="the last lines of process 0"),))
        case "stop":
            argv = ("kill", "-TERM", str(_running(folder)))
            return Plan(steps=(Command(argv=argv, why="ask it to save and stop"),))
    raise errors.UsageError(
        f"--target local leaves nothing behind but {folder}; remove that folder yourself"
    )


def do(job: Job, args: argparse.Namespace, action: str) -> None:
    """Carries out an action."""
    folder = _folder(job)
    if action == "start":
        # Here, not as the plan's command: who signals this process means the training.
        supervise.supervise(
            supervise.Supervised(
                argv=supervise.training(job.train),
                model_dir=folder,
                num_processes=args.num_processes,
                max_failures=args.max_failures,
                cores=args.cores,
                environment=job.environment,
            )
        )
    elif action == "status":
        print(status(folder))
    else:
        plans.run(plan(job, args))
        if action == "stop":
            while _holder(folder) is not None:
                time.sleep(_POLL_S)
            say(f"launch: stopped; newest checkpoint: {_shown(supervise.newest_step(folder))}")


def status(folder: Path) -> str:
    """Returns in lines whether a job runs, how its attempts ended, and what it has saved."""
    records = supervise.read_journal(supervise.journal_of(folder))
    if not records:
        raise errors.UsageError(f"nothing was launched in {folder}; see MODEL_DIR")
    holder = _holder(folder)
    lines = ["not running" if holder is None else f"running (process {holder[0]} on {holder[1]})"]
    ends = [record for record in records if record["event"] == "attempt_end"]
    lines += [_described(record) for record in ends[-5:]]
    if records[-1]["event"] == "attempt_start":
        lines.append(f"attempt {records[-1]['attempt']}: " + ("begun" if holder else "cut off"))
    lines.append(f"newest checkpoint: {_shown(supervise.newest_step(folder))}")
    return "\n".join(lines)


def _described(record: Mapping[str, Any]) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(record["time"]))
    cause = f": {record['cause']}" if record["cause"] else ""
    return f"attempt {record['attempt']}: {record['kind']} {when}{cause}"


def _shown(step: int | None) -> str:
    return "none" if step is None else f"step {step}"


def _folder(job: Job) -> Path:
    """Returns MODEL_DIR, once it is one that this machine can have."""
    if not job.model_dir:
        raise errors.UsageError("no MODEL_DIR; give --gin.MODEL_DIR=FOLDER")
    for bucket in job.buckets:
        if not Path(MOUNTS, bucket).is_dir():
            raise errors.UsageError(
                f"gs://{bucket} is not mounted here; mount it at {MOUNTS}/{bucket} (gcsfuse "
                f"{bucket} {MOUNTS}/{bucket}), or name plain folders"
            )
    files.check_folder(job.model_dir, "MODEL_DIR")
    return Path(job.model_dir)


def _variables(job: Job) -> tuple[str, ...]:
    pairs = [f"{name}={value}" for name, value in job.environment.items()]
    return ("env", *pairs) if pairs else ()


def _supervise(job: Job, args: argparse.Namespace) -> tuple[str, ...]:
    """Returns the command that does the same."""
    words = ["python", "-m", "flan_jax.launching.supervise", "--model_dir", job.model_dir]
    words += ["--num_processes", str(args.num_processes)]
    words += ["--cores", str(args.cores)] if args.cores is not None else []
    words += ["--max_failures", str(args.max_failures)]
    return tuple(words)


def _holder(folder: Path) -> tuple[int, str] | None:
    """Returns process and host of the supervisor that runs a job in a folder, None if none does."""
    logs = folder / supervise.LOGS
    if not logs.is_dir():
        return None
    try:
        with files.locked(logs, "launch"):
            return None
    except errors.UsageError as error:
        found = _HOLDER.search(str(error))
        if found is None:  # it is just writing its name
            raise
        return int(found[1]), found[2]


def _running(folder: Path) -> int:
    """Returns the process to signal.

    Raises:
        UsageError: there is none on this host.
    """
    holder = _holder(folder)
    if holder is None:
        raise errors.UsageError(f"nothing that was launched runs in {folder}")
    number, host = holder
    if host != socket.gethostname():
        raise errors.UsageError(f"the job in {folder} runs on {host}; stop it there")
    return number
