# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text corpora as SeqIO tasks: documents to chunks of tokens to pairs of a denoiser.

The pairs are made in the task's source, which is told the vocabulary and the feature lengths, so
the builder and any SeqIO reader get the same tokens for the same seed. A document that cannot be
read ends the job: nothing of a corpus is left out. Making a task opens nothing.

A pass over the corpus gives the same pairs each time; another seed gives others.
"""

import copy
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.collection import parsing, registry
from flan_jax.collection.parsing import Malformed
from flan_jax.collection.sources import code_fingerprint
from flan_jax.collection.spec import SPLITS
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError
from flan_jax.core.rng import ExampleKey
from flan_jax.data import corruption
from flan_jax.data.corruption import Denoiser, Room

_TOKENS = tf.TensorSpec((None,), tf.int32)
_SIGNATURE = {"inputs": _TOKENS, "targets": _TOKENS, "index": tf.TensorSpec((), tf.int64)}


class Documents(Protocol):
    """Texts of named splits, in a fixed order."""

    def splits(self) -> Sequence[str]:
        """Returns the splits that are there; a `UsageError` if none is."""
        ...

    def texts(self, split: str) -> Iterator[str]:
        """Yields the documents of a split."""
        ...

    def fingerprint(self, split: str) -> str:
        """Returns a short text that changes when the documents of `split` change."""
        ...


@dataclasses.dataclass(frozen=True)
class FolderDocuments:
    """`<split>.jsonl`, objects with a `text`, or `<split>.txt`, documents between empty lines.

    Args:
        variable: environment variable that names the folder.
    """

    variable: str

    def splits(self) -> Sequence[str]:
        """Returns the splits that have a file."""
        found = tuple(split for split in SPLITS if self._paths(split))
        if not found:
            names = " or ".join(f"{split}.jsonl or {split}.txt" for split in SPLITS)
            raise UsageError(
                f"folder of a text corpus {self._folder()}: no {names} in it; correct "
                f"{self.variable}"
            )
        return found

    def texts(self, split: str) -> Iterator[str]:
        """Yields the documents; a `DataError` names the line of one that cannot be read."""
        path = self._path(split)
        return _objects(path) if path.suffix == ".jsonl" else _paragraphs(path)

    def fingerprint(self, split: str) -> str:
        """Returns the SHA-256 of the split's file."""
        path = self._path(split)
        return path.suffix + files.sha256_file(path)

    def _folder(self) -> Path:
        folder = os.environ.get(self.variable)
        if not folder:
            raise UsageError(unset(self.variable))
        return Path(folder)

    def _paths(self, split: str) -> list[Path]:
        paths = [self._folder() / f"{split}{suffix}" for suffix in (".jsonl", ".txt")]
        return [path for path in paths if path.is_file()]

    def _path(self, split: str) -> Path:
        found = self._paths(split)
        if len(found) == 1:
            return found[0]
        if not found:
            place = self._folder() / split
            raise UsageError(f"text corpus {place}: no file .jsonl or .txt; add one")
        raise UsageError(f"text corpus: both {found[0]} and {found[1].name}; remove one")


@dataclasses.dataclass(frozen=True)
class GeneratedDocuments:
    """Documents made by a function: `fn(split)` gives the same ones each time.

    Args:
        fn: a module-level pure function.
        names: the splits.
        version: raise it when `fn` gives other documents because of code it calls.
    """

    fn: Callable[[str], Iterable[str]]
    names: tuple[str, ...] = SPLITS
    version: str = "1"

    def splits(self) -> Sequence[str]:
        """Returns the splits."""
        return self.names

    def texts(self, split: str) -> Iterator[str]:
        """Yields the documents."""
        return iter(self.fn(split))

    def fingerprint(self, split: str) -> str:
        """Returns a hash of the function's code and the version."""
        return f"{code_fingerprint(self.fn)} {split} {self.version}"


def unset(variable: str) -> str:
    """Returns what to do where no folder is named."""
    return (
        f"set the environment variable {variable} to a folder with train.jsonl (objects with a "
        "text) or train.txt (documents between empty lines)"
    )


def add_task(name: str, documents: Documents, denoiser: Denoiser) -> seqio.Task:
    """Registers a corpus under one denoiser with SeqIO and returns the task; it opens nothing.

    The same again changes nothing.
    """
    source = CorpusSource(name, documents, denoiser)
    if name in seqio.TaskRegistry.names():
        task = seqio.TaskRegistry.get(name)
        if getattr(task.source, "decisive", None) == source.decisive:
            return task
    return seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[seqio.preprocessors.append_eos],
        metric_fns=[],
        output_features=registry.OUTPUT_FEATURES,
        task_cls=CorpusTask,
    )


class CorpusSource(seqio.DataSource):
    """A SeqIO source of token pairs without EOS, for `CorpusTask`, which tells it the lengths."""

    def __init__(
        self,
        name: str,
        documents: Documents,
        denoiser: Denoiser,
        vocabulary: Any = None,
        feature_lengths: Mapping[str, int] | None = None,
    ):
        super().__init__(splits=(), caching_permitted=False)
        self.decisive = (name, documents, denoiser)
        self._vocabulary, self._feature_lengths = vocabulary, feature_lengths

    def told(self, vocabulary: Any, feature_lengths: Mapping[str, int]) -> "CorpusSource":
        """Returns the same source for a vocabulary and the most tokens of each feature."""
        return CorpusSource(*self.decisive, vocabulary, feature_lengths)

    @property
    def splits(self) -> Sequence[str]:
        """The splits whose documents are there."""
        return self.decisive[1].splits()

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """False: SeqIO shards the examples itself."""
        return False

    def list_shards(self, split: str) -> Sequence[str]:
        """Returns the split's name: a corpus is one shard."""
        return [split]

    def num_input_examples(self, split: str) -> None:
        """Returns None: how many chunks there are depends on the lengths."""
        return None

    def fingerprint(self, split: str) -> str:
        """Returns a hash of all that decides the pairs, but for vocabulary, lengths and seed."""
        name, documents, denoiser = self.decisive
        parts = [corruption.VERSION, name, repr(denoiser), documents.fingerprint(split)]
        return hashlib.sha256(files.dumps(parts).encode()).hexdigest()

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: Any,
    ) -> tf.data.Dataset:
        """Returns the pairs of a split in the order of the text; SeqIO shuffles afterwards."""
        if shard_info and shard_info.num_shards > 1:
            raise ValueError("CorpusSource has one shard; use tf.data.Dataset.shard instead")
        pairs = functools.partial(self._pairs, split, int(seed or 0))
        return tf.data.Dataset.from_generator(pairs, output_signature=_SIGNATURE)

    def _pairs(self, split: str, seed: int) -> Iterator[dict[str, Any]]:
        name, documents, denoiser = self.decisive
        vocabulary, lengths = self._vocabulary, self._feature_lengths
        mode = np.asarray(vocabulary.encode(denoiser.mode) if denoiser.mode else [], np.int32)
        room = Room(lengths["inputs"], lengths["targets"], vocabulary.extra_ids, len(mode))
        length = corruption.chunk_length(denoiser, room)
        first_sentinel = vocabulary.vocab_size - 1
        key_name = name if split == SPLITS[0] else f"{name}/{split}"
        tokens = (np.asarray(vocabulary.encode(t), np.int32) for t in documents.texts(split))
        pieces = corruption.chunks(tokens, length, join=denoiser.join)
        for index, piece in enumerate(pieces):
            key = ExampleKey(seed, key_name, index)
            inputs, targets = corruption.denoise(denoiser, piece, key, room, first_sentinel)
            yield {"inputs": np.concatenate([mode, inputs]), "targets": targets, "index": index}


class CorpusTask(seqio.Task):
    """A `seqio.Task` that tells its source the vocabulary and the sequence lengths."""

    def get_dataset(
        self, sequence_length: Mapping[str, int] | None = None, *args: Any, **kwargs: Any
    ) -> tf.data.Dataset:
        """See `seqio.Task.get_dataset`; a `UsageError` without lengths: they decide the pairs."""
        if not sequence_length or not {"inputs", "targets"} <= set(sequence_length):
            raise UsageError(
                f"task {self.name!r}: its text is cut to fit, so name the sequence lengths of "
                f"'inputs' and 'targets'; got {sequence_length}"
            )
        task = copy.copy(self)
        vocabulary = self.output_features["inputs"].vocabulary
        task._source = self.source.told(vocabulary, sequence_length)
        return seqio.Task.get_dataset(task, sequence_length, *args, **kwargs)


def _objects(path: Path) -> Iterator[str]:
    for number, line in enumerate(parsing.read_lines(path), start=1):
        where = f"{path.name}:{number}"
        row = parsing.parse_object(line, where) if isinstance(line, str) else line
        if isinstance(row, Malformed):
            raise _unreadable(path, row)
        if not isinstance(text := row.get("text"), str):
            raise _unreadable(path, Malformed(where, f"no text under 'text' in {sorted(row)}"))
        yield text


def _paragraphs(path: Path) -> Iterator[str]:
    lines: list[str] = []
    for line in parsing.read_lines(path):
        if isinstance(line, Malformed):
            raise _unreadable(path, line)
        if line.strip():
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _unreadable(path: Path, row: Malformed) -> DataError:
    return DataError(
        f"text corpus {path.parent}: {row.where}: {row.reason}; mend or remove the document"
    )
