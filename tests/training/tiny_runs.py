# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The smallest runs of the training loop, which several tests share: model, batches, calls."""

import dataclasses
import os

import jax
import numpy as np

from flan_jax.data.loader import TrainInput
from flan_jax.models.t5 import T5, T5Config
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.parallel.rules import preset
from flan_jax.training import checkpoints, loop, step
from flan_jax.training.losses import LossConfig
from flan_jax.training.optimizers import Adafactor
from flan_jax.training.schedules import Constant
from flan_jax.training.state import abstract_state
from flan_jax.training.train_config import TrainConfig

VOCAB = 32
MODEL = T5(
    T5Config(
        vocab_size=VOCAB,
        emb_dim=16,
        num_heads=2,
        head_dim=8,
        num_encoder_layers=1,
        num_decoder_layers=1,
        mlp_dim=32,
        dropout_rate=0.1,
        dtype="float32",
    )
)
# One optimizer throughout, so that one program serves all tests.
ADAFACTOR = Adafactor(learning_rate=Constant(learning_rate=0.05), min_dim_size_to_factor=16)
LOSS = LossConfig(loss_normalizing_factor="tokens")
MEMBERS = ("copy", "last", "unseen")
DATA = TrainInput(store="none", batch_size=8)


def make_rows(number, rows=8, length=6):
    """Returns a batch of two tasks, chosen by its number: copy the input; repeat its last token."""
    rng = np.random.default_rng(number)
    inputs = rng.integers(4, 10, (rows, length)).astype(np.int32)
    tasks = rng.integers(0, 2, (rows, 1)).astype(np.int32)
    targets = np.where(tasks == 0, inputs, inputs[:, -1:])
    inputs[:, 0] = tasks[:, 0] + 2
    shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    return {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": shifted,
        "decoder_target_tokens": targets,
        "decoder_loss_weights": np.ones(targets.shape, np.float32),
        "decoder_task_ids": np.broadcast_to(tasks, targets.shape).copy(),
    }


class Batches:
    """Batches made by number; `act` is called with each number before its batch is given."""

    member_names = MEMBERS

    def __init__(self, act, state):
        self._act = act
        self._next = 0 if state is None else state["next"]

    def __next__(self):
        rows = make_rows(self._next)
        self._act(self._next, rows)
        self._next += 1
        return rows

    def state(self):
        return {"next": self._next}

    def report(self):
        return {"examples": {"copy": self._next}}

    def close(self):
        pass


def opener(act=lambda number, rows: None):
    """Returns what the loop opens its data with."""

    def open_data(data, state, *, process_index, process_count):
        assert (data.batch_size, process_index, process_count) == (DATA.batch_size, 0, 1)
        return Batches(act, state)

    return open_data


def train(folder, *, act=lambda number, rows: None, model=MODEL, options=(), **config):
    defaults = {
        "optimizer": ADAFACTOR,
        "loss": LOSS,
        "model_dir": str(folder),
        "train_steps": 12,
        "log_period": 4,
        "eval_period": 0,
        "checkpoint_period": 5,
    }
    inputs = {"data": DATA, "open_data": opener(act), "devices": jax.devices()[:1]}
    return loop.train(
        model=model,
        config=TrainConfig(**{**defaults, **config}),
        **{**inputs, **dict(options)},
    )


def assert_bit_equal(got, want):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(got), jax.device_get(want))


def one_device():
    return make_mesh(MeshShape(data=1), jax.devices()[:1])


def jitted(make):
    """Returns the compiled step that the runs of a file share."""
    spec = step.StepSpec(
        model=dataclasses.replace(MODEL, rules=preset("replicated")), optimizer=ADAFACTOR, loss=LOSS
    )
    return make(spec, one_device())


def state_in(path, optimizer=ADAFACTOR, model=MODEL):
    """Returns everything that a checkpoint holds, on the host."""
    folder, number = os.path.split(path)
    model = dataclasses.replace(model, rules=preset("replicated"))
    with checkpoints.Checkpoints(folder) as manager:
        restored = manager.restore(
            checkpoints.step_of(number), abstract_state(model, optimizer, one_device())
        )
    return jax.device_get(restored.state), restored.data, restored.config
