# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Converts a checkpoint's parameters between T5X's format, ours and Hugging Face's; GGUF's in.

What the source is, is found out, and so is the model where the source says it or its parameters
show it; otherwise say it with --recipe or --gin_file. Numbers are copied as they are stored, one
array at a time; Hugging Face's float16 and all of GGUF's become float32, which is said. Optimizer
state goes along from T5X to T5X only.

    flan-jax convert --source gs://bucket/flan_t5_xl/checkpoint_1138000 --to flan_jax --out runs/xl
    flan-jax convert --source runs/xl --to huggingface --out xl_hf --vocabulary sentencepiece.model

--out is the folder to make: of the checkpoint itself, or (for t5x and flan_jax, if its name is not
checkpoint_<step>) a MODEL_DIR that the checkpoint is put in.
"""

import argparse
import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax.commands import arguments
from flan_jax.core import files
from flan_jax.core.errors import UsageError
from flan_jax.core.progress import Progress, say

if TYPE_CHECKING:
    from flan_jax.convert.leaves import Leaves
    from flan_jax.formats import Source

# What the model does not depend on; what a recipe requires of these may be left unset here.
_UNNEEDED = ("MODEL_DIR", "STORE_DIR", "VOCABULARY", "INITIAL_CHECKPOINT_PATH")


@dataclasses.dataclass(frozen=True)
class Target:
    """Where to write, and what is written besides the parameters."""

    path: str
    vocabulary: Any = None  # collection.vocabularies.Vocabulary


@dataclasses.dataclass(frozen=True)
class Format:
    """A format that `formats` reads: how to write it. Functions import what they need."""

    write: Callable[["Source", Target], None] | None  # None: it is read only
    has_step: bool = True  # its folders are called checkpoint_<step>
    may_stack: bool = True  # it can hold stacked layers


def _write_t5x(source: "Source", target: Target) -> None:
    from flan_jax.convert import t5x

    t5x.write(target.path, source.leaves, step=source.step, state=source.state)


def _write_ours(source: "Source", target: Target) -> None:
    from flan_jax.formats import describe_model
    from flan_jax.training import params_files

    info = source.info | {"converted_from": source.path}
    if source.config is not None:
        info["model"] = describe_model(source.config)
    params_files.write_params(target.path, source.leaves, info)


def _write_huggingface(source: "Source", target: Target) -> None:
    from flan_jax.convert import huggingface

    # What a run was trained with, or a GGUF file holds.
    eos_id = (source.info.get("vocabulary") or {}).get("eos_id")
    huggingface.write(target.path, source.leaves, source.config, target.vocabulary, eos_id=eos_id)
    if target.vocabulary is None:
        say("convert: without --vocabulary there are no tokenizer files")


# By the names of `formats.READERS`.
FORMATS = {
    "gguf": Format(None),
    "huggingface": Format(_write_huggingface, has_step=False, may_stack=False),
    "t5x": Format(_write_t5x),
    "flan_jax": Format(_write_ours),
}
WRITTEN = tuple(name for name, known in FORMATS.items() if known.write)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--source", required=True, help="the checkpoint; T5X's may be in gs://")
    parser.add_argument(
        "--from",
        dest="source_format",
        choices=("auto", *FORMATS),
        default="auto",
        help="its format (default: found out)",
    )
    parser.add_argument("--to", required=True, choices=WRITTEN, help="the format to write")
    parser.add_argument("--out", required=True, help="the folder to make, see above")
    parser.add_argument(
        "--scan_layers",
        choices=("true", "false"),
        help="store the layers stacked, or each apart (default: as the source has them)",
    )
    parser.add_argument(
        "--vocabulary",
        help="for huggingface, to write its tokenizer's files: 'bytes', a sentencepiece.model, or "
        "package:NAME/PATH inside a package",
    )
    arguments.add_gin(parser)


def run(args: argparse.Namespace) -> None:
    """Converts."""
    target_format = FORMATS[args.to]
    assert target_format.write, "--to takes no other"
    if args.scan_layers == "true" and not target_format.may_stack:
        raise UsageError(f"--scan_layers true: {args.to} holds layers apart; leave it out")
    if args.vocabulary and args.to != "huggingface":
        raise UsageError(f"--vocabulary: only huggingface's folders hold one, not {args.to}'s")
    if "://" in args.out:
        raise UsageError(f"--out {args.out!r} is not a local folder; write to one, then copy it")
    files.check_folder(args.out, "--out")
    from flan_jax import formats

    name = "" if args.source_format == "auto" else args.source_format
    source = formats.open_source(args.source, name, "--source")
    _say_what_it_is(source)
    source = dataclasses.replace(source, config=_config(args, source))
    source = _laid_out(source, args.scan_layers, target_format)
    path = _target_path(args.out, source.step, target_format)
    if target_format.has_step:  # the folder's name says it
        source = dataclasses.replace(source, step=int(path.rsplit("_", 1)[1]))
    vocabulary = None
    if args.vocabulary:
        from flan_jax.collection.vocabularies import load_vocabulary

        vocabulary = load_vocabulary(args.vocabulary)
    num = len(source.leaves.shapes)
    with Progress("convert", total=num, unit="array") as progress:
        counted = dataclasses.replace(source, leaves=_Counted(source.leaves, progress))
        with _nothing_left_above(path):
            target_format.write(counted, Target(path, vocabulary))
    _report(source, path, args.to)


def _say_what_it_is(source: "Source") -> None:
    num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in source.leaves.shapes.values())
    say(
        f"convert: {source.path} ({source.format}), step {source.step}: "
        f"{len(source.leaves.shapes)} arrays, {num_bytes / 1e9:.3g} GB"
    )


def _config(args: argparse.Namespace, source: "Source") -> Any:
    """Returns the model's configuration: the one given, the source's, or the one its shapes show.

    Raises:
        UsageError: the parameters are not those of the model given.
    """
    if args.recipe or args.gin_file:
        from flan_jax import config

        arguments.parse_gin(args, roots=("train",), unneeded=_UNNEEDED)
        model = config.bindings("train").get("model")
        if model is None:
            raise UsageError("the Gin files bind no train.model; give a --recipe that does")
        _check(source, model)
        return model.config
    if args.gin_bindings:
        raise UsageError(
            f"--gin.{args.gin_bindings[0]} binds nothing without a --recipe or --gin_file; give one"
        )
    if source.config is None and args.to == "huggingface":
        from flan_jax.convert import deducing

        found = deducing.t5_config(source.leaves.shapes)
        say(f"convert: {deducing.in_words(found)}; if it is another, give --recipe or --gin_file")
        return found
    return source.config


def _check(source: "Source", model: Any) -> None:
    """Raises a `UsageError` if the source's parameters are not the model's, dtypes apart."""
    import jax

    from flan_jax.convert.leaves import is_stacked, laid_out
    from flan_jax.core.tree import flatten
    from flan_jax.training import checkpoints

    wanted = flatten(jax.eval_shape(model.init, jax.random.key(0)))
    stored = laid_out(source.leaves, stacked=is_stacked(wanted)).shapes
    stored = {n: jax.ShapeDtypeStruct(leaf.shape, "float32") for n, leaf in stored.items()}
    checkpoints.check_leaves(source.path, stored, wanted, None)


def _laid_out(source: "Source", scan_layers: str | None, target: Format) -> "Source":
    """Returns the source with its layers as they are to be stored."""
    from flan_jax.convert.leaves import is_stacked, laid_out

    stacked = is_stacked(source.leaves.shapes)
    wanted = stacked and target.may_stack if scan_layers is None else scan_layers == "true"
    state = source.state
    if state is not None and (wanted != stacked or target.write is not _write_t5x):
        say("convert: the optimizer's state is left out")
        state = None
    config = source.config
    if config is not None:
        config = dataclasses.replace(config, scan_layers=wanted)
    leaves = laid_out(source.leaves, stacked=wanted)
    return dataclasses.replace(source, leaves=leaves, state=state, config=config)


def _target_path(out: str, step: int, target: Format) -> str:
    path = os.path.abspath(out)
    if target.has_step and not re.fullmatch(r"checkpoint_\d+", os.path.basename(path)):
        path = os.path.join(path, f"checkpoint_{step}")
    if target.has_step and int(path.rsplit("_", 1)[1]) >= 2**31:
        raise UsageError(f"--out: {path} is of a step too large for 32 bits; give another name")
    if os.path.isdir(path) and os.listdir(path):
        raise UsageError(f"--out: {path} exists already; remove it, or give another folder")
    return path


@contextlib.contextmanager
def _nothing_left_above(path: str) -> Iterator[None]:
    """Removes the folders that a block made for `path`, should it fail and leave them empty."""
    made = [folder for folder in Path(path).parents if not folder.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one was never made, or something else is in it
            for folder in made:
                folder.rmdir()
        raise


class _Counted:
    """Leaves that count as they are read for the first time."""

    def __init__(self, leaves: "Leaves", progress: Progress):
        self.shapes = leaves.shapes
        self._leaves, self._progress = leaves, progress
        self._read: set[str] = set()

    def read(self, name: str, index: Any = None) -> Any:
        """Returns a parameter, or a part of it."""
        array = self._leaves.read(name, index)
        if name not in self._read:
            self._read.add(name)
            self._progress.advance(note=name)
        return array


def _report(source: "Source", path: str, name: str) -> None:
    from flan_jax.convert.leaves import is_stacked

    shapes = source.leaves.shapes
    dtypes: dict[str, int] = {}
    for leaf in shapes.values():
        dtypes[str(leaf.dtype)] = dtypes.get(str(leaf.dtype), 0) + 1
    kinds = ", ".join(f"{num} {dtype}" for dtype, num in sorted(dtypes.items()))
    layers = "stacked" if is_stacked(shapes) else "apart"
    num_params = sum(leaf.size for leaf in shapes.values())
    say(
        f"convert: {num_params:,} parameters in {kinds} arrays, layers {layers}, step "
        f"{source.step}; the {name} checkpoint is {path}"
    )
