# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Answers one prompt and prints the answer, as it comes on a terminal.

Without a prompt, or with '-', it is read from standard input.

    flan-jax generate "Translate to German: Good morning." --checkpoint hf:flan-t5-base
    flan-jax generate --checkpoint hf:flan-t5-base --temperature 0.7 --num_samples 3 < prompt.txt
"""

import argparse
import sys
from typing import TYPE_CHECKING

from flan_jax.commands import prediction_arguments
from flan_jax.core import errors, files

if TYPE_CHECKING:
    from flan_jax.inference.decode_config import DecodeConfig
    from flan_jax.predicting import Predictor


class Stopped(KeyboardInterrupt):
    """Ctrl-C, while an answer was printed."""

    def __init__(self, text: str):
        super().__init__(text)
        self.text = text  # the answer so far


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("prompt", nargs="?", default="-", help="what to answer; '-': from stdin")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, as a line of flan-jax infer"
    )
    prediction_arguments.add_predictor(parser)
    prediction_arguments.add_decoding(parser)


def run(args: argparse.Namespace) -> None:
    """Answers the prompt."""
    prompt = read_prompt(args.prompt)
    prediction_arguments.configure(args)
    config = prediction_arguments.decoding(args)
    predictor = prediction_arguments.load(args, batch_size=1)
    ids = fitting(predictor, prompt)
    is_alone = config.num_samples == config.num_beams == 1
    with predictor.on_mesh():
        if is_alone and not args.json and sys.stdout.isatty():
            stream(predictor, ids, config)
            return
        [answer] = predictor.engine.generate([ids], config)
    if args.json:
        from flan_jax import asking

        print(files.dumps({"inputs": prompt, **asking.in_json(answer)}))
    elif len(answer.texts) == 1:
        print(answer.texts[0])
    else:
        for number, text in enumerate(answer.texts, start=1):
            print(f"{number}. {text}")


def read_prompt(given: str) -> str:
    """Returns the prompt given, or standard input's for '-'."""
    from flan_jax.inference import prompt_files

    try:
        prompt = sys.stdin.read().strip("\n") if given == "-" else given
    except UnicodeDecodeError as error:
        raise errors.DataError(f"standard input is not UTF-8 text ({error.reason})") from None
    prompt_files.check_text(prompt, "the prompt")
    if not prompt.strip():
        raise errors.UsageError("the prompt is empty; give one, or write it to standard input")
    return prompt


def fitting(predictor: "Predictor", prompt: str) -> list[int]:
    """Returns the tokens of a prompt that the model takes whole."""
    ids = predictor.encode(prompt)
    if len(ids) > predictor.max_input_length:
        raise errors.DataError(
            f"the prompt has {len(ids)} tokens, the model takes {predictor.max_input_length}; "
            "shorten it, or raise --max_input_length"
        )
    return ids


def stream(predictor: "Predictor", ids: list[int], config: "DecodeConfig") -> str:
    """Prints an answer as it comes, and returns it.

    Raises:
        Stopped: by Ctrl-C.
    """
    from flan_jax.inference.session import Session

    session = Session(predictor.engine, max_length=config.max_length)
    session.add(ids, config)
    shown = ""
    try:
        while session.num_active or session.num_waiting:
            for update in session.step():
                print(update.text[len(shown) :], end="", flush=True)
                shown = update.text
    except KeyboardInterrupt:
        raise Stopped(shown) from None
    finally:
        print(flush=True)
    return shown
