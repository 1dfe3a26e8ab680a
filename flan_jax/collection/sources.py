# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where rows come from: generators, Natural-Instructions JSON, CoT TSV, JSON lines.

A source is a small picklable value; making one opens nothing. Rows come in a fixed order, each
with its index; a `Malformed` stands in the place of one that cannot be read. A file that cannot be
read as a whole is a `DataError`. Online data sets (TFDS, Hugging Face) are not here.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, Protocol

from flan_jax.collection import parsing
from flan_jax.collection.parsing import InstructionTask, Malformed
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError
from flan_jax.core.rng import ExampleKey

Row = dict[str, Any]

# What a function of a row may raise because of the row.
USER_FAULTS = (LookupError, TypeError, ValueError, AttributeError)


class Source(Protocol):
    """What a task reads: rows of named splits."""

    def num_rows(self, split: str) -> int:
        """Returns how many rows `split` has, malformed ones not counted."""
        ...

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (index, row) in order; a file that cannot be read is a `DataError`."""
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
    """One JSON object a line, UTF-8, one file a split.

    Args:
        paths: ((split, path), ...), or a dict of the same.
    """

    paths: tuple[tuple[str, str], ...]

    def __post_init__(self):
        pairs = self.paths.items() if isinstance(self.paths, dict) else self.paths
        object.__setattr__(self, "paths", tuple(sorted((s, str(p)) for s, p in pairs)))

    def num_rows(self, split: str) -> int:
        """Returns the number of lines of the split's file that hold an object."""
        return num_well_formed(self, split, self.fingerprint(split))

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (line index from 0, object)."""
        path = dict(self.paths).get(split)
        if path is None:
            return
        path = resolve(path)
        for index, line in enumerate(parsing.read_lines(path)):
            if isinstance(line, str):
                yield index, parsing.parse_object(line, f"{path.name}:{index + 1}")
            else:
                yield index, line

    def fingerprint(self, split: str) -> str:
        """Returns the SHA-256 of the split's file."""
        path = dict(self.paths).get(split)
        return _file_hash(str(resolve(path))) if path else ""

    def missing(self) -> str | None:
        """Returns None if every file is there, else which is not and what to do."""
        return _missing_files([path for _, path in self.paths])


@dataclasses.dataclass(frozen=True)
class NaturalInstructionsSource:
    """One task file of Natural-Instructions v2 (Wang et al. 2022); all rows are of `train`.

    A row holds `id`, `input`, `outputs` (a list), `definitions` (a list) and `positives`, the
    positive examples as dicts of `input`, `output`, `explanation` ("" if there is none). Files that
    give a definition, an output or a category as plain text instead of a list are read as well.
    """

    path: str

    def num_rows(self, split: str) -> int:
        """Returns the number of well-formed instances."""
        return num_well_formed(self, split, self.fingerprint(split))

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (instance index, row)."""
        if split != "train":
            return
        task = _read_task(*_stamp(self.path))
        shared = {"definitions": task.definitions, "positives": task.positives}
        name = resolve(self.path).name
        for index, instance in enumerate(task.instances):
            row = parsing.parse_instance(instance, f"{name} instance {index}")
            yield index, row if isinstance(row, Malformed) else row | shared

    def fingerprint(self, split: str) -> str:
        """Returns the SHA-256 of the file."""
        return _file_hash(self.path)

    def missing(self) -> str | None:
        """Returns None if the file is there, else which is not and what to do."""
        return _missing_files([self.path])


@dataclasses.dataclass(frozen=True)
class CotTsvSource:
    r"""Chains of thought as FLAN publishes them; all rows are of `train`.

    A line is question, answer, rationale between tabs, UTF-8, with a two-character `\n` for each
    line break inside. There is no header and no quoting.
    """

    path: str

    COLUMNS = ("question", "answer", "rationale")

    def num_rows(self, split: str) -> int:
        """Returns the number of lines of three columns."""
        return num_well_formed(self, split, self.fingerprint(split))

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (line index from 0, row)."""
        if split != "train":
            return
        path = resolve(self.path)
        num = len(self.COLUMNS)
        for index, line in enumerate(parsing.read_lines(path)):
            if isinstance(line, Malformed):
                yield index, line
                continue
            texts = [cell.replace("\\n", "\n") for cell in line.split("\t")]
            if len(texts) == num:
                yield index, dict(zip(self.COLUMNS, texts, strict=True))
            else:
                reason = f"need {num} columns between tabs"
                yield index, Malformed(f"{path.name}:{index + 1}", reason)

    def fingerprint(self, split: str) -> str:
        """Returns the SHA-256 of the file."""
        return _file_hash(str(resolve(self.path)))

    def missing(self) -> str | None:
        """Returns None if the file is there, else which is not and what to do."""
        return _missing_files([self.path])


@dataclasses.dataclass(frozen=True)
class HeldOutSource:
    """Cuts a validation split out of a source that has only `train`.

    Rows that agree in the column `by` stay on one side, so nothing in validation is also trained
    on. Which values are held out depends on the values and `seed` alone. Rows without a value,
    the malformed ones among them, stay in train.

    Args:
        base: the source.
        by: the column to divide by.
        fraction: share of the different values to hold out, at least one of two.
        most: never hold out more values than this.
        seed: another seed holds out other values.
    """

    base: Source
    by: str
    fraction: float = 0.1
    most: int = 100
    seed: int = 0

    def num_rows(self, split: str) -> int:
        """Returns how many rows of the base are on this side, malformed ones not counted."""
        held, num = _held_out(self, self.base.fingerprint("train"))
        return {"train": num - len(held), "validation": len(held)}.get(split, 0)

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (index in the base, row) of this side."""
        held, _ = _held_out(self, self.base.fingerprint("train"))
        for index, row in self.base.rows("train"):
            if (index in held) == (split == "validation"):
                yield index, row

    def fingerprint(self, split: str) -> str:
        """Returns a hash of the base's rows and the cut."""
        parts = (self.base.fingerprint("train"), split, self.by, self.fraction, self.most)
        text = "\x00".join(str(part) for part in (*parts, self.seed))
        return hashlib.sha256(text.encode()).hexdigest()

    def missing(self) -> str | None:
        """Returns what the base misses."""
        return self.base.missing()


@dataclasses.dataclass(frozen=True)
class FilteredSource:
    """The rows of a source that a task is of; the others are none of its rows, and not counted.

    For a data set that holds several tasks: a cap then counts the task's own rows.

    Args:
        base: the source.
        keep: a module-level pure function of a row.
    """

    base: Source
    keep: Callable[[Row], bool]

    def num_rows(self, split: str) -> int:
        """Returns how many rows are kept, malformed ones not counted."""
        return num_well_formed(self, split, self.fingerprint(split))

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (index in the base, row) of the rows that are kept, and the malformed ones."""
        for index, row in self.base.rows(split):
            try:
                is_kept = isinstance(row, Malformed) or self.keep(row)
            except USER_FAULTS as error:
                raise DataError(
                    f"row {index} of {split!r}: what keeps the task's rows {fault_of(error, row)}: "
                    "give rows all columns of their data set"
                ) from error
            if is_kept:
                yield index, row

    def fingerprint(self, split: str) -> str:
        """Returns a hash of the base's rows and of the function's code."""
        text = f"{self.base.fingerprint(split)}\x00{code_fingerprint(self.keep)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def missing(self) -> str | None:
        """Returns what the base misses."""
        return self.base.missing()


def resolve(path: str) -> Path:
    """Returns the file that `path` names.

    `package:NAME/REST` is the file REST inside the importable package NAME, so that a name in a
    Gin file works from any directory; `$NAME/REST` is REST in the folder that the environment
    variable NAME holds; anything else is a path of the file system.

    Raises:
        UsageError: the package is not importable, or the variable not set.
    """
    if path.startswith("$"):
        variable, _, rest = path[1:].partition("/")
        folder = os.environ.get(variable)
        if not folder:
            raise UsageError(
                f"{rest} is looked for in the folder that the environment variable {variable} "
                f"names, which is not set; set it"
            )
        return Path(folder, rest)
    if not path.startswith("package:"):
        return Path(path)
    package, _, rest = path.removeprefix("package:").partition("/")
    try:
        # Not imported: a package that only carries a file may need what is not installed.
        spec = importlib.util.find_spec(package)
    except (ModuleNotFoundError, ValueError):  # no parent package; no name
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"{path!r}: no package {package!r} can be imported; install it or run from its folder"
        )
    return Path(spec.submodule_search_locations[0], rest)


def read_lines(path: str | os.PathLike) -> Iterator[str]:
    r"""Yields the lines of a UTF-8 file without their `\n`; other bytes are a `DataError`."""
    for number, line in enumerate(parsing.read_lines(path), start=1):
        if isinstance(line, Malformed):
            raise DataError(f"{path}:{number}: {line.reason}; convert the file to UTF-8")
        yield line


def code_fingerprint(function: Callable) -> str:
    """Returns a hash of a function's name, of its module's text and of what a partial holds.

    Modules that its own one imports are not looked at: raise a version when those change.
    """
    if isinstance(function, functools.partial):
        held = [*function.args, *sorted(function.keywords.items())]
        parts = [function.func, *held]
        text = "\x00".join(code_fingerprint(p) if callable(p) else repr(p) for p in parts)
    else:
        module = getattr(function, "__module__", "")
        name = getattr(function, "__qualname__", type(function).__qualname__)
        text = f"{module}.{name}\x00{_module_text(module)}"
    return hashlib.sha256(text.encode()).hexdigest()


def fault_of(error: Exception, row: Row) -> str:
    """Returns how a function of rows fails, where, and what the row has."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    fault = f"fails with {type(error).__name__}: {error}"
    if isinstance(error, KeyError):
        fault = f"asks for {error}, which is not there"
    place = f"{frame.filename}:{frame.lineno}"
    return f"{fault} ({place}); the row has {sorted(map(str, row))}"


def describe(source: Source) -> str:
    """Returns what a source is, in words for people: its kind, names, versions and paths."""
    if not dataclasses.is_dataclass(source):
        return type(source).__name__
    parts = []
    for field in dataclasses.fields(source):
        value = getattr(source, field.name)
        if dataclasses.is_dataclass(value):
            parts.append(describe(value))
        elif isinstance(value, tuple) and value and all(map(dataclasses.is_dataclass, value)):
            parts.append(" or ".join(map(describe, value)))
        elif isinstance(value, functools.partial):
            parts.append(getattr(value.func, "__qualname__", ""))
        elif callable(value):
            parts.append(getattr(value, "__qualname__", ""))
        else:
            parts.append(str(value))
    return f"{type(source).__name__}({', '.join(parts)})"


def choose(num: int, limit: int | None, seed: int, name: str) -> frozenset[int] | None:
    """Returns which of `num` rows are used when at most `limit` may be; None means all of them.

    The choice depends on the arguments alone, each row being equally likely.
    """
    if limit is None or limit >= num:
        return None
    return frozenset(ExampleKey(seed, name, -1).sample("rows", num, limit))


@functools.cache
def _module_text(name: str) -> str:
    try:
        return inspect.getsource(sys.modules[name])
    except (KeyError, OSError, TypeError):
        return ""


def _missing_files(paths: list[str]) -> str | None:
    try:
        gone = [path for path in map(resolve, paths) if not path.is_file()]
    except UsageError as error:
        return str(error)
    if not gone:
        return None
    more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
    return f"file {gone[0]}{more} does not exist; correct the path or fetch the data"


def _stamp(path: str) -> tuple[str, int, int]:
    """Returns what tells whether a file is still the one that was read."""
    found = resolve(path)
    stat = found.stat()
    return str(found), stat.st_size, stat.st_mtime_ns


def _file_hash(path: str) -> str:
    return _file_hash_cached(*_stamp(path))


@functools.lru_cache(maxsize=1 << 16)
def _file_hash_cached(path: str, size: int, mtime_ns: int) -> str:
    return files.sha256_file(path)


@functools.lru_cache(maxsize=1 << 16)
def num_well_formed(source: Source, split: str, fingerprint: str) -> int:
    """Returns how many rows of a split are not malformed; counted once for each fingerprint."""
    return sum(not isinstance(row, Malformed) for _, row in source.rows(split))


@functools.lru_cache(maxsize=1 << 16)
def _held_out(source: HeldOutSource, fingerprint: str) -> tuple[frozenset[int], int]:
    """Returns the base indices of the validation side, and the number of rows of both sides."""
    indices: dict[Hashable, list[int]] = {}
    num = 0
    for index, row in source.base.rows("train"):
        if isinstance(row, Malformed):
            continue
        num += 1
        if source.by in row:
            value = row[source.by]
            key = value if isinstance(value, Hashable) else repr(value)
            indices.setdefault(key, []).append(index)
    if num and not indices:
        raise UsageError(
            f"{describe(source.base)}: no row has the column {source.by!r} to divide by; name "
            "another column"
        )

    def rank(value) -> bytes:
        text = f"{source.seed}\x00{value}"
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    wanted = min(source.most, int(source.fraction * len(indices)) or int(len(indices) > 1))
    held = sorted(indices, key=rank)[:wanted]
    return frozenset(i for value in held for i in indices[value]), num


@functools.lru_cache(maxsize=2)
def _read_task(path: str, size: int, mtime_ns: int) -> InstructionTask:
    return parsing.read_instruction_task(path)
