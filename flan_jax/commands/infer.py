# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Answers prompts from a file with a checkpoint; goes on where an earlier start was stopped.

The input has one prompt a line: plain text, or (for a name ending in .jsonl) a JSON object whose
"inputs" is the prompt. The output has one JSON object a line, in the same order: the input object
with "prediction" added, and where a prompt has several answers "predictions", "scores" and
"finish_reasons". A prompt longer than the model takes gets "too_long": true and an empty
prediction; none is cut. With --self_consistency the answers to a prompt vote. What the input has
by these names, such as another output, is left out.

    flan-jax infer --recipe mini --checkpoint runs/mini --input prompts.txt --output answers.jsonl
    flan-jax infer --checkpoint hf:flan-t5-xl --input q.jsonl --output a.jsonl --num_beams 4
    flan-jax infer --checkpoint hf:flan-t5-xl --input q.jsonl --output a.jsonl \
        --self_consistency number
"""

import argparse

from flan_jax.commands import prediction_arguments
from flan_jax.core import files
from flan_jax.core.progress import say

_SAMPLING = ("num_samples", "temperature", "top_k")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--input", required=True, help="prompts: a text or .jsonl file")
    parser.add_argument("--output", required=True, help="the .jsonl file to write")
    parser.add_argument(
        "--self_consistency",
        metavar="POSTPROCESSOR",
        help="sample many answers (default: 40, temperature 0.7, top-k 40), find the answer in "
        'each by this filter ("number", ...) and add their "vote"',
    )
    prediction_arguments.add_predictor(parser)
    prediction_arguments.add_decoding(parser)


def run(args: argparse.Namespace) -> None:
    """Answers the prompts."""
    from flan_jax import prediction_jobs
    from flan_jax.inference import prompt_files
    from flan_jax.inference.self_consistency import SELF_CONSISTENCY

    files.check_file(args.output, "--output")
    files.check_apart(args.output, "--output", args.input, "--input")
    prompts = prompt_files.read_rows(args.input)
    find_answer, defaults = None, {}
    if args.self_consistency:
        find_answer = prediction_jobs.postprocessor(args.self_consistency)
        defaults = {name: getattr(SELF_CONSISTENCY, name) for name in _SAMPLING}
    prediction_arguments.configure(args)
    decoding = prediction_arguments.decoding(args, defaults)
    predictor = prediction_arguments.load(args)
    done = prediction_jobs.infer(predictor, prompts, decoding, args.output, find_answer=find_answer)
    before = f", {done.num_done_before} by an earlier start" if done.num_done_before else ""
    say(
        f"infer: {done.num_prompts} prompts{before}, {done.num_too_long} too long; answers are in "
        f"{args.output}"
    )
