# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading a checkpoint whose layers were stored the other way: stacked, or each apart.

A run with `scan_layers` may go on from, or start from, a checkpoint written without, and the other
way round. The numbers are the same; only how they lie differs, in parameters and optimizer state.
"""

import functools

import jax
from jax.sharding import Mesh

from flan_jax.core.tree import PyTree, flatten
from flan_jax.models.stacking import stack, unstack
from flan_jax.models.t5 import T5
from flan_jax.training import checkpoints
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.state import TrainState, abstract_state


def convert_state(state: TrainState, model: T5, optimizer: Optimizer, mesh: Mesh) -> TrainState:
    """Returns a state of `model.other_layout` as `model` stores it, sharded for `mesh`."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(model, optimizer, mesh))
    stacked = model if model.config.scan_layers else model.other_layout
    axes = stacked.logical_axes()
    shapes = jax.eval_shape(stacked.init, jax.random.key(0))
    names = flatten({"params": axes, "opt_state": optimizer.state_axes(shapes, axes)})
    change = functools.partial(stack if model.config.scan_layers else unstack, names=names)
    with jax.set_mesh(mesh):
        return TrainState(**jax.jit(change, out_shardings=vars(shardings))(vars(state)))


def load_params(
    path: str, model: T5, abstract: PyTree, other: PyTree, *, cast_from: str = ""
) -> PyTree:
    """Returns a checkpoint's parameters as `model` stores them, whichever way they were stored.

    Args:
        path: a checkpoint, or a MODEL_DIR, which stands for its latest.
        model: the model that will use them.
        abstract: `jax.ShapeDtypeStruct`s of the model's parameters, with shardings.
        other: the same of `model.other_layout`.
        cast_from: the one stored dtype that may be cast to the model's; '' for none.
    """
    params = checkpoints.restore_params(path, abstract, other, cast_from=cast_from)
    if jax.tree.structure(params) == jax.tree.structure(abstract):
        return params
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(model.from_other_layout, out_shardings=shardings)(params)
