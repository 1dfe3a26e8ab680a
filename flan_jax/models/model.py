# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What all models are: their parameters, and the functions of these that others call.

Parameters can be drawn, named, and stored with layers either way.
"""

import abc
import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax

from flan_jax.core import axes, errors
from flan_jax.core.tree import PyTree, flatten, unflatten
from flan_jax.models import layers, remat
from flan_jax.models.attention import KINDS
from flan_jax.models.scanning import PARAM_SCAN_AXIS
from flan_jax.models.stacking import stack, unstack
from flan_jax.parallel.rules import ShardingRules

Batch = Mapping[str, jax.Array]
Cache = Any  # what decoding keeps between positions; each family has its own
DTYPES = ("bfloat16", "float32")
_LAYER = re.compile(r"/layers_\d+/")


@dataclasses.dataclass(frozen=True)
class Model(abc.ABC):
    """A configuration with a `scan_layers`, and how its parameters come to be.

    Frozen and hashable: pass it to `jax.jit` as a static argument.

    With `rules`, activations are laid out over the mesh that `jax.set_mesh` set, and running
    without one is an error; without `rules` the compiler chooses.
    """

    config: Any
    rules: ShardingRules | None = None

    LAYOUT: ClassVar[str]  # of its batches, a name of `data.row_layouts.LAYOUTS`
    NETWORK: ClassVar[type[nn.Module]]  # made of `config` and `rules`; its methods do the work
    MAY_CHANGE = ("rules",)  # when a run goes on

    @abc.abstractmethod
    def param_specs(self) -> Mapping[str, layers.ParamSpec]:
        """Returns path -> spec of every parameter, layers each apart."""

    @abc.abstractmethod
    def features(
        self, params: PyTree, batch: Batch, *, train: bool, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns what `logits` takes: the last hidden states `[batch, length, embed]`, normed."""

    def logits(self, params: PyTree, features: jax.Array) -> jax.Array:
        """Returns float32 logits `[batch, length, vocab]` of `features` `[batch, length, embed]`.

        Each position for itself, so that a loss may take some positions at a time.
        """
        return self._run("logits", params, features)

    def apply(
        self, params: PyTree, batch: Batch, *, train: bool, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns float32 logits `[batch, length, vocab]`; arguments as of `features`."""
        features = self.features(params, batch, train=train, dropout_key=dropout_key)
        return self.logits(params, features)

    @abc.abstractmethod
    def first_tokens(self, prompts: jax.Array) -> jax.Array:
        """Returns what the first `decode_step` takes, `[batch]`, for prompts `[batch, length]`."""

    @abc.abstractmethod
    def init_cache(self, params: PyTree, prompts: jax.Array, *, max_length: int) -> Cache:
        """Returns the cache to decode `max_length` positions after `prompts` from."""

    def decode_step(
        self, params: PyTree, cache: Cache, tokens: jax.Array
    ) -> tuple[jax.Array, Cache]:
        """Decodes one position.

        Args:
            params: as `init` returns them.
            cache: from `init_cache` or the step before; good for its `max_length` steps.
            tokens: `[batch]` int32, the token before this position; at the first `first_tokens`.

        Returns:
            Float32 logits `[batch, vocab]` of the token at this position, and the next cache.
        """
        return self._run("step", params, tokens, cache)

    def init(self, key: jax.Array) -> PyTree:
        """Returns freshly drawn float32 parameters.

        Scanned parameters are bit-equal to unscanned ones of the same key, stacked. To create them
        sharded, jit this with `out_shardings`.
        """
        params = unflatten(layers.initialize(self.param_specs(), key))
        return stack(params, flatten(self.logical_axes())) if self.config.scan_layers else params

    def logical_axes(self) -> PyTree:
        """Returns the parameters' tree with a tuple of logical axis names for each."""
        names: dict[str, tuple[str, ...]] = {}
        for path, spec in self.param_specs().items():
            scanned = _LAYER.sub("/layers/", path)
            if self.config.scan_layers and scanned != path:
                at = PARAM_SCAN_AXIS
                names[scanned] = (*spec.axis_names[:at], axes.LAYERS, *spec.axis_names[at:])
            else:
                names[path] = spec.axis_names
        return unflatten(names)

    @property
    def other_layout(self) -> Self:
        """The same model with its layers stored the other way: stacked, or each apart."""
        config = dataclasses.replace(self.config, scan_layers=not self.config.scan_layers)
        return dataclasses.replace(self, config=config)

    def from_other_layout(self, params: PyTree) -> PyTree:
        """Returns parameters of `other_layout` as this model stores them."""
        stacked = self if self.config.scan_layers else self.other_layout
        change = stack if self.config.scan_layers else unstack
        return change(params, flatten(stacked.logical_axes()))

    def _run(self, method: str, params: PyTree, *arguments):
        """Calls a method of the network."""
        network = self.NETWORK(self.config, self.rules)
        return network.apply({"params": params}, *arguments, method=method)


def check_config(config: Any) -> None:
    """Checks the fields that the configurations of all families have, and the types of numbers."""
    name = type(config).__name__
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type is int and (type(value) is not int or value < 1):
            raise errors.UsageError(
                f"{name}.{field.name} must be a positive integer, got {value!r}"
            )
        if field.type is bool and type(value) is not bool:
            raise errors.UsageError(f"{name}.{field.name} must be True or False, got {value!r}")
    if config.dtype not in DTYPES:
        is_half = isinstance(config.dtype, str) and "16" in config.dtype
        remedy = "; float16 overflows in the residual stream" if is_half else ""
        raise errors.UsageError(
            f"{name}.dtype {config.dtype!r} is not supported{remedy}; use {' or '.join(DTYPES)}"
        )
    if not 0.0 <= config.dropout_rate < 1.0:
        raise errors.UsageError(
            f"{name}.dropout_rate must be at least 0 and below 1, got {config.dropout_rate}"
        )
    if not config.mlp_activations:
        raise errors.UsageError(f"{name}.mlp_activations is empty; name one activation at least")
    for activation in config.mlp_activations:
        if activation not in layers.ACTIVATIONS:
            raise errors.unknown_name("activation", activation, layers.ACTIVATIONS)
    if config.attention not in KINDS:
        raise errors.unknown_name("attention", config.attention, KINDS)
    remat.check(config.remat_policy)


def from_preset(
    config: type, presets: Mapping[str, dict[str, Any]], what: str, preset: str, **overrides: Any
) -> Any:
    """Returns the configuration of a preset, with fields overridden.

    Args:
        config: its class.
        presets: name -> fields.
        what: the presets' name for error messages.
        preset: the name.
        **overrides: fields of `config`.
    """
    if preset not in presets:
        raise errors.unknown_name(what, preset, presets)
    fields = presets[preset] | overrides
    if "vocab_size" not in fields:
        raise errors.UsageError(
            f"{what} {preset!r} has no vocabulary of its own; give vocab_size, the vocabulary's "
            "padded_size"
        )
    return config(**fields)


def feature(batch: Batch, name: str) -> jax.Array:
    """Returns the array `name` of a batch, which a model needs."""
    if name not in batch:
        raise errors.UsageError(f"batch has no {name!r}, only {sorted(batch)}")
    return batch[name]


def dropout_key_in_use(config: Any, train: bool, dropout_key: jax.Array | None) -> jax.Array | None:
    """Returns the key if dropout acts, else None."""
    if not train or config.dropout_rate == 0:
        return None
    if dropout_key is None:
        raise errors.UsageError(
            f"train=True with dropout_rate={config.dropout_rate} needs a dropout_key; pass one, or "
            "set the rate to 0"
        )
    return dropout_key


def repeated(
    specs: Mapping[str, layers.ParamSpec], num_layers: Mapping[str, int]
) -> dict[str, layers.ParamSpec]:
    """Returns the specs of all layers, of those of a model with one layer a stack.

    Args:
        specs: path -> spec; layers of a stack are alike, so one of each need be traced.
        num_layers: name of a stack, the first of its paths -> number of its layers.
    """
    result: dict[str, layers.ParamSpec] = {}
    for path, spec in specs.items():
        copies = num_layers[path.split("/")[0]] if _LAYER.search(path) else 1
        result.update({_LAYER.sub(f"/layers_{i}/", path): spec for i in range(copies)})
    return result
