# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T5X's native checkpoints, read lazily and written.

    checkpoint_<step>/
      checkpoint              msgpack: {'version': 3, 'optimizer': {'target': ..., 'state': ...}}
      target.<name>/          one zarr array a partitioned leaf, '/' in its name turned into '.'
      state.param_states.<name>.v_row/

`target` holds the parameters, `state` the step and what the optimizer keeps of each. A leaf is
either an array inside the msgpack (as `flax.serialization` packs them) or the specification of its
zarr array, whose path is relative to the folder. Version 3 writes bfloat16 as such, the versions
before wrote it as uint16; version 0 has the optimizer's dict at the top. The format is described
by google-research/t5x, `t5x/checkpoints.py`.

T5X's newer checkpoints in Orbax's layout, and TensorFlow's, are recognized and refused.
"""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import msgpack
import numpy as np
import tensorstore

from flan_jax.convert.leaves import Index, Leaves, check_name
from flan_jax.core import files
from flan_jax.core.errors import FlanError, UsageError
from flan_jax.core.progress import say
from flan_jax.core.tree import unflatten

VERSION = 3
FILE = "checkpoint"  # the msgpack
PARAMS, STATE, STEP = "target", "state", "step"
CHUNK_SIZE_BYTES = 64 << 20  # at most, as T5X

_BUCKET = "gs://"
_TENSORFLOW = b"model_checkpoint_path"  # how the file of TensorFlow's checkpoints starts
_NDARRAY, _COMPLEX, _SCALAR = 1, 2, 3  # msgpack's extension types, as flax numbers them
_CHUNKED = "__msgpack_chunked_array__"  # flax's key for an array too large for one msgpack object
_LAST_STEP = re.compile(r"checkpoint_(\d+)")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One T5X checkpoint; only its msgpack has been read."""

    path: str  # its folder
    version: int
    step: int  # total step; 0 if the checkpoint does not say
    params: Leaves  # under our names, which are T5X's
    state: Leaves  # the rest, by names such as `param_states/encoder/.../v_row`; without the step


def find(path: str | os.PathLike) -> str | None:
    """Returns the folder of a T5X checkpoint at `path`; None if there is none.

    Args:
        path: the folder, its msgpack file, or a MODEL_DIR, which stands for its latest; local, or
            `gs://` (there the folder or the file).

    Raises:
        UsageError: there is a checkpoint of TensorFlow, or of T5X in Orbax's layout.
    """
    folder = _absolute(path).removesuffix(f"/{FILE}")
    if folder.startswith(_BUCKET):
        return folder if _read_file(folder, FILE) is not None else None
    if Path(f"{folder}.index").is_file() or Path(folder, f"{FILE}.index").is_file():
        raise _tensorflow(folder)
    if Path(folder, FILE).is_file():
        return folder
    steps = {}
    for child in (Path(folder), *Path(folder).glob("checkpoint_*")):
        if _is_orbax(child / STATE):
            raise UsageError(
                f"{child} is a T5X checkpoint in Orbax's layout, which is not read; let T5X write "
                "it natively (utils.SaveCheckpointConfig.checkpointer_cls = "
                "@checkpoints.Checkpointer)"
            )
        found = _LAST_STEP.fullmatch(child.name)
        if found and Path(child, FILE).is_file():
            steps[int(found[1])] = child
    return str(steps[max(steps)]) if steps else None


def open_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Opens the checkpoint at `path`, see `find`; its arrays are read when asked for.

    Raises:
        UsageError: there is no T5X checkpoint that can be read.
        FlanError: its msgpack is damaged.
    """
    folder = find(path)
    if folder is None:
        raise UsageError(
            f"no T5X checkpoint at {os.fspath(path)!r}; give a checkpoint_<step> folder that holds "
            f"a file {FILE!r}"
        )
    raw = _read_file(folder, FILE)
    if raw is None:
        raise FlanError(f"{folder}/{FILE} is gone; copy the checkpoint again")
    if raw.startswith(_TENSORFLOW):
        raise _tensorflow(folder)
    content = _unpack(raw, f"{folder}/{FILE}")
    version = content.get("version", 0)
    if version not in range(VERSION + 1):
        raise UsageError(
            f"{folder}/{FILE} is of version {version!r}; versions 0 to {VERSION} are known"
        )
    optimizer = content if version == 0 else content.get("optimizer")
    if not isinstance(optimizer, Mapping) or not isinstance(optimizer.get(PARAMS), Mapping):
        raise FlanError(
            f"{folder}/{FILE} has no parameters ('optimizer/target'), only {sorted(content)}; it "
            "is no T5X checkpoint"
        )
    leaves = dict(_leaves(f"{folder}/{FILE}", optimizer))
    step = leaves.pop(f"{STATE}/{STEP}", np.array(0))
    if not isinstance(step, np.ndarray) or step.size != 1 or step.dtype.kind not in "iu":
        raise FlanError(f"{folder}/{FILE}: its step is {_reason(step)}, no whole number")
    return Checkpoint(
        path=folder,
        version=version,
        step=step.item(),
        params=_T5XLeaves(folder, version, PARAMS, leaves),
        state=_T5XLeaves(folder, version, STATE, leaves),
    )


def write(
    path: str | os.PathLike,
    params: Leaves,
    *,
    step: int,
    state: Leaves | None = None,
) -> None:
    """Writes a checkpoint of version 3, one leaf at a time; whole or not at all.

    Without `state` it holds the parameters and the step alone: T5X evaluates and infers from it,
    and trains with `utils.RestoreCheckpointConfig.fallback_to_scratch = True`.

    Args:
        path: the folder to make; T5X wants it called `checkpoint_<step>`.
        params: under our names, which are T5X's.
        step: total step.
        state: what the optimizer keeps, as `Checkpoint.state`.

    Raises:
        UsageError: `path` exists already or is not local.
    """
    path = _absolute(path)
    if path.startswith(_BUCKET):
        raise UsageError(f"{path} is not a local folder; write to one, then copy it there")
    tree: dict[str, Any] = {f"{STATE}/{STEP}": np.int32(step)}
    with files.atomic_folder(path, "the checkpoint") as folder:
        for root, leaves in ((PARAMS, params), (STATE, state)):
            for name in leaves.shapes if leaves is not None else ():
                full = f"{root}/{name}"
                tree[full] = _write_array(str(folder), full, leaves.read(name))
        optimizer = unflatten(tree)
        optimizer[STATE].setdefault("param_states", {})
        content = {"version": VERSION, "optimizer": optimizer}
        packed = msgpack.packb(content, default=_pack_array, strict_types=True)
        (folder / FILE).write_bytes(packed)


class _T5XLeaves:
    """The leaves below one key of a checkpoint's tree."""

    def __init__(self, folder: str, version: int, root: str, leaves: Mapping[str, Any]):
        self._folder, self._version = folder, version
        self._root = root
        self._entries = {
            name.removeprefix(f"{root}/"): entry
            for name, entry in leaves.items()
            if name.startswith(f"{root}/")
        }
        self._stores: dict[str, tensorstore.TensorStore] = {}

    @functools.cached_property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each leaf, as the msgpack says."""
        shapes = {}
        for name, entry in sorted(self._entries.items()):
            if isinstance(entry, np.ndarray):
                shapes[name] = jax.ShapeDtypeStruct(entry.shape, entry.dtype)
            else:
                shape, dtype = self._described(name, entry)
                if dtype == np.uint16 and self._version < 3:
                    dtype = np.dtype(ml_dtypes.bfloat16)
                shapes[name] = jax.ShapeDtypeStruct(shape, dtype)
        return shapes

    def read(self, name: str, index: Index | None = None) -> np.ndarray:
        """Returns one leaf or a part of it; of a zarr array only the chunks it lies in are read."""
        check_name(name, self._entries)
        entry = self._entries[name]
        if isinstance(entry, np.ndarray):
            return entry if index is None else entry[index]
        if name not in self._stores:
            self._stores[name] = self._open(name, entry)
        store = self._stores[name]
        try:
            array = (store if index is None else store[index]).read().result()
        except (ValueError, OSError) as error:
            raise self._unreadable(name, entry, _reason(error)) from None
        return array.view(self.shapes[name].dtype)

    def _described(self, name: str, entry: Mapping[str, Any]) -> tuple[tuple[int, ...], np.dtype]:
        """Returns shape and dtype as stored, from a zarr array's specification."""
        metadata = entry.get("metadata") or {}
        dtype = entry.get("dtype") or metadata.get("dtype")
        try:
            shape = tuple(int(size) for size in metadata["shape"])
            if min(shape, default=1) < 1 or _dtype(dtype).kind == "O":
                raise ValueError
            return shape, _dtype(dtype)
        except (KeyError, TypeError, ValueError):
            raise FlanError(
                f"{self._folder}/{FILE}: the entry of {self._root}/{name} gives no shape and dtype "
                f"({_reason(entry)})"
            ) from None

    def _place(self, name: str, entry: Mapping[str, Any]) -> str:
        """Returns the array's folder, relative to the checkpoint's."""
        kvstore = entry.get("kvstore")
        # TensorStore before 0.1.14 wrote the path beside the key-value store.
        path = kvstore.get("path") if isinstance(kvstore, Mapping) else None
        path = path or entry.get("path")
        path = path.strip("/") if isinstance(path, str) else ""
        if entry.get("driver") != "zarr" or not path or ".." in path.split("/"):
            raise FlanError(
                f"{self._folder}/{FILE}: the entry of {self._root}/{name} names no zarr array "
                f"beside it ({_reason(entry)})"
            )
        return path

    def _open(self, name: str, entry: Mapping[str, Any]) -> tensorstore.TensorStore:
        place = self._place(name, entry)
        kvstore = _kvstore(f"{self._folder}/{place}")
        try:
            store = tensorstore.open({"driver": "zarr", "kvstore": kvstore}, open=True).result()
        except (ValueError, OSError) as error:
            if "NOT_FOUND" in str(error):
                raise FlanError(
                    f"{self._folder}: {self._root}/{name} is missing, there is no zarr array in "
                    f"{place}; copy the checkpoint again"
                ) from None
            raise self._unreadable(name, entry, _reason(error)) from None
        told = self._described(name, entry)
        found = tuple(store.shape), np.dtype(store.dtype.numpy_dtype)
        if found != told:
            raise self._unreadable(
                name,
                entry,
                f"it is {found[1]}{list(found[0])} but {FILE} says {told[1]}{list(told[0])}",
            )
        self._check_chunks(name, entry, store)
        return store

    def _check_chunks(
        self, name: str, entry: Mapping[str, Any], store: tensorstore.TensorStore
    ) -> None:
        """Refuses a parameter of which a chunk is not there: zarr would take it for zeros.

        Of the optimizer's state it may be one: all zeros until a parameter had its first gradient.
        """
        chunks = store.chunk_layout.read_chunk.shape
        wanted = math.prod(-(-size // c) for size, c in zip(store.shape, chunks, strict=True))
        keys = store.kvstore.list().result()
        stored = sum(not key.decode().split("/")[-1].startswith(".") for key in keys)
        if stored >= wanted:
            return
        if self._root == PARAMS:
            raise self._unreadable(name, entry, f"{wanted - stored} of {wanted} chunks are missing")
        say(
            f"{self._folder}: {wanted - stored} of {wanted} chunks of {self._root}/{name} are not "
            "stored; they count as zeros"
        )

    def _unreadable(self, name: str, entry: Mapping[str, Any], reason: str) -> FlanError:
        return FlanError(
            f"{self._folder}/{self._place(name, entry)}: {self._root}/{name} cannot be read "
            f"({reason}); copy the checkpoint again"
        )


def _leaves(file: str, tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Gives path and entry of each leaf: an array, or the specification of a zarr array.

    Raises:
        FlanError: a leaf is something else, or a name has the marks that join names.
    """
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if not str(key) or "/" in str(key) or "." in str(key):
            raise FlanError(f"{file}: {path!r} is no name of a parameter, for its '/' or '.'")
        if isinstance(value, Mapping) and "driver" not in value:
            yield from _leaves(file, value, f"{path}/")
        elif isinstance(value, Mapping):
            yield path, value
        elif isinstance(value, (np.ndarray, int, float)):
            yield path, np.asarray(value)
        elif value is not None:  # T5X writes None where its optimizer keeps nothing
            raise FlanError(f"{file}: {path} is {_reason(repr(value))}, no array")


def _write_array(folder: str, name: str, array: np.ndarray) -> np.ndarray | dict[str, Any]:
    """Writes one leaf and returns its entry in the msgpack; a scalar is its own."""
    if array.ndim == 0:
        return array
    chunks = list(array.shape)
    while math.prod(chunks) * array.dtype.itemsize > CHUNK_SIZE_BYTES:
        largest = chunks.index(max(chunks))
        chunks[largest] = -(-chunks[largest] // 2)
    place = name.replace("/", ".")
    spec = {
        "driver": "zarr",
        "dtype": array.dtype.name,
        "kvstore": {"driver": "file", "path": f"{place}/"},
        "metadata": {
            "chunks": chunks,
            "compressor": {"id": "gzip", "level": 1},
            "shape": list(array.shape),
        },
    }
    here = spec | {"kvstore": _kvstore(f"{folder}/{place}")}
    try:
        tensorstore.open(here, create=True).result().write(array).result()
    except (ValueError, OSError) as error:
        raise FlanError(f"{name} could not be written ({_reason(error)})") from None
    return spec


def _pack_array(value: Any) -> msgpack.ExtType:
    array = np.asarray(value)
    content = (array.shape, array.dtype.name, array.tobytes())
    return msgpack.ExtType(_NDARRAY, msgpack.packb(content, use_bin_type=True))


def _unpack(raw: bytes, file: str) -> dict[str, Any]:
    """Returns the content of the msgpack."""
    try:
        content = _joined(
            msgpack.unpackb(raw, ext_hook=_unpack_array, raw=False, strict_map_key=False)
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FlanError(
            f"{file} is damaged or no msgpack ({_reason(error)}); copy the checkpoint again"
        ) from None
    if not isinstance(content, dict):
        raise FlanError(f"{file} holds no dict, so it is no T5X checkpoint")
    return content


def _unpack_array(code: int, data: bytes) -> np.ndarray | complex:
    if code == _COMPLEX:
        return complex(*msgpack.unpackb(data))
    if code not in (_NDARRAY, _SCALAR):
        raise ValueError(f"unknown extension type {code}")
    shape, dtype, content = msgpack.unpackb(data, raw=True)
    return np.frombuffer(content, _dtype(dtype.decode())).reshape(shape)


def _joined(tree: Any) -> Any:
    """Returns the tree with the arrays that flax cut in parts put together."""
    if not isinstance(tree, dict):
        return tree
    if _CHUNKED not in tree:
        return {key: _joined(value) for key, value in tree.items()}
    shape, parts = (
        [tree[key][str(i)] for i in range(len(tree[key]))] for key in ("shape", "chunks")
    )
    return np.concatenate(parts).reshape(shape)


def _dtype(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def _is_orbax(state: Path) -> bool:
    """Returns whether a folder holds T5X's state as Orbax lays it out; ours has other keys."""
    index = state / "_METADATA"
    if index.is_file():
        return f"('{PARAMS}', " in index.read_text(encoding="utf-8", errors="replace")
    return (state / FILE).is_file()


def _absolute(path: str | os.PathLike) -> str:
    text = os.fspath(path)
    return text.rstrip("/") if text.startswith(_BUCKET) else os.path.abspath(text)


def _kvstore(folder: str) -> dict[str, str]:
    """Returns TensorStore's name for a folder, whatever store the checkpoint was written to."""
    if folder.startswith(_BUCKET):
        bucket, _, path = folder.removeprefix(_BUCKET).partition("/")
        return {"driver": "gcs", "bucket": bucket, "path": f"{path}/"}
    return {"driver": "file", "path": f"{folder}/"}


def _read_file(folder: str, name: str) -> bytes | None:
    """Returns a file's bytes; None if there is none."""
    try:
        found = tensorstore.KvStore.open(_kvstore(folder)).result().read(name).result()
    except (ValueError, OSError) as error:
        raise FlanError(f"{folder}/{name} cannot be read ({_reason(error)})") from None
    return found.value if found.state == "value" else None


def _tensorflow(folder: str) -> UsageError:
    return UsageError(
        f"{folder} is a TensorFlow checkpoint, which is not read; let T5X convert it "
        "(t5x/scripts/convert_tf_checkpoint.py), or take its PyTorch copy from Hugging Face"
    )


def _reason(error: object) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:240]
