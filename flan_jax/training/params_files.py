# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The parameters in our checkpoints read one at a time, and checkpoints made of parameters alone.

`training/checkpoints.py` restores all of a checkpoint at once, into the devices; this is for
conversion, where no device holds the model and the host holds one parameter at a time.
"""

import asyncio
import functools
import itertools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from flan_jax.convert.leaves import Arrays, Index, Leaves, check_name
from flan_jax.core import errors, files
from flan_jax.core.tree import unflatten
from flan_jax.training import checkpoints, storage_errors

CHUNK_SIZE_BYTES = 64 << 20  # of an array's parts in a checkpoint written here, at most

_CHUNKS_AT_ONCE = 4

_PARAMS = "params"
_HEAD = "/.zarray"


def open_params(path: str | os.PathLike) -> Leaves:
    """Returns the parameters of a checkpoint; each is read when asked for.

    Args:
        path: a checkpoint of ours, or a MODEL_DIR, which stands for its latest.

    Raises:
        UsageError: there is none.
        FlanError: it is damaged.
    """
    folder = checkpoints.find(path)
    if not Path(folder, checkpoints.STATE).is_dir():
        raise errors.UsageError(f"{folder} is a checkpoint, but not one of flan_jax's")
    return _StoredParams(folder)


def write_params(path: str | os.PathLike, leaves: Leaves, config: Mapping[str, Any]) -> None:
    """Writes a checkpoint of parameters alone, one at a time; whole or not at all.

    Training starts from it (INITIAL_CHECKPOINT_PATH); nothing goes on from it, it has no state.

    Args:
        path: the folder to make, `checkpoint_<total step>`.
        leaves: the parameters; their layers are stored as these have them.
        config: what the checkpoint says of its origin, JSON values.

    Raises:
        UsageError: there is something at `path`, or it is no checkpoint's name.
        FlanError: a parameter cannot be read or written.
    """
    path = Path(os.path.abspath(path))
    checkpoints.step_of(path)  # refuses another name
    files.check_folder(path, "the checkpoint")
    if path.exists():
        raise errors.UsageError(f"{path} exists already; remove it, or give another path")
    path.parent.mkdir(parents=True, exist_ok=True)
    storage_errors.quiet_orbax()
    step_leaf = Arrays({"step": np.array(checkpoints.step_of(path), np.int32)})
    tree = {f"{_PARAMS}/{name}": _Unread(leaves, name) for name in leaves.shapes}
    state = unflatten(tree) | {"step": _Unread(step_leaf, "step")}
    save_args = ocp.SaveArgs(chunk_byte_size=CHUNK_SIZE_BYTES)
    registry = ocp.type_handlers.create_type_handler_registry(
        (_Unread, _OneByOne(deepcopy_host_arrays=False))
    )
    handler = ocp.CompositeCheckpointHandler(
        **{
            checkpoints.STATE: ocp.PyTreeCheckpointHandler(type_handler_registry=registry),
            checkpoints.DATA: ocp.JsonCheckpointHandler(),
            checkpoints.CONFIG: ocp.JsonCheckpointHandler(),
        }
    )
    items = {
        checkpoints.STATE: ocp.args.PyTreeSave(
            state, save_args=jax.tree.map(lambda _: save_args, state)
        ),
        checkpoints.DATA: ocp.args.JsonSave(None),
        checkpoints.CONFIG: ocp.args.JsonSave(dict(config)),
    }
    try:
        with ocp.Checkpointer(handler) as checkpointer:
            checkpointer.save(path, args=ocp.args.Composite(**items))
    except BaseException as error:
        for left in path.parent.glob(f"{path.name}.orbax-checkpoint-tmp*"):
            shutil.rmtree(left, ignore_errors=True)
        if isinstance(error, (ValueError, OSError)) and not isinstance(error, errors.FlanError):
            reason = " ".join(str(error).split())[:240]
            raise errors.FlanError(f"{path} could not be written ({reason})") from error
        raise


class _Unread:
    """An array that is read when it is written."""

    def __init__(self, leaves: Leaves, name: str):
        self._leaves, self._name = leaves, name

    def read(self) -> np.ndarray:
        return np.asarray(self._leaves.read(self._name), order="C")


class _OneByOne(ocp.type_handlers.NumpyHandler):
    """Reads an array, writes it, lets go of it, and only then reads the next."""

    async def serialize(
        self, values: Sequence[_Unread], infos: Sequence[Any], args: Sequence[Any] | None = None
    ) -> Sequence[Any]:
        """Returns no futures: all is written by then."""
        for value, info, arg in zip(values, infos, args, strict=True):
            for future in await super().serialize([value.read()], [info], [arg]):
                future.result()
        return []

    async def _open_and_write(
        self, value: np.ndarray, tspec: dict[str, Any], ts_context: tensorstore.Context
    ) -> None:
        """Writes some chunks at a time: of all at once the store would hold a second copy."""
        spec = tensorstore.Spec(tspec)
        store = await tensorstore.open(spec, create=True, open=True, context=ts_context)
        chunk = store.chunk_layout.write_chunk.shape or ()  # a scalar has none
        starts = [range(0, size, step) for size, step in zip(value.shape, chunk, strict=True)]
        blocks = [
            tuple(
                slice(at, min(at + axis.step, axis.stop))
                for at, axis in zip(place, starts, strict=True)
            )
            for place in itertools.product(*starts)
        ]
        for first in range(0, len(blocks), _CHUNKS_AT_ONCE):
            some = blocks[first : first + _CHUNKS_AT_ONCE]
            await asyncio.gather(*(store[block].write(value[block]) for block in some))


class _StoredParams:
    """The parameters of one of our checkpoints."""

    def __init__(self, folder: str):
        self._folder = folder
        self._base = {"driver": "ocdbt", "base": f"file://{folder}/{checkpoints.STATE}/"}

    @functools.cached_property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each parameter, as stored."""
        shapes = {}
        with checkpoints.reading(self._folder):
            index = tensorstore.KvStore.open(self._base).result()
            for key in sorted(key.decode() for key in index.list().result()):
                if key.startswith(f"{_PARAMS}.") and key.endswith(_HEAD):
                    head = json.loads(index.read(key).result().value)
                    dtype = head["dtype"]
                    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
                    name = key.removeprefix(f"{_PARAMS}.").removesuffix(_HEAD).replace(".", "/")
                    shapes[name] = jax.ShapeDtypeStruct(tuple(head["shape"]), np.dtype(dtype))
        return shapes

    def read(self, name: str, index: Index | None = None) -> np.ndarray:
        """Returns one parameter or a part of it; only the chunks it lies in are read."""
        check_name(name, self.shapes)
        kvstore = self._base | {"path": f"{_PARAMS}.{name.replace('/', '.')}/"}
        spec = {"driver": "zarr", "kvstore": kvstore, "fill_missing_data_reads": False}
        with checkpoints.reading(self._folder):
            store = tensorstore.open(spec, open=True).result()
            return (store if index is None else store[index]).read().result()
