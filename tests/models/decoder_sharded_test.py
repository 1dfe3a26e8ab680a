# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A decoder spread over eight devices is that of one device: initialization, loss and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.core.tree import flatten
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.parallel import arrays, rules
from flan_jax.parallel.mesh import MeshShape, make_mesh

# Eight heads, so that they divide over every mesh; one key-value head, which must not be split.
PALM = DecoderConfig(
    vocab_size=64, emb_dim=16, num_heads=8, head_dim=4, num_layers=2, mlp_dim=24, dtype="float32",
    dropout_rate=0.1, prefix_lm=True, scan_layers=True,
)  # fmt: skip
LLAMA = dataclasses.replace(
    PALM, num_kv_heads=4, block="serial", norm="rms", rotary_pairing="halves",
    logits_via_embedding=False, scale_logits=False, prefix_lm=False, remat_policy="minimal",
)  # fmt: skip
# Slices, devices along `data` and along `model`.
MESHES = [
    ((1, 8, 1), "fsdp"), ((1, 4, 2), "fsdp_tensor"), ((1, 2, 4), "tensor"), ((1, 1, 8), "tensor"),
    ((2, 2, 2), "fsdp_tensor"), ((2, 2, 2), "fsdp_tensor_2d"),
]  # fmt: skip


def _mesh(sizes):
    return make_mesh(MeshShape(num_slices=sizes[0], data=sizes[1], model=sizes[2]))


def _batch():
    rng, segments = np.random.default_rng(0), np.repeat([1, 2, 0], 4)[None].repeat(8, axis=0)
    positions = np.tile(np.arange(4), 3)[None].repeat(8, axis=0)
    tokens = np.where(segments > 0, rng.integers(2, 64, (8, 12)), 0)
    batch = {
        "decoder_input_tokens": tokens, "decoder_segment_ids": segments,
        "decoder_positions": positions, "decoder_causal_attention": positions < 2,
    }  # fmt: skip
    return {name: whole.astype(np.int32) for name, whole in batch.items()}


def _value_and_grad(model):
    def loss(params, batch):
        logits = model.apply(params, batch, train=True, dropout_key=jax.random.key(5))
        targets = jnp.roll(batch["decoder_input_tokens"], -1, axis=1)
        right = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)[..., 0]
        return -jnp.sum(right * (targets > 0))

    return jax.jit(jax.value_and_grad(loss))


def _on_one_device(config):
    """Returns parameters, loss and gradients without any mesh."""
    model = DecoderLM(config)
    params = jax.jit(model.init)(jax.random.key(0))
    return jax.device_get((params, *_value_and_grad(model)(params, _batch())))


@pytest.fixture(scope="module")
def palm():
    return _on_one_device(PALM)


@pytest.fixture(scope="module")
def llama():
    return _on_one_device(LLAMA)


@pytest.mark.slow  # one compilation of initialization per mesh
@pytest.mark.parametrize(("sizes", "preset"), MESHES[:5])
def test_initialization_is_bit_equal_on_every_mesh(palm, sizes, preset):
    model, mesh = DecoderLM(PALM), _mesh(sizes)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    shardings = arrays.params_sharding(shapes, model.logical_axes(), rules.preset(preset), mesh)
    with jax.set_mesh(mesh):
        params = jax.jit(model.init, out_shardings=shardings)(jax.random.key(0))
    for path, leaf in flatten(params).items():
        assert leaf.sharding == flatten(shardings)[path]
        np.testing.assert_array_equal(leaf, flatten(palm[0])[path], err_msg=path)


def _check(config, expected, sizes, preset):
    params, loss, gradients = expected
    mesh, chosen = _mesh(sizes), rules.preset(preset)
    model = DecoderLM(config, chosen)
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


@pytest.mark.slow  # one compilation of a partitioned gradient per mesh
@pytest.mark.parametrize(("sizes", "preset"), MESHES)
def test_loss_and_gradients_of_palm_are_those_of_one_device(palm, sizes, preset):
    _check(PALM, palm, sizes, preset)


@pytest.mark.slow  # one compilation of a partitioned gradient per mesh
@pytest.mark.parametrize(("sizes", "preset"), [*MESHES[1:3], MESHES[5]])
def test_loss_and_gradients_of_a_llama_are_those_of_one_device(llama, sizes, preset):
    _check(LLAMA, llama, sizes, preset)


def test_key_value_heads_that_do_not_divide_are_an_error():
    model = DecoderLM(LLAMA, rules.TENSOR)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    with jax.set_mesh(_mesh((1, 1, 8))):
        with pytest.raises(UsageError, match="'heads' of 4 does not divide over the 8 devices"):
            jax.eval_shape(lambda p: model.features(p, _batch(), train=False), shapes)
