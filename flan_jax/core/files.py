# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole files or none: atomic writes, folder locks, byte-stable JSON, content hashes."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from flan_jax.core.errors import DataError, UsageError
from flan_jax.core.progress import say

_LOCK = ".lock"


@contextlib.contextmanager
def atomic_open(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    r"""Opens a temporary file beside `path` and renames it there when the block ends well.

    A reader therefore sees the old file or the whole new one. On an error the temporary file is
    removed and `path` is left as it was. Parent folders are created. Text is UTF-8 with `\n`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # a full disk names no file
            error.filename = str(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, name: str) -> Iterator[Path]:
    """Gives a temporary folder beside `path`, which gets that name when the block ends well.

    On an error the temporary folder is removed and nothing is left at `path`. Parent folders are
    created.

    Args:
        path: the folder to make; it may be there if it is empty.
        name: what the user called it, such as `--out`.

    Raises:
        UsageError: there is something at `path` already, or it may not be written to.
    """
    check_folder(path, name)
    path = Path(os.path.abspath(path))
    if path.exists() and any(path.iterdir()):
        raise UsageError(f"{name} {str(path)!r} is not empty; give a new folder, or empty it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # a full disk names no file
            error.filename = str(path)
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def clear_temporary(path: str | os.PathLike) -> None:
    """Removes what killed processes left of `atomic_open(path)`; nobody may be writing it."""
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: str | os.PathLike, job: str) -> Iterator[None]:
    """Holds `folder` for one job, such as "build"; the lock ends with the process, however it ends.

    Raises:
        UsageError: another process holds it; the message says which.
    """
    path = Path(folder) / _LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UsageError(
                f"{holder} is writing {folder}; wait for it, stop it, or choose another folder"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
            say(f"{folder} is on a file system without locks: see that no other {job} writes it")
        holder = f"another {job} (process {os.getpid()} on {socket.gethostname()})"
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the name too
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), holder.encode())
        yield


def check_folder(path: str | os.PathLike, name: str) -> None:
    """Checks that `path` is a folder one may write to, or can be made one; makes nothing.

    Args:
        path: the folder.
        name: what the user called it, such as `--out`.

    Raises:
        UsageError: it or one of its parents is a file or a link to nothing, or may not be written.
    """
    _check_writable(Path(path), path, name)


def check_file(path: str | os.PathLike, name: str) -> None:
    """Checks that a file can be written at `path`; as `check_folder`.

    What is there is replaced, so it must be a plain file, no device such as /dev/stdout.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{name} {str(path)!r} is a folder; name a file in it")
    # Standard output may be a plain file, but its name is still that of a device.
    folder = os.path.realpath(path.parent)
    is_device = path.exists() and not path.is_file()
    if is_device or folder == "/dev" or folder.startswith("/proc/"):
        raise UsageError(f"{name} {str(path)!r} is no plain file; name one")
    _check_writable(path.parent, path, name)


def check_apart(path: str | os.PathLike, name: str, source: str | os.PathLike, what: str) -> None:
    """Checks that writing `path` does not overwrite what is read.

    Args:
        path: the file to write.
        name: what the user called it, such as `--output`.
        source: the file to read.
        what: what the user called that.

    Raises:
        UsageError: they are the same file.
    """
    if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
        raise UsageError(f"{name} {str(path)!r} is the file of {what}; name another")


def _check_writable(folder: Path, path: str | os.PathLike, name: str) -> None:
    existing = next(f for f in (folder, *folder.absolute().parents) if f.exists() or f.is_symlink())
    if not existing.exists():
        raise UsageError(
            f"{name} {str(path)!r} is a link to nothing, {existing}; remove it, or name another"
        )
    if not existing.is_dir():
        raise UsageError(
            f"{name} {str(path)!r}: {existing} is a file, not a folder; give another path"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(
            f"{name} {str(path)!r}: the folder {existing} may not be written to; give another path"
        )


def dumps(value: Any, indent: int | None = None) -> str:
    """Returns JSON with sorted keys and no trailing spaces: equal values give equal bytes."""
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, indent=indent, separators=separators
    )


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    with atomic_open(path) as file:
        file.write(dumps(value, indent=2) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Reads a JSON file; malformed content is a `DataError` that names file, line and column."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: not valid JSON ({error.msg} at column {error.colno})"
        ) from None
    except RecursionError:
        raise DataError(f"{path}: JSON nested too deeply to be read") from None
    except ValueError as error:  # an integer of more than 4,300 digits
        raise DataError(f"{path}: not valid JSON ({error})") from None


def sha256_file(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
