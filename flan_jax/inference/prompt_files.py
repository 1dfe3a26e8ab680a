# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of prompts: text with one a line, or JSON lines of objects whose `inputs` is the prompt."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import errors, files


def read_rows(path: str, needed: Sequence[str] = ("inputs",)) -> list[dict[str, Any]]:
    """Returns the objects of a .jsonl file, or `inputs` for each line of any other file.

    Args:
        path: the file; empty lines are passed over.
        needed: names under which each object must have a string.

    Raises:
        UsageError: there is no such file.
        DataError: the file is empty, not UTF-8, or a line is malformed; names file and line.
    """
    if not Path(path).is_file():
        raise errors.UsageError(f"no prompts file {path!r}; name a text or .jsonl file")
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = _parse(line, f"{path}:{number}") if path.endswith(".jsonl") else _plain(line)
            if not isinstance(row, dict) or not all(isinstance(row.get(n), str) for n in needed):
                names = " and ".join(f'a string "{name}"' for name in needed)
                raise errors.DataError(f"{path}:{number}: need an object with {names}")
            check_text(files.dumps(row), f"{path}:{number}")
            rows.append(row)
    if not rows:
        raise errors.DataError(f"{path}: no prompt in it; give one a line")
    return rows


def check_text(text: str, place: str) -> str:
    """Returns a text, if it is one: half a pair of surrogates has no UTF-8, thus no tokens."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise errors.DataError(
            f"{place}: {text[error.start]!a} is no character; correct the text"
        ) from None
    return text


def _plain(line: str) -> dict[str, str]:
    return {"inputs": line.rstrip("\r")}


def _parse(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise errors.DataError(f"{place}: not valid JSON ({error.msg})") from None
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        raise errors.DataError(f"{place}: JSON that cannot be read") from None
