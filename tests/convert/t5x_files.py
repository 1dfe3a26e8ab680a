# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T5X's native checkpoints written by hand, byte by byte, from the description of their format.

Nothing here uses msgpack, flax or TensorStore, so that what reads these files is checked against
something else than itself.
"""

import gzip
import itertools
import json
import struct
from pathlib import Path

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def pack(value):
    """Returns a value in msgpack (the specification's types that such checkpoints use)."""
    if isinstance(value, dict):
        body = b"".join(pack(key) + pack(item) for key, item in value.items())
        return struct.pack(">BI", 0xDF, len(value)) + body
    if isinstance(value, (list, tuple)):
        return struct.pack(">BH", 0xDC, len(value)) + b"".join(pack(item) for item in value)
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, str):
        raw = value.encode()
        return struct.pack(">BH", 0xDA, len(raw)) + raw
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    # An array or a scalar of numpy: extension 1 or 3 around (shape, name of dtype, bytes).
    code = 3 if isinstance(value, np.generic) else 1
    body = pack([list(value.shape), value.dtype.name, value.tobytes()])
    return struct.pack(">BIB", 0xC9, len(body), code) + body


def write_zarr(folder, array, chunks, *, compress=True):
    """Writes one array in zarr's format 2; chunks at the edge are padded, as it demands."""
    folder.mkdir()
    names = {"float32": "<f4", "uint16": "<u2", "int32": "<i4", "bfloat16": "bfloat16"}
    metadata = {
        "chunks": list(chunks),
        "compressor": {"id": "gzip", "level": 1} if compress else None,
        "dtype": names[array.dtype.name],
        "fill_value": None,
        "filters": None,
        "order": "C",
        "shape": list(array.shape),
        "zarr_format": 2,
    }
    (folder / ".zarray").write_text(json.dumps(metadata))
    counts = [-(-size // chunk) for size, chunk in zip(array.shape, chunks, strict=True)]
    for place in itertools.product(*map(range, counts)):
        part = array[tuple(slice(i * c, (i + 1) * c) for i, c in zip(place, chunks, strict=True))]
        block = np.zeros(chunks, array.dtype)
        block[tuple(map(slice, part.shape))] = part
        raw = gzip.compress(block.tobytes()) if compress else block.tobytes()
        (folder / ".".join(map(str, place))).write_bytes(raw)


def specification(place, array, chunks, bucket=False, path_beside=False):
    """Returns what the msgpack says of a zarr array."""
    kvstore = {"driver": "gcs", "bucket": "t5x-dummy-bucket"} if bucket else {"driver": "file"}
    spec = {"driver": "zarr", "dtype": array.dtype.name, "kvstore": kvstore}
    (spec if path_beside else kvstore)["path"] = place
    metadata = {"shape": list(array.shape), "chunks": list(chunks), "compressor": {"id": "gzip"}}
    return spec | {"metadata": metadata}


def write_checkpoint(
    folder, arrays, *, version=3, step=1000, inside=(), bucket=False, path_beside=False
):
    """Writes a checkpoint.

    Args:
        folder: where to.
        arrays: by full name, such as 'target/encoder/layers_0/mlp/wo/kernel'.
        version: 0, 2 or 3.
        step: total step.
        inside: names of the arrays that lie in the msgpack.
        bucket: whether it says it was written to a bucket.
        path_beside: whether paths stand beside the key-value store, as TensorStore had it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    optimizer = {"target": {}, "state": {"step": np.int32(step), "param_states": {}}}
    for name, array in arrays.items():
        *parents, last = name.split("/")
        node = optimizer
        for parent in parents:
            node = node.setdefault(parent, {})
        if name in inside:
            node[last] = array
            continue
        if version < 3 and array.dtype == BFLOAT16:
            array = array.view(np.uint16)
        place = name.replace("/", ".")
        chunks = [max(1, size // 2 + size % 2) for size in array.shape]
        write_zarr(folder / place, array, chunks, compress=array.ndim != 1)
        node[last] = specification(place, array, chunks, bucket, path_beside)
    content = optimizer if version == 0 else {"version": version, "optimizer": optimizer}
    (folder / "checkpoint").write_bytes(pack(content))
    return folder
