# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the step's program is like: dtypes, what is computed once, and that the state is donated."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from flan_jax.models.t5 import T5, T5Config
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.parallel.rules import preset
from flan_jax.training import state as state_lib
from flan_jax.training import step as step_lib
from flan_jax.training.losses import LossConfig
from flan_jax.training.optimizers import Adafactor
from flan_jax.training.schedules import Constant
from flan_jax.training.step import StepSpec

VOCAB = 48
CONFIG = T5Config(
    vocab_size=VOCAB, emb_dim=16, num_heads=4, head_dim=4, num_encoder_layers=3,
    num_decoder_layers=3, mlp_dim=24, dtype="bfloat16", dropout_rate=0.1,
)  # fmt: skip
BATCH = {
    f"{side}_tokens": np.ones((2, length), np.int32)
    for side, length in (("encoder_input", 12), ("decoder_input", 8), ("decoder_target", 8))
}


def spec_of(**changes):
    return StepSpec(
        model=T5(dataclasses.replace(CONFIG, **changes), rules=preset("replicated")),
        optimizer=Adafactor(learning_rate=Constant(learning_rate=1e-3), min_dim_size_to_factor=16),
        loss=LossConfig(chunk_length=4),
    )


def equations(jaxpr, into_scans=True):
    """Yields the equations of a program and of those inside it."""
    for equation in jaxpr.eqns:
        yield equation
        if equation.primitive.name != "scan" or into_scans:
            for inner in jaxprs_in_params(equation.params):
                yield from equations(inner, into_scans)


def traced_step(spec):
    """Returns the step's program, and the shapes of what it gives."""
    mesh = make_mesh(MeshShape(data=1), jax.devices()[:1])
    state = state_lib.abstract_state(spec.model, spec.optimizer, mesh)
    with jax.set_mesh(mesh):
        traced = step_lib.jitted_train_step(spec, mesh).trace(state, BATCH, jax.random.key(0))
    return traced


@pytest.fixture(scope="module", params=[False, True], ids=["looped", "scanned"])
def program(request):
    return traced_step(spec_of(scan_layers=request.param))


def test_weights_stay_float32_and_products_are_bfloat16(program):
    state, _ = program.out_info
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype for leaf in floats} == {jnp.dtype("float32")}
    operands = {}
    for equation in equations(program.jaxpr.jaxpr):
        if equation.primitive.name == "dot_general":
            shapes = [v.aval for v in (*equation.invars, *equation.outvars)]
            whole = any(VOCAB in aval.shape for aval in shapes)
            operands.setdefault(whole, []).append({v.aval.dtype for v in equation.invars})
    # Of the logits, and of their gradient.
    assert all(dtypes == {jnp.dtype("float32")} for dtypes in operands[True])
    is_bfloat16 = [dtypes == {jnp.dtype("bfloat16")} for dtypes in operands[False]]
    assert len(operands[True]) >= 3 and np.mean(is_bfloat16) > 0.8


def test_softmax_norms_and_loss_are_float32(program):
    # The softmaxes' of attention and loss, the norms'; dropout's divisions are bfloat16.
    for name in ("exp", "reduce_max", "log", "rsqrt"):
        dtypes = {
            equation.invars[0].aval.dtype
            for equation in equations(program.jaxpr.jaxpr)
            if equation.primitive.name == name
        }
        assert dtypes - {jnp.dtype("int32")} == {jnp.dtype("float32")}, name


def test_the_position_bias_is_read_once_for_a_stack(program):
    def num_reads(into_scans):
        table = (CONFIG.num_heads, CONFIG.relpos_buckets)
        return len([
            equation
            for equation in equations(program.jaxpr.jaxpr, into_scans)
            if equation.primitive.name == "gather" and equation.invars[0].aval.shape == table
        ])  # fmt: skip

    assert num_reads(into_scans=True) == num_reads(into_scans=False) == 2


@pytest.mark.slow  # compiles a step
def test_the_state_is_updated_in_place():
    spec = spec_of(scan_layers=True, dropout_rate=0.0)
    traced = traced_step(spec)
    state, _ = traced.out_info
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    memory = traced.lower().compile().memory_analysis()
    assert memory.alias_size_in_bytes == size
