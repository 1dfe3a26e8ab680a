# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where rows come from: generators, Natural-Instructions JSON, CoT TSV, JSON lines.

A source is a small picklable value; making one opens nothing. Rows come in a fixed order, each
with its index. A malformed row is a `DataError` that names file, line or instance, and fault.
Online data sets (TFDS, Hugging Face) are not here.
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import inspect
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError
from flan_jax.core.rng import ExampleKey

Row = dict[str, Any]


class Source(Protocol):
    """What a task reads: rows of named splits."""

    def num_rows(self, split: str) -> int:
        """Returns how many rows `split` has."""
        ...

    def rows(self, split: str) -> Iterator[tuple[int, Row]]:
        """Yields (index, row) in order; a malformed row is a `DataError`."""
        ...

    def fingerprint(self, split: str) -> str:
        """Returns a short text that changes when the rows of `split` change."""
        ...

    def missing(self) -> str | None:
        """Returns None if the data is there, else what is missing and what to do."""
        ...


@dataclasses.dataclass(frozen=True)
class GeneratedSource:
    """Rows made by a function: `fn(split, index)` returns the row, the same each time.

    Args:
        fn: a module-level pure function.
        num_rows_by_split: ((split, number of rows), ...), or a dict of the same.
        version: raise it when `fn` gives other rows because of code it calls.
    """

    fn: Callable[[str, int], Row]
    num_rows_by_split: tuple[tuple[str, int], ...]
    version: str = "1"

    def __post_init__(self):
        pairs = self.num_rows_by_split
        pairs = tuple(sorted(pairs.items())) if isinstance(pairs, dict) else tuple(pairs)
        object.__setattr__(self, "num_rows_by_split", pairs)

    def num_rows(self, split: str) -> int:
        """Returns how many rows `split` has; 0 if it has no such split."""
        return dict(self.num_rows_by_split).get(split, 0)

    def rows(self, split: str) -> Iterator[tuple[int, Row]]:
        """Yields (index, row) in order."""
        for index in range(self.num_rows(split)):
            yield index, self.fn(split, index)

    def fingerprint(self, split: str) -> str:
        """Returns a hash of the function's code, the count and the version."""
        text = f"{code_fingerprint(self.fn)}\x00{split}\x00{self.num_rows(split)}\x00{self.version}"
        return hashlib.sha256(text.encode()).hexdigest()

    def missing(self) -> None:
        """Returns None: generated rows are always there."""
        return None


@dataclasses.dataclass(frozen=True)
class JsonLinesSource:
    """One JSON object a line, UTF-8, one file a split; blank lines are not allowed.

    Args:
        paths: ((split, path), ...), or a dict of the same.
    """

    paths: tuple[tuple[str, str], ...]

    def __post_init__(self):
        pairs = self.paths.items() if isinstance(self.paths, dict) else self.paths
        object.__setattr__(self, "paths", tuple(sorted((s, str(p)) for s, p in pairs)))

    def num_rows(self, split: str) -> int:
        """Returns the number of lines of the split's file."""
        return sum(1 for _ in self.rows(split))

    def rows(self, split: str) -> Iterator[tuple[int, Row]]:
        """Yields (line index from 0, object)."""
        path = dict(self.paths).get(split)
        if path is None:
            return
        for index, line in enumerate(read_lines(path)):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{index + 1}: not valid JSON ({error.msg})") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}:{index + 1}: need a JSON object, got {type(row).__name__}")
            yield index, row

    def fingerprint(self, split: str) -> str:
        """Returns the SHA-256 of the split's file."""
        path = dict(self.paths).get(split)
        return _file_hash(path) if path else ""

    def missing(self) -> str | None:
        """Returns None if every file is there, else which is not and what to do."""
        return _missing_files([path for _, path in self.paths])


def resolve(path: str) -> Path:
    """Returns the file that `path` names.

    `package:NAME/REST` is the file REST inside the importable package NAME, so that a name in a
    Gin file works from any directory; anything else is a path of the file system.

    Raises:
        UsageError: the package is not importable.
    """
    if not path.startswith("package:"):
        return Path(path)
    package, _, rest = path.removeprefix("package:").partition("/")
    try:
        root = importlib.resources.files(package)
    except ModuleNotFoundError:
        raise UsageError(
            f"{path!r}: no package {package!r} can be imported; install it or run from its folder"
        ) from None
    return Path(str(root.joinpath(rest)))


def read_lines(path: str | os.PathLike) -> Iterator[str]:
    r"""Yields the lines of a UTF-8 file without their `\n`; other bytes are a `DataError`."""
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}:{number}: not UTF-8 text ({error.reason} at byte {error.start} of "
                    "the line); convert the file to UTF-8"
                ) from None
            yield line.removesuffix("\n").removesuffix("\r")


def code_fingerprint(function: Callable) -> str:
    """Returns a hash of a function's name and source text, and of what a partial holds."""
    if isinstance(function, functools.partial):
        parts = [code_fingerprint(function.func), repr(function.args), repr(function.keywords)]
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)}"
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = ""
    return hashlib.sha256(f"{name}\x00{text}".encode()).hexdigest()


def choose(num: int, limit: int | None, seed: int, name: str) -> frozenset[int] | None:
    """Returns which of `num` rows are used when at most `limit` may be; None means all of them.

    The choice is the head of a random order that depends on (seed, name) alone, so a smaller
    limit chooses a part of what a larger one does not necessarily keep in order.
    """
    if limit is None or limit >= num:
        return None
    return frozenset(ExampleKey(seed, name, -1).sample("rows", num, limit))


def _missing_files(paths: list[str]) -> str | None:
    gone = [path for path in paths if not os.path.isfile(path)]
    if not gone:
        return None
    more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
    return f"file {gone[0]}{more} does not exist; correct the path or fetch the data"


def _file_hash(path: str) -> str:
    stat = os.stat(path)
    return _file_hash_cached(str(path), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _file_hash_cached(path: str, size: int, mtime_ns: int) -> str:
    return files.sha256_file(path)
