# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares two evaluations of the same questions: is B better than A, or may it be chance?

A and B are folders that `flan-jax eval --suite` wrote. For each benchmark asked in the same way:
both scores (unweighted means over subtasks), their difference with its 95 % interval and p value (a
paired bootstrap of 10,000 draws within subtasks), and McNemar's exact test where a question is
right or wrong. Questions that only one was asked are left out and counted; so are, but not left
out, those that were asked by different prompts.

    flan-jax compare scores/base scores/flan
    flan-jax compare scores/base scores/flan --out compared.csv

Of many benchmarks and metrics some differ by chance: at p < 0.05, one in twenty.
"""

import argparse

from flan_jax.core import files
from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("a", metavar="A", help="folder of the first evaluation")
    parser.add_argument("b", metavar="B", help="folder of the second evaluation")
    parser.add_argument("--out", metavar="FILE", help="also write the table as CSV")


def run(args: argparse.Namespace) -> None:
    """Prints the comparison and writes it to a file if asked to."""
    if args.out:
        files.check_file(args.out, "--out")
    from flan_jax.evals import compare

    result = compare.compare(compare.read(args.a), compare.read(args.b))
    for note in result.notes:
        say(f"compare: {note}")
    for line in compare.table(result.comparisons):
        print(line)
    if args.out:
        compare.write_csv(args.out, result.comparisons)
        say(f"compare: wrote {args.out}")
