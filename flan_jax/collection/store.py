# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The token store: what the builder writes once and training and evaluation read.

    STORE/manifest.json                  what is in it, from what, and the hash of every file
    STORE/tasks/<task>/<split>/
        tokens.bin                       uint16 or uint32, little endian: inputs then targets of
                                         each example, each ending with EOS
        offsets.npy                      [num_examples + 1] int64, where examples start
        input_lengths.npy                [num_examples] int32, EOS included
        target_lengths.npy               likewise
        examples.jsonl                   the texts, references and metadata, a line an example
        done.json                        written last: the folder is whole, and of which build
    STORE/rows/                          row counts of streams (data/row_index.py); may be deleted
    STORE/building/                      parts of a build that is not finished (staging.py)

Opening a store compares the size of every file with the manifest; `verify` compares hashes.
A file is open only while it is read: a store of thousands of tasks holds no descriptor. (Kept
maps of the token files were tried: with 1,836 tasks nearly every read had to map anew, at 20
times the cost of an open and a read.) No pickle.
"""

import array
import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from flan_jax.collection import remote, token_files
from flan_jax.core import errors, files
from flan_jax.core.errors import DataError, FlanError, UsageError
from flan_jax.core.progress import Progress

FORMAT = 1

MANIFEST = "manifest.json"
TASKS, BUILDING = "tasks", "building"
DONE = "done.json"
TOKENS, OFFSETS = "tokens.bin", "offsets.npy"
INPUT_LENGTHS, TARGET_LENGTHS = "input_lengths.npy", "target_lengths.npy"
EXAMPLES = "examples.jsonl"
DATA_FILES = (TOKENS, OFFSETS, INPUT_LENGTHS, TARGET_LENGTHS, EXAMPLES)

_NUM_NAMED = 5  # problems that an error message lists before it only counts them


def token_dtype(vocabulary_size: int) -> np.dtype:
    """Returns the smallest unsigned type that holds every id of a vocabulary."""
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<u4")


def task_folder(root: str | os.PathLike, task: str, split: str) -> Path:
    """Returns the folder of a task's split."""
    if task in (".", "..") or "/" in task or "\x00" in task:
        raise UsageError(f"task name {task!r} cannot be a folder's name; rename the task")
    return Path(root) / TASKS / task / split


def check_feature_lengths(lengths: Mapping[str, int]) -> None:
    """Raises a `UsageError` unless these are lengths of `inputs` and `targets`, EOS included."""
    if sorted(lengths) != ["inputs", "targets"] or min(lengths.values()) < 2:
        raise UsageError(
            f"feature lengths must be of 'inputs' and 'targets' and at least 2, got {dict(lengths)}"
        )


class StoreWriteError(FlanError):
    """A store cannot be written; what was finished is kept."""


def write_error(path: str | os.PathLike, error: OSError) -> StoreWriteError:
    """Returns what to tell the user of a failed write of `path`."""
    what = (error.strerror or str(error)).lower()
    remedy = "mend that and build again"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free space and build again"
        usage = shutil.disk_usage(next(p for p in Path(path).absolute().parents if p.exists()))
        what += f" ({usage.free / 1e6:.1f} of {usage.total / 1e6:.1f} MB are free)"
    elif error.errno == errno.EFBIG:
        remedy = "raise the limit (ulimit -f) and build again"
    return StoreWriteError(f"{what} while writing {path}; what is finished is kept: {remedy}")


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Makes a failed write to `path` a `StoreWriteError`."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from None


class TaskWriter:
    """Writes one task's split; the folder counts only once `finish` has been called.

    When the block ends by an exception, the folder is removed. A failed write is a
    `StoreWriteError`.
    """

    def __init__(self, folder: Path, dtype: np.dtype):
        self._folder, self._dtype = folder, dtype
        self._typecode = "H" if dtype.itemsize == 2 else "I"
        self._lengths: tuple[list[int], list[int]] = ([], [])
        with writing(folder):
            (folder / DONE).unlink(missing_ok=True)
            if folder.is_dir():  # what a killed build left there, temporary files too
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            self._tokens = open(folder / TOKENS, "wb")
            self._texts = open(folder / EXAMPLES, "w", encoding="utf-8", newline="\n")

    def __enter__(self) -> "TaskWriter":
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        for file in (self._tokens, self._texts):
            with contextlib.suppress(OSError):  # `finish` has closed them, or they do not count
                file.close()
        if error_type is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def num_examples(self) -> int:
        """Examples added so far."""
        return len(self._lengths[0])

    def add(self, inputs: Sequence[int], targets: Sequence[int], text: Mapping[str, Any]) -> None:
        """Adds an example: its tokens (EOS included) and the JSON record of its text."""
        for tokens, lengths in zip((inputs, targets), self._lengths, strict=True):
            try:
                ids = array.array(self._typecode, tokens)
            except OverflowError:
                raise DataError(
                    f"{self._folder}: ids {min(tokens)} to {max(tokens)} do not fit {self._dtype}; "
                    "tokenize with the store's vocabulary"
                ) from None
            if sys.byteorder == "big":
                ids.byteswap()
            self._write(self._tokens, ids.tobytes())
            lengths.append(len(ids))
        self._write(self._texts, files.dumps(text) + "\n")

    def finish(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Closes the files and returns the entry for the manifest, which holds `facts` too."""
        for file in (self._tokens, self._texts):
            with writing(file.name):
                file.close()
        inputs, targets = (np.array(lengths, np.int32) for lengths in self._lengths)
        offsets = np.concatenate([[0], np.cumsum(inputs.astype(np.int64) + targets)])
        self._save(OFFSETS, offsets.astype(np.int64))
        self._save(INPUT_LENGTHS, inputs)
        self._save(TARGET_LENGTHS, targets)
        entry = dict(facts)
        entry["num_examples"] = len(inputs)
        for side, lengths in (("input", inputs), ("target", targets)):
            entry[f"num_{side}_tokens"] = int(lengths.sum())
            entry[f"max_{side}_tokens"] = int(lengths.max(initial=0))
        entry["files"] = {
            name: {
                "sha256": files.sha256_file(self._folder / name),
                "size_bytes": (self._folder / name).stat().st_size,
            }
            for name in DATA_FILES
        }
        with writing(self._folder / DONE):
            files.write_json(self._folder / DONE, entry)
        return entry

    def _write(self, file: IO, content: Any) -> None:
        try:
            file.write(content)
        except OSError as error:
            raise write_error(file.name, error) from None

    def _save(self, name: str, values: np.ndarray) -> None:
        content = io.BytesIO()  # np.save's own errors do not say what is wrong
        np.save(content, values)
        with writing(self._folder / name):
            (self._folder / name).write_bytes(content.getbuffer())


def read_finished(folder: Path, key: str) -> dict[str, Any] | None:
    """Returns the entry of a folder that a build with this key finished, or None.

    None means that the folder has to be written: it is absent, half written, of another build,
    or its files no longer have their sizes.
    """
    try:
        entry = files.read_json(folder / DONE)
    except (FileNotFoundError, DataError):
        return None
    is_entry = isinstance(entry, dict) and entry.get("key") == key
    return entry if is_entry and not _size_problems(folder, entry) else None


def read_manifest(path: str | os.PathLike) -> Any:
    """Returns the manifest of a finished store, on disk or in a bucket; None if there is none."""
    if remote.is_remote(path):
        return remote.read_json(str(path), MANIFEST)
    manifest = Path(path) / MANIFEST
    return files.read_json(manifest) if manifest.is_file() else None


class TaskStore:
    """The examples of one task's split."""

    def __init__(self, store: "Store", name: str, split: str):
        self._store, self._name, self._split = store, name, split
        self.info: dict[str, Any] = store.manifest["tasks"][name][split]
        self.folder = task_folder(store.path, name, split)
        self._tokens_path = str(self.folder / TOKENS)

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        return self.info["num_examples"]

    @functools.cached_property
    def input_lengths(self) -> np.ndarray:
        """[num_examples] int32, tokens of the inputs, EOS included."""
        return self._lengths(INPUT_LENGTHS)

    @functools.cached_property
    def target_lengths(self) -> np.ndarray:
        """[num_examples] int32, tokens of the targets, EOS included."""
        return self._lengths(TARGET_LENGTHS)

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """[num_examples + 1] int64, the token at which each example starts."""
        return np.load(self.folder / OFFSETS, allow_pickle=False)

    def example(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (inputs, targets) of an example, int32, each with its EOS."""
        index = self._checked(index)
        start, end = self.offsets[index : index + 2].tolist()
        (tokens,) = self.read([start], [end - start])
        inputs, targets = np.split(tokens.astype(np.int32), [self.input_lengths[index]])
        return inputs, targets

    def read(self, starts: Sequence[int], lengths: Sequence[int]) -> list[np.ndarray]:
        """Returns spans of the task's tokens, given by first token and number of tokens."""
        return token_files.read_spans(self._tokens_path, self._store.dtype, starts, lengths)

    def text(self, index: int) -> dict[str, Any]:
        """Returns the record of an example: inputs, targets, references, meta, index."""
        index = self._checked(index)
        with open(self.folder / EXAMPLES, "rb") as file:
            file.seek(self._line_starts[index])
            return json.loads(file.readline())

    def texts(self) -> Iterator[dict[str, Any]]:
        """Yields the records of all examples in order."""
        with open(self.folder / EXAMPLES, encoding="utf-8", newline="\n") as file:
            for line in file:
                yield json.loads(line)

    @functools.cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        with open(self.folder / EXAMPLES, "rb") as file:
            for line in file:
                starts.append(starts[-1] + len(line))
        return starts

    def _lengths(self, name: str) -> np.ndarray:
        # np.load parses each header as Python, 0.2 s per thousand files; the size is known.
        header = self.info["files"][name]["size_bytes"] - 4 * self.num_examples
        return np.fromfile(self.folder / name, "<i4", offset=header)

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.num_examples:
            raise UsageError(
                f"task {self._name!r} split {self._split!r}: example {index} does not exist, it "
                f"has {self.num_examples}"
            )
        return int(index)


class Store:
    """A built mixture, read only. Make one with `Store.open`."""

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path, self.manifest = path, manifest
        self._task_stores: dict[tuple[str, str], TaskStore] = {}

    @classmethod
    def open(cls, path: str | os.PathLike) -> "Store":
        """Opens a store after comparing the size of every file with the manifest.

        One in a bucket (`gs://...`) is copied to this machine first (`remote.py`).

        Raises:
            UsageError: there is no finished store, or one of another format.
            DataError: files are missing or have another size; the message names them.
        """
        if remote.is_remote(path):
            path = remote.local_copy(
                str(path), MANIFEST, functools.partial(task_folder, ""), DATA_FILES
            )
        path = Path(path)
        if not (path / MANIFEST).is_file():
            is_begun = (path / TASKS).is_dir() or (path / BUILDING).is_dir()
            unfinished = ", an unfinished build is" if is_begun else ""
            raise UsageError(
                f"no token store at {path}: {MANIFEST} is not there{unfinished}; run "
                f"`flan-jax build` with that path as output"
            )
        manifest = files.read_json(path / MANIFEST)
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found != FORMAT:
            raise UsageError(
                f"{path / MANIFEST}: token store format {found!r}, this code reads {FORMAT}; "
                "build the store again"
            )
        store = cls(path, manifest)
        store._raise_problems(
            problem
            for name, split in store._folders()
            for problem in _size_problems(
                task_folder(path, name, split), manifest["tasks"][name][split]
            )
        )
        return store

    @property
    def mixture(self) -> str:
        """Name of the mixture that was built."""
        return self.manifest["mixture"]

    @property
    def rates(self) -> dict[str, float]:
        """Task name to rate in the mixture that was built, summing to one."""
        return self.manifest["rates"]

    @property
    def vocabulary(self) -> dict[str, Any]:
        """name, fingerprint, size, padded_size, eos_id."""
        return self.manifest["vocabulary"]

    @property
    def feature_lengths(self) -> dict[str, int]:
        """Most tokens of `inputs` and `targets`, EOS included."""
        return self.manifest["feature_lengths"]

    def tasks(self, split: str) -> tuple[str, ...]:
        """Returns the names of the tasks that have this split, sorted."""
        return tuple(name for name, splits in sorted(self._tasks.items()) if split in splits)

    def task(self, name: str, split: str) -> TaskStore:
        """Returns a task's split; an unknown name is a `UsageError` with the nearest ones."""
        if name not in self._tasks:
            raise errors.unknown_name("task", name, self._tasks, f"(in the store {self.path})")
        if split not in self._tasks[name]:
            raise UsageError(
                f"task {name!r} has no split {split!r} in the store {self.path}; it has "
                + ", ".join(sorted(self._tasks[name]))
            )
        if (name, split) not in self._task_stores:
            self._task_stores[name, split] = TaskStore(self, name, split)
        return self._task_stores[name, split]

    def mixture_rates(self, name: str | None = None) -> dict[str, float]:
        """Returns the rates of the built mixture, or of one recorded with it, or of one task."""
        known = {self.mixture: self.rates} | self.manifest["mixtures"]
        if name is None or name in known:
            return dict(known[name or self.mixture])
        if name in self._tasks:
            return {name: 1.0}
        raise errors.unknown_name(
            "mixture or task", name, [*known, *self._tasks],
            f"(in the store {self.path}; build it with that mixture or as a sub-mixture)",
        )  # fmt: skip

    def gather(
        self,
        split: str,
        names: Sequence[str],
        tasks: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
    ) -> np.ndarray:
        """Returns the tokens of examples of several tasks, one after another, in their order.

        Args:
            split: the split to read.
            names: task names.
            tasks: [num] index into `names`.
            starts: [num] where each example starts among its task's tokens (`offsets`).
            lengths: [num] tokens of inputs and targets together.

        Returns:
            [num_tokens] of the store's token type.
        """
        pieces: list[np.ndarray] = [np.zeros(0, self.dtype)] * len(tasks)
        by_task = np.lexsort((starts, tasks))
        bounds = np.flatnonzero(np.diff(np.asarray(tasks)[by_task])) + 1
        for group in np.split(by_task, bounds) if len(tasks) else []:
            task = self.task(names[tasks[group[0]]], split)
            found = task.read(starts[group].tolist(), lengths[group].tolist())
            for at, piece in zip(group.tolist(), found, strict=True):
                pieces[at] = piece
        return np.concatenate(pieces) if pieces else np.zeros(0, self.dtype)

    @functools.cached_property
    def dtype(self) -> np.dtype:
        """Type of the stored tokens."""
        return np.dtype(self.manifest["token_dtype"])

    def fingerprint(self, split: str, names: Sequence[str]) -> str:
        """Returns a hash of the tokens of these tasks: equal if and only if they are equal."""
        digest = hashlib.sha256()
        for name in sorted(names):
            recorded = self.task(name, split).info["files"]
            hashes = [recorded[file]["sha256"] for file in (TOKENS, INPUT_LENGTHS, OFFSETS)]
            digest.update("\x00".join([name, *hashes, ""]).encode())
        return digest.hexdigest()

    def verify(self) -> None:
        """Compares every file with its hash in the manifest.

        Raises:
            DataError: files are missing, truncated or of another build; the message names them.
        """

        def problems(progress: Progress) -> Iterator[str]:
            for name, split in self._folders():
                folder, entry = task_folder(self.path, name, split), self._tasks[name][split]
                wrong_size = list(_size_problems(folder, entry))
                yield from wrong_size
                if not wrong_size:
                    for file, recorded in sorted(entry["files"].items()):
                        if files.sha256_file(folder / file) != recorded["sha256"]:
                            yield f"{folder / file} is not the file that was built (its hash)"
                progress.advance()

        with Progress("verify", total=len(list(self._folders())), unit="folder") as progress:
            self._raise_problems(problems(progress))

    @property
    def _tasks(self) -> dict[str, dict[str, Any]]:
        return self.manifest["tasks"]

    def _folders(self) -> Iterator[tuple[str, str]]:
        return (
            (name, split) for name in sorted(self._tasks) for split in sorted(self._tasks[name])
        )

    def _raise_problems(self, problems: Iterator[str]) -> None:
        found = list(problems)
        if found:
            more = len(found) - _NUM_NAMED
            raise DataError(
                f"token store {self.path} is damaged: "
                + "; ".join(found[:_NUM_NAMED])
                + (f"; and {more} more" if more > 0 else "")
                + "; delete the folders of these files and run `flan-jax build` again"
            )


def _size_problems(folder: Path, entry: Mapping[str, Any]) -> list[str]:
    problems, root = [], str(folder)
    for name, recorded in sorted(entry["files"].items()):
        path = os.path.join(root, name)
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            problems.append(f"{path} is missing")
            continue
        if size != recorded["size_bytes"]:
            problems.append(f"{path} has {size} bytes instead of {recorded['size_bytes']}")
    return problems
