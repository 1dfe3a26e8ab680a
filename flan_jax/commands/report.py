# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws the curves and tables of a sweep: PNG, SVG, Markdown, CSV and one self-contained page.

Of a sweep that is not finished, it draws the runs that are.

    flan-jax report runs/mini_task_scaling
"""

import argparse

from flan_jax.core import files
from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("sweep", help="the folder that flan-jax sweep wrote")
    parser.add_argument("--out", help="folder for the report (default: SWEEP/report)")
    parser.add_argument(
        "--study",
        metavar="CSV",
        help="score table of a several-seed study to draw behind, such as "
        "package:tasks/mini/study.csv (default: none)",
    )
    parser.add_argument(
        "--baselines",
        metavar="CSV",
        help="score table of rules without learning to draw as thin lines, such as "
        "package:tasks/mini/baselines.csv (default: none)",
    )


def run(args: argparse.Namespace) -> None:
    """Writes the report and names its files."""
    if args.out:
        files.check_folder(args.out, "--out")
    from flan_jax import reporting

    made = reporting.report(args.sweep, out=args.out, study=args.study, baselines=args.baselines)
    for label, path in (
        ("scores table", made.table_markdown),
        ("scores as CSV", made.table_csv),
        *(("figure", path) for path in made.figures),
        ("report", made.page),
    ):
        say(f"{label:14} {path}")
