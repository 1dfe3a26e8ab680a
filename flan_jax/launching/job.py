# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is launched: a training by its arguments, where its files are, what it runs on.

Training reads and writes folders only. So each bucket that the arguments name (gs://BUCKET/PATH) is
mounted by Cloud Storage FUSE at /gcs/BUCKET on every host, and the arguments name it there.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flan_jax.aot.slices import Slice
from flan_jax.core import errors

MOUNTS = "/gcs"
MODEL_DIR = "MODEL_DIR"  # Gin's macro
COMPILE_CACHE = "JAX_COMPILATION_CACHE_DIR"  # read by jax

# Of a Compute Engine or Kubernetes object; shorter than the 63 letters that both allow, as they
# append to it for the parts of a job.
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_BUCKET = r"([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])(?=/|$|['\"])"
_IN_BUCKET = re.compile(f"gs://{_BUCKET}")
_MOUNTED = re.compile(rf"(?<![\w.]){MOUNTS}/{_BUCKET}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A training to launch."""

    name: str  # a DNS label
    train: tuple[str, ...] = ()  # the arguments of `flan-jax train`; buckets as mounted
    buckets: tuple[str, ...] = ()  # that the arguments name
    model_dir: str = ""  # as mounted
    slice: Slice | None = None  # what it runs on, all slices of it; None: no TPU
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Gin files of the user that no other host has: where each is here, and in the bucket (gs://).
    uploads: tuple[tuple[str, str], ...] = ()

    @property
    def num_slices(self) -> int:
        """How many slices, at least one."""
        return 1 if self.slice is None else self.slice.num_slices


def mounted(text: str) -> str:
    """Returns a text with every gs://BUCKET/PATH as the path where it is mounted.

    Example:
        >>> mounted("--gin.MODEL_DIR=gs://runs/xl")
        '--gin.MODEL_DIR=/gcs/runs/xl'

    Raises:
        UsageError: a bucket's name is malformed.
    """
    found = _IN_BUCKET.sub(rf"{MOUNTS}/\1", text)
    if "gs://" in found:
        raise errors.UsageError(
            f"{text!r} names no bucket; write gs://BUCKET/PATH, the bucket's name in small letters"
        )
    return found


def in_bucket(path: str) -> str:
    """Returns the gs:// name of a mounted path; other paths as they are."""
    return f"gs:/{path.removeprefix(MOUNTS)}" if path.startswith(f"{MOUNTS}/") else path


def is_mounted(path: str) -> bool:
    """Returns whether a path lies in a bucket that is mounted on every host."""
    return _MOUNTED.match(path) is not None


def buckets(texts: Iterable[str]) -> tuple[str, ...]:
    """Returns the buckets whose mounted paths some texts name, in the order of their names."""
    return tuple(sorted({name for text in texts for name in _MOUNTED.findall(text)}))


def model_dir(gin_bindings: Sequence[str]) -> str:
    """Returns MODEL_DIR as mounted, from the bindings of a command line; "" if they lack it."""
    values = [b.partition("=")[2] for b in gin_bindings if b.partition("=")[0].strip() == MODEL_DIR]
    return mounted(values[-1].strip().strip("'\"")).rstrip("/") if values else ""


def check_name(name: str) -> str:
    """Returns the name of a job.

    Raises:
        UsageError: it is no DNS label.
    """
    if not _NAME.fullmatch(name):
        raise errors.UsageError(
            f"--name {name!r} cannot name a job in a cloud; give at most 40 of a-z, 0-9 and '-', "
            "that begin with a letter and do not end in '-'"
        )
    return name


def name_of(folder: str) -> str:
    """Returns the name for a job without one: the last part of its MODEL_DIR, as a DNS label.

    Example:
        >>> name_of("/gcs/runs/Flan_T5_XL")
        'flan-t5-xl'
    """
    plain = re.sub("[^a-z0-9]+", "-", Path(folder).name.lower()).strip("-")
    if not _NAME.fullmatch(plain):
        raise errors.UsageError(
            f"no name for a job can be made of MODEL_DIR {folder!r}; give --name"
        )
    return plain


def environment(pairs: Sequence[str], compile_cache: str | None, folder: str) -> dict[str, str]:
    """Returns the environment variables of every process.

    Args:
        pairs: NAME=VALUE.
        compile_cache: the folder of jax's compilation cache; 'none' for none, None: compile_cache
            in the bucket of MODEL_DIR if it is in one.
        folder: MODEL_DIR.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (equals and _VARIABLE.fullmatch(name)):
            raise errors.UsageError(f"--env {pair!r} is no variable; write --env NAME=VALUE")
        found[name] = mounted(value)
    if compile_cache is None and is_mounted(folder):
        compile_cache = f"{MOUNTS}/{buckets([folder])[0]}/compile_cache"
    if compile_cache not in (None, "none"):
        found.setdefault(COMPILE_CACHE, mounted(compile_cache))
    return found


def train_arguments(
    *,
    recipe: str | None,
    gin_files: Sequence[str],
    gin_search_paths: Sequence[str],
    gin_bindings: Sequence[str],
) -> tuple[str, ...]:
    """Returns the arguments of `flan-jax train`, with buckets as mounted."""
    found = [f"--recipe={recipe}"] if recipe else []
    found += [f"--gin_file={file}" for file in gin_files]
    found += [f"--gin_search_paths={','.join(gin_search_paths)}"] if gin_search_paths else []
    found += [f"--gin.{binding}" for binding in gin_bindings]
    return tuple(mounted(argument) for argument in found)
