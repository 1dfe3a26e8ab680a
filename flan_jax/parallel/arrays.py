# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shardings of whole parameter trees, and global batches from each host's rows."""

from collections.abc import Mapping

import jax
import numpy as np
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


def global_batch(
    rows: Mapping[str, np.ndarray], rules: rules_lib.ShardingRules, mesh: Mesh
) -> dict[str, jax.Array]:
    """Returns a batch split over the mesh from the rows that this host holds.

    Every host calls this with its own rows, all hosts with equally many.

    Args:
        rows: arrays `[per-host batch, ...]`; the first dimension is the batch.
        rules: its `activations` table is used.
        mesh: the mesh.
    """
    num_hosts = jax.process_count()
    shapes = {name: (len(array) * num_hosts, *array.shape[1:]) for name, array in rows.items()}
    shardings: dict[str, NamedSharding] = {}
    for name, shape in shapes.items():
        names = (axes.BATCH, *(None for _ in shape[1:]))
        spec = rules_lib.resolve(names, rules.activations, shape, mesh, what=f"batch {name!r}")
        shardings[name] = NamedSharding(mesh, spec)
    if num_hosts == 1:
        # One transfer for all arrays: one each took 10 ms a step on a CPU.
        return jax.device_put(dict(rows), shardings)
    return {
        name: jax.make_array_from_process_local_data(shardings[name], array, shapes[name])
        for name, array in rows.items()
    }
