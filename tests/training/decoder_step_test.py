# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training steps of a decoder-only model on rows that hold inputs and targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.data import packing
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_presets import decoder_config
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.parallel.rules import preset
from flan_jax.training import state as state_lib
from flan_jax.training import step as step_lib
from flan_jax.training.losses import LossConfig
from flan_jax.training.optimizers import AdamW
from flan_jax.training.schedules import Constant

NUM_INPUTS, NUM_TARGETS = 6, 3


def _batch():
    """Eight rows of two examples each, whose targets repeat their first inputs."""
    inputs = np.random.default_rng(0).integers(2, 64, (16, NUM_INPUTS)).astype(np.int32)
    tokens = np.concatenate([inputs, inputs[:, :NUM_TARGETS]], axis=1)
    return packing.pack_decoder_rows(
        tokens=tokens.reshape(-1), input_lengths=np.full(16, NUM_INPUTS),
        target_lengths=np.full(16, NUM_TARGETS), task_ids=np.zeros(16, np.int32),
        splits=np.arange(0, 17, 2), max_length=20,
    )  # fmt: skip


def test_counts_tell_inputs_from_targets():
    counts = step_lib.count_tokens({name: jnp.asarray(rows) for name, rows in _batch().items()})
    want = dict(num_input_tokens=96, num_target_tokens=48, num_examples=16)
    assert {name: float(value) for name, value in counts.items()} == want


@pytest.mark.slow  # compiles a whole step
@pytest.mark.parametrize("num_microbatches", [1, 2])
def test_the_loss_falls_and_is_of_the_targets_alone(num_microbatches):
    config = decoder_config(
        "tiny_decoder", vocab_size=64, num_layers=2, prefix_lm=True, scan_layers=True
    )
    spec = step_lib.StepSpec(
        model=DecoderLM(config, preset("replicated")),
        optimizer=AdamW(learning_rate=Constant(learning_rate=3e-3)),
        loss=LossConfig(loss_normalizing_factor="tokens"),
        num_microbatches=num_microbatches,
    )
    mesh = make_mesh(MeshShape(), jax.devices()[:1])
    state = state_lib.create_state(spec.model, spec.optimizer, jax.random.key(0), mesh)
    means = []
    with jax.set_mesh(mesh):
        step = step_lib.jitted_train_step(spec, mesh)
        for _ in range(30):
            state, metrics = step(state, _batch(), jax.random.key(1))
            assert float(metrics["weight"]) == 48
            means.append(float(metrics["loss"]) / 48)
    assert 3 < means[0] < 6 and means[-1] < 0.5 * means[0]
