# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Safetensors files, one or several with an index, read and written one tensor at a time.

A file is an 8-byte length, a JSON header that says where each tensor lies, and the tensors' bytes.
Both ways need numpy alone: no torch, and no package of the format's. Files with pickles
(`pytorch_model.bin`) are refused, because loading one runs what it contains.
"""

import dataclasses
import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

from flan_jax.convert.leaves import Index, check_name
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError

FILE = "model.safetensors"
INDEX = f"{FILE}.index.json"
MAX_FILE_BYTES = 5 * 10**9

DTYPES = {
    "F32": np.dtype(np.float32),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_MAX_HEADER_BYTES = 100 * 10**6  # the format's own limit


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a tensor lies."""

    file: Path
    offset: int
    shape: jax.ShapeDtypeStruct


class Safetensors:
    """The tensors of a folder's safetensors files, by their names there."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._places = _places(folder)

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each tensor, as stored."""
        return {name: place.shape for name, place in self._places.items()}

    def file_of(self, name: str) -> Path:
        """Returns the file that a tensor lies in."""
        return self._places[name].file

    def read(
        self, name: str, index: Index | None = None, *, transposed: bool = False
    ) -> np.ndarray:
        """Returns a tensor, or the part of it at `index`, as a contiguous array of its own.

        Args:
            name: a key of `shapes`.
            index: one slice per dimension of what is returned, steps of 1; None for all of it.
            transposed: whether to turn the order of its dimensions.
        """
        check_name(name, self._places)
        place = self._places[name]
        # Mapped anew for each read: pages of a mapping kept would count as this process's memory.
        array = np.memmap(place.file, place.shape.dtype, "r", place.offset, place.shape.shape)
        array = array.T if transposed else array
        return np.array(array if index is None else array[index], order="C")


def _places(folder: Path) -> dict[str, _Place]:
    """Returns where each tensor of a folder lies, once every file is known to be whole."""
    if not (folder / INDEX).is_file():
        if not (folder / FILE).is_file():
            raise UsageError(_nothing_there(folder))
        return _read_header(folder / FILE)
    weight_map = files.read_json(folder / INDEX)
    weight_map = weight_map.get("weight_map") if isinstance(weight_map, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise DataError(f"{folder / INDEX}: no 'weight_map' from tensors to files")
    for name, file in weight_map.items():
        if not isinstance(file, str):
            raise DataError(f"{folder / INDEX}: the file of {name!r} is {file!r:.120}, no name")
    places: dict[str, _Place] = {}
    for file in sorted(set(weight_map.values())):
        if Path(file).name != file or not (folder / file).is_file():
            raise DataError(
                f"{folder / INDEX} names the file {file!r}, which is not in {folder}; fetch the "
                "checkpoint again, all its files"
            )
        for name, place in _read_header(folder / file).items():
            if weight_map.get(name) != file:
                raise DataError(
                    f"{folder / file} holds {name!r}, which {INDEX} does not say; fetch the "
                    "checkpoint again, all its files"
                )
            places[name] = place
    for name, file in weight_map.items():
        if name not in places:
            raise DataError(f"{folder / INDEX} says that {name!r} is in {file!r}; it is not there")
    return places


def _nothing_there(folder: Path) -> str:
    if not folder.is_dir():
        return f"no folder {str(folder)!r}; name the folder of a Hugging Face checkpoint"
    if pickles := sorted([*folder.glob("*.bin"), *folder.glob("*.bin.index.json")]):
        return (
            f"{pickles[0]} holds pickles, which run code when they are read, so it is refused; "
            f"save the model as {FILE}: model.save_pretrained(folder) of transformers does"
        )
    return f"{folder} has neither {FILE} nor {INDEX}; name the folder of a checkpoint that has"


def _read_header(file: Path) -> dict[str, _Place]:
    """Returns where each tensor of one file lies.

    Raises:
        DataError: the header is malformed, or the file ends before a tensor does.
    """
    size = file.stat().st_size
    with open(file, "rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length <= min(_MAX_HEADER_BYTES, size - 8):
            raise DataError(
                f"{file}: no safetensors file, or cut off: its header's length is given as "
                f"{length} bytes, the file has {size}; fetch it again"
            )
        try:
            header = json.loads(opened.read(length), object_pairs_hook=_once)
        except (ValueError, RecursionError):
            header = None
    if not isinstance(header, dict):
        raise DataError(f"{file}: its safetensors header is no JSON object of different names")
    header.pop("__metadata__", None)
    places = {}
    for name, entry in header.items():
        shape, begin, end = _entry(file, name, entry)
        if 8 + length + end > size:
            raise DataError(
                f"{file}: cut off: {name!r} ends at byte {8 + length + end}, the file has {size}; "
                "fetch it again"
            )
        places[name] = _Place(file, 8 + length + begin, shape)
    return places


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object of JSON; of two values for one name none is taken."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name twice")
    return found


def _entry(file: Path, name: str, entry: Any) -> tuple[jax.ShapeDtypeStruct, int, int]:
    """Returns shape and byte range of a header's entry, checked against each other."""
    try:
        code, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        is_whole = all(type(n) is int and n > 0 for n in (*shape, begin + 1, end))
        is_whole &= isinstance(code, str)
    except (TypeError, KeyError, ValueError):
        is_whole = False
    if not is_whole:
        raise DataError(f"{file}: the header's entry for {name!r} is malformed: {entry!r:.120}")
    if code not in DTYPES:
        raise UsageError(
            f"{file}: {name!r} is stored as {code}; only {', '.join(DTYPES)} can be read, so save "
            "the model unquantized"
        )
    if end - begin != math.prod(shape) * DTYPES[code].itemsize:
        raise DataError(
            f"{file}: {name!r} has {end - begin} bytes, not those of {code} {list(shape)}"
        )
    return jax.ShapeDtypeStruct(shape, DTYPES[code]), begin, end


def write(
    folder: Path,
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    read: Callable[[str], np.ndarray],
    *,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> None:
    """Writes tensors into a folder, one at a time and in the order of `shapes`.

    Args:
        folder: where to; it is there.
        shapes: shape and dtype of each tensor.
        read: returns a tensor of its name.
        max_file_bytes: one file may hold that many bytes of tensors, or one tensor.
    """
    groups: list[dict[str, int]] = [{}]  # by file, name -> bytes
    for name, leaf in shapes.items():
        size = math.prod(leaf.shape) * leaf.dtype.itemsize
        if groups[-1] and sum(groups[-1].values()) + size > max_file_bytes:
            groups.append({})
        groups[-1][name] = size
    names = [FILE]
    if len(groups) > 1:
        names = [f"model-{i + 1:05}-of-{len(groups):05}.safetensors" for i in range(len(groups))]
        index = {
            "metadata": {"total_size": sum(sum(group.values()) for group in groups)},
            "weight_map": {n: f for f, group in zip(names, groups, strict=True) for n in group},
        }
        files.write_json(folder / INDEX, index)
    for file, group in zip(names, groups, strict=True):
        _write_file(folder / file, group, shapes, read)


def _write_file(
    file: Path,
    sizes: Mapping[str, int],
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    read: Callable[[str], np.ndarray],
) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    begin = 0
    for name, size in sizes.items():
        leaf = shapes[name]
        header[name] = {
            "dtype": _CODES[leaf.dtype],
            "shape": list(leaf.shape),
            "data_offsets": [begin, begin + size],
        }
        begin += size
    text = files.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that tensors begin at multiples of 8
    with files.atomic_open(file, "wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
        for name in sizes:
            array = np.ascontiguousarray(read(name))
            if (array.shape, array.dtype) != (shapes[name].shape, shapes[name].dtype):
                raise ValueError(f"{name}: {array.dtype}{array.shape} is not {shapes[name]}")
            opened.write(array.reshape(-1).view(np.uint8))
