# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Renders and tokenizes a mixture, once, into a token store that training and evaluation read.

Give a recipe, or a mixture with its vocabulary and lengths; flags win over the recipe. A build that
was stopped goes on where it was; any number of workers gives the same bytes.

    flan-jax build --recipe mini --out stores/mini
    flan-jax build --mixture cot --vocabulary bytes --inputs 1024 --targets 512 --out stores/cot
"""

import argparse
import shlex
from typing import Any

from flan_jax.commands import arguments
from flan_jax.core import files
from flan_jax.core.errors import UsageError
from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--mixture", help="mixture or task to build")
    parser.add_argument("--out", help="the store's folder")
    parser.add_argument(
        "--vocabulary", help="'bytes', a sentencepiece.model, or package:NAME/PATH inside a package"
    )
    parser.add_argument(
        "--inputs", type=arguments.at_least(2), help="most input tokens, EOS included"
    )
    parser.add_argument(
        "--targets", type=arguments.at_least(2), help="most target tokens, EOS included"
    )
    parser.add_argument("--seed", type=int, help="rendering seed")
    parser.add_argument("--workers", type=arguments.at_least(1), help="processes")
    parser.add_argument(
        "--limit", type=arguments.at_least(1), help="most examples a task and split, for a trial"
    )
    parser.add_argument(
        "--exemplar_policy",
        choices=("exclude_self", "disjoint_pool", "paper"),
        help="which rows few-shot prompts may show: any but the query's own, rows set aside that "
        "are no queries, or any (default: the tasks' own, exclude_self)",
    )
    parser.add_argument(
        "--skip_unavailable",
        action="store_true",
        help="leave out tasks whose data is not here (recorded in the manifest)",
    )
    parser.add_argument(
        "--beam_runner",
        metavar="RUNNER",
        help="build on Apache Beam (the extra 'beam'): DirectRunner, FlinkRunner, ...; its workers "
        "must see --out and the data under the same names as this process",
    )
    parser.add_argument(
        "--beam_options",
        type=_words,
        metavar="OPTIONS",
        help="Beam's own options in one argument: --beam_options='--direct_num_workers=4 "
        "--direct_running_mode=multi_processing'",
    )
    arguments.add_modules(parser)
    arguments.add_gin(parser)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} in {text!r}; close or escape it") from None


def run(args: argparse.Namespace) -> None:
    """Builds the store."""
    from flan_jax.jobs import build

    given: dict[str, Any] = {
        "mixture": args.mixture,
        "out": args.out,
        "vocabulary": args.vocabulary,
        "seed": args.seed,
        "num_workers": args.workers,
        "limit": args.limit,
        "exemplar_policy": args.exemplar_policy,
        "skip_unavailable": args.skip_unavailable or None,
        "module_imports": args.module_import or None,
        "beam_runner": args.beam_runner,
        "beam_options": args.beam_options,
    }
    if args.out:
        files.check_folder(args.out, "--out")
    if args.gin_bindings and not (args.recipe or args.gin_file):
        raise UsageError(
            f"--gin.{args.gin_bindings[0]} binds nothing without a --recipe or --gin_file; give one"
        )
    if args.inputs or args.targets:
        if not (args.inputs and args.targets):
            raise UsageError("give both --inputs and --targets, the lengths in tokens")
        given["feature_lengths"] = {"inputs": args.inputs, "targets": args.targets}
    given = {name: value for name, value in given.items() if value is not None}
    if args.recipe or args.gin_file:
        from flan_jax import config

        arguments.parse_gin(args, roots=("build",))
        if "mixture" in given:
            given.setdefault("submixtures", ())
        call = config.configured("build")
    else:
        needed = ("mixture", "out", "vocabulary", "feature_lengths")
        if unset := [name for name in needed if name not in given]:
            raise UsageError(
                f"build: {', '.join(unset)} not given; add --mixture, --out, --vocabulary, "
                "--inputs and --targets, or a --recipe"
            )
        given.setdefault("module_imports", ("tasks.mixtures",))
        call = build
    print_store(call(**given))


def print_store(store) -> None:
    """Says what a store holds, and every reason for which rows were dropped."""
    splits: dict[str, list[int]] = {}
    dropped: dict[str, int] = {}
    places: dict[str, str] = {}
    num_trimmed = num_shots_cut = 0
    for _, entries in sorted(store.manifest["tasks"].items()):
        for split, entry in sorted(entries.items()):
            totals = splits.setdefault(split, [0, 0, 0, 0])
            counts = ("num_examples", "num_input_tokens", "num_target_tokens")
            for place, value in enumerate((1, *(entry[name] for name in counts))):
                totals[place] += value
            for reason, num in entry["dropped"].items():
                dropped[reason] = dropped.get(reason, 0) + num
            for reason, found in entry.get("dropped_at", {}).items():
                places.setdefault(reason, f", first at {found[0]}")
            num_trimmed += entry["num_trimmed"]
            num_shots_cut += entry["num_shots_cut"]
    for split, (tasks, examples, inputs, targets) in sorted(splits.items()):
        say(
            f"build: {split}: {tasks} tasks, {examples} examples, {inputs} input and {targets} "
            "target tokens"
        )
    for reason, num in sorted(dropped.items()):
        say(f"build: dropped {num}: {reason}{places.get(reason, '')}")
    if num_shots_cut:
        say(f"build: left out {num_shots_cut} exemplars that did not fit a length or the budget")
    if num_trimmed:
        say(f"build: trimmed {num_trimmed}: an input was cut at its end to fit its length")
    say(f"build: the store is {store.path}")
