# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Arguments of the commands that answer or score: which model, and how it decodes."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flan_jax.commands import arguments
from flan_jax.core.errors import UsageError

if TYPE_CHECKING:
    from flan_jax.inference.decode_config import DecodeConfig
    from flan_jax.predicting import Predictor

# Fields of DecodeConfig with an argument of their own: its type and what it says.
_DECODING: dict[str, tuple[type, str]] = {
    "max_length": (int, "tokens of an answer at most (default: the recipe's targets, else 128)"),
    "min_length": (int, "tokens of an answer at least"),
    "temperature": (float, "sample; 0 (default): the likeliest token each time"),
    "top_k": (int, "sample among the k likeliest tokens; 0 (default): among all"),
    "top_p": (float, "sample among the likeliest tokens of this probability (default 1)"),
    "seed": (int, "of sampling (default 0)"),
    "num_samples": (int, "answers to each prompt (default 1); with beams, the best so many"),
    "num_beams": (int, "beam search, above 1"),
    "length_penalty": (float, "beams rank by log-probability / length ** this (default 1)"),
    "repetition_penalty": (float, "above 1: tokens of an answer become less likely (default 1)"),
    "no_repeat_ngram": (int, "no n tokens in a row come twice in an answer"),
}


def add_predictor(parser: argparse.ArgumentParser, longest: int = 1024) -> None:
    """Adds which model is asked: a checkpoint, and a recipe where it does not say enough.

    `longest` is how many tokens a prompt may have where nothing says it.
    """
    group = parser.add_argument_group("model")
    group.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="a MODEL_DIR or checkpoint_<step> of ours, hf:FOLDER, t5x:FOLDER or gguf:FILE; stands "
        "for --gin.CHECKPOINT_PATH",
    )
    group.add_argument(
        "--vocabulary",
        metavar="NAME",
        help="'bytes', a sentencepiece.model, tokenizer.json or .gguf file, or package:NAME/PATH; "
        "stands for --gin.VOCABULARY (default: what the checkpoint brings)",
    )
    group.add_argument(
        "--max_input_length",
        type=arguments.at_least(1),
        metavar="N",
        help="tokens of a prompt at most; longer ones are not cut (default: the recipe's inputs, "
        f"else {longest})",
    )
    group.add_argument(
        "--raw",
        action="store_true",
        help="take prompts as they are, though the checkpoint has a chat template",
    )
    arguments.add_gin(parser)


def add_decoding(parser: argparse.ArgumentParser, several: bool = True) -> None:
    """Adds how prompts are answered; with `several`, also how many answers a prompt gets."""
    group = parser.add_argument_group("decoding (a recipe may bind DecodeConfig.NAME too)")
    for name, (kind, meaning) in _DECODING.items():
        if several or name != "num_samples":
            group.add_argument(f"--{name}", type=kind, metavar=name[0].upper(), help=meaning)
    group.add_argument(
        "--stop",
        action="append",
        metavar="TEXT",
        help="an answer ends before this text; may be repeated",
    )


def configure(args: argparse.Namespace) -> None:
    """Checks what `add_predictor` took, and parses the Gin files if there are any."""
    if not has_gin(args):
        if args.gin_bindings:
            raise UsageError(
                f"--gin.{args.gin_bindings[0]} binds nothing without a --recipe or --gin_file; "
                "give one"
            )
        if not args.checkpoint:
            raise UsageError(
                "no model; give --checkpoint PATH (a MODEL_DIR, hf:FOLDER, t5x:FOLDER or "
                "gguf:FILE), with --recipe NAME where the checkpoint does not say what model it is"
            )
        return
    named = {"CHECKPOINT_PATH": args.checkpoint, "VOCABULARY": args.vocabulary}
    extra = [f"{name}={value}" for name, value in named.items() if value]
    values = [b.partition("=")[2].strip(" '\"") for b in [*args.gin_bindings, *extra]]
    # These bring their own.
    brings = any(value.startswith(("hf:", "gguf:")) for value in values)
    arguments.parse_gin(
        args, extra, roots=("infer", "DecodeConfig"), unneeded=("VOCABULARY",) if brings else ()
    )


def load(args: argparse.Namespace, **given: Any) -> "Predictor":
    """Loads the model, after `configure`.

    Args:
        args: with what `add_predictor` took.
        **given: arguments of `predicting.load` that they do not decide.
    """
    from flan_jax import config, predicting

    given["raw"] = args.raw
    if args.max_input_length is not None:
        given["max_input_length"] = args.max_input_length
    if has_gin(args):
        return config.configured("infer")(**given)
    return predicting.load(
        checkpoint_path=args.checkpoint, vocabulary=args.vocabulary or "", **given
    )


def decoding(args: argparse.Namespace, defaults: Mapping[str, Any] | None = None) -> "DecodeConfig":
    """Returns how to decode: by the arguments, else by the Gin files, else by default.

    Args:
        args: with what `add_decoding` took, after `configure`.
        defaults: instead of those of DecodeConfig.
    """
    from flan_jax import config
    from flan_jax.collection.store import check_feature_lengths
    from flan_jax.inference.decode_config import DecodeConfig

    fields: dict[str, Any] = {}
    if has_gin(args):
        if lengths := config.bindings("infer").get("feature_lengths"):
            check_feature_lengths(lengths)
            fields["max_length"] = lengths["targets"]
        fields |= dict(defaults or {}) | config.bindings("DecodeConfig")
    else:
        fields |= dict(defaults or {})
    given = {name: getattr(args, name, None) for name in (*_DECODING, "stop")}
    return DecodeConfig(**fields | {n: value for n, value in given.items() if value is not None})


def has_gin(args: argparse.Namespace) -> bool:
    """Returns whether Gin files say what the model is."""
    return bool(args.recipe or args.gin_file)
