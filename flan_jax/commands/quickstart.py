# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The whole job, small: minutes on a laptop, no network, no accelerator.

Builds the embedded mini collection, finetunes a tiny T5 on 4, 8, ... of its tasks, evaluates each
model on tasks it was trained on and on tasks it never saw, and draws the curve over that of a study
of several seeds (docs/studies/mini).

    flan-jax quickstart
"""

import argparse
import time

from flan_jax.core import files
from flan_jax.core.progress import say

_SWEEP = "sweeps/mini_task_scaling.gin"
_STUDY = "package:tasks/mini/study.csv"
_BASELINES = "package:tasks/mini/baselines.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--out", default="quickstart", help="folder for everything it makes (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Runs the shipped sweep and its report, then names what was made."""
    files.check_folder(args.out, "--out")
    from flan_jax import reporting, sweeps

    start = time.monotonic()
    say("quickstart: 1/2 build the mini collection, finetune and evaluate (all on this machine)")
    sweeps.run(_SWEEP, args.out)
    say("quickstart: 2/2 draw")
    made = reporting.report(args.out, study=_STUDY, baselines=_BASELINES)
    png, svg, _ = made.figures[:3]
    markdown, table, *_ = made.tables
    print()
    print(markdown.read_text(encoding="utf-8"))
    print(f"Done in {(time.monotonic() - start) / 60:.1f} minutes. Look at:")
    print(f"  scaling curve   {png}")
    print(f"                  {svg}")
    print(f"  scores          {table}")
    print(f"  report          {made.page}   (open it in a browser)")
