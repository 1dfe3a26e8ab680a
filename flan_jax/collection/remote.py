# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Token stores in a bucket: copied once to this machine's disk, every file checked by its hash.

Training reads a store at random, which a bucket serves badly; and a copy that was broken off must
never be trained on. A store `gs://bucket/store` (any path that etils.epath opens) goes to a folder
of FLAN_JAX_CACHE (default `~/.cache/flan_jax`) that is named by the hash of its manifest, so
another build under the same name is another copy. Copying goes on where it was broken off.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError
from flan_jax.core.progress import Progress, say

VARIABLE = "FLAN_JAX_CACHE"
_DEFAULT = "~/.cache/flan_jax"
_CHUNK_BYTES = 1 << 22
_WAIT_S = 2.0

# (path below the store, size in bytes, SHA-256)
Part = tuple[str, int, str]


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is one of a bucket, such as `gs://bucket/store`."""
    return "://" in str(path)


def read_manifest(path: str, name: str) -> bytes | None:
    """Returns the content of the manifest of a remote store, None if there is none."""
    place = _epath(path) / name
    with _reaching(place):
        return place.read_bytes() if place.exists() else None


def read_json(path: str, name: str) -> Any:
    """Returns the parsed manifest of a remote store, None if there is none."""
    content = read_manifest(path, name)
    try:
        return None if content is None else json.loads(content)
    except ValueError as error:
        raise DataError(f"the manifest of {path} is not valid JSON ({error})") from None


def local_copy(
    path: str,
    manifest_name: str,
    folder_of: Callable[[str, str], Path],
    file_names: Collection[str],
) -> Path:
    """Returns the folder of this machine's copy of a remote store, complete and checked.

    Args:
        path: of the remote store.
        manifest_name: its manifest's file name.
        folder_of: gives the folder of (task, split) below the store.
        file_names: names that a file may have.

    Raises:
        UsageError: there is no store.
        DataError: a file is missing there, or is not the one that the manifest names, or the
            bucket cannot be read.
    """
    content = read_manifest(path, manifest_name)
    if content is None:
        raise UsageError(
            f"no token store at {path}: {manifest_name} is not there; copy a built store to it"
        )
    digest = hashlib.sha256(content).hexdigest()
    folder = Path(os.environ.get(VARIABLE) or _DEFAULT).expanduser() / "stores" / digest[:16]
    if not (folder / manifest_name).is_file():
        with _alone(folder):
            if not (folder / manifest_name).is_file():  # another process has copied it meanwhile
                _copy(path, folder, list(_parts(content, path, folder_of, file_names)))
                with files.atomic_open(folder / manifest_name, "wb") as file:
                    file.write(content)
    return folder


def _parts(
    content: bytes, path: str, folder_of: Callable[[str, str], Path], file_names: Collection[str]
) -> Iterator[Part]:
    """Yields the files of a manifest; no name in it leads out of the store."""
    try:
        for task, splits in sorted(json.loads(content)["tasks"].items()):
            for split, entry in sorted(splits.items()):
                for name, recorded in sorted(entry["files"].items()):
                    if name not in file_names or not split.isidentifier():
                        raise DataError(
                            f"the manifest of {path} names {name!r} of split {split!r}, no file "
                            "of a token store; it is not one"
                        )
                    place = (folder_of(task, split) / name).as_posix()
                    yield place, int(recorded["size_bytes"]), recorded["sha256"]
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the manifest of {path} is none of a token store ({error!r})") from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process of this machine copies to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        is_said = False
        while True:
            try:
                stack.enter_context(files.locked(folder, "copy"))
                break
            except UsageError:
                if not is_said:
                    say(f"store: another process copies to {folder}; waiting for it")
                    is_said = True
                time.sleep(_WAIT_S)
        yield


def _copy(path: str, folder: Path, parts: list[Part]) -> None:
    num_bytes = sum(size for _, size, _ in parts)
    say(f"store: copying {path} to {folder}, {len(parts)} files, {num_bytes / 1e6:,.1f} MB")
    with Progress("store", total=len(parts), unit="file") as progress:
        for place, _, sha256 in parts:
            # A file has its name only when it was copied whole and had the right hash.
            if not (folder / place).is_file():
                _copy_file(_epath(path) / place, folder / place, sha256)
            progress.advance()


def _copy_file(source: Any, target: Path, sha256: str) -> None:
    files.clear_temporary(target)  # of a process that was killed
    digest = hashlib.sha256()
    try:
        with files.atomic_open(target, "wb") as write:
            for chunk in _chunks(source):
                digest.update(chunk)
                write.write(chunk)
            if digest.hexdigest() != sha256:
                raise DataError(
                    f"{source} is not the file that was built (its hash); copy the store there "
                    "again, all of it"
                )
    except FileNotFoundError:
        raise DataError(
            f"{source} is missing, though the manifest names it; copy the store there again"
        ) from None


def _chunks(source: Any) -> Iterator[bytes]:
    with _reaching(source), source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


@contextlib.contextmanager
def _reaching(place: Any) -> Iterator[None]:
    """Turns whatever TensorFlow, gcsfs or s3fs raise when they cannot read into one line."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # noqa: BLE001 - each has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{place} cannot be read ({reason}); see that this machine reaches it with your "
            "credentials. TensorFlow opens it, or with EPATH_USE_TF=0 gcsfs or s3fs, to be "
            "installed; or copy the store to a local folder"
        ) from error


def _epath(path: str) -> Any:
    from etils import epath  # brings in what opens buckets: only where there is one

    return epath.Path(path)
