# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Natural-Instructions files from TFDS: the folder that `tasks.niv2` reads.

    python -m tasks.niv2_from_tfds --out DIR

Reads the prepared data set natural_instructions:1.0.1, which has all tasks in one split, shuffled,
and writes one JSON file a task. Memory is bounded: rows go to a file per task first. Instances are
sorted by id, so that the files depend on the rows alone, not on their order. A file is written
whole or not at all; a stopped run is repeated from the start.

TFDS has less than the files at https://github.com/allenai/natural-instructions. No positive
examples: folders made here give no prompts with an explained example, and those that would have
one show two exemplars. Of each task the first definition; of each instance the first output
(outputs are put together where rows agree in id and input). No category or licence.
"""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from flan_jax.collection.parsing import Malformed
from flan_jax.collection.sources import Row
from flan_jax.collection.tfds_source import TfdsSource
from flan_jax.core import files
from flan_jax.core.errors import EXIT_FAILED, EXIT_OK, DataError, FlanError, UsageError
from flan_jax.core.progress import Progress, say

DATA_SET = "natural_instructions:1.0.1"
# Characters of rows kept in memory before they are added to the tasks' files.
BUFFER_SIZE = 64 << 20

_SPOOL = ".niv2_from_tfds"
_FILE_NAME = re.compile(r"\w[\w.\-]*")


def write_folder(out: str | os.PathLike, *, buffer_size: int = BUFFER_SIZE) -> int:
    """Writes the data set's tasks to `<out>/<task>.json` and returns how many there are.

    Raises:
        UsageError: the data set is not prepared, or `out` cannot be a folder.
        DataError: it holds a task name that can be no file name, or no row.
    """
    files.check_folder(out, "--out")
    source = TfdsSource(DATA_SET, {"train": "train"})
    if reason := source.missing():
        raise UsageError(reason)
    with files.locked(out, "conversion"):
        spool = _Spool(Path(out) / _SPOOL, buffer_size)
        try:
            _gather(source, spool)
            with Progress("write", total=len(spool.tasks), unit="task") as progress:
                for name in sorted(spool.tasks):
                    _write_task(Path(out) / f"{name}.json", spool, name)
                    progress.advance()
        finally:
            spool.remove()
    return len(spool.tasks)


class _Spool:
    """Rows by task, in one file each, added to in any order."""

    def __init__(self, folder: Path, buffer_size: int):
        shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
        folder.mkdir(parents=True)
        self._folder, self._left, self._size = folder, buffer_size, buffer_size
        self._lines: dict[str, list[str]] = {}
        # Per task its definitions and sources, each once.
        self.tasks: dict[str, tuple[dict[str, None], dict[str, None]]] = {}

    def add(self, row: Row) -> None:
        name = row["task_name"]
        if name not in self.tasks:
            if not _FILE_NAME.fullmatch(name):
                raise DataError(
                    f"{DATA_SET}: task name {name!r:.80} can be no file name; prepare the data set "
                    "again"
                )
            self.tasks[name] = ({}, {})
        definitions, sources = self.tasks[name]
        definitions[row["definition"]] = None
        sources[row["source"]] = None
        line = files.dumps([row["id"], row["input"], row["output"]])
        self._lines.setdefault(name, []).append(line)
        self._left -= len(line)
        if self._left <= 0:
            self.flush()

    def flush(self) -> None:
        """Adds what is in memory to the files; few are open at once."""
        for name, lines in self._lines.items():
            with open(self._path(name), "a", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines)
        self._lines.clear()
        self._left = self._size

    def rows(self, name: str) -> list[list[str]]:
        """Returns [id, input, output] of each row of a task, in no order."""
        with open(self._path(name), encoding="utf-8", newline="\n") as file:
            return [json.loads(line) for line in file]

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"


def _gather(source: TfdsSource, spool: _Spool) -> None:
    num_malformed = 0
    with Progress("read", total=source.num_rows("train"), unit="row") as progress:
        for _, row in source.rows("train"):
            if isinstance(row, Malformed):
                num_malformed += 1
            else:
                spool.add(row)
            progress.advance()
    spool.flush()
    if num_malformed:
        say(f"left out {num_malformed} rows that are not UTF-8 text")
    if not spool.tasks:
        raise DataError(f"{DATA_SET}: no row that can be read; prepare the data set again")


def _write_task(path: Path, spool: _Spool, name: str) -> None:
    outputs: dict[tuple[str, str], list[str]] = {}
    for identifier, text, output in sorted(spool.rows(name)):
        outputs.setdefault((identifier, text), []).append(output)
    definitions, sources = spool.tasks[name]
    task = {
        "Source": sorted(sources),
        "Definition": sorted(definitions),
        "Positive Examples": [],
        "Negative Examples": [],
        "Instances": [
            {"id": identifier, "input": text, "output": list(dict.fromkeys(texts))}
            for (identifier, text), texts in outputs.items()
        ],
    }
    files.clear_temporary(path)
    files.write_json(path, task)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks.niv2_from_tfds",
        description=f"Writes the prepared TFDS data set {DATA_SET} as one JSON file a task.",
    )
    parser.add_argument("--out", required=True, help="folder of the files; made if absent")
    out = parser.parse_args(arguments).out
    try:
        num = write_folder(out)
    except FlanError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{error.filename or out}: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{out}: {num} tasks; to use them: export FLAN_JAX_NIV2_DIR={os.path.abspath(out)}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
