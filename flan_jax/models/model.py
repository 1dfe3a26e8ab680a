# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What all models are: their parameters, and the functions of these that others call.

Parameters can be drawn, named, and stored with layers either way.
"""

import abc
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan_jax.core import axes, errors
from flan_jax.core.tree import PyTree, flatten, unflatten
from flan_jax.models import layers, remat
from flan_jax.models.attention import KINDS
from flan_jax.models.cached_attention import At, KeysValues
from flan_jax.models.scanning import PARAM_SCAN_AXIS
from flan_jax.models.stacking import stack, unstack
from flan_jax.parallel.rules import ShardingRules

Batch = Mapping[str, jax.Array]
Prompts = Any  # what decoding keeps of prompts; each family has its own
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
    def prompt_cache(
        self,
        params: PyTree,
        prompts: jax.Array,
        prefix: Sequence[KeysValues] = (),
        num_tokens: jax.Array | None = None,
    ) -> Prompts:
        """Returns what decoding keeps of prompts; arrays of it are `[batch, ...]`.

        Args:
            params: as `for_decoding` returns them.
            prompts: `[batch, length]` int32, 0 after a prompt's last token.
            prefix: what all prompts begin with, left out of `prompts`; from `prefix_cache`.
            num_tokens: int32 `[batch]`, tokens of each prompt; None: up to the last that is not 0.
                To an encoder 0 is padding wherever it is.
        """

    def prefix_cache(self, params: PyTree, prefix: jax.Array) -> Sequence[KeysValues]:
        """Returns what a beginning of prompts, `[length]`, leaves, whatever comes after it."""
        raise errors.UsageError(f"a {type(self).__name__} sees a prompt only as a whole")

    @property
    def has_prefix_cache(self) -> bool:
        """Whether the beginning of a prompt can be read apart from its rest."""
        return False

    @abc.abstractmethod
    def first_tokens(self, prompts: Prompts, num_members: int) -> jax.Array:
        """Returns what the first `decode_step` takes, `[batch, members]`."""

    def own_cache(self, batch_size: int, num_members: int, num_slots: int) -> list[KeysValues]:
        """Returns the empty cache of members, good for `num_slots` steps back."""
        config = self.config
        shape = (batch_size, config.num_kv_heads, num_members, num_slots, config.head_dim)
        return [
            tuple(jnp.zeros(shape, config.dtype) for _ in range(2))
            for _ in range(config.num_decoder_layers)
        ]

    def decode_step(
        self,
        params: PyTree,
        prompts: Prompts,
        own: Sequence[KeysValues],
        tokens: jax.Array,
        at: At,
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Decodes one position of each member.

        Args:
            params: as `for_decoding` returns them.
            prompts: from `prompt_cache`.
            own: from `own_cache` or the step before.
            tokens: `[batch, members]` int32, those before this position; at the first
                `first_tokens`.
            at: where this step is.

        Returns:
            Float32 logits `[batch, members, vocab]` of the token at this position, and `own`.
        """
        return self._run("step", params, tokens, prompts, own, at)

    def follow(self, params: PyTree, prompts: Prompts, tokens: jax.Array) -> jax.Array:
        """Returns the features that predict each of `tokens` from those before it.

        Args:
            params: as `for_decoding` returns them.
            prompts: from `prompt_cache`.
            tokens: `[batch, members, length]` int32, what comes after the prompts.

        Returns:
            `[batch, members, length, embed]`, for `logits` with the first dimensions joined.
        """
        first = self.first_tokens(prompts, tokens.shape[1])[:, :, None]
        shifted = jnp.concatenate([first, tokens[:, :, :-1]], axis=2)
        return self._run("follow", params, shifted, prompts)

    def for_decoding(self, params: PyTree) -> tuple[Self, PyTree]:
        """Returns this model with its layers apart, and parameters for it, ready to be read often.

        A kernel is in the activations' dtype, which it would be cast to at each use: the numbers
        stay the same, and an accelerator reads half the bytes.
        """
        model = self.other_layout if self.config.scan_layers else self
        kernels = [leaf for path, leaf in flatten(params).items() if _is_cast(path)]
        if self.config.scan_layers or any(k.dtype != self.config.dtype for k in kernels):
            params = _ready(self, params)
        return model, params

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


@functools.partial(jax.jit, static_argnums=0)
def _ready(model: Model, params: PyTree) -> PyTree:
    """Returns the parameters of `Model.for_decoding`."""
    if model.config.scan_layers:
        params = model.other_layout.from_other_layout(params)
    flat = flatten(params)
    cast = {path: flat[path].astype(model.config.dtype) for path in flat if _is_cast(path)}
    return unflatten(flat | cast)


def _is_cast(path: str) -> bool:
    """Whether a parameter is cast to the activations' dtype wherever it is used."""
    return path.endswith("/kernel") and "logits_dense" not in path


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
