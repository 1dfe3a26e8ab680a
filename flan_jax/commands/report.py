# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws the curves and tables of sweeps, evaluations and trainings, beside the paper's own.

Figures come as PNG, SVG and PDF, tables as Markdown, CSV and LaTeX, and all of it in one page to
explore, which needs no network. Of a sweep that is not finished, it draws the runs that are. With
--paper it writes the paper's own tables and figures instead.

    flan-jax report runs/mini_task_scaling
    flan-jax report runs/base runs/large --select best:held_out_tasks
    flan-jax report --paper --out paper_tables
"""

import argparse
from pathlib import Path

from flan_jax.commands import arguments
from flan_jax.core import errors, files
from flan_jax.core.progress import say

_PAPER_OUT = "paper_report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "folders",
        nargs="*",
        metavar="DIR",
        help="what flan-jax sweep wrote, or eval or train; several make one report",
    )
    parser.add_argument(
        "--out", help=f"folder for the report (default: DIR/report; of --paper: {_PAPER_OUT})"
    )
    parser.add_argument(
        "--select",
        metavar="RULE",
        help="the step that each run is judged by: last, validation, best:BENCHMARK (the paper: "
        "best:normalized_average, on held-out benchmarks), or mean:K of the last K (default: as "
        "the sweep says, else last)",
    )
    parser.add_argument(
        "--price",
        type=arguments.positive,
        metavar="P",
        help="of a device-hour, in any currency: adds what the runs cost",
    )
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
    parser.add_argument(
        "--paper",
        action="store_true",
        help="write the paper's Tables 2 to 5 and their figures, from its printed numbers",
    )


def run(args: argparse.Namespace) -> None:
    """Writes the report and names its files."""
    if args.out:
        files.check_folder(args.out, "--out")
    if args.paper:
        _paper(args)
        return
    if not args.folders:
        raise errors.UsageError("no folder; give what flan-jax sweep wrote, or --paper")
    from flan_jax import reporting

    made = reporting.report(
        *args.folders,
        out=args.out,
        study=args.study,
        baselines=args.baselines,
        select=args.select,
        price=args.price,
    )
    for label, paths in (("table", made.tables), ("figure", made.figures), ("page", [made.page])):
        for path in paths:
            say(f"{label:6} {path}")


def _paper(args: argparse.Namespace) -> None:
    given = [
        name for name in ("folders", "select", "price", "study", "baselines") if getattr(args, name)
    ]
    if given:
        raise errors.UsageError(f"--paper reports on the paper alone; leave out {given[0]}")
    from flan_jax.scaling import paper_report

    made = paper_report.write(Path(args.out or _PAPER_OUT))
    print(made.text)
    for path in made.files:
        say(f"wrote {path}")
