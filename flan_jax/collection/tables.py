# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Rows of two texts from a tab-separated file that can hold any text, program code included.

A file is made by writing each text with its backslashes, line breaks and tabs escaped:

    def escape(text):
        text = text.replace("\\", "\\\\").replace("\r", "\\r")
        return text.replace("\n", "\\n").replace("\t", "\\t")
"""

import dataclasses
import re
from collections.abc import Iterator

from flan_jax.collection import parsing
from flan_jax.collection.parsing import Malformed
from flan_jax.collection.sources import JsonLinesSource, Row, num_well_formed, resolve

UNKNOWN_ESCAPE = "a backslash that begins none of \\n \\t \\r \\\\"

_ESCAPE = re.compile(r"\\(.?)")
_MEANING = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


@dataclasses.dataclass(frozen=True)
class TwoColumnTsv:
    r"""Pairs of texts, one a line with a tab between, UTF-8; all rows are of `train`.

    There is no header and no quoting. A line break in a text is written `\n`, a tab `\t`, a
    carriage return `\r` and a backslash `\\`, so that the `\n` of a string in program code, which
    is written `\\n`, stays two signs. Lines with any other escape are malformed.

    Args:
        path: the file, as for `sources.resolve`.
        columns: names of the two texts.
    """

    path: str
    columns: tuple[str, str]

    def num_rows(self, split: str) -> int:
        """Returns the number of well-formed lines."""
        return num_well_formed(self, split, self.fingerprint(split))

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (line index from 0, row)."""
        if split != "train":
            return
        path = resolve(self.path)
        for index, line in enumerate(parsing.read_lines(path)):
            if isinstance(line, Malformed):
                yield index, line
                continue
            texts = [unescape(cell) for cell in line.split("\t")]
            where = f"{path.name}:{index + 1}"
            if len(texts) != len(self.columns):
                yield index, Malformed(where, f"need {len(self.columns)} columns between tabs")
            elif None in texts:
                yield index, Malformed(where, UNKNOWN_ESCAPE)
            else:
                yield index, dict(zip(self.columns, texts, strict=True))

    def fingerprint(self, split: str) -> str:
        """Returns the SHA-256 of the file."""
        return self._file.fingerprint("train")

    def missing(self) -> str | None:
        """Returns None if the file is there, else which is not and what to do."""
        return self._file.missing()

    @property
    def _file(self) -> JsonLinesSource:
        # Files are looked for and hashed alike, whatever their lines hold.
        return JsonLinesSource({"train": self.path})


def unescape(cell: str) -> str | None:
    r"""Returns the text that a cell stands for; None if it holds an unknown escape.

    Example:
        >>> unescape(r"a\tb\\n")
        'a\tb\\n'
    """
    if "\\" not in cell:
        return cell
    if not all(sign in _MEANING for sign in _ESCAPE.findall(cell)):
        return None
    return _ESCAPE.sub(lambda match: _MEANING[match[1]], cell)
