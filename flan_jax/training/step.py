# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One training step and one evaluation step: pure functions of state, batch and key.

The loop runs them through `jitted_train_step` and `jitted_eval_step`, which keep one compiled
program per (spec, mesh) and shape in the process: runs of a sweep with equal shapes compile once.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from flan_jax.core import axes, errors
from flan_jax.core.tree import PyTree
from flan_jax.models.model import Model
from flan_jax.parallel import arrays
from flan_jax.parallel.rules import constrain
from flan_jax.training import losses
from flan_jax.training.losses import LossConfig
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.state import TrainState, abstract_state

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepSpec:
    """All that the compiled step depends on beside shapes; hashable, a static argument."""

    model: Model
    optimizer: Optimizer
    loss: LossConfig
    num_microbatches: int = 1  # the batch is computed in so many parts, gradients summed
    num_members: int = losses.MEMBER_MULTIPLE  # static number of mixture members, padded

    def __post_init__(self):
        if self.num_microbatches < 1:
            raise errors.UsageError(f"num_microbatches must be >= 1, got {self.num_microbatches}")


def train_step(
    state: TrainState, batch: Batch, key: jax.Array, *, spec: StepSpec
) -> tuple[TrainState, Metrics]:
    """Makes one update.

    Args:
        state: the state before; its step selects the learning rate and the dropout key.
        batch: packed or unpacked features under T5X's names, [batch, length] each.
        key: the run's key; the same at every step, so resuming needs no stored key.
        spec: model, optimizer and loss.

    Returns:
        The state after, and metrics of the batch *before* the update: the sums of
        `losses.loss_sums`, `objective` (what was differentiated), `grad_norm`, `update_norm`,
        `param_norm` (after the update), `learning_rate`, and the counts of `count_tokens`.
    """
    step_key = jax.random.fold_in(key, state.step)
    grads, sums = _gradient(spec, state.params, batch, step_key)
    divisor = losses.normalizer(spec.loss, sums["weight"])
    grads = jax.tree.map(lambda grad: grad / divisor, grads)
    learning_rate = spec.optimizer.learning_rate(state.step)
    updates, opt_state = spec.optimizer.build(spec.model.logical_axes()).update(
        grads, state.opt_state, state.params, learning_rate=learning_rate
    )
    params = optax.apply_updates(state.params, updates)
    metrics = {
        **sums,
        **count_tokens(batch),
        "objective": sums["loss"] / divisor,
        "grad_norm": optax.tree.norm(grads),
        "update_norm": optax.tree.norm(updates),
        "param_norm": optax.tree.norm(params),
        "learning_rate": learning_rate,
    }
    return TrainState(step=state.step + 1, params=params, opt_state=opt_state), metrics


def eval_step(params: PyTree, batch: Batch, *, spec: StepSpec) -> Metrics:
    """Returns the sums of `losses.loss_sums` for a batch, without dropout."""
    features = spec.model.features(params, batch, train=False)
    return _sums(spec, params, features, batch)


def count_tokens(batch: Batch) -> Metrics:
    """Returns how many tokens and examples of a batch are not padding, as float32 scalars."""
    targets = batch["decoder_target_tokens"]
    # A packed row numbers its examples from 1; an unpacked one is an example if it has a target.
    segments = batch.get("decoder_segment_ids", (targets != 0).astype(jnp.int32))
    if "encoder_input_tokens" in batch:
        is_input, is_target = batch["encoder_input_tokens"] != 0, targets != 0
    else:  # one row of both, and the loss looks at targets alone
        is_target = batch.get("decoder_loss_weights", targets) > 0
        is_input = jnp.logical_and(segments > 0, jnp.logical_not(is_target))
    return {
        "num_input_tokens": jnp.sum(is_input, dtype=jnp.float32),
        "num_target_tokens": jnp.sum(is_target, dtype=jnp.float32),
        "num_examples": jnp.sum(jnp.max(segments, axis=-1), dtype=jnp.float32),
    }


TrainStep = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]


@functools.lru_cache(maxsize=32)
def jitted_train_step(spec: StepSpec, mesh: Mesh) -> TrainStep:
    """Returns `train_step` compiled for this spec and mesh; it consumes (donates) the state.

    Call it under `jax.set_mesh(mesh)`.
    """
    abstract = abstract_state(spec.model, spec.optimizer, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(
        functools.partial(train_step, spec=spec),
        out_shardings=(shardings, arrays.replicated(mesh)),
        donate_argnums=0,
    )


@functools.lru_cache(maxsize=32)
def jitted_eval_step(spec: StepSpec, mesh: Mesh) -> Callable[[PyTree, Batch], Metrics]:
    """Returns `eval_step` compiled for this spec and mesh."""
    return jax.jit(functools.partial(eval_step, spec=spec), out_shardings=arrays.replicated(mesh))


def _gradient(
    spec: StepSpec, params: PyTree, batch: Batch, key: jax.Array
) -> tuple[PyTree, losses.Sums]:
    """Returns the gradient of the summed loss, and the sums, over all microbatches."""

    def loss(params: PyTree, part: Batch, part_key: jax.Array) -> tuple[jax.Array, losses.Sums]:
        features = spec.model.features(params, part, train=True, dropout_key=part_key)
        sums = _sums(spec, params, features, part)
        return sums["loss"], sums

    gradient = jax.grad(loss, has_aux=True)
    if spec.num_microbatches == 1:
        return gradient(params, batch, key)
    parts = {name: _split(spec, name, rows) for name, rows in batch.items()}

    def add(total, part_and_index):
        part, index = part_and_index
        grads_and_sums = gradient(params, part, jax.random.fold_in(key, index))
        return jax.tree.map(lambda a, b: a + b.astype(jnp.float32), total, grads_and_sums), None

    first = jax.tree.map(lambda rows: rows[0], parts)
    shapes = jax.eval_shape(gradient, params, first, key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)
    total, _ = jax.lax.scan(add, zeros, (parts, jnp.arange(spec.num_microbatches)))
    return total


def _sums(spec: StepSpec, params: PyTree, features: jax.Array, batch: Batch) -> losses.Sums:
    logits_of = functools.partial(spec.model.logits, params)
    return losses.model_sums(spec.loss, logits_of, features, batch, spec.num_members)


def _split(spec: StepSpec, name: str, rows: jax.Array) -> jax.Array:
    """Returns `[num_microbatches, part, ...]`: row i goes to microbatch i modulo their number.

    So each device's rows are spread over all microbatches and no row changes device.
    """
    num = spec.num_microbatches
    if rows.shape[0] % num:
        raise errors.UsageError(
            f"batch {name!r} of {rows.shape[0]} rows does not divide into {num} microbatches; "
            "change the batch size or num_microbatches"
        )
    parts = jnp.swapaxes(rows.reshape(rows.shape[0] // num, num, *rows.shape[1:]), 0, 1)
    return constrain(parts, (None, axes.BATCH, *(None for _ in rows.shape[1:])), spec.model.rules)
