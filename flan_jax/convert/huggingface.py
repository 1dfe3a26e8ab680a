# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as transformers stores them: read lazily, written tensor by tensor.

A folder holds `config.json`, weights (`model.safetensors`, or several files and an index) and, as
written here, `generation_config.json` and the tokenizer's files. What an architecture is called
there and how its parameters lie is one file each, listed in `FAMILIES`.

Numbers keep the dtype they are stored in, but for float16, which is read as float32: T5 overflows
in it.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan_jax.collection.vocabularies import Vocabulary, load_vocabulary
from flan_jax.convert import (
    huggingface_files,
    huggingface_llama,
    huggingface_t5,
    huggingface_tokenizer,
)
from flan_jax.convert.huggingface_family import CONFIG, Family, Fields, Tensor
from flan_jax.convert.huggingface_files import Safetensors
from flan_jax.convert.leaves import Index, Leaves, check_name, laid_out
from flan_jax.core import errors, files
from flan_jax.core.errors import UsageError
from flan_jax.core.progress import say
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.t5 import T5Config

GENERATION = "generation_config.json"

# model_type of config.json -> architecture.
FAMILIES = {
    "t5": huggingface_t5.FAMILY,
    "mt5": huggingface_t5.FAMILY,
    "llama": huggingface_llama.FAMILY,
}
# Type of our configuration -> architecture it is written as.
_WRITTEN_AS = {T5Config: huggingface_t5.FAMILY, DecoderConfig: huggingface_llama.FAMILY}

_IDS = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
_COMPARED_ROWS = 4096  # at a time


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a folder holds: our model's configuration, and its parameters to be read."""

    config: Any
    leaves: Leaves
    vocabulary: Vocabulary | None  # of the folder's SentencePiece model, if it has one
    eos_id: int | None = None  # the token that ends an answer, where only that is known
    bos_id: int | None = None  # what the tokenizer puts before every text
    chat_template: str = ""  # Jinja: how turns of a conversation become a prompt
    # The texts of `bos_token` and `eos_token`, which a chat template may name.
    special_tokens: dict[str, str] = dataclasses.field(default_factory=dict)


def read(folder: str | os.PathLike) -> Checkpoint:
    """Returns a checkpoint; its layers are apart, and no parameter is read yet.

    Raises:
        UsageError: there is no checkpoint that can be used, or its vocabulary is larger than its
            embedding.
        DataError: it is damaged.
    """
    folder = Path(folder)
    stored = Safetensors(folder)
    fields = read_fields(folder)
    family = FAMILIES.get(fields.get("model_type", kind=str))
    if family is None:
        raise fields.refusal("model_type", f"known are {', '.join(FAMILIES)}")
    fields.expect("weights are read unquantized only:", quantization_config=None)
    config = family.read_config(fields)
    check_num_layers(fields.path, config, len(stored.shapes))
    path = huggingface_tokenizer.find(folder)
    vocabulary = None if path is None else load_vocabulary(path)
    if vocabulary is not None:
        check_vocabulary(f"{fields.path}: vocab_size", config.vocab_size, vocabulary)
    leaves = _Renamed(stored, family, config)
    template = huggingface_tokenizer.chat_template(folder)
    tokens = huggingface_tokenizer.special_tokens(folder)
    return Checkpoint(config, leaves, vocabulary, chat_template=template, special_tokens=tokens)


def read_fields(folder: Path) -> Fields:
    """Returns a folder's config.json."""
    path = folder / CONFIG
    if not path.is_file():
        raise UsageError(f"{folder} has no {CONFIG}, which says what model it is; add the file")
    json = files.read_json(path)
    if not isinstance(json, dict):
        raise errors.DataError(f"{path}: not a JSON object")
    return Fields(json, path)


def check_num_layers(place: str | os.PathLike, config: Any, num_tensors: int) -> None:
    """Refuses more layers than there are tensors, before the names of all are made."""
    for name in ("num_layers", "num_encoder_layers", "num_decoder_layers"):
        if (num := getattr(config, name, 0)) > num_tensors:
            raise UsageError(
                f"{place}: it says {num} layers ({name}), but there are {num_tensors} tensors; "
                "fetch the checkpoint again"
            )


def check_vocabulary(place: str, num_rows: int, vocabulary: Vocabulary) -> None:
    """Refuses a vocabulary some of whose ids have no row in the embedding."""
    if vocabulary.size > num_rows:
        raise UsageError(
            f"{place} is {num_rows}, but the vocabulary {vocabulary.name!r} has {vocabulary.size} "
            "ids; use the vocabulary that the model was trained with"
        )


def write(
    folder: str | os.PathLike,
    leaves: Leaves,
    config: Any,
    vocabulary: Vocabulary | None = None,
    *,
    eos_id: int | None = None,
    name: str = "--out",
    max_file_bytes: int = huggingface_files.MAX_FILE_BYTES,
) -> None:
    """Writes a checkpoint that transformers loads as it is; whole or not at all.

    Args:
        folder: where to; a new folder, or an empty one.
        leaves: the parameters, layers apart or stacked.
        config: of the model they are for.
        vocabulary: the one it was trained with; without, there are no tokenizer files.
        eos_id: the token that ends an answer, if there is no vocabulary to say it; None for 1.
        name: what the user called `folder`.
        max_file_bytes: where to begin another file of weights.

    Raises:
        UsageError: the parameters are not those of `config`, or the vocabulary has more ids than
            the embedding has rows.
    """
    family = _WRITTEN_AS[type(config)]
    json = family.write_config(config)
    leaves = laid_out(leaves, stacked=False)
    _check_shapes(leaves.shapes, family.shapes(config))
    if vocabulary is not None:
        check_vocabulary("vocab_size of the model", config.vocab_size, vocabulary)
    tensors = family.tensors(config)
    sources: dict[str, tuple[str, Tensor]] = {}  # their name -> ours
    shapes: dict[str, jax.ShapeDtypeStruct] = {}
    # In the order of the leaves, which reads each stacked array once.
    for ours, leaf in leaves.shapes.items():
        tensor = tensors[ours]
        shape = leaf.shape[::-1] if tensor.transposed else leaf.shape
        for theirs in (tensor.name, *tensor.copies):
            sources[theirs] = ours, tensor
            shapes[theirs] = jax.ShapeDtypeStruct(shape, _storable(ours, leaf.dtype))

    read_once = functools.lru_cache(maxsize=1)(leaves.read)  # copies come one after the other

    def tensor_of(theirs: str) -> np.ndarray:
        ours, tensor = sources[theirs]
        return read_once(ours).T if tensor.transposed else read_once(ours)

    json["torch_dtype"] = _widest(shapes)
    eos_id = eos_id if vocabulary is None else vocabulary.eos_id
    if eos_id is not None:
        json["eos_token_id"] = eos_id
    with files.atomic_folder(folder, name) as temporary:
        files.write_json(temporary / CONFIG, json)
        files.write_json(temporary / GENERATION, {n: json[n] for n in _IDS if n in json})
        if vocabulary is not None:
            huggingface_tokenizer.write(temporary, vocabulary)
        huggingface_files.write(temporary, shapes, tensor_of, max_file_bytes=max_file_bytes)


def _storable(name: str, dtype: Any) -> np.dtype:
    if dtype not in huggingface_files.DTYPES.values():
        raise UsageError(f"{name} is {dtype}, which no safetensors file of a model holds")
    return np.dtype(dtype)


def _widest(shapes: Mapping[str, jax.ShapeDtypeStruct]) -> str:
    return max((leaf.dtype for leaf in shapes.values()), key=lambda dtype: dtype.itemsize).name


def _check_shapes(
    leaves: Mapping[str, jax.ShapeDtypeStruct], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuses parameters that are not those of the model."""
    for name in sorted({*leaves, *wanted}):
        there = list(leaves[name].shape) if name in leaves else "absent"
        here = list(wanted[name]) if name in wanted else "absent"
        if there != here:
            raise UsageError(
                f"the checkpoint does not fit the model: {name} is {there} there but {here} in "
                "the model's configuration; use the configuration it was made with"
            )


class _Renamed:
    """The leaves of a model, read from tensors of other names."""

    def __init__(self, stored: Safetensors, family: Family, config: Any):
        self._stored = stored
        self._sources: dict[str, tuple[str, bool]] = {}  # ours -> theirs, transposed
        self._shapes: dict[str, jax.ShapeDtypeStruct] = {}
        known = set(family.unused)
        wanted = family.shapes(config)
        for ours, tensor in family.tensors(config).items():
            names = (tensor.name, *tensor.copies, *tensor.aliases)
            known.update(names)
            theirs, *others = self._find(ours, tensor, names)
            self._check_shape(theirs, tensor.transposed, wanted[ours])
            self._check_equal(theirs, others)
            dtype = stored.shapes[theirs].dtype
            dtype = np.dtype(np.float32) if dtype == np.float16 else dtype
            self._sources[ours] = theirs, tensor.transposed
            self._shapes[ours] = jax.ShapeDtypeStruct(wanted[ours], dtype)
        self._tell_unused(known, family.unused)
        halves = sum(leaf.dtype == np.float16 for leaf in stored.shapes.values())
        if halves:
            say(f"{stored.folder}: {halves} tensors cast from float16 to float32")

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each parameter."""
        return self._shapes

    def read(self, name: str, index: Index | None = None) -> np.ndarray:
        """Returns one parameter or a part of it."""
        check_name(name, self._sources)
        theirs, transposed = self._sources[name]
        array = self._stored.read(theirs, index, transposed=transposed)
        return array.astype(self._shapes[name].dtype, copy=False)

    def _find(self, ours: str, tensor: Tensor, names: tuple[str, ...]) -> list[str]:
        """Returns the names under which a parameter is stored."""
        stored = self._stored
        found = [name for name in names if name in stored.shapes]
        if not found and tensor.stand_in in stored.shapes:
            say(f"{stored.folder}: no {tensor.name}; {tensor.stand_in} serves, as the two are tied")
            return [tensor.stand_in]
        if not found:
            near = errors.closest(tensor.name, stored.shapes, 1)
            raise UsageError(
                f"{stored.folder}: no tensor {tensor.name!r} (our {ours})"
                + (f", only {near[0]!r}" if near else "")
                + f"; the files are not those of its {CONFIG}"
            )
        return found

    def _check_equal(self, name: str, others: list[str]) -> None:
        for other in others:
            if not _equal(self._stored, name, other):
                raise UsageError(
                    f"{self._stored.folder}: {other!r} and {name!r} differ, but the model of its "
                    f"{CONFIG} has one parameter for both; correct tie_word_embeddings there if "
                    "the two are not tied"
                )

    def _check_shape(self, name: str, transposed: bool, shape: tuple[int, ...]) -> None:
        stored = self._stored
        wanted = shape[::-1] if transposed else shape
        if stored.shapes[name].shape != wanted:
            raise UsageError(
                f"{stored.file_of(name)}: {name!r} is {list(stored.shapes[name].shape)}, but "
                f"{CONFIG} makes it {list(wanted)}; correct {CONFIG}, or fetch both again"
            )

    def _tell_unused(self, known: set[str], unused: frozenset[str]) -> None:
        stored = self._stored
        unknown = sorted(stored.shapes.keys() - known)
        if unknown:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise UsageError(
                f"{stored.file_of(unknown[0])}: {unknown[0]!r}{more} belongs to no parameter of "
                f"the model of its {CONFIG}; nothing is dropped unasked"
            )
        for name in sorted(unused & stored.shapes.keys()):
            say(f"{stored.folder}: {name} is left out: no model uses it")


def _equal(stored: Safetensors, one: str, other: str) -> bool:
    """Returns whether two tensors have the same bits."""
    if stored.shapes[one] != stored.shapes[other]:
        return False
    rows = stored.shapes[one].shape[0]
    for start in range(0, rows, _COMPARED_ROWS):
        index = slice(start, min(start + _COMPARED_ROWS, rows)), slice(None)
        a, b = stored.read(one, index), stored.read(other, index)
        if not np.array_equal(a.view(np.uint8), b.view(np.uint8)):
            return False
    return True
