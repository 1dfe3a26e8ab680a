# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The public files of benchmarks, as the user has them: found below one folder, and read strictly.

A file is as its authors publish it, or under another name that copies of it often have. Empty lines
between rows are nothing, as editors leave them at the end of a file.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.collection.evaluation_texts import csv_rows, json_lines
from flan_jax.collection.sources import read_lines
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError


def find(folder: Path, *names: str, what: str = "") -> Path:
    """Returns the first of some files that is there.

    Args:
        folder: where they are.
        names: paths below it, the usual first.
        what: what the file is and where it comes from, for the error.

    Raises:
        UsageError: none is there.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    others = f" (nor {', '.join(names[1:])})" if names[1:] else ""
    about = f": {what}" if what else ""
    raise UsageError(f"no file {folder / names[0]}{others}{about}; put it there, or give --data")


def installed(package: str, name: str) -> Path | None:
    """Returns a file of an installed package, which is not imported; None where it is not."""
    spec = importlib.util.find_spec(package)
    places = (spec.submodule_search_locations or ()) if spec else ()
    return next((Path(place, name) for place in places if Path(place, name).is_file()), None)


def read_csv(path: Path, num_columns: int) -> Iterator[tuple[str, list[str]]]:
    """Yields (`file:line`, cells) of a CSV file without a header; cells are texts, as they are.

    Raises:
        DataError: a record has another number of cells, or quotes are wrong.
    """
    for where, row in csv_rows(path):
        if row:
            yield where, _checked(row, num_columns, where)


def read_csv_table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (`file:line`, cells by column) of a CSV file whose first record names the columns.

    Raises:
        DataError: a record has more or fewer cells than columns, or quotes are wrong.
    """
    records = csv_rows(path)
    columns = next(records, ("", []))[1]
    for where, row in records:
        if row:
            yield where, dict(zip(columns, _checked(row, len(columns), where), strict=True))


def read_tsv(path: Path, num_columns: int) -> Iterator[tuple[str, list[str]]]:
    """Yields (`file:line`, cells) of lines with tabs between the cells and no quoting.

    Raises:
        DataError: a line has another number of cells, or is not UTF-8.
    """
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}:{number}"
        if line:
            yield where, _checked(line.split("\t"), num_columns, where)


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (`file:line`, object) of a file with one JSON object a line.

    Raises:
        DataError: a line is none.
    """
    for where, value in json_lines(path):
        if not isinstance(value, dict):
            raise DataError(f"{where}: need a JSON object, found {type(value).__name__}")
        yield where, value


def read_json(path: Path) -> Any:
    """Returns the value of a JSON file; `DataError` if it is none."""
    return files.read_json(path)


def text_of(holder: Any, key: str, where: str) -> str:
    """Returns the text at a key of a JSON object.

    Raises:
        DataError: it is no object, or has no text there.
    """
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, str):
        raise DataError(f"{where}: need a text {key!r}")
    return value


def _checked(row: list[str], num_columns: int, where: str) -> list[str]:
    if len(row) != num_columns:
        raise DataError(f"{where}: need {num_columns} columns, found {len(row)}")
    return row
