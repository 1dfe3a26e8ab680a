# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the rows of dialogs come from, beside TFDS: Taskmaster's files."""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.collection.parsing import LONE_SURROGATE, Malformed, is_encodable
from flan_jax.collection.sources import JsonLinesSource, Row, num_well_formed, resolve
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError


@dataclasses.dataclass(frozen=True)
class TaskmasterSource:
    """Dialogs as google-research-datasets/Taskmaster publishes them; all rows are of `train`.

    A file holds a JSON list of dialogs, each an object of `conversation_id` and `utterances`, these
    objects of `speaker` and `text`; other keys are not read. The files are read in the order of
    their names. `ontology.json` and `sample.json`, which stand beside the dialogs there, are none.

    Args:
        path: the files, with `*` in the last part, as for `sources.resolve`.
    """

    path: str

    OTHERS = ("ontology.json", "sample.json")

    def num_rows(self, split: str) -> int:
        """Returns the number of well-formed dialogs."""
        return num_well_formed(self, split, self.fingerprint(split))

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (index over all files, dialog)."""
        if split != "train":
            return
        index = 0
        for path in self._files():
            dialogs = files.read_json(path)
            if not isinstance(dialogs, list):
                raise DataError(
                    f"{path}: need a JSON list of dialogs, got {type(dialogs).__name__}; keep no "
                    "other files in this folder"
                )
            for number, dialog in enumerate(dialogs):
                yield index, _dialog(dialog, f"{path.name} dialog {number}")
                index += 1

    def fingerprint(self, split: str) -> str:
        """Returns a hash of the files' names and content."""
        parts = [split]
        for path in self._files():
            parts += [path.name, JsonLinesSource({split: str(path)}).fingerprint(split)]
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()

    def missing(self) -> str | None:
        """Returns None if there is a file, else what is missing and what to do."""
        try:
            found = self._files()
        except UsageError as error:
            return str(error)
        return None if found else f"no file {resolve(self.path)} exists; put the dialogs there"

    def _files(self) -> list[Path]:
        path = resolve(self.path)
        return sorted(p for p in path.parent.glob(path.name) if p.name not in self.OTHERS)


def _dialog(dialog: Any, where: str) -> Row | Malformed:
    """Returns what is read of a dialog."""
    if not isinstance(dialog, dict):
        return Malformed(where, "dialog is no JSON object")
    if not isinstance(dialog.get("conversation_id"), str):
        return Malformed(where, "no text 'conversation_id'")
    utterances = dialog.get("utterances")
    if not isinstance(utterances, list):
        return Malformed(where, "no list 'utterances'")
    kept = []
    for utterance in utterances:
        texts = utterance if isinstance(utterance, dict) else {}
        turn = {key: texts.get(key) for key in ("speaker", "text")}
        if not all(isinstance(value, str) for value in turn.values()):
            return Malformed(where, "utterance without the texts 'speaker' and 'text'")
        kept.append(turn)
    if not all(is_encodable(value) for turn in kept for value in turn.values()):
        return Malformed(where, LONE_SURROGATE)
    return {"conversation_id": dialog["conversation_id"], "utterances": kept}
