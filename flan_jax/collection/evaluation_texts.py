# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""The texts of evaluation sets, from the files they come in, for the contamination check.

A row's texts are all its strings, however deep; names of fields are no texts. A file's ending says
what its rows are:

    .jsonl .jsonlines .ndjson   a line is a row
    .json                       an item of the list is a row: of the file's own list, or of every
                                list of objects in its object (`examples` of BIG-Bench Hard, `data`
                                of SQuAD); an object without such a list is one row
    .csv                        a record is a row, quoted as by Excel
    .tsv                        a line is a row, its texts between tabs, unquoted; a two-character
                                `\n` is a line break
    .txt                        a line is a row

No header is assumed: a row of column names is looked for like any other, and is too short to be
found. A row that cannot be read is a `DataError`, since what it holds would not be looked for.
"""

import csv
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flan_jax.collection.sources import read_lines
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError

JSON_LINES = (".jsonl", ".jsonlines", ".ndjson")
ENDINGS = (*JSON_LINES, ".json", ".csv", ".tsv", ".txt")

_MAX_CELL = 1 << 30  # the csv module's own limit is 128 kB


@dataclasses.dataclass(frozen=True, slots=True)
class EvaluationRow:
    """The texts of one row of an evaluation set."""

    # `file:line`, or `file[index]` of an item of a JSON list.
    where: str
    texts: tuple[str, ...]


def find_files(paths: Sequence[str | os.PathLike]) -> list[Path]:
    """Returns the files that `paths` name, each once; of a folder all that `ENDINGS` says.

    Raises:
        UsageError: a path is not there, has another ending, or is a folder without such files.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in ENDINGS and p.is_file())
            if not inside:
                raise UsageError(
                    f"folder {str(path)!r} has no evaluation file; name one with files that end in "
                    + " ".join(ENDINGS)
                )
            found.update(dict.fromkeys(inside))
        elif not path.is_file():
            raise UsageError(f"no evaluation file or folder {str(path)!r}; correct the path")
        elif path.suffix not in ENDINGS:
            raise UsageError(
                f"evaluation file {str(path)!r}: cannot tell what its rows are; name a file that "
                f"ends in {' '.join(ENDINGS)}"
            )
        else:
            found[path] = None
    return list(found)


def read_rows(path: Path) -> Iterator[EvaluationRow]:
    """Yields the rows of an evaluation file in order; one without a text is left out.

    Raises:
        DataError: the file or one of its rows cannot be read; the message names the line.
    """
    if path.suffix == ".json":
        rows = _json_rows(path)
    elif path.suffix in JSON_LINES:
        rows = json_lines(path)
    elif path.suffix == ".csv":
        rows = csv_rows(path)
    else:
        rows = _text_rows(path, is_table=path.suffix == ".tsv")
    for where, value in rows:
        if texts := tuple(_strings(value)):
            yield EvaluationRow(where, texts)


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    value = files.read_json(path)
    if isinstance(value, list):
        lists = {"": value}
    elif isinstance(value, dict):
        lists = {
            f".{key}": item
            for key, item in value.items()
            if isinstance(item, list) and item and all(isinstance(i, dict) for i in item)
        }
    else:
        lists = {}
    for key, rows in lists.items():
        for index, row in enumerate(rows):
            yield f"{path}{key}[{index}]", row
    if not lists:
        yield str(path), value


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields (`file:line`, value) of the lines of a JSON-lines file; `DataError` for a bad one."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path}:{number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not valid JSON ({error}); mend the line") from None


def csv_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields (`file:line`, cells) of the records of a CSV file; `DataError` for a bad one."""
    csv.field_size_limit(_MAX_CELL)
    lines = (f"{line}\n" for line in read_lines(path))  # `csv` wants the breaks inside quotes
    reader = csv.reader(lines, strict=True)
    number = 1
    try:
        for row in reader:
            yield f"{path}:{number}", row
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{number}: not valid CSV ({error}); mend its quotes") from None


def _text_rows(path: Path, is_table: bool) -> Iterator[tuple[str, list[str]]]:
    for number, line in enumerate(read_lines(path), start=1):
        texts = line.replace("\\n", "\n").split("\t") if is_table else [line]
        yield f"{path}:{number}", texts


def _strings(value: Any) -> Iterator[str]:
    """Yields the strings of a JSON value in order, empty ones not, however deep it is."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and value.strip():
            yield value
        elif isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            waiting.extend(reversed(value.values()))
