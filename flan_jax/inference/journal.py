# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers kept as they come, so that a long job that is killed goes on where it was.

    .<output>.partial/           while the job is not done
        settings.json            what decides the answers
        answers.jsonl            index and answer, a line each, in the order of finishing

The output itself appears at the end, whole and in the order of the input.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from flan_jax.core import errors, files, settings

SETTINGS, ANSWERS = "settings.json", "answers.jsonl"


class Journal:
    """The answers that there are so far."""

    def __init__(self, done: dict[int, Any], file: IO):
        self.done = done
        self._file = file

    def add(self, index: int, answer: Any) -> None:
        """Keeps an answer; it survives the end of the process."""
        self.done[index] = answer
        self._file.write(files.dumps({"index": index, "answer": answer}) + "\n")
        self._file.flush()


@contextlib.contextmanager
def opened(output: str | os.PathLike, deciding: Mapping[str, Any]) -> Iterator[Journal]:
    """Gives the journal of a file to be made; removes it when the block ends well.

    Args:
        output: the file; it should be written within the block.
        deciding: what decides the answers, as `settings.describe` gives it.

    Raises:
        UsageError: another process is at it, or it was begun with other settings.
        DataError: it is damaged.
    """
    folder = _folder(output)
    with files.locked(folder, "job"):
        deciding = json.loads(files.dumps(deciding))  # as it comes back from a file
        path = folder / SETTINGS
        if path.is_file():
            there = files.read_json(path)
            if found := list(settings.differences(there, deciding)):
                raise errors.UsageError(
                    f"{folder} holds answers of a start with other settings: {'; '.join(found)}; "
                    "use those to go on, or remove that folder to begin anew"
                )
        else:
            files.write_json(path, deciding)
        done = _read(folder / ANSWERS)
        with open(folder / ANSWERS, "a", encoding="utf-8", newline="\n") as file:
            yield Journal(done, file)
        shutil.rmtree(folder)


def discard(output: str | os.PathLike) -> None:
    """Removes the journal of a file that is whole: its process was killed before it could."""
    shutil.rmtree(_folder(output), ignore_errors=True)


def _folder(output: str | os.PathLike) -> Path:
    output = Path(os.path.abspath(output))
    return output.parent / f".{output.name}.partial"


def _read(path: Path) -> dict[int, Any]:
    """Returns the answers of a journal; cuts off a last line that was not written to its end."""
    if not path.is_file():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    done = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entry = json.loads(line)
            done[entry["index"]] = entry["answer"]
        except (ValueError, TypeError, KeyError):
            raise errors.DataError(
                f"{path}:{number}: a damaged line; remove the folder {path.parent} to begin anew"
            ) from None
    return done
