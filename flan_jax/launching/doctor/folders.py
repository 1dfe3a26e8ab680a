# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders that a run writes to and reads from: space, permission, and what a mounted bucket lacks.

A bucket mounted by Cloud Storage FUSE is a folder with limits of its own. One matters here: a
checkpoint becomes valid when its folder is renamed, and a bucket without folders of its own
(hierarchical namespace) renames none unless the mount allows it.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from flan_jax.launching.doctor.findings import Finding, ok, problem, warning
from flan_jax.launching.doctor.machine import gib

_LITTLE, _NONE = 2 << 30, 100 << 20  # free bytes that are worth a warning; that are a problem
_LOCK = ".lock"  # see core/files.py
_RENAME = "mount with --rename-dir-limit=200000, or take a bucket with a hierarchical namespace"


def mount_of(path: str, mounts: str) -> tuple[str, str]:
    """Returns the mount point that a path lies in, and its kind, such as `fuse.gcsfuse`.

    Args:
        path: an absolute path.
        mounts: /proc/mounts.
    """
    best = ("/", "")
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        # A space is written \040.
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[1])
        is_inside = path == point or path.startswith(point.rstrip("/") + "/")
        if is_inside and len(point) >= len(best[0]):
            best = (point, fields[2])
    return best


def space(
    what: str, path: Path, free: Callable[[str], int] = lambda p: shutil.disk_usage(p).free
) -> Iterator[Finding]:
    """Says how much space is free where a folder is, or will be made."""
    there = existing(path)
    num = free(str(there))
    text = f"{what} {path}: {gib(num)} free"
    if num < _NONE:
        yield problem(text, "make space, or choose another disk")
    elif num < _LITTLE:
        yield warning(text, "see that a checkpoint fits: about 4 bytes for each parameter")
    else:
        yield ok(text)


def writable(what: str, path: Path, mounts: str) -> Iterator[Finding]:
    """Tries what a run does in its folder: writing, renaming a file, renaming a folder.

    Nothing is left behind; a folder that is not there is not made, its parent is tried.
    """
    path = path.absolute()
    try:
        place = existing(path)
    except OSError as error:  # a bucket whose mount has died
        yield problem(f"{what} {path}: {error.strerror}", "mount it again (fusermount -u first)")
        return
    point, kind = mount_of(os.path.realpath(place), mounts)
    inside = f", in {kind} mounted at {point}" if kind.startswith("fuse") else ""
    name = f"{what} {path}{inside}"
    if not place.is_dir():
        yield problem(f"{name}: {place} is a file", "choose another folder")
        return
    try:
        trial = Path(tempfile.mkdtemp(prefix=".doctor.", dir=place))
    except OSError as error:
        yield problem(f"{name}: no file can be made in {place}: {error.strerror}", _permit(kind))
        return
    try:
        _try_file(trial)
        yield ok(f"{name}: written to" if place == path else f"{name}: can be made in {place}")
        yield from _try_folder(trial, name, bool(inside))
    except OSError as error:
        yield problem(f"{name}: {error.strerror}", _permit(kind))
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _try_file(trial: Path) -> None:
    written, renamed = trial / "written", trial / "renamed"
    written.write_bytes(b"doctor")
    renamed.write_bytes(b"")
    os.replace(written, renamed)
    if renamed.read_bytes() != b"doctor":
        raise OSError(0, "a renamed file holds something else than was written")


def _try_folder(trial: Path, name: str, is_fuse: bool) -> Iterator[Finding]:
    made, renamed = trial / "made", trial / "renamed_folder"
    made.mkdir()
    (made / "file").write_bytes(b"doctor")
    try:
        made.rename(renamed)
    except OSError as error:
        yield problem(
            f"{name}: a folder cannot be renamed ({error.strerror}), so no checkpoint is ever done",
            _RENAME if is_fuse else "choose a folder of another file system",
        )
        return
    if is_fuse:
        yield ok(f"{name}: folders can be renamed, as checkpoints are")


def _permit(kind: str) -> str:
    if kind.startswith("fuse"):
        return (
            "give this machine's service account the role roles/storage.objectUser for the bucket, "
            "and mount without -o ro"
        )
    return "change the folder's owner or permissions, or choose another"


def model_dir(path: str) -> Iterator[Finding]:
    """Says whether the name of a run's folder is one that training takes, and who has it."""
    if "://" in path:
        yield problem(
            f"MODEL_DIR {path} is no folder",
            "mount the bucket with Cloud Storage FUSE (gcsfuse BUCKET /gcs/BUCKET) and give the "
            "path there",
        )
        return
    lock = Path(path) / _LOCK
    if lock.is_file():
        with open(lock, encoding="utf-8") as file, contextlib.suppress(OSError):
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = file.read().strip() or "another process"
                yield warning(
                    f"MODEL_DIR {path}: {holder} is writing there", "wait for it, or stop it"
                )


def compile_cache(folder: str, mounts: str) -> Iterator[Finding]:
    """Says whether compiled programs are kept (JAX_COMPILATION_CACHE_DIR), and how many are."""
    if not folder:
        yield ok(
            "compile cache: none, so each start compiles anew (JAX_COMPILATION_CACHE_DIR=FOLDER "
            "keeps what was compiled)"
        )
        return
    if "://" in folder:
        yield ok(f"compile cache {folder}: a bucket, not looked into")
        return
    path = Path(folder)
    entries = [entry for entry in path.glob("*-cache") if entry.is_file()]
    size = sum(entry.stat().st_size for entry in entries)
    yield next(iter(writable("compile cache", path, mounts)))  # it renames no folders
    yield ok(f"compile cache {path}: {len(entries)} program(s), {gib(size)}")


def token_store(path: str) -> Iterator[Finding]:
    """Opens a token store, which compares the sizes of its files with its manifest."""
    from flan_jax.collection.store import Store
    from flan_jax.core import errors

    try:
        store = Store.open(path)
    except errors.FlanError as error:
        yield problem(f"token store {path}: {error}", "build it again, or give its folder")
        return
    yield ok(f"token store {path}: {store.mixture}, {len(store.rates)} task(s), whole")


def existing(path: Path) -> Path:
    """Returns the path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())
