# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs a grid of finetunings, each with its evaluation, in turn or several at a time.

Each run has its own folder; a finished one is skipped, so the same command goes on after a stop and
retries what failed. All scores are gathered in OUT/scores.csv. Draw them with flan-jax report OUT.

    flan-jax sweep gin/sweeps/mini_task_scaling.gin --out runs/mini_task_scaling
    flan-jax sweep gin/sweeps/mini_study.gin --out runs/mini_study --parallel 2
    flan-jax sweep gin/sweeps/mini_study.gin --out runs/mini_study --status
    flan-jax sweep gin/sweeps/task_scaling.gin --dry_run --slice v4-32 --price 3.22

Runs may be done elsewhere: --job_specs FILE writes each one's commands, which a job carries out
verbatim where these folders and Gin files are, and --gather takes in what the jobs left.

Exit codes: 0 all runs are done, 2 the sweep is misconfigured, 3 a run does not fit the slice, 4
some runs failed or are not done and the rest is, 75 stopped and saved.
"""

import argparse
import contextlib
from pathlib import Path

from flan_jax.commands import arguments
from flan_jax.commands import compile as compile_command
from flan_jax.core import errors, files
from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("sweep", help="a Gin file that binds Sweep, such as those in gin/sweeps")
    parser.add_argument("--out", help="the sweep's folder (default: runs/NAME)")
    parser.add_argument(
        "--parallel",
        type=arguments.at_least(1),
        default=1,
        metavar="N",
        help="runs at a time, each a process of its own with its log in its folder (default: 1, in "
        "this process)",
    )
    parser.add_argument(
        "--cores",
        type=arguments.at_least(1),
        metavar="C",
        help="processor cores of each run (default: an equal share); the same number gives the "
        "same bytes for any N",
    )
    parser.add_argument(
        "--retries",
        type=arguments.at_least(0),
        default=2,
        metavar="N",
        help="how often a run is begun again whose process died: killed, out of memory, preempted "
        "(default: 2); one that fails of itself is not. In this process none can die alone",
    )
    instead = parser.add_argument_group("instead of running all").add_mutually_exclusive_group()
    instead.add_argument(
        "--dry_run",
        action="store_true",
        help="print the runs and what each will compute; run nothing",
    )
    instead.add_argument(
        "--status",
        action="store_true",
        help="print how far each run is, with the time that its steps will take; run nothing",
    )
    instead.add_argument("--only", metavar="RUN", help="carry out this one run, in this process")
    instead.add_argument(
        "--job_specs",
        metavar="FILE",
        help="build the token store, and write as JSON the commands of every run that is not done",
    )
    instead.add_argument(
        "--gather",
        action="store_true",
        help="mark as done the runs that jobs have done, and gather their scores",
    )
    planned = parser.add_argument_group("with --dry_run")
    planned.add_argument(
        "--slice",
        metavar="NAME",
        help="compile each run's step for it, such as v4-32: memory, least time (extra aot)",
    )
    planned.add_argument(
        "--num_slices", type=arguments.at_least(1), metavar="N", help="so many of them (default: 1)"
    )
    planned.add_argument(
        "--price", type=arguments.positive, metavar="P", help="of a chip-hour, in any currency"
    )
    planned.add_argument(
        "--results", metavar="FILE", help="keep what was compiled there, and compile nothing twice"
    )
    parser.add_argument(
        "--stop_with_stdin",
        action="store_true",
        help="save and stop when standard input closes: how a sweep ties its runs to itself",
    )


def run(args: argparse.Namespace) -> None:
    """Runs what is not done."""
    if args.only and (args.parallel > 1 or args.cores):
        raise errors.UsageError("--only carries out one run here: give it alone")
    for name in ("slice", "num_slices", "price", "results"):
        if getattr(args, name) and not (args.dry_run and args.slice):
            raise errors.UsageError(f"--{name} goes with --dry_run and a --slice")
    if args.stop_with_stdin:
        from flan_jax.scaling import processes

        processes.stop_with_stdin()
    if args.slice:
        compile_command.prepare()
    from flan_jax import sweeps

    out = args.out or str(Path("runs", Path(args.sweep).stem))
    files.check_folder(out, "--out")
    if args.dry_run:
        _plan(args, out)
    elif args.status:
        print(sweeps.status(args.sweep, out))
    elif args.only:
        sweeps.run_only(args.sweep, out, args.only)
    elif args.job_specs:
        files.check_file(args.job_specs, "--job_specs")
        num = sweeps.write_job_specs(args.sweep, out, args.job_specs)
        say(f"sweep: {num} job(s) in {args.job_specs}; when they are done: --gather")
    elif args.gather:
        sweeps.gather(args.sweep, out)
        say(f"sweep: done; draw it with: flan-jax report {out}")
    else:
        sweeps.run(args.sweep, out, parallel=args.parallel, cores=args.cores, retries=args.retries)
        say(f"sweep: done; draw it with: flan-jax report {out}")


def _plan(args: argparse.Namespace, out: str) -> None:
    """Prints what each run will compute.

    Raises:
        DoesNotFitError: after that, if the step of some run does not fit the slice.
    """
    from flan_jax import sweep_plans

    if not args.slice:
        print(sweep_plans.text(sweep_plans.plan(args.sweep, out)))
        return
    if args.results:
        files.check_file(args.results, "--results")
    from flan_jax.aot import results, slices
    from flan_jax.aot.worker import Worker

    where = slices.find(args.slice, args.num_slices or 1)
    with contextlib.closing(Worker()) as worker:
        kept = results.Results(args.results, worker.compile_step)
        made = sweep_plans.plan(
            args.sweep,
            out,
            slice_name=args.slice,
            num_slices=args.num_slices or 1,
            compile_with=lambda case: kept.run(case, "quick"),
        )
    print(sweep_plans.text(made, where, args.price))
    if large := sweep_plans.misfits(made):
        raise errors.DoesNotFitError(
            f"{len(large)} of {len(made)} runs do not fit {where.shown}: {', '.join(large)}; give "
            "a larger slice, or see flan-jax compile --suggest"
        )
