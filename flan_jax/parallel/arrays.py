# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shardings of whole parameter trees, and global batches from each host's rows."""

import functools
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.core import axes
from flan_jax.core.errors import UsageError
from flan_jax.core.tree import PyTree, flatten, unflatten
from flan_jax.parallel import rules as rules_lib


def params_sharding(
    abstract: PyTree, logical_axes: PyTree, rules: rules_lib.ShardingRules, mesh: Mesh
) -> PyTree:
    """Returns the `NamedSharding` of each parameter, for `jax.jit(..., out_shardings=...)`.

    Args:
        abstract: nested dict of arrays or `jax.ShapeDtypeStruct`s.
        logical_axes: the same nested dict, of tuples of logical axis names.
        rules: its `params` table is used.
        mesh: the mesh.

    Raises:
        UsageError: the trees differ, or a parameter does not resolve (the message names it).
    """
    shapes, names = flatten(abstract), flatten(logical_axes)
    if shapes.keys() != names.keys():
        differ = sorted(shapes.keys() ^ names.keys())
        raise UsageError(
            f"parameters and logical axes are different trees, first at {differ[0]!r}; take both "
            "from the same model (scanned and unscanned layers differ)"
        )
    return unflatten(
        {
            path: NamedSharding(
                mesh,
                rules_lib.resolve(
                    names[path], rules.params, shapes[path].shape, mesh, what=f"parameter {path!r}"
                ),
            )
            for path in shapes
        }
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a value that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def fetched(arrays: PyTree) -> PyTree:
    """Returns arrays as numpy arrays, also such as are split over devices of several processes.

    Of these each process must call this at the same place: they give each other their parts.
    """
    if all(
        leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in jax.tree.leaves(arrays)
    ):
        return jax.device_get(arrays)
    return multihost_utils.process_allgather(arrays, tiled=True)


@functools.lru_cache(maxsize=32)
def place(rules: rules_lib.ShardingRules, mesh: Mesh) -> dict[str, int]:
    """Returns which part of each batch this process reads, and how many there are.

    The arguments `process_index` and `process_count` of the data readers. Processes whose devices
    hold the same rows (`model` goes beyond one host) read the same part. Rows keep their order
    where the devices of a process follow each other along the batch; where a TPU slice is wired
    otherwise, a batch is made of the same rows in another order.

    Raises:
        UsageError: the mesh gives some processes a part of another's rows.
    """
    spec = rules_lib.resolve((axes.BATCH,), rules.activations, (mesh.size,), mesh, what="a batch")
    shards = NamedSharding(mesh, spec).devices_indices_map((mesh.size,))
    starts: dict[int, set[int]] = {}
    for device, (rows,) in shards.items():
        starts.setdefault(device.process_index, set()).add(rows.start or 0)
    index, count = part_of_batch(starts, jax.process_index(), where=f"mesh {dict(mesh.shape)}")
    return {"process_index": index, "process_count": count}


def part_of_batch(starts: Mapping[int, set[int]], process: int, where: str) -> tuple[int, int]:
    """Returns which part of a batch a process reads and how many parts there are.

    Args:
        starts: by process, which shards of the batch its devices hold, by their first rows.
        process: the process.
        where: what decides this, for the message.

    Raises:
        UsageError: two processes share some of their shards, not all.

    Example:
        >>> part_of_batch({0: {0, 2}, 1: {4, 6}}, 1, where="")
        (1, 2)
        >>> part_of_batch({0: {0}, 1: {0}, 2: {4}, 3: {4}}, 1, where="")  # two processes a row
        (0, 2)
    """
    parts = sorted({tuple(sorted(held)) for held in starts.values()})
    if sum(map(len, parts)) != len(set().union(*parts)) or len(set(map(len, parts))) != 1:
        raise UsageError(
            f"{where}: some processes would hold a part of another's rows of a batch; make the "
            "devices of a process a multiple of mesh axis 'model', or 'model' a multiple of them"
        )
    return parts.index(tuple(sorted(starts[process]))), len(parts)


def global_batch(
    rows: Mapping[str, np.ndarray], rules: rules_lib.ShardingRules, mesh: Mesh
) -> dict[str, jax.Array]:
    """Returns a batch split over the mesh from the rows that this host holds.

    Every host calls this with the rows of its `place`.

    Args:
        rows: arrays `[rows of this host, ...]`; the first dimension is the batch.
        rules: its `activations` table is used.
        mesh: the mesh.
    """
    num_parts = place(rules, mesh)["process_count"]
    shapes = {name: (len(array) * num_parts, *array.shape[1:]) for name, array in rows.items()}
    shardings: dict[str, NamedSharding] = {}
    for name, shape in shapes.items():
        names = (axes.BATCH, *(None for _ in shape[1:]))
        spec = rules_lib.resolve(names, rules.activations, shape, mesh, what=f"batch {name!r}")
        shardings[name] = NamedSharding(mesh, spec)
    if jax.process_count() == 1:
        # One transfer for all arrays: one each took 10 ms a step on a CPU.
        return jax.device_put(dict(rows), shardings)
    return {
        name: jax.make_array_from_process_local_data(shardings[name], array, shapes[name])
        for name, array in rows.items()
    }
