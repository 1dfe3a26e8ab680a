# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Starts a training where its accelerators are, and starts it again until it is done.

Before a start the configuration is read, the step compiled ahead of time for the slice, and what
will be run is printed; --dry_run ends there. Paths in buckets (gs://BUCKET/PATH) are mounted on all
hosts. The same command with --do status, logs, stop or delete looks after the job.

    flan-jax launch --target tpu-vm --slice v4-32 --zone us-central2-b --recipe flan_t5_xl \
      --gin.MODEL_DIR=gs://BUCKET/flan_t5_xl --gin.STORE_DIR=gs://BUCKET/stores/flan2022 \
      --gin.INITIAL_CHECKPOINT_PATH=gs://BUCKET/t5_1_1_lm100k_xl/checkpoint_1100000 --dry_run
"""

import argparse
import contextlib
import dataclasses
from pathlib import Path
from types import ModuleType

from flan_jax.aot import slices
from flan_jax.commands import arguments
from flan_jax.commands import compile as compile_command
from flan_jax.core import errors
from flan_jax.launching import gcloud, gke, local, slurm, tpu_vm
from flan_jax.launching import job as jobs
from flan_jax.launching import plan as plans
from flan_jax.launching.job import Job
from flan_jax.launching.plan import Command, Plan

# Target -> the module that plans for it and acts: add_arguments(parser), plan(job, args) -> Plan,
# do(job, args, action); SLICES says whether it runs on TPU slices, REMOTE whether elsewhere.
TARGETS: dict[str, ModuleType] = {
    "tpu-vm": tpu_vm,
    "gke": gke,
    "slurm": slurm,
    "local": local,
}
_NUM_SLICES = "MeshShape.num_slices"
ACTIONS = ("start", "status", "logs", "stop", "delete")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--target", choices=tuple(TARGETS), required=True, help="where to run")
    arguments.add_gin(parser)
    parser.add_argument(
        "--do", choices=ACTIONS, default="start", help="what to do with the job (default: start)"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print what would be run, run nothing"
    )
    parser.add_argument("--name", help="of the job (default: made of MODEL_DIR)")
    parser.add_argument("--slice", metavar="NAME", help="such as v4-32, v5litepod-16 or v6e-8")
    parser.add_argument(
        "--num_slices",
        type=arguments.at_least(1),
        default=1,
        metavar="N",
        help="so many of them, joined by the data center's network (default: 1)",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an environment variable of every process; may be repeated",
    )
    parser.add_argument(
        "--compile_cache",
        metavar="DIR",
        help="what was compiled is kept there for the next start; 'none' for none (default: "
        "compile_cache in the bucket of MODEL_DIR, if it is in one)",
    )
    parser.add_argument(
        "--no_compile", action="store_true", help="start without compiling ahead of time"
    )
    for name, target in TARGETS.items():
        group = parser.add_argument_group(f"with --target {name}")
        target.add_arguments(group)


def run(args: argparse.Namespace) -> None:
    """Launches, or looks after what was launched."""
    target = TARGETS[args.target]
    _check_groups(args)
    args.gin_bindings = _bindings(args)
    job = make_job(args, target)
    plan = target.plan(job, args)
    if args.do == "start":
        job, found, first = _checked(args, target, job)
        plan = target.plan(job, args)
        plan = dataclasses.replace(plan, steps=(*first, *plan.steps))
        print("\n".join(f"# {line}" for line in found))
        print(plans.shown(plan), flush=True)
        if not args.dry_run:
            with gcloud.explained():
                plans.run(Plan(steps=first))
            target.do(job, args, args.do)
    elif args.dry_run:
        print(plans.shown(plan))
    else:
        target.do(job, args, args.do)


def make_job(args: argparse.Namespace, target: ModuleType) -> Job:
    """Returns the job that the arguments describe.

    Raises:
        UsageError: they do not, or not for this target.
    """
    folder = jobs.model_dir(args.gin_bindings)
    if not folder and (args.do == "start" or not args.name):
        raise errors.UsageError("no MODEL_DIR; give --gin.MODEL_DIR=FOLDER or gs://BUCKET/FOLDER")
    if folder and target.REMOTE and not jobs.is_mounted(folder):
        raise errors.UsageError(
            f"MODEL_DIR is {folder!r}, which the hosts of --target {args.target} do not have; give "
            "--gin.MODEL_DIR=gs://BUCKET/FOLDER"
        )
    if args.gin_search_paths and target.REMOTE:
        raise errors.UsageError(
            f"--gin_search_paths: the hosts of --target {args.target} do not have "
            f"{args.gin_search_paths}; write what is included there into the Gin file"
        )
    if target.SLICES and args.do == "start" and not args.slice:
        raise errors.UsageError("no slice; give --slice NAME, such as --slice v4-32")
    if args.slice and not target.SLICES:
        raise errors.UsageError(f"--slice is for TPUs; --target {args.target} has none")
    uploads = _uploads(args.gin_file, folder) if target.REMOTE else ()
    elsewhere = dict(uploads)
    train = jobs.train_arguments(
        recipe=args.recipe,
        gin_files=[elsewhere.get(file, file) for file in args.gin_file],
        gin_search_paths=[path for path in args.gin_search_paths.split(",") if path],
        gin_bindings=args.gin_bindings,
    )
    environment = jobs.environment(args.env, args.compile_cache, folder)
    return Job(
        name=jobs.check_name(args.name) if args.name else jobs.name_of(folder),
        train=train,
        buckets=jobs.buckets([*train, *environment.values()]),
        model_dir=folder,
        slice=slices.find(args.slice, args.num_slices) if args.slice else None,
        environment=environment,
        uploads=uploads,
    )


def _bindings(args: argparse.Namespace) -> list[str]:
    """Returns the Gin bindings with buckets as mounted, and the number of slices among them."""
    found = [jobs.mounted(binding) for binding in args.gin_bindings]
    if args.num_slices > 1 and not any(binding.startswith(_NUM_SLICES) for binding in found):
        found.append(f"{_NUM_SLICES}={args.num_slices}")
    return found


def _checked(
    args: argparse.Namespace, target: ModuleType, job: Job
) -> tuple[Job, list[str], tuple[Command, ...]]:
    """Returns the job with all its buckets, what was found, and what is looked at when it starts.

    Raises:
        UsageError: the configuration is wrong, or not for this target.
        DoesNotFitError: a step does not fit the slice.
    """
    if target.SLICES:
        compile_command.prepare()
    from flan_jax import config
    from flan_jax.aot.worker import Worker
    from flan_jax.launching import checks

    arguments.parse_gin(args, roots=("train",))
    name = args.recipe or " ".join(args.gin_file)
    train, found = checks.read(job, name, is_remote=target.REMOTE)
    if target.SLICES:
        with contextlib.closing(Worker()) as worker:
            compile_step = None if args.no_compile else worker.compile_step
            found.append(checks.fit(train, job, name, compile_step))
    if not target.REMOTE:
        return job, found, ()
    # The Gin files may name buckets too.
    buckets = {*job.buckets, *jobs.buckets([config.text()])}
    job = dataclasses.replace(job, buckets=tuple(sorted(buckets)))
    copies = tuple(
        Command(argv=("gcloud", "storage", "cp", here, there), why="a Gin file for all hosts")
        for here, there in job.uploads
    )
    return job, found, (*checks.storage(job, train), *copies)


def _uploads(gin_files: list[str], folder: str) -> tuple[tuple[str, str], ...]:
    """Returns the Gin files that only this host has, and where in the bucket they will be."""
    found = {}
    for file in gin_files:
        if Path(file).is_file():  # else a shipped one, or an error when it is read
            there = f"{jobs.in_bucket(folder)}/gin/{Path(file).name}"
            if there in found.values():
                raise errors.UsageError(f"two Gin files are called {Path(file).name}; rename one")
            found[file] = there
    return tuple(found.items())


def _check_groups(args: argparse.Namespace) -> None:
    """Refuses what was given for another target: it would be ignored."""
    for group in args.parser._action_groups:
        target = (group.title or "").removeprefix("with --target ")
        if target in TARGETS and target != args.target:
            for action in group._group_actions:
                if getattr(args, action.dest) != action.default:
                    raise errors.UsageError(
                        f"{action.option_strings[0]} goes with --target {target}, not {args.target}"
                    )
