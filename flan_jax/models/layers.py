# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers that the models share: dense projection, embedding, norms, gated MLP.

Parameters are float32 and carry T5X's names, shapes and initial distributions; each layer computes
in its own `dtype`. Each parameter also leaves a `ParamSpec` in the collection `PARAM_SPECS`: from
these a model initializes its parameters and knows the logical names of their axes.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.core import axes
from flan_jax.models.dropout import drop
from flan_jax.parallel.rules import ShardingRules, constrain, gather

DType = str  # 'bfloat16' or 'float32'

PARAM_SPECS = "param_specs"

_TABLE = (axes.VOCAB, axes.EMBED)
_INTO_MLP, _OUT_OF_MLP = (axes.EMBED, axes.MLP), (axes.MLP, axes.EMBED)

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    # The tanh approximation is what T5X means by "gelu"; the exact form gives other numbers.
    "gelu": lambda x: nn.gelu(x, approximate=True),
    "relu": nn.relu,
    "silu": nn.silu,
    "linear": lambda x: x,
}


@dataclasses.dataclass(frozen=True)
class Init:
    """An initial distribution; unlike jax's initializers, two equal ones compare equal.

    `fan` divides the variance `scale` by the number of inputs (`fan_in`), by the mean of inputs
    and outputs (`fan_avg`), or by nothing (None).
    """

    distribution: str  # 'normal', 'truncated_normal', 'uniform' or 'ones'
    scale: float = 1.0
    fan: str | None = "fan_in"

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        """Draws an array."""
        if self.distribution == "ones":
            return jnp.ones(shape, dtype)
        if self.fan is None:
            return nn.initializers.normal(self.scale**0.5)(key, shape, dtype)
        scaling = nn.initializers.variance_scaling(self.scale, self.fan, self.distribution)
        return scaling(key, shape, dtype)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class ParamSpec:
    """What a parameter is before it has a value; holds no array, so `eval_shape` returns it."""

    init: Init
    shape: tuple[int, ...]
    axis_names: tuple[str, ...]


def declare(module: nn.Module, name: str, spec: ParamSpec) -> jax.Array:
    """Declares a float32 parameter of `module` and leaves its spec."""
    module.sow(PARAM_SPECS, name, spec, init_fn=lambda: None, reduce_fn=lambda previous, new: new)
    return module.param(name, spec.init, spec.shape, jnp.float32)


def initialize(specs: Mapping[str, ParamSpec], key: jax.Array) -> dict[str, jax.Array]:
    """Draws a float32 parameter for each path of `specs`.

    A parameter depends on `key`, its path and its spec alone. Parameters of one distribution and
    shape are drawn together, so that compile time hardly grows with depth.
    """
    hashes = np.array([zlib.crc32(path.encode()) for path in specs], np.uint32)
    keys = dict(zip(specs, jax.vmap(jax.random.fold_in, (None, 0))(key, hashes), strict=True))
    groups: dict[tuple[Init, tuple[int, ...]], list[str]] = {}
    for path, spec in specs.items():
        groups.setdefault((spec.init, spec.shape), []).append(path)
    params: dict[str, jax.Array] = {}
    for (init, shape), paths in groups.items():
        if init.distribution == "ones":
            params.update({path: jnp.ones(shape) for path in paths})
            continue
        # A loop rather than vmap: it compiles one generator, in under half the time.
        drawn = jax.lax.map(
            functools.partial(init, shape=shape), jnp.stack([keys[p] for p in paths])
        )
        params.update(zip(paths, drawn, strict=True))
    return params


class Dense(nn.Module):
    """Linear map of the last dimension, without bias."""

    features: int
    axis_names: tuple[str, str]
    kernel_init: Init = Init("truncated_normal")
    dtype: DType = "float32"
    rules: ShardingRules | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., in]` to `[..., features]` in `dtype`."""
        shape = (x.shape[-1], self.features)
        kernel = declare(self, "kernel", ParamSpec(self.kernel_init, shape, self.axis_names))
        kernel = gather(kernel.astype(self.dtype), self.axis_names, self.rules)
        # As one matrix: XLA's CPU backend is up to 1.6 times slower at gradients of batched forms.
        rows = x.astype(self.dtype).reshape(-1, x.shape[-1])
        return jnp.dot(rows, kernel).reshape(*x.shape[:-1], self.features)


class Embed(nn.Module):
    """A table of vectors, looked up by id; can also serve as the output matrix."""

    num_embeddings: int
    features: int
    init_std: float = 1.0
    dtype: DType = "float32"
    rules: ShardingRules | None = None

    def setup(self):
        """Declares parameters and submodules."""
        self.embedding = declare(
            self,
            "embedding",
            ParamSpec(
                Init("normal", self.init_std**2, fan=None),
                (self.num_embeddings, self.features),
                _TABLE,
            ),
        )

    def __call__(self, ids: jax.Array) -> jax.Array:
        """Returns `[..., features]` in `dtype` for integer ids `[...]`.

        An id outside the table gives NaN, so that a wrong vocabulary shows at the first step
        instead of training on a clamped id.
        """
        return jnp.take(self.embedding, ids, axis=0, mode="fill").astype(self.dtype)

    def attend(self, x: jax.Array) -> jax.Array:
        """Returns float32 logits `[..., num_embeddings]` of `x` `[..., features]`."""
        table = gather(self.embedding, _TABLE, self.rules)
        return jnp.dot(x.astype(jnp.float32), table.T)


class RMSNorm(nn.Module):
    """T5's layer norm: division by the root mean square, then a scale; no mean, no bias."""

    epsilon: float = 1e-6
    dtype: DType = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalizes the last dimension; computed in float32, returned in `dtype`."""
        scale = declare(self, "scale", ParamSpec(Init("ones"), (x.shape[-1],), (axes.EMBED,)))
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
        # Rounded before scaling, as T5X does: in bfloat16 the order changes the result.
        scale = scale.astype(self.dtype)
        return x.astype(self.dtype) * jnp.expand_dims(scale, tuple(range(x.ndim - 1)))


class LayerNorm(RMSNorm):
    """Subtraction of the mean, then what `RMSNorm` does: a scale, but no bias."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalizes the last dimension; computed in float32, returned in `dtype`."""
        x = x.astype(jnp.float32)
        return super().__call__(x - jnp.mean(x, axis=-1, keepdims=True))


class MLP(nn.Module):
    """Feed-forward block: the product of one activated projection per entry of `activations`.

    `("gelu", "linear")` is the gated GELU of T5 1.1, `("relu",)` the block of T5 1.0, and
    `("silu", "linear")` the SwiGLU of decoders.
    """

    hidden_dim: int
    activations: tuple[str, ...]
    dropout_rate: float
    dtype: DType = "float32"
    rules: ShardingRules | None = None
    kernel_init: Init = Init("truncated_normal")

    @nn.compact
    def __call__(self, x: jax.Array, kept: jax.Array | None = None) -> jax.Array:
        """Maps `[batch, length, embed]` to the same shape.

        Args:
            x: the input.
            kept: dropout mask `[batch, 1, mlp]` of the hidden numbers, or None.
        """
        hidden = None
        for i, activation in enumerate(self.activations):
            name = "wi" if len(self.activations) == 1 else f"wi_{i}"
            branch = ACTIVATIONS[activation](self._dense(self.hidden_dim, _INTO_MLP, name)(x))
            hidden = branch if hidden is None else hidden * branch
        hidden = drop(hidden, kept, self.dropout_rate)
        hidden = constrain(hidden, (axes.BATCH, axes.LENGTH, axes.MLP), self.rules)
        return self._dense(x.shape[-1], _OUT_OF_MLP, "wo")(hidden)

    def _dense(self, features: int, axis_names: tuple[str, str], name: str) -> Dense:
        return Dense(features, axis_names, self.kernel_init, self.dtype, self.rules, name=name)
