# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the parts of a store stay until all of them are done.

    STORE/building/tasks/<task>/<split>/    as it is to be in STORE/tasks

A store that is there already stays whole while another is built in its folder: its files and its
manifest are replaced together, in a moment, when nothing can fail any more.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.collection import store as store_lib
from flan_jax.core import files


def folder(root: str | os.PathLike, task: str, split: str) -> Path:
    """Returns the folder to write a task's split to."""
    return store_lib.task_folder(Path(root, store_lib.BUILDING), task, split)


def finished(root: str | os.PathLike, task: str, split: str, key: str) -> dict[str, Any] | None:
    """Returns the entry of a task's split that a build with this key finished, or None."""
    for place in (store_lib.task_folder(root, task, split), folder(root, task, split)):
        if (entry := store_lib.read_finished(place, key)) is not None:
            return entry
    return None


def install(root: str | os.PathLike, manifest: Mapping[str, Any]) -> None:
    """Puts the parts that a manifest names, and then itself, in place.

    All of them must be finished. Stopped halfway, it goes on when called again.
    """
    root = Path(root)
    building = root / store_lib.BUILDING
    parts = [(t, split) for t, entries in manifest["tasks"].items() for split in entries]
    files.clear_temporary(building / store_lib.MANIFEST)
    with store_lib.writing(building / store_lib.MANIFEST):
        files.write_json(building / store_lib.MANIFEST, manifest)
    with store_lib.writing(root):
        moves = [part for part in parts if _must_move(root, *part, manifest)]
        # From here on nothing needs space on the disk, and nothing takes long.
        if any(store_lib.task_folder(root, *part).exists() for part in moves):
            (root / store_lib.MANIFEST).unlink(missing_ok=True)
        for part in moves:
            target = store_lib.task_folder(root, *part)
            if target.exists():
                os.replace(target, _replaced(root, *part))
            os.replace(folder(root, *part), target)
        os.replace(building / store_lib.MANIFEST, root / store_lib.MANIFEST)
    for part in parts:
        shutil.rmtree(_replaced(root, *part), ignore_errors=True)
    # What another mixture's build has left there stays, for when it is built again.
    for path in (
        *{folder(root, *part).parent for part in parts},
        building / store_lib.TASKS,
        building,
    ):
        with contextlib.suppress(OSError):
            path.rmdir()


def _must_move(root: Path, task: str, split: str, manifest: Mapping[str, Any]) -> bool:
    """Whether a part is staged and not in place yet; clears what is in the way of moving it."""
    source, target = folder(root, task, split), store_lib.task_folder(root, task, split)
    shutil.rmtree(_replaced(root, task, split), ignore_errors=True)
    if not source.exists():
        return False
    if store_lib.read_finished(target, manifest["tasks"][task][split]["key"]) is not None:
        shutil.rmtree(source)  # left by a build with other settings
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    return True


def _replaced(root: Path, task: str, split: str) -> Path:
    """Returns where a folder of the old store goes until the new one is in place."""
    return folder(root, task, f"{split}.replaced")
