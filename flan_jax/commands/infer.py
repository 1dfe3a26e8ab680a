# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Answers prompts from a file with a checkpoint, greedily.

The input has one prompt a line: plain text, or (for a name ending in .jsonl) a JSON object whose
"inputs" is the prompt. The output has one JSON object a line, in the same order: the input object
with "prediction" added. A prompt longer than the model takes gets "too_long": true and an empty
prediction; none is cut.

    flan-jax infer --recipe mini --gin.CHECKPOINT_PATH=runs/mini \
        --input prompts.txt --output answers.jsonl
"""

import argparse

from flan_jax.commands import arguments
from flan_jax.core import files
from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--input", required=True, help="prompts: a text or .jsonl file")
    parser.add_argument("--output", required=True, help="the .jsonl file to write")
    arguments.add_gin(parser)


def run(args: argparse.Namespace) -> None:
    """Answers the prompts."""
    from flan_jax import config, jobs

    files.check_file(args.output, "--output")
    prompts = jobs.read_prompts(args.input)
    arguments.parse_gin(args, roots=("infer",))
    num_too_long = config.configured("infer")(prompts=prompts, output=args.output)
    say(f"infer: {len(prompts)} prompts, {num_too_long} too long; answers are in {args.output}")
