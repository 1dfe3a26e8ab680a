# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs a grid of finetunings, each with its evaluation, one after another.

Each run has its own folder; a finished one is skipped, so the same command goes on after a stop.
All scores are gathered in OUT/scores.csv. Draw them with flan-jax report OUT.

    flan-jax sweep gin/sweeps/mini_task_scaling.gin --out runs/mini_task_scaling
"""

import argparse
from pathlib import Path

from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("sweep", help="a Gin file that binds Sweep, such as those in gin/sweeps")
    parser.add_argument("--out", help="the sweep's folder (default: runs/NAME)")
    parser.add_argument(
        "--dry_run", action="store_true", help="print the runs and how far they are; run nothing"
    )


def run(args: argparse.Namespace) -> None:
    """Runs what is not done."""
    from flan_jax import sweeps

    out = args.out or str(Path("runs", Path(args.sweep).stem))
    if args.dry_run:
        print(sweeps.status(args.sweep, out))
        return
    sweeps.run(args.sweep, out)
    say(f"sweep: done; draw it with: flan-jax report {out}")
