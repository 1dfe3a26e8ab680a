# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Sheets for raters: pairs of answers as CSV and as a page, and the key that they do not see.

A sheet has the columns `COLUMNS`, one row a pair; a rater fills in the last, with one of `CHOICES`.
The page shows the same pairs and saves the same CSV. The key says for each pair which model is on
the left, and holds a hash of the texts shown: a sheet that was changed is refused.

Spreadsheets compute what begins like a formula and rewrite what is like a number, a date, a time or
a truth value (1.50 as 1.5), so such a text gets an apostrophe before it. They take a file without a
byte order mark for Latin-1, so it has one.
"""

import csv
import dataclasses
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import flan_jax
from flan_jax.collection.evaluation_texts import csv_rows
from flan_jax.core import files, pages
from flan_jax.core.errors import DataError
from flan_jax.evals.open_ended import SIDES, Pair

COLUMNS = ("id", "category", "prompt", "left", "right", "choice")
KEY_COLUMNS = ("id", "category", "a", "b", "left", "sha256")
CHOICES = ("left", "right", "tie")

_BYTE_ORDER_MARK = "\ufeff"
# Whole texts that spreadsheets change; the page guards by the same pattern, so all of it means the
# same in JavaScript. The signs of formulas may be full-width. Dates may begin with their month.
_CHANGED = (
    r"(?:[=+\-@\t\r\uff1d\uff0b\uff0d\uff20][\s\S]*"
    r"|(?:[^A-Za-z0-9_\n]{0,12}|[^0-9_\n]{3,12})[0-9](?:[^_\n]{0,28}|[0-9., ]*)"
    r"|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])"
)
_TO_GUARD, _GUARDED = f"'*{_CHANGED}", f"'+{_CHANGED}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hidden:
    """What the key says of a pair."""

    models: tuple[str, str]  # the names of the models, in the order of `SIDES`
    left: str  # which of `SIDES` is on the left
    sha256: str  # of what raters see


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rated:
    """A row of a sheet that came back."""

    where: str  # file and line
    pair: tuple[str, str]  # category and id
    sha256: str  # of what the rater saw
    choice: str | None  # one of `CHOICES`; None where nothing was chosen


def split(pairs: Sequence[Pair], num_raters: int, num_per_pair: int) -> list[list[Pair]]:
    """Returns the pairs of each rater; every pair goes to `num_per_pair` of them, in turn."""
    return [
        [pair for place, pair in enumerate(pairs) if (rater - place) % num_raters < num_per_pair]
        for rater in range(num_raters)
    ]


def write_sheet(folder: Path, name: str, pairs: Sequence[Pair]) -> None:
    """Writes `NAME.csv`, with nothing chosen, and `NAME.html`."""
    with files.atomic_open(folder / f"{name}.csv") as file:
        file.write(_BYTE_ORDER_MARK)
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(COLUMNS)
        for pair in pairs:
            texts = (pair.id, pair.category, pair.prompt, pair.left, pair.right)
            writer.writerow([*map(_guard, texts), ""])
    with files.atomic_open(folder / f"{name}.html") as file:
        file.write(render_page(name, pairs))


def render_page(name: str, pairs: Sequence[Pair]) -> str:
    """Returns the page that shows the pairs and saves the sheet `NAME.csv`, filled in."""
    rows = [[p.id, p.category, p.prompt, p.left, p.right] for p in pairs]
    data = {
        "name": name,
        "columns": COLUMNS,
        "rows": rows,
        "guard": _TO_GUARD,
        # Choices are kept in the browser under this: another sheet, or rater, has others.
        "sha256": hashlib.sha256(files.dumps([name, rows]).encode()).hexdigest(),
    }
    page = pages.template("flan_jax.evals", "rating_sheet.html.j2")
    return page.render(name=name, version=flan_jax.__version__, data=pages.embed(data))


def write_key(path: Path, pairs: Sequence[Pair], models: tuple[str, str]) -> None:
    """Writes the key, sorted."""
    with files.atomic_open(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(KEY_COLUMNS)
        for pair in sorted(pairs, key=lambda pair: (pair.category, pair.id)):
            names = (pair.id, pair.category, *models)
            writer.writerow([*map(_guard, names), pair.left_model, pair.digest()])


def read_key(path: Path) -> dict[tuple[str, str], Hidden]:
    """Returns what the key says, by category and id.

    Raises:
        DataError: with file and line, it is no key.
    """
    key: dict[tuple[str, str], Hidden] = {}
    for where, row in _rows(path, KEY_COLUMNS, "a key has them; name the key.csv of the sheets"):
        hidden = Hidden(models=(row["a"], row["b"]), left=row["left"], sha256=row["sha256"])
        name = (row["category"], row["id"])
        if hidden.left not in SIDES:
            raise DataError(f"{where}: 'left' must be {' or '.join(SIDES)}, got {hidden.left!r}")
        if name in key:
            raise DataError(f"{where}: the pair {name[1]!r} of {name[0]!r} is there twice")
        if hidden.models != next(iter(key.values()), hidden).models:
            raise DataError(f"{where}: other models than in the rows before; make the sheets anew")
        key[name] = hidden
    if not key:
        raise DataError(f"{path}: the key has no row; make the sheets anew")
    return key


def read_sheet(path: Path) -> Iterator[Rated]:
    """Yields the rows of a sheet that a rater filled in.

    Raises:
        DataError: with file and line, it is no sheet, or a choice is none of `CHOICES`.
    """
    remedy = "a sheet has them; save it as CSV with commas, in UTF-8"
    for where, row in _rows(path, COLUMNS, remedy):
        choice = row["choice"].strip().lower()
        if choice and choice not in CHOICES:
            raise DataError(
                f"{where}: the choice must be {', '.join(CHOICES[:-1])} or {CHOICES[-1]}, or "
                f"empty, got {row['choice']!r}"
            )
        seen = Pair(
            category=row["category"], id=row["id"], prompt=row["prompt"], left=row["left"],
            right=row["right"], left_model="",
        )  # fmt: skip
        yield Rated(
            where=where,
            pair=(seen.category, seen.id),
            sha256=seen.digest(),
            choice=choice or None,
        )


def _rows(path: Path, columns: Sequence[str], remedy: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (`file:line`, texts by column) of a CSV file; other columns and empty rows are not."""
    header = None
    for where, cells in csv_rows(path):
        if header is None:
            header = [cell.strip() for cell in cells]
            for column in columns:
                if header.count(column) != 1:
                    raise DataError(f"{where}: {header.count(column)} columns {column!r}; {remedy}")
        elif any(cells):
            if len(cells) != len(header):
                raise DataError(f"{where}: {len(cells)} cells below {len(header)} columns")
            row = dict(zip(header, cells, strict=True))
            yield where, {column: _unguard(row[column]) for column in columns}
    if header is None:
        raise DataError(f"{path}: the file is empty")


def _guard(text: str) -> str:
    """Returns a text that spreadsheets leave as it is; `_unguard` gives it back."""
    return f"'{text}" if re.fullmatch(_TO_GUARD, text) else text


def _unguard(text: str) -> str:
    return text[1:] if re.fullmatch(_GUARDED, text) else text
