# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers that the models share: dense projection, embedding, RMS norm, gated MLP, dropout.

Parameters are float32 and carry T5X's names, shapes and initializers; each layer computes in its
own `dtype`. Each parameter also records the logical names of its axes in the collection
`PARAM_AXES`, from where a model's `logical_axes()` reads them.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan_jax.core import axes
from flan_jax.parallel.rules import AxisRules, constrain

Initializer = Callable[..., jax.Array]
DType = str  # 'bfloat16' or 'float32'

PARAM_AXES = "param_axes"

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    # The tanh approximation is what T5X means by "gelu"; the exact form gives other numbers.
    "gelu": lambda x: nn.gelu(x, approximate=True),
    "relu": nn.relu,
    "silu": nn.silu,
    "linear": lambda x: x,
}


def scaled_init(scale: float, distribution: str) -> Initializer:
    """Returns an initializer of variance `scale` / fan-in ('normal' or 'truncated_normal')."""
    return nn.initializers.variance_scaling(scale, "fan_in", distribution)


@jax.tree_util.register_static
class AxisNames(tuple):
    """Logical axis names as a value without arrays, so that they pass through `eval_shape`."""


def declare(
    module: nn.Module, name: str, init: Initializer, shape: tuple[int, ...], names: tuple[str, ...]
) -> jax.Array:
    """Declares a float32 parameter of `module` and records the names of its axes."""
    module.sow(
        PARAM_AXES, name, AxisNames(names), init_fn=lambda: None, reduce_fn=lambda _, new: new
    )
    return module.param(name, init, shape, jnp.float32)


class Dense(nn.Module):
    """Linear map of the last dimension, without bias."""

    features: int
    axis_names: tuple[str, str]
    kernel_init: Initializer = scaled_init(1.0, "truncated_normal")
    dtype: DType = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., in]` to `[..., features]` in `dtype`."""
        shape = (x.shape[-1], self.features)
        kernel = declare(self, "kernel", self.kernel_init, shape, self.axis_names)
        return jnp.dot(x.astype(self.dtype), kernel.astype(self.dtype))


class Embed(nn.Module):
    """A table of vectors, looked up by id; can also serve as the output matrix."""

    num_embeddings: int
    features: int
    init_std: float = 1.0
    dtype: DType = "float32"

    def setup(self):
        """Declares parameters and submodules."""
        self.embedding = declare(
            self,
            "embedding",
            nn.initializers.normal(self.init_std),
            (self.num_embeddings, self.features),
            (axes.VOCAB, axes.EMBED),
        )

    def __call__(self, ids: jax.Array) -> jax.Array:
        """Returns `[..., features]` in `dtype` for integer ids `[...]`.

        An id outside the table gives NaN, so that a wrong vocabulary shows at the first step
        instead of training on a clamped id.
        """
        return jnp.take(self.embedding, ids, axis=0, mode="fill").astype(self.dtype)

    def attend(self, x: jax.Array) -> jax.Array:
        """Returns float32 logits `[..., num_embeddings]` of `x` `[..., features]`."""
        return jnp.dot(x.astype(jnp.float32), self.embedding.T)


class RMSNorm(nn.Module):
    """T5's layer norm: division by the root mean square, then a scale; no mean, no bias."""

    epsilon: float = 1e-6
    dtype: DType = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalizes the last dimension; computed in float32, returned in `dtype`."""
        scale = declare(self, "scale", nn.initializers.ones, (x.shape[-1],), (axes.EMBED,))
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
        # Rounded before scaling, as T5X does: in bfloat16 the order changes the result.
        scale = scale.astype(self.dtype)
        return x.astype(self.dtype) * jnp.expand_dims(scale, tuple(range(x.ndim - 1)))


class Dropout(nn.Module):
    """Dropout whose mask is shared by all positions of the second to last dimension.

    T5 shares it over the length: of hidden states `[batch, length, embed]` a whole feature drops,
    of attention weights `[batch, heads, q_length, kv_length]` a whole key.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Drops with probability `rate` and scales the rest up, if `train`; else returns `x`."""
        return nn.Dropout(self.rate, broadcast_dims=(-2,))(x, deterministic=not train)


class MLP(nn.Module):
    """Feed-forward block: the product of one activated projection per entry of `activations`.

    `("gelu", "linear")` is the gated GELU of T5 1.1, `("relu",)` the block of T5 1.0.
    """

    hidden_dim: int
    activations: tuple[str, ...]
    dropout_rate: float
    dtype: DType = "float32"
    rules: AxisRules | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, length, embed]` to the same shape."""
        hidden = None
        for i, activation in enumerate(self.activations):
            name = "wi" if len(self.activations) == 1 else f"wi_{i}"
            dense = Dense(self.hidden_dim, (axes.EMBED, axes.MLP), dtype=self.dtype, name=name)
            branch = ACTIVATIONS[activation](dense(x))
            hidden = branch if hidden is None else hidden * branch
        hidden = Dropout(self.dropout_rate)(hidden, train=train)
        hidden = constrain(hidden, (axes.BATCH, axes.LENGTH, axes.MLP), self.rules)
        return Dense(x.shape[-1], (axes.MLP, axes.EMBED), dtype=self.dtype, name="wo")(hidden)
