# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T5X's 50-step curve on eight devices: every sharding preset, layers scanned and not."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from flan_jax.models.t5 import T5
from flan_jax.parallel import arrays
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.parallel.rules import PRESETS, preset
from flan_jax.training import state as state_lib
from flan_jax.training import step as step_lib
from flan_jax.training.losses import LossConfig
from flan_jax.training.optimizers import Adafactor
from flan_jax.training.schedules import Constant
from flan_jax.training.step import StepSpec
from tests import golden_t5x

MESHES = {  # devices along data and model
    "replicated": (8, 1),
    "fsdp": (8, 1),
    "tensor": (2, 4),
    "fsdp_tensor": (4, 2),
    "fsdp_tensor_2d": (4, 2),
}


def check(rules, scan_layers, *, remat_policy="none", chunk_length=None):
    """Asserts that our losses are T5X's: the sensitive curve, at every step."""
    config = dataclasses.replace(
        golden_t5x.CONFIG, scan_layers=scan_layers, remat_policy=remat_policy
    )
    spec = StepSpec(
        model=T5(config, rules=preset(rules)),
        optimizer=Adafactor(
            learning_rate=Constant(learning_rate=0.02), min_dim_size_to_factor=32
        ),
        loss=LossConfig(z_loss=1e-4, chunk_length=chunk_length),
    )  # fmt: skip
    data, model = MESHES[rules]
    mesh = make_mesh(MeshShape(data=data, model=model), jax.devices()[: data * model])
    params = golden_t5x.params()
    params = spec.model.from_other_layout(params) if scan_layers else params
    abstract = state_lib.abstract_state(spec.model, spec.optimizer, mesh).params
    params = jax.tree.map(lambda x, leaf: jax.device_put(x, leaf.sharding), params, abstract)
    state = state_lib.state_from_params(spec.model, spec.optimizer, params, mesh)
    batches = golden_t5x.batches()
    step, got = step_lib.jitted_train_step(spec, mesh), []
    with jax.set_mesh(mesh), jax.default_matmul_precision("highest"):
        for i in range(50):
            rows = {name: batch[i] for name, batch in batches.items()}
            batch = arrays.global_batch(rows, spec.model.rules, mesh)
            state, metrics = step(state, batch, jax.random.key(0))
            got.append(float(metrics["objective"]))
    curves = golden_t5x.facts("loss_curves")["curves"]
    want = np.array([row["loss"] for row in curves["lr_0.02_factored32"]["rows"]])
    error = np.max(np.abs(np.array(got) - want) / want)
    print(f"{rules}, scan {scan_layers}: largest relative error over {len(got)} steps {error:.2e}")
    assert error < 1e-3
    assert want[0] / want[-1] > 1.05  # the curve falls: the updates count


def test_meshes_of_all_presets_are_given():
    assert MESHES.keys() == PRESETS.keys()


@pytest.mark.slow  # compiles a partitioned step and runs it 50 times
@pytest.mark.parametrize(
    ("rules", "scan_layers", "settings"),
    [
        ("fsdp", True, dict(remat_policy="minimal")),
        ("fsdp_tensor", True, dict(remat_policy="full", chunk_length=12)),
    ],
)
def test_eight_devices_follow_t5x(rules, scan_layers, settings):
    check(rules, scan_layers, **settings)


@pytest.mark.large  # as above, for each of ten
@pytest.mark.parametrize(("rules", "scan_layers"), list(itertools.product(MESHES, (False, True))))
def test_every_preset_follows_t5x_scanned_and_not(rules, scan_layers):
    check(rules, scan_layers)
