# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A T5 spread over eight devices is the T5 of one device: initialization, loss and gradients."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from flan_jax.core.errors import UsageError
from flan_jax.models.t5 import T5, T5Config
from flan_jax.parallel import rules
from tests.models.one_device import (
    MESHES,
    check_gradients,
    check_initialization,
    loss,
    mesh_of,
    reference,
)

# Eight heads, so that they divide over every mesh; scanned, so that the stacked axis is covered.
CONFIG = T5Config(
    vocab_size=64, emb_dim=16, num_heads=8, head_dim=4, num_encoder_layers=2, num_decoder_layers=2,
    mlp_dim=24, dtype="float32", dropout_rate=0.1, scan_layers=True,
)  # fmt: skip


def _batch():
    rng = np.random.default_rng(0)
    batch = {}
    for side, length in (("encoder", 12), ("decoder", 6)):
        segments = np.repeat([1, 2, 0], length // 3)[None].repeat(8, axis=0).astype(np.int32)
        tokens = rng.integers(2, 64, (8, length)).astype(np.int32)
        batch[f"{side}_input_tokens"] = np.where(segments > 0, tokens, 0)
        batch[f"{side}_segment_ids"] = segments
    return batch


@pytest.fixture(scope="module")
def one_device():
    return reference(T5(CONFIG), _batch())


@pytest.mark.slow  # one compilation of initialization per mesh
@pytest.mark.parametrize(
    ("sizes", "preset"), [((1, 1, 1), "fsdp_tensor"), *MESHES[:2], *MESHES[3:5]]
)
def test_initialization_is_bit_equal_on_every_mesh(one_device, sizes, preset):
    check_initialization(functools.partial(T5, CONFIG), one_device[0], sizes, preset)


@pytest.mark.slow  # one compilation of a partitioned gradient per mesh
@pytest.mark.parametrize(("sizes", "preset"), [*MESHES, ((2, 4, 1), "replicated")])
def test_loss_and_gradients_are_those_of_one_device(one_device, sizes, preset):
    check_gradients(functools.partial(T5, CONFIG), _batch(), one_device, sizes, preset)


def test_activations_are_laid_out_as_the_rules_say():
    """The compiled program holds the constraints; without rules it holds none."""
    mesh = mesh_of((1, 4, 2))
    params = jax.eval_shape(T5(CONFIG).init, jax.random.key(0))

    def program(model):
        with jax.set_mesh(mesh):
            lowered = jax.jit(lambda p, b: loss(model, p, b)).lower(params, _batch())
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
    with jax.set_mesh(mesh_of((1, 2, 4))):
        with pytest.raises(UsageError, match="'heads' of 6 does not divide over the 4 devices"):
            jax.eval_shape(lambda p: model.apply(p, _batch(), train=False), _shapes(config))


def _shapes(config):
    return jax.eval_shape(T5(config).init, jax.random.key(0))
