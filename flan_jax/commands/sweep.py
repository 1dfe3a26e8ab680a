# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs a grid of finetunings, each with its evaluation, in turn or several at a time.

Each run has its own folder; a finished one is skipped, so the same command goes on after a stop and
retries what failed. All scores are gathered in OUT/scores.csv. Draw them with flan-jax report OUT.

    flan-jax sweep gin/sweeps/mini_task_scaling.gin --out runs/mini_task_scaling
    flan-jax sweep gin/sweeps/mini_study.gin --out runs/mini_study --parallel 2
"""

import argparse
from pathlib import Path

from flan_jax.commands import arguments
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
        "--dry_run", action="store_true", help="print the runs and how far they are; run nothing"
    )
    parser.add_argument("--only", metavar="RUN", help="carry out this one run, in this process")
    parser.add_argument(
        "--stop_with_stdin",
        action="store_true",
        help="save and stop when standard input closes: how a sweep ties its runs to itself",
    )


def run(args: argparse.Namespace) -> None:
    """Runs what is not done."""
    if args.only and (args.parallel > 1 or args.cores or args.dry_run):
        raise errors.UsageError("--only carries out one run here: give it alone")
    if args.stop_with_stdin:
        from flan_jax.scaling import processes

        processes.stop_with_stdin()
    from flan_jax import sweeps

    out = args.out or str(Path("runs", Path(args.sweep).stem))
    files.check_folder(out, "--out")
    if args.dry_run:
        print(sweeps.status(args.sweep, out))
    elif args.only:
        sweeps.run_only(args.sweep, out, args.only)
    else:
        sweeps.run(args.sweep, out, parallel=args.parallel, cores=args.cores)
        say(f"sweep: done; draw it with: flan-jax report {out}")
