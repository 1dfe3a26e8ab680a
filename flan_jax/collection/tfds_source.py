# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of a TFDS builder, as plain Python values: from its folder, or from exported JSON lines.

Nothing is downloaded here: a data set is prepared once with TFDS, and read from its folder ever
after. `missing()` looks for that folder and imports nothing; TFDS itself is imported when rows
are read. Splits are cut as TFDS cuts them: `train`, `train[:-200]`, `train[-200:]`, `train[5:9]`.
"""

import dataclasses
import functools
import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.collection.parsing import NOT_UTF8, Malformed
from flan_jax.collection.sources import JsonLinesSource, Row, Source
from flan_jax.core.errors import UsageError

VARIABLE = "TFDS_DATA_DIR"
_DEFAULT_FOLDER = "~/tensorflow_datasets"
_SLICE = re.compile(r"(\w+)(?:\[(-?\d+)?:(-?\d+)?\])?")


@dataclasses.dataclass(frozen=True)
class TfdsSource:
    """A TFDS builder's examples. Bytes become text, arrays lists, ragged arrays nested lists.

    Args:
        name: `builder:version` or `builder/config:version`.
        splits: ((our split, TFDS split), ...), such as ("train", "train[:-200]").
    """

    name: str
    splits: tuple[tuple[str, str], ...]

    def __post_init__(self):
        object.__setattr__(self, "splits", _pairs(self.splits))

    def num_rows(self, split: str) -> int:
        """Returns how many examples TFDS counts in `split`; 0 if it has no such split."""
        name = dict(self.splits).get(split)
        return _builder(self.name).info.splits[name].num_examples if name else 0

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (index, example) in TFDS's own order, unshuffled."""
        name = dict(self.splits).get(split)
        if name is None:
            return
        import tensorflow_datasets as tfds

        # One thread and no interleaving: the order is that of the files.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        examples = _builder(self.name).as_dataset(
            split=name, shuffle_files=False, read_config=config
        )
        for index, example in enumerate(tfds.as_numpy(examples)):
            try:
                yield index, _plain(example)
            except UnicodeDecodeError:
                yield index, Malformed(f"{self.name} {name} {index}", NOT_UTF8)

    def fingerprint(self, split: str) -> str:
        """Returns a hash of the builder's version, the split and its size."""
        name = dict(self.splits).get(split, "")
        text = f"{self.name}\x00{name}\x00{self.num_rows(split)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def missing(self) -> str | None:
        """Returns None if the data set is prepared, else where it was looked for and the remedy."""
        builder, version = self.name.split(":")
        folder = data_dir()
        if (folder / builder / version / "dataset_info.json").is_file():
            return None
        return (
            f"TFDS data set {self.name} is not prepared in {folder} ({VARIABLE}): with a network, "
            f"run python -c \"import tensorflow_datasets as t; t.builder('{self.name}')"
            '.download_and_prepare()"'
        )


@dataclasses.dataclass(frozen=True)
class ExportedSource:
    """The same examples as JSON lines: a folder with one file `<TFDS split>.jsonl` each.

    Args:
        folder: as for `sources.resolve`, such as `$MY_DATA/rte`.
        splits: as for `TfdsSource`; cuts count the rows of the file, malformed ones included.
    """

    folder: str
    splits: tuple[tuple[str, str], ...]

    def __post_init__(self):
        object.__setattr__(self, "splits", _pairs(self.splits))

    def num_rows(self, split: str) -> int:
        """Returns how many well-formed rows `split` has."""
        return sum(not isinstance(row, Malformed) for _, row in self.rows(split))

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (line index from 0 in the file, row)."""
        if (cut := dict(self.splits).get(split)) is None:
            return
        name, begin, end = _parse_cut(cut)
        source = self._file(name)
        if any(bound is not None and bound < 0 for bound in (begin, end)):
            num = sum(1 for _ in source.rows(name))
            begin, end, _ = slice(begin, end).indices(num)
        yield from itertools.islice(source.rows(name), begin, end)

    def fingerprint(self, split: str) -> str:
        """Returns a hash of the file and the cut."""
        if (cut := dict(self.splits).get(split)) is None:
            return ""
        name = _parse_cut(cut)[0]
        text = f"{self._file(name).fingerprint(name)}\x00{cut}"
        return hashlib.sha256(text.encode()).hexdigest()

    def missing(self) -> str | None:
        """Returns None if every file is there, else which is not and what to do."""
        names = {_parse_cut(cut)[0] for _, cut in self.splits}
        return JsonLinesSource({name: f"{self.folder}/{name}.jsonl" for name in names}).missing()

    def _file(self, name: str) -> JsonLinesSource:
        return JsonLinesSource({name: f"{self.folder}/{name}.jsonl"})


@dataclasses.dataclass(frozen=True)
class FirstOf:
    """The first of several sources whose data is there."""

    sources: tuple[Source, ...]

    def num_rows(self, split: str) -> int:
        """Returns how many rows `split` has."""
        return self._chosen.num_rows(split)

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (index, row) in order."""
        return self._chosen.rows(split)

    def fingerprint(self, split: str) -> str:
        """Returns the chosen source's fingerprint."""
        return self._chosen.fingerprint(split)

    def missing(self) -> str | None:
        """Returns None if one is there, else what each misses."""
        reasons = [source.missing() for source in self.sources]
        return None if None in reasons else "; or ".join(dict.fromkeys(reasons))

    @property
    def _chosen(self) -> Source:
        there = (source for source in self.sources if source.missing() is None)
        return next(there, self.sources[0])


def data_dir() -> Path:
    """Returns the folder of prepared TFDS data sets."""
    return Path(os.environ.get(VARIABLE) or _DEFAULT_FOLDER).expanduser()


def _pairs(splits: Any) -> tuple[tuple[str, str], ...]:
    pairs = splits.items() if isinstance(splits, dict) else splits
    pairs = tuple(sorted(tuple(pair) for pair in pairs))
    for _, cut in pairs:
        _parse_cut(cut)
    return pairs


def _parse_cut(text: str) -> tuple[str, int | None, int | None]:
    """Returns split name, first and last row of a TFDS cut."""
    if not (match := _SLICE.fullmatch(text)):
        raise UsageError(
            f"split {text!r}: give a TFDS split, or one cut in rows such as 'train[:-200]'"
        )
    begin, end = (int(bound) if bound else None for bound in match.groups()[1:])
    return match[1], begin, end


@functools.lru_cache(maxsize=256)
def _builder(name: str) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder(name, data_dir=data_dir())


def _plain(value: Any) -> Any:
    """Returns a TFDS value as text, numbers, lists and dicts."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "to_list"):  # a ragged array
        return _plain(value.to_list())
    if hasattr(value, "tolist"):  # an array or a number of numpy
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
