# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Scores given answers: how likely a model holds each after its prompt, without decoding.

The input is a .jsonl file whose objects have "inputs" and "choices", a list of texts, or "targets",
one text. The output has the same objects, in the same order, with for each choice its
log-probability in "logprobs" and that per token in "mean_logprobs", and with "best", the place of
the likeliest. A choice counts as a whole answer, so the end of sequence after it is scored too. A
prompt longer than the model takes gets "too_long": true; none is cut. What the input has by these
names is left out. The perplexity of all choices is printed at the end.

    flan-jax score --checkpoint hf:flan-t5-xl --input questions.jsonl --output scores.jsonl
    flan-jax score "Is the sky blue?" --choice yes --choice no --checkpoint hf:flan-t5-xl
"""

import argparse
from typing import Any

from flan_jax.commands import prediction_arguments
from flan_jax.core import files
from flan_jax.core.errors import UsageError
from flan_jax.core.progress import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("prompt", nargs="?", help="score the --choice after this prompt, and print")
    parser.add_argument("--choice", action="append", default=[], help="may be repeated")
    parser.add_argument("--input", help="prompts with choices: a .jsonl file")
    parser.add_argument("--output", help="the .jsonl file to write")
    parser.add_argument(
        "--rank_by",
        choices=("sum", "mean"),
        default="sum",
        help='what makes a choice the "best": its log-probability (default), or that per token',
    )
    parser.add_argument(
        "--tokens", action="store_true", help="add the tokens of each choice with their scores"
    )
    prediction_arguments.add_predictor(parser)


def run(args: argparse.Namespace) -> None:
    """Scores the file, or the one prompt."""
    from flan_jax import prediction_jobs
    from flan_jax.parallel import hosts

    rows = _rows(args)
    prediction_arguments.configure(args)
    predictor = prediction_arguments.load(args)
    scored = prediction_jobs.score(
        predictor, [row["inputs"] for row in rows], [row["choices"] for row in rows]
    )
    added = [
        prediction_jobs.scored_in_json(
            predictor, s, normalized=args.rank_by, with_tokens=args.tokens
        )
        for s in scored
    ]
    if hosts.is_first():
        if args.input:
            _write(args.output, rows, added)
        else:
            _print(rows[0]["choices"], added[0])
    num_too_long = sum(not s.scores for s in scored)
    if num_too_long < len(rows):
        total = prediction_jobs.perplexity(scored)
        say(
            f"score: {len(rows)} prompts, {num_too_long} too long; perplexity {total.value:.4g} "
            f"over {total.num_texts} texts of {total.num_tokens} tokens"
        )
    else:
        say(f"score: {len(rows)} prompts, all too long")


def _rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns what to score: `inputs` and `choices`, and of a file what else its objects have."""
    from flan_jax.inference import prompt_files

    if args.prompt is not None:
        if args.input or args.output:
            raise UsageError("give a prompt with --choice, or --input and --output, not both")
        if not args.choice:
            raise UsageError("a prompt, but nothing to score after it; add --choice TEXT")
        prompt_files.check_text(args.prompt, "the prompt")
        for choice in args.choice:
            prompt_files.check_text(choice, "--choice")
        return [{"inputs": args.prompt, "choices": args.choice}]
    if args.choice or not (args.input and args.output):
        raise UsageError("give --input and --output, or a prompt with --choice TEXT")
    from flan_jax import prediction_jobs

    files.check_file(args.output, "--output")
    files.check_apart(args.output, "--output", args.input, "--input")
    if not args.input.endswith(".jsonl"):
        raise UsageError(f"--input {args.input!r}: choices need a .jsonl file; name one")
    rows = prompt_files.read_rows(args.input)
    return [
        {name: value for name, value in row.items() if name not in prediction_jobs.SCORED}
        | {"choices": prediction_jobs.choices_of(row, f"{args.input}: prompt {number}")}
        for number, row in enumerate(rows, start=1)
    ]


def _write(output: str, rows: list[dict[str, Any]], added: list[dict[str, Any]]) -> None:
    with files.atomic_open(output) as file:
        for row, of_row in zip(rows, added, strict=True):
            file.write(files.dumps({**row, **of_row}) + "\n")
    say(f"score: scores are in {output}")


def _print(choices: list[str], added: dict[str, Any]) -> None:
    if "too_long" in added:
        raise UsageError("the prompt is too long; shorten it, or raise --max_input_length")
    for i, choice in enumerate(choices):
        best = "  best" if i == added["best"] else ""
        print(f"{added['logprobs'][i]:10.4f}  {added['mean_logprobs'][i]:8.4f}  {choice}{best}")
        for piece, value in added.get("tokens", [[]] * len(choices))[i]:
            print(f"{value:10.4f}  {piece!r}")
