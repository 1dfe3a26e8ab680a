# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A T5 spread over eight devices is the T5 of one device: initialization, loss and gradients."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.core.tree import flatten
from flan_jax.models.t5 import T5, T5Config
from flan_jax.parallel import arrays, rules
from flan_jax.parallel.mesh import MeshShape, make_mesh

# Eight heads, so that they divide over every mesh; scanned, so that the stacked axis is covered.
CONFIG = T5Config(
    vocab_size=64, emb_dim=16, num_heads=8, head_dim=4, num_encoder_layers=2, num_decoder_layers=2,
    mlp_dim=24, dtype="float32", dropout_rate=0.1, scan_layers=True,
)  # fmt: skip
# Slices, devices along `data` and along `model`.
MESHES = [
    ((1, 8, 1), "fsdp"), ((1, 4, 2), "fsdp_tensor"), ((1, 2, 4), "tensor"), ((1, 1, 8), "tensor"),
    ((2, 2, 2), "fsdp_tensor"), ((2, 2, 2), "fsdp_tensor_2d"), ((2, 4, 1), "replicated"),
]  # fmt: skip


def _mesh(sizes):
    shape = MeshShape(num_slices=sizes[0], data=sizes[1], model=sizes[2])
    return make_mesh(shape, jax.devices()[: math.prod(sizes)])


def _batch():
    rng = np.random.default_rng(0)
    batch = {}
    for side, length in (("encoder", 12), ("decoder", 6)):
        segments = np.repeat([1, 2, 0], length // 3)[None].repeat(8, axis=0).astype(np.int32)
        tokens = rng.integers(2, 64, (8, length)).astype(np.int32)
        batch[f"{side}_input_tokens"] = np.where(segments > 0, tokens, 0)
        batch[f"{side}_segment_ids"] = segments
    return batch


def _loss(model, params, batch):
    logits = model.apply(params, batch, train=True, dropout_key=jax.random.key(5))
    targets = jnp.roll(batch["decoder_input_tokens"], -1, axis=1)
    log_probs = jax.nn.log_softmax(logits)
    right = jnp.take_along_axis(log_probs, targets[..., None], axis=-1)[..., 0]
    return -jnp.sum(right * (targets > 0))


def _value_and_grad(model):
    return jax.jit(jax.value_and_grad(lambda params, batch: _loss(model, params, batch)))


@pytest.fixture(scope="module")
def one_device():
    """Parameters, loss and gradients without any mesh."""
    model = T5(CONFIG)
    params = jax.jit(model.init)(jax.random.key(0))
    loss, gradients = _value_and_grad(model)(params, _batch())
    return jax.device_get((params, loss, gradients))


@pytest.mark.slow  # one compilation of initialization per mesh
@pytest.mark.parametrize(
    ("sizes", "preset"), [((1, 1, 1), "fsdp_tensor"), *MESHES[:2], *MESHES[3:5]]
)
def test_initialization_is_bit_equal_on_every_mesh(one_device, sizes, preset):
    model, mesh = T5(CONFIG), _mesh(sizes)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    shardings = arrays.params_sharding(shapes, model.logical_axes(), rules.preset(preset), mesh)
    with jax.set_mesh(mesh):
        params = jax.jit(model.init, out_shardings=shardings)(jax.random.key(0))
    for path, leaf in flatten(params).items():
        assert leaf.sharding == flatten(shardings)[path]
        np.testing.assert_array_equal(leaf, flatten(one_device[0])[path], err_msg=path)


@pytest.mark.slow  # one compilation of a partitioned gradient per mesh
@pytest.mark.parametrize(("sizes", "preset"), MESHES)
def test_loss_and_gradients_are_those_of_one_device(one_device, sizes, preset):
    params, loss, gradients = one_device
    mesh, chosen = _mesh(sizes), rules.preset(preset)
    model = T5(CONFIG, chosen)
    shardings = arrays.params_sharding(params, model.logical_axes(), chosen, mesh)
    with jax.set_mesh(mesh):
        got_loss, got = _value_and_grad(model)(
            jax.device_put(params, shardings), arrays.global_batch(_batch(), chosen, mesh)
        )
    np.testing.assert_allclose(got_loss, loss, rtol=1e-6)
    for path, leaf in flatten(got).items():
        want = flatten(gradients)[path]
        np.testing.assert_allclose(
            leaf, want, rtol=1e-4, atol=1e-6 * np.abs(want).max() + 1e-7, err_msg=path
        )


def test_activations_are_laid_out_as_the_rules_say():
    """The compiled program holds the constraints; without rules it holds none."""
    mesh = _mesh((1, 4, 2))
    params = jax.eval_shape(T5(CONFIG).init, jax.random.key(0))

    def program(model):
        with jax.set_mesh(mesh):
            lowered = jax.jit(lambda p, b: _loss(model, p, b)).lower(params, _batch())
        return lowered.as_text()

    text = program(T5(CONFIG, rules.TENSOR))
    for names in ("{}, {}", '{}, {"model"}', '{}, {"model"}, {}'):  # hidden; mlp, vocab; heads
        assert "sharding_constraint" in text and f'[{{"data"}}, {names}]' in text, names
    assert "sharding_constraint" not in program(T5(CONFIG))


def test_rules_without_a_mesh_are_an_error():
    model = T5(CONFIG, rules.FSDP)
    with pytest.raises(UsageError, match="no mesh is set"):
        jax.eval_shape(lambda p: model.apply(p, _batch(), train=False), _shapes(CONFIG))


def test_heads_that_do_not_divide_are_an_error():
    config = dataclasses.replace(CONFIG, num_heads=6)
    model = T5(config, rules.TENSOR)
    with jax.set_mesh(_mesh((1, 2, 4))):
        with pytest.raises(UsageError, match="'heads' of 6 does not divide over the 4 devices"):
            jax.eval_shape(lambda p: model.apply(p, _batch(), train=False), _shapes(config))


def _shapes(config):
    return jax.eval_shape(T5(config).init, jax.random.key(0))
