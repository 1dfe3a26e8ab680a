# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Arguments that several commands share."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from flan_jax.core.errors import UsageError


def at_least(least: int) -> Callable[[str], int]:
    """Returns an argument's `type`: a whole number of at least `least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"need a whole number >= {least}, got {text!r}")
        return value

    return parse


def positive(text: str) -> float:
    """Parses a number above 0, for `type=` of an argument."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"need a number above 0, got {text!r}")
    return value


def add_gin(parser: argparse.ArgumentParser) -> None:
    """Adds T5X's Gin flags and `--recipe`."""
    group = parser.add_argument_group("configuration")
    group.add_argument(
        "--recipe", metavar="NAME", help="a file of gin/recipes, by name (without .gin)"
    )
    group.add_argument(
        "--gin_file",
        action="append",
        default=[],
        metavar="FILE",
        help="a Gin file; may be repeated, later files override earlier ones",
    )
    group.add_argument(
        "--gin_search_paths",
        default="",
        metavar="DIRS",
        help="comma-separated folders where Gin files are looked for, before the shipped ones",
    )
    group.add_argument(
        "--gin.NAME=VALUE",
        dest="_",
        action="store_true",
        help="bind a macro (--gin.TRAIN_STEPS=1000) or a parameter (--gin.AdamW.beta2=0.95); wins "
        "over the files",
    )


def parse_gin(
    args: argparse.Namespace,
    extra: Sequence[str] = (),
    roots: Sequence[str] = (),
    unneeded: Sequence[str] = (),
) -> None:
    """Parses what `add_gin` took, then `extra` bindings, into the current configuration.

    Args:
        args: with what `add_gin` took.
        extra: more bindings, after those of the command line.
        roots: the configurables that will be called: only macros they use are required.
        unneeded: macros of text that may be left unset all the same.
    """
    from flan_jax import config

    files = [config.recipe_file(args.recipe)] if args.recipe else []
    files += args.gin_file
    if not files:
        raise UsageError(
            "no configuration; give --recipe NAME (one of: "
            + ", ".join(config.recipes())
            + ") or --gin_file FILE"
        )
    paths = [path for path in args.gin_search_paths.split(",") if path]
    for path in paths:
        if not Path(path).is_dir():
            raise UsageError(f"--gin_search_paths: no folder {path!r}; name folders, with commas")
    config.parse(files, [*args.gin_bindings, *extra], paths, roots=roots, unneeded=unneeded)


def add_modules(parser: argparse.ArgumentParser) -> None:
    """Adds `--module_import`, the modules that register tasks."""
    parser.add_argument(
        "--module_import",
        action="append",
        default=[],
        metavar="MODULE",
        help="module that registers tasks and mixtures (default: tasks.mixtures); may be repeated",
    )


def import_modules(args: argparse.Namespace) -> list[str]:
    """Imports the modules of `--module_import` and returns their names."""
    from flan_jax.core import modules

    names = args.module_import or ["tasks.mixtures"]
    for name in names:
        modules.import_tasks(name, "--module_import")
    return names
