# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Optimizers: frozen dataclasses that build an optax transformation and name its state's axes.

`build` returns a `GradientTransformationExtraArgs` whose `update` takes `learning_rate=`, a scalar:
the training step asks the schedule for it once, with the total step, and logs the same number. The
state counts its own updates, so a warm start from parameters alone begins its averages afresh.

Adafactor follows Shazeer and Stern (2018) with the semantics of `t5x/adafactor.py`, and treats each
layer of a scanned stack as its own parameter: factoring, clipping and parameter scale never reach
across the `layers` axis.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from flan_jax.core import axes, errors, ranges
from flan_jax.core.tree import PyTree, flatten, unflatten
from flan_jax.training.schedules import Schedule

Names = tuple[str | None, ...]


class Optimizer(Protocol):
    """What the training step needs of an optimizer; hashable."""

    learning_rate: Schedule

    def build(self, logical_axes: PyTree | None = None) -> optax.GradientTransformationExtraArgs:
        """Returns the transformation; `logical_axes` marks the stacked parameters."""
        ...

    def state_axes(self, params: PyTree, logical_axes: PyTree) -> PyTree:
        """Returns the logical axis names of the optimizer state, one tuple per array."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adafactor:
    """Adafactor as in T5X; the defaults are T5X's and so, as far as known, the paper's.

    One update of a parameter `p` (each layer of a stack for itself), with gradient `g`, at the
    `t`-th update (from 0):

        decay  = 1 - (t - step_offset + 1)^-decay_rate
        v      = decay * v + (1 - decay) * (g^2 + epsilon1)      factored into row and column means
        y      = g / sqrt(v);  y /= max(1, rms(y) / clipping_threshold)
        delta  = learning_rate * max(rms(p), epsilon2) * y
        p      = (1 - weight_decay_rate) * p - delta

    A parameter is factored if its two largest dimensions are both at least
    `min_dim_size_to_factor`. The state is `{"count": int32, "moments": tree}`: in place of each
    parameter a dict with `v`, or `v_row` and `v_col` where factored, and `m` with momentum.
    """

    learning_rate: Schedule
    decay_rate: float = 0.8
    step_offset: int = 0  # subtracted from the update count, for accumulators of a longer run
    clipping_threshold: float | None = 1.0  # bound on the update's root mean square
    multiply_by_parameter_scale: bool = True
    beta1: float | None = None  # momentum of the update
    weight_decay_rate: float | None = None  # per step, not times the learning rate
    factored: bool = True
    min_dim_size_to_factor: int = 128
    epsilon1: float = 1e-30  # added to the squared gradient
    epsilon2: float = 1e-3  # lower bound of the parameter scale

    def __post_init__(self):
        ranges.check("Adafactor", "(0, 1]", decay_rate=self.decay_rate)
        ranges.check("Adafactor", "(0, inf)", clipping_threshold=self.clipping_threshold)
        ranges.check("Adafactor", "[0, 1)", beta1=self.beta1)
        ranges.check("Adafactor", "[0, inf)", weight_decay_rate=self.weight_decay_rate)
        ranges.check("Adafactor", "[1, inf)", min_dim_size_to_factor=self.min_dim_size_to_factor)
        ranges.check("Adafactor", "(0, inf)", epsilon1=self.epsilon1, epsilon2=self.epsilon2)

    def build(self, logical_axes: PyTree | None = None) -> optax.GradientTransformationExtraArgs:
        """Returns the transformation.

        Args:
            logical_axes: the tree of the parameters with tuples of axis names; a parameter with
                the axis `layers` is a stack. Without it no parameter is one.
        """
        stacks = _stack_axes(logical_axes)

        def init(params: PyTree) -> PyTree:
            moments = {
                path: self._init(param, stacks.get(path)) for path, param in flatten(params).items()
            }
            return {"count": jnp.zeros((), jnp.int32), "moments": unflatten(moments)}

        def update(
            grads: PyTree, state: PyTree, params: PyTree, *, learning_rate: jax.Array
        ) -> tuple[PyTree, PyTree]:
            since = (state["count"] - self.step_offset).astype(jnp.float32)
            decay = 1.0 - (since + 1.0) ** -self.decay_rate
            deltas, moments = {}, {}
            flat_grads, flat_moments = flatten(grads), flatten(state["moments"])
            for path, param in flatten(params).items():
                kept = {k: flat_moments.get(f"{path}/{k}") for k in ("v", "v_row", "v_col", "m")}
                deltas[path], moments[path] = self._update(
                    flat_grads[path], param, kept, stacks.get(path), decay, learning_rate
                )
            state = {"count": state["count"] + 1, "moments": unflatten(moments)}
            return unflatten(deltas), state

        return optax.GradientTransformationExtraArgs(init, update)

    def state_axes(self, params: PyTree, logical_axes: PyTree) -> PyTree:
        """Returns axis names: of a factored parameter the names of the dimensions kept."""
        flat_axes, stacks = flatten(logical_axes), _stack_axes(logical_axes)
        moments = {}
        for path, param in flatten(params).items():
            names = tuple(flat_axes[path])
            pair = self._factored_dims(param.shape, stacks.get(path))
            if pair is None:
                moments[path] = {"v": names}
            else:
                row, col = pair
                moments[path] = {"v_row": _without(names, col), "v_col": _without(names, row)}
            if self.beta1 is not None:
                moments[path]["m"] = names
        return {"count": (), "moments": unflatten(moments)}

    def _factored_dims(self, shape: tuple[int, ...], stack: int | None) -> tuple[int, int] | None:
        """Returns the dimensions kept by `v_row` and by `v_col`: the two largest, or None."""
        dims = [d for d in range(len(shape)) if d != stack]
        if not self.factored or len(dims) < 2:
            return None
        # Ties keep their order, so a square kernel's rows are its inputs, as in T5X.
        order = np.argsort([shape[d] for d in dims], kind="stable")
        row, col = dims[order[-2]], dims[order[-1]]
        return (row, col) if shape[row] >= self.min_dim_size_to_factor else None

    def _init(self, param: jax.Array, stack: int | None) -> dict[str, jax.Array]:
        pair = self._factored_dims(param.shape, stack)
        if pair is None:
            moments = {"v": jnp.zeros(param.shape, jnp.float32)}
        else:
            row, col = pair
            moments = {
                "v_row": jnp.zeros(_without(param.shape, col), jnp.float32),
                "v_col": jnp.zeros(_without(param.shape, row), jnp.float32),
            }
        if self.beta1 is not None:
            moments["m"] = jnp.zeros(param.shape, jnp.float32)
        return moments

    def _update(
        self,
        grad: jax.Array,
        param: jax.Array,
        kept: dict[str, jax.Array | None],
        stack: int | None,
        decay: jax.Array,
        learning_rate: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns what to add to one parameter, and its new moments."""
        grad = grad.astype(jnp.float32)
        mean_dims = tuple(d for d in range(param.ndim) if d != stack)
        step_size = learning_rate
        if self.multiply_by_parameter_scale:
            step_size = step_size * jnp.maximum(_rms(param, mean_dims), self.epsilon2)
        squared = grad * grad + self.epsilon1
        pair = self._factored_dims(param.shape, stack)
        if pair is None:
            moments = {"v": decay * kept["v"] + (1.0 - decay) * squared}
            y = grad * moments["v"] ** -0.5
        else:
            row, col = pair
            v_row = decay * kept["v_row"] + (1.0 - decay) * jnp.mean(squared, axis=col)
            v_col = decay * kept["v_col"] + (1.0 - decay) * jnp.mean(squared, axis=row)
            moments = {"v_row": v_row, "v_col": v_col}
            row_mean = jnp.mean(v_row, axis=row - (col < row), keepdims=True)
            row_factor = jnp.expand_dims((v_row / row_mean) ** -0.5, col)
            y = grad * row_factor * jnp.expand_dims(v_col**-0.5, row)
        if self.clipping_threshold is not None:
            y = y / jnp.maximum(1.0, _rms(y, mean_dims) / self.clipping_threshold)
        delta = step_size * y
        if self.beta1 is not None:
            delta = moments["m"] = self.beta1 * kept["m"] + (1.0 - self.beta1) * delta
        if self.weight_decay_rate is not None:
            delta = delta + self.weight_decay_rate * param
        return (-delta).astype(param.dtype), moments


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), by optax.

    A stack needs no care: Adam works on each number for itself. The state is
    `{"count": int32, "mu": tree, "nu": tree}`.
    """

    learning_rate: Schedule
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0  # times the learning rate; not on parameters of one dimension
    max_grad_norm: float | None = None  # clip the global norm of the gradient first

    def __post_init__(self):
        ranges.check("AdamW", "[0, 1)", beta1=self.beta1, beta2=self.beta2)
        ranges.check("AdamW", "(0, inf)", epsilon=self.epsilon, max_grad_norm=self.max_grad_norm)
        ranges.check("AdamW", "[0, inf)", weight_decay=self.weight_decay)

    def build(self, logical_axes: PyTree | None = None) -> optax.GradientTransformationExtraArgs:
        """Returns the transformation; see `Adafactor.build` for `logical_axes`."""
        stacks = _stack_axes(logical_axes)
        adam = optax.scale_by_adam(b1=self.beta1, b2=self.beta2, eps=self.epsilon)

        def init(params: PyTree) -> PyTree:
            return adam.init(params)._asdict()

        def update(
            grads: PyTree, state: PyTree, params: PyTree, *, learning_rate: jax.Array
        ) -> tuple[PyTree, PyTree]:
            if self.max_grad_norm is not None:
                clip = optax.clip_by_global_norm(self.max_grad_norm)
                grads, _ = clip.update(grads, clip.init(params))
            updates, moments = adam.update(grads, optax.ScaleByAdamState(**state), params)
            flat_params = flatten(params)
            deltas = {}
            for path, y in flatten(updates).items():
                param = flat_params[path]
                if self.weight_decay and param.ndim - (path in stacks) > 1:
                    y = y + self.weight_decay * param
                deltas[path] = (-learning_rate * y).astype(param.dtype)
            return unflatten(deltas), moments._asdict()

        return optax.GradientTransformationExtraArgs(init, update)

    def state_axes(self, params: PyTree, logical_axes: PyTree) -> PyTree:
        """Returns axis names: both moments have those of the parameters."""
        del params
        return {"count": (), "mu": logical_axes, "nu": logical_axes}


def _stack_axes(logical_axes: PyTree | None) -> dict[str, int]:
    """Returns, for each path of a stacked parameter, which dimension counts the layers."""
    stacks = {}
    for path, names in flatten(logical_axes or {}).items():
        if names.count(axes.LAYERS) > 1:
            raise errors.UsageError(f"parameter {path}: axis 'layers' twice in {names}")
        if axes.LAYERS in names:
            stacks[path] = names.index(axes.LAYERS)
    return stacks


def _without(items: tuple, index: int) -> tuple:
    return (*items[:index], *items[index + 1 :])


def _rms(x: jax.Array, dims: tuple[int, ...]) -> jax.Array:
    return jnp.sqrt(jnp.mean(x * x, axis=dims, keepdims=True))
