# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains a SentencePiece vocabulary on the rendered text of a mixture.

The model keeps every character: bytes stand in for what has no piece, and newline, `{`, `}` and `<`
are pieces of their own (T5's vocabulary lacks them). The same mixture, seed and size give the same
file.

    flan-jax vocab --mixture mini_all --size 512 --out vocabulary/sentencepiece.model
"""

import argparse
from collections.abc import Iterator

from flan_jax.commands import arguments
from flan_jax.core import files
from flan_jax.core.progress import Progress, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--mixture", required=True, help="mixture or task whose text is used")
    parser.add_argument("--out", required=True, help="the sentencepiece.model file to write")
    parser.add_argument(
        "--size", type=arguments.at_least(1), default=32000, help="pieces (default: %(default)s)"
    )
    parser.add_argument(
        "--model_type",
        choices=("unigram", "bpe"),
        default="unigram",
        help="kind of model (default: %(default)s)",
    )
    parser.add_argument(
        "--examples",
        type=arguments.at_least(1),
        default=500,
        help="examples of each task (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="rendering seed (default: %(default)s)")
    arguments.add_modules(parser)


def run(args: argparse.Namespace) -> None:
    """Trains and writes the vocabulary."""
    files.check_file(args.out, "--out")
    arguments.import_modules(args)
    from flan_jax.collection import registry, vocabularies

    tasks = sorted(registry.mixture_members(args.mixture))
    texts = _texts(tasks, args.seed, args.examples)
    vocabulary = vocabularies.train_sentencepiece(
        texts, args.out, args.size, model_type=args.model_type
    )
    say(
        f"wrote {args.out}: {vocabulary.size} ids with sentinels, {vocabulary.padded_size} "
        f"embedding rows, sha256 {vocabulary.fingerprint[:16]}..."
    )
    pieces = vocabulary.size - vocabularies.NUM_EXTRA_IDS
    if pieces < args.size:
        say(f"vocab: {pieces} pieces, not {args.size}: the text has no more; give more --examples")


def _texts(tasks: list[str], seed: int, limit: int) -> Iterator[str]:
    from flan_jax.collection import registry, rendering, spec

    with Progress("vocab: render", total=len(tasks), unit="task") as progress:
        for task in tasks:
            declared = registry.get_spec(task)
            if declared is None:
                say(f"vocab: {task} is a plain SeqIO task; its text is not used")
                continue
            split = spec.TRAIN if spec.TRAIN in declared.splits else declared.splits[0]
            for example in rendering.render_task(declared, split, seed, limit=limit):
                if isinstance(example, rendering.Rendered):
                    yield example.inputs
                    yield example.targets
            progress.advance(note=task)
