# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One device as the reference of many, which the sharded tests of both families share."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.core.tree import flatten
from flan_jax.parallel import arrays, rules
from flan_jax.parallel.mesh import MeshShape, make_mesh

# Slices, devices along `data` and along `model`.
MESHES = [
    ((1, 8, 1), "fsdp"), ((1, 4, 2), "fsdp_tensor"), ((1, 2, 4), "tensor"), ((1, 1, 8), "tensor"),
    ((2, 2, 2), "fsdp_tensor"), ((2, 2, 2), "fsdp_tensor_2d"),
]  # fmt: skip


def mesh_of(sizes):
    """Returns a mesh of the first devices."""
    shape = MeshShape(num_slices=sizes[0], data=sizes[1], model=sizes[2])
    return make_mesh(shape, jax.devices()[: math.prod(sizes)])


def loss(model, params, batch):
    """Returns the summed cross entropy of each next token, with dropout."""
    logits = model.apply(params, batch, train=True, dropout_key=jax.random.key(5))
    targets = jnp.roll(batch["decoder_input_tokens"], -1, axis=1)
    log_probs = jax.nn.log_softmax(logits)
    right = jnp.take_along_axis(log_probs, targets[..., None], axis=-1)[..., 0]
    return -jnp.sum(right * (targets > 0))


def value_and_grad(model):
    """Returns a compiled function of parameters and batch."""
    return jax.jit(jax.value_and_grad(lambda params, batch: loss(model, params, batch)))


def reference(model, batch):
    """Returns parameters, loss and gradients without any mesh."""
    params = jax.jit(model.init)(jax.random.key(0))
    return jax.device_get((params, *value_and_grad(model)(params, batch)))


def check_initialization(make, params, sizes, preset):
    """Checks that drawing parameters into a mesh gives `params`, bit for bit."""
    model, mesh = make(None), mesh_of(sizes)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    shardings = arrays.params_sharding(shapes, model.logical_axes(), rules.preset(preset), mesh)
    with jax.set_mesh(mesh):
        got = jax.jit(model.init, out_shardings=shardings)(jax.random.key(0))
    for path, leaf in flatten(got).items():
        assert leaf.sharding == flatten(shardings)[path]
        np.testing.assert_array_equal(leaf, flatten(params)[path], err_msg=path)


def check_gradients(make, batch, expected, sizes, preset):
    """Checks loss and gradients on a mesh; `make` gives the model of sharding rules."""
    params, want_loss, gradients = expected
    mesh, chosen = mesh_of(sizes), rules.preset(preset)
    model = make(chosen)
    shardings = arrays.params_sharding(params, model.logical_axes(), chosen, mesh)
    with jax.set_mesh(mesh):
        got_loss, got = value_and_grad(model)(
            jax.device_put(params, shardings), arrays.global_batch(batch, chosen, mesh)
        )
    np.testing.assert_allclose(got_loss, want_loss, rtol=1e-6)
    for path, leaf in flatten(got).items():
        want = flatten(gradients)[path]
        np.testing.assert_allclose(
            leaf, want, rtol=1e-4, atol=1e-6 * np.abs(want).max() + 1e-7, err_msg=path
        )
