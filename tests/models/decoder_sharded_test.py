# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A decoder spread over eight devices is that of one device: initialization, loss and gradients."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.parallel import rules
from tests.models.one_device import (
    MESHES,
    check_gradients,
    check_initialization,
    mesh_of,
    reference,
)

# Eight heads, so that they divide over every mesh; one key-value head, which must not be split.
PALM = DecoderConfig(
    vocab_size=64, emb_dim=16, num_heads=8, head_dim=4, num_layers=2, mlp_dim=24, dtype="float32",
    dropout_rate=0.1, prefix_lm=True, scan_layers=True,
)  # fmt: skip
LLAMA = dataclasses.replace(
    PALM, num_kv_heads=4, block="serial", norm="rms", rotary_pairing="halves",
    logits_via_embedding=False, scale_logits=False, prefix_lm=False, remat_policy="minimal",
)  # fmt: skip


def _batch():
    rng, segments = np.random.default_rng(0), np.repeat([1, 2, 0], 4)[None].repeat(8, axis=0)
    positions = np.tile(np.arange(4), 3)[None].repeat(8, axis=0)
    tokens = np.where(segments > 0, rng.integers(2, 64, (8, 12)), 0)
    batch = {
        "decoder_input_tokens": tokens, "decoder_segment_ids": segments,
        "decoder_positions": positions, "decoder_causal_attention": positions < 2,
    }  # fmt: skip
    return {name: whole.astype(np.int32) for name, whole in batch.items()}


@pytest.fixture(scope="module")
def palm():
    return reference(DecoderLM(PALM), _batch())


@pytest.fixture(scope="module")
def llama():
    return reference(DecoderLM(LLAMA), _batch())


@pytest.mark.slow  # one compilation of initialization per mesh
@pytest.mark.parametrize(("sizes", "preset"), MESHES[:5])
def test_initialization_is_bit_equal_on_every_mesh(palm, sizes, preset):
    check_initialization(functools.partial(DecoderLM, PALM), palm[0], sizes, preset)


@pytest.mark.slow  # one compilation of a partitioned gradient per mesh
@pytest.mark.parametrize(("sizes", "preset"), MESHES)
def test_loss_and_gradients_of_palm_are_those_of_one_device(palm, sizes, preset):
    check_gradients(functools.partial(DecoderLM, PALM), _batch(), palm, sizes, preset)


@pytest.mark.slow  # one compilation of a partitioned gradient per mesh
@pytest.mark.parametrize(("sizes", "preset"), [*MESHES[1:3], MESHES[5]])
def test_loss_and_gradients_of_a_llama_are_those_of_one_device(llama, sizes, preset):
    check_gradients(functools.partial(DecoderLM, LLAMA), _batch(), llama, sizes, preset)


def test_key_value_heads_that_do_not_divide_are_an_error():
    model = DecoderLM(LLAMA, rules.TENSOR)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    with jax.set_mesh(mesh_of((1, 1, 8))):
        with pytest.raises(UsageError, match="'heads' of 4 does not divide over the 8 devices"):
            jax.eval_shape(lambda p: model.features(p, _batch(), train=False), shapes)
