# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluates a checkpoint: greedy decoding of every task's prompts, extracted answers, scores.

Writes scores.csv and one predictions/<task>.jsonl a task. The recipe is the one the model was
trained with; CHECKPOINT_PATH is its MODEL_DIR (the newest step) or the folder of one step.

    flan-jax eval --recipe mini --gin.CHECKPOINT_PATH=runs/mini --out scores/mini
"""

import argparse

from flan_jax.commands import arguments
from flan_jax.core import files
from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--out", required=True, help="folder for scores and predictions")
    arguments.add_gin(parser)


def run(args: argparse.Namespace) -> None:
    """Evaluates and prints the mean of each group."""
    from flan_jax import config

    files.check_folder(args.out, "--out")
    arguments.parse_gin(args, roots=("evaluate",))
    result = config.configured("evaluate")(out=args.out)
    for name, value in result.summary().items():
        print(f"{name:40} {value:6.2f}")
    say(f"eval: {result.num_examples} examples; scores and predictions are in {args.out}")
