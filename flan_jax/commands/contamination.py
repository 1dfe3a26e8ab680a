# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Looks for evaluation sets in a token store: which examples share 13 words in a row with them.

Evaluation sets are files of JSON lines, JSON, CSV, TSV or plain text; all strings of a row count.
Case and punctuation do not. Shown are, for each task, the examples that share words with some
evaluation row, the different rows that are hit, and the longest passages.

    flan-jax contamination stores/cot --against gsm8k/test.jsonl bbh/
    flan-jax contamination stores/cot --against gsm8k/test.jsonl --out overlap.csv

Overlap is a finding, not a failure: the exit code is 0 whatever is found.
"""

import argparse

from flan_jax.commands import arguments
from flan_jax.core import files
from flan_jax.core.errors import UsageError, unknown_name
from flan_jax.core.progress import say

_LEAST_WORDS, _WORDS = 5, 13
_ENDINGS = (".csv", ".json")
_NUM_SHOWN = 10  # passages on the terminal
_WIDTH = 200  # characters of a passage on the terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("store", help="the folder that flan-jax build wrote")
    parser.add_argument(
        "--against",
        nargs="+",
        required=True,
        metavar="FILE_OR_FOLDER",
        help="evaluation sets: .jsonl .json .csv .tsv .txt files, or folders with such files",
    )
    parser.add_argument(
        "--n",
        type=arguments.at_least(_LEAST_WORDS),
        default=_WORDS,
        help="words in a row that count as overlap (default: %(default)s)",
    )
    parser.add_argument("--split", help="the store's split to look at (default: all)")
    parser.add_argument(
        "--out", metavar="FILE", help="also write the table as .csv, or all that was found as .json"
    )


def run(args: argparse.Namespace) -> None:
    """Prints what was found and writes it to a file if asked to."""
    if args.out:
        if not args.out.endswith(_ENDINGS):
            raise UsageError(
                f"--out {args.out!r}: name a file that ends in {' or '.join(_ENDINGS)}"
            )
        files.check_file(args.out, "--out")
    from flan_jax.collection import contamination, contamination_report, evaluation_texts
    from flan_jax.collection.store import Store

    store = Store.open(args.store)
    splits = sorted({split for entries in store.manifest["tasks"].values() for split in entries})
    if args.split and args.split not in splits:
        raise unknown_name("split", args.split, splits, f"(in the store {store.path})")
    found = evaluation_texts.find_files(args.against)
    sets = ((str(path), evaluation_texts.read_rows(path)) for path in found)
    index = contamination.EvaluationIndex(sets, args.n)
    tasks, evaluations = contamination.check(store, index, [args.split] if args.split else None)
    for line in contamination_report.table(tasks, evaluations, args.n, _NUM_SHOWN, _WIDTH):
        print(line)
    if args.out:
        if args.out.endswith(".json"):
            contamination_report.write_json(args.out, store, tasks, evaluations, args.n)
        else:
            contamination_report.write_csv(args.out, tasks)
        say(f"contamination: wrote {args.out}")
