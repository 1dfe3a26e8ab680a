# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares two models' open-ended answers by human raters, blindly and in pairs.

A and B are folders that `flan-jax eval --suite open_ended` wrote. `rate sheet` makes OUT/sheets for
the raters (the same pairs as a page and as CSV) and OUT/key.csv, which they must not see. A rater
chooses left, right or tie on the page, or in the CSV's last column, and gives the CSV back.
`rate result` reads the filled sheets, one a rater: how often A is preferred, overall and by
category, and how far raters agree. A pair that several rated counts once, by majority.

    flan-jax rate sheet scores/flan scores/base --out rating
    flan-jax rate sheet scores/flan scores/base --out rating --raters 4 --raters_per_pair 2
    flan-jax rate result filled/*.csv --key rating/key.csv
"""

import argparse
from pathlib import Path

from flan_jax.commands import arguments
from flan_jax.core import files
from flan_jax.core.errors import UsageError
from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    sheet = actions.add_parser("sheet", help="make sheets for raters", allow_abbrev=False)
    sheet.add_argument("a", metavar="A", help="folder of the first model's evaluation")
    sheet.add_argument("b", metavar="B", help="folder of the second model's evaluation")
    sheet.add_argument("--out", required=True, help="folder to make for sheets and key")
    sheet.add_argument(
        "--seed",
        type=arguments.at_least(0),
        default=0,
        help="of the order and the sides; whoever knows it can tell the sides, so choose your own "
        "for raters who have this program (default: %(default)s)",
    )
    sheet.add_argument(
        "--raters",
        type=arguments.at_least(1),
        default=1,
        help="people to share the pairs among, each with a sheet (default: %(default)s)",
    )
    sheet.add_argument(
        "--raters_per_pair",
        type=arguments.at_least(1),
        default=1,
        help="how many of them see the same pair; the paper has one (default: %(default)s)",
    )
    sheet.set_defaults(parser=sheet)
    result = actions.add_parser("result", help="read filled sheets", allow_abbrev=False)
    result.add_argument("sheets", nargs="+", metavar="SHEET", help="a filled .csv of each rater")
    result.add_argument("--key", required=True, help="the key.csv of the sheets")
    result.set_defaults(parser=result)


def run(args: argparse.Namespace) -> None:
    """Makes sheets, or prints what filled ones say."""
    {"sheet": _sheet, "result": _result}[args.action](args)


def _sheet(args: argparse.Namespace) -> None:
    if args.raters_per_pair > args.raters:
        raise UsageError(
            f"--raters_per_pair {args.raters_per_pair} is above --raters {args.raters}; raise that"
        )
    models = _names(args.a, args.b)
    files.check_folder(args.out, "--out")
    from flan_jax.evals import open_ended, rating_sheet

    a, b = open_ended.read_answers(args.a), open_ended.read_answers(args.b)
    pairs, num_left_out = open_ended.pairs(a, b, args.seed)
    if len(pairs) < args.raters:
        raise UsageError(f"--raters {args.raters} is above the number of pairs, {len(pairs)}")
    with files.atomic_folder(args.out, "--out") as folder:
        shares = rating_sheet.split(pairs, args.raters, args.raters_per_pair)
        for number, share in enumerate(shares, start=1):
            name = "sheet" if args.raters == 1 else f"sheet_{number}"
            rating_sheet.write_sheet(folder / "sheets", name, share)
        rating_sheet.write_key(folder / "key.csv", pairs, models)
    left_out = f"; {num_left_out} prompts left out, too long for a model" if num_left_out else ""
    say(f"rate: {len(pairs)} pairs{left_out}")
    say(f"rate: {args.out}/sheets is for the raters, {args.out}/key.csv is not")


def _result(args: argparse.Namespace) -> None:
    from flan_jax.evals import ratings

    found = ratings.read_result([Path(sheet) for sheet in args.sheets], Path(args.key))
    print("\n".join(ratings.table(found)))


def _names(a: str, b: str) -> tuple[str, str]:
    """Returns what the two models are called: the names of their folders, if those differ."""
    if Path(a).resolve() == Path(b).resolve():
        raise UsageError(f"A and B are the same folder, {a}; name those of two models")
    names = Path(a).resolve().name, Path(b).resolve().name
    return names if names[0] != names[1] else (a, b)
