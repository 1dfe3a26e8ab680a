# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of every format opened alike: their parameters, and what they say of themselves.

Nothing is read but names and shapes until a parameter is asked for.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flan_jax.collection.vocabularies import Vocabulary
from flan_jax.convert import gguf, huggingface, t5x
from flan_jax.convert.leaves import Leaves, check_whole
from flan_jax.core.errors import FlanError, UsageError
from flan_jax.core.progress import say
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.t5 import T5Config
from flan_jax.training import checkpoints, params_files

CONFIGS = {config.__name__: config for config in (T5Config, DecoderConfig)}


@dataclasses.dataclass(frozen=True)
class Source:
    """A checkpoint to read from."""

    path: str
    leaves: Leaves
    format: str = ""  # of `READERS`
    step: int = 0  # total step
    config: Any = None  # the model's configuration, such as a T5Config, where it is known
    info: dict[str, Any] = dataclasses.field(default_factory=dict)  # what ours says of itself
    state: Leaves | None = None  # what T5X's optimizer keeps
    vocabulary: Vocabulary | None = None  # the one that lies beside the parameters
    bos_id: int | None = None  # what its tokenizer puts before every text
    chat_template: str = ""  # Jinja: how turns of a conversation become a prompt
    # The texts of `bos_token` and `eos_token`, which a chat template may name.
    special_tokens: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Reader:
    """How a format is known and read."""

    is_at: Callable[[str], bool]
    read: Callable[[str], Source]


def open_source(path: str, name: str = "", place: str = "--checkpoint") -> Source:
    """Returns the checkpoint at `path`, of the format called `name` or of the one found there.

    Args:
        path: a file or folder.
        name: of `READERS`; '' to find out.
        place: where the user gave the path, for messages.

    Raises:
        UsageError: there is no checkpoint of that format.
        FlanError: it is damaged, holds nothing, or lacks a part of a layer.
    """
    if not name:
        name = next((n for n, known in READERS.items() if known.is_at(path)), "")
        if not name:
            raise UsageError(
                f"{place} {path!r}: no checkpoint of a known format ({', '.join(READERS)}); give "
                "the folder of one"
            )
    source = dataclasses.replace(READERS[name].read(path), format=name)
    if not source.leaves.shapes:
        raise FlanError(f"{source.path} holds no parameters")
    check_whole(source.leaves.shapes)
    return source


def _read_t5x(path: str) -> Source:
    found = t5x.open_checkpoint(path)
    state = found.state if found.state.shapes else None
    return Source(found.path, found.params, step=found.step, state=state)


def _ours_is_at(path: str) -> bool:
    try:
        return bool(checkpoints.find(path))
    except UsageError:
        return False


def _read_ours(path: str) -> Source:
    folder = checkpoints.find(path)
    leaves = params_files.open_params(folder)
    info = checkpoints.read_config(folder)
    step = checkpoints.step_of(folder)
    return Source(folder, leaves, step=step, info=info, config=_read_model(info.get("model")))


def describe_model(config: Any) -> dict[str, Any]:
    """Returns what a checkpoint of ours keeps of its model, under the name `model`."""
    return {type(config).__name__: dataclasses.asdict(config)}


def _read_model(model: dict[str, Any] | None) -> Any:
    """Returns the configuration that a checkpoint of ours keeps of its model."""
    if not model:
        return None
    try:
        ((name, fields),) = model.items()
        return CONFIGS[name](**fields)
    # Of another version of this code; a `UsageError` is a ValueError.
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        say(f"the checkpoint's own word on its model is not understood ({error!r})")
        return None


def _read_huggingface(path: str) -> Source:
    found = huggingface.read(path)
    info = {"vocabulary": found.vocabulary.facts()} if found.vocabulary else {}
    return Source(
        path, found.leaves, config=found.config, info=info, vocabulary=found.vocabulary,
        chat_template=found.chat_template, special_tokens=found.special_tokens,
    )  # fmt: skip


def _read_gguf(path: str) -> Source:
    found = gguf.read(path)
    info = {} if found.eos_id is None else {"vocabulary": {"eos_id": found.eos_id}}
    return Source(
        path, found.leaves, config=found.config, info=info, bos_id=found.bos_id,
        chat_template=found.chat_template, special_tokens=found.special_tokens,
    )  # fmt: skip


# In the order in which they are looked for.
READERS = {
    "gguf": Reader(gguf.is_at, _read_gguf),
    "huggingface": Reader(lambda path: Path(path, "config.json").is_file(), _read_huggingface),
    "t5x": Reader(lambda path: t5x.find(path) is not None, _read_t5x),
    "flan_jax": Reader(_ours_is_at, _read_ours),
}
