# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The linen modules of decoder-only models; `models/decoder.py` is what the library uses.

Two blocks: PaLM's, where attention and MLP read the same normed input (Chowdhery et al. 2022,
2204.02311, section 2), and the serial one of LLaMA and most open models. Parameters are named as
T5's; no layer has a bias. With `scan_layers` the layers are one module `layers` whose parameters
are stacked on axis 1; otherwise they are `layers_0`, `layers_1`, ...
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan_jax.core import axes, errors, ranges
from flan_jax.core.tree import PyTree, unflatten
from flan_jax.models import cached_attention, layers, masks, model, remat, rotary, scanning
from flan_jax.models.cached_attention import At, KeysValues, Part
from flan_jax.models.decoder_attention import RotaryAttention
from flan_jax.models.dropout import draw, drop
from flan_jax.models.rotary import Rotation
from flan_jax.parallel.rules import ShardingRules, constrain

BLOCKS = ("parallel", "serial")
NORMS = {"layer": layers.LayerNorm, "rms": layers.RMSNorm}
Masks = Mapping[str, Any]  # dropout masks by place, see `dropout_masks`; empty for no dropout
_HIDDEN = (axes.BATCH, axes.LENGTH, axes.EMBED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Shape and numerics of a decoder; the defaults are PaLM's."""

    vocab_size: int  # rows of the embedding table, padding of the vocabulary included
    emb_dim: int
    num_heads: int
    num_kv_heads: int = 1  # 1: multi-query; fewer than num_heads: grouped-query
    head_dim: int
    num_layers: int
    mlp_dim: int
    mlp_activations: tuple[str, ...] = ("silu", "linear")  # SwiGLU
    block: str = "parallel"  # of `BLOCKS`
    norm: str = "layer"  # of `NORMS`: with the mean subtracted, or not ('rms')
    norm_epsilon: float = 1e-6
    rotary_pairing: str = rotary.INTERLEAVED  # of `rotary.PAIRINGS`
    rotary_theta: float = 10000.0
    prefix_lm: bool = False  # True: a prompt's tokens see all of the prompt (U-PaLM)
    attention: str = "plain"  # or 'fused', where nothing is dropped
    dropout_rate: float = 0.0
    dtype: str = "bfloat16"  # of activations; weights, softmax, norms and logits are float32
    logits_via_embedding: bool = True  # False: an output matrix of its own
    scale_logits: bool = True  # by 1 / sqrt(emb_dim), as an embedding of unit variance needs
    embedding_init_std: float = 1.0  # PaLM's; small models trained with Adam do better near 0.1
    scan_layers: bool = False  # one compiled layer, parameters stacked on axis 1
    remat_policy: str = remat.NONE  # what the backward pass computes again, of `remat.POLICIES`

    # When a run goes on: how layers are stored, and how the same is computed.
    MAY_CHANGE = ("scan_layers", "remat_policy", "attention")

    def __post_init__(self):
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        model.check_config(self)
        numbers = dict(norm_epsilon=self.norm_epsilon, rotary_theta=self.rotary_theta)
        ranges.check("DecoderConfig", "(0, inf)", **numbers)
        for what, name, known in (
            ("decoder block", self.block, BLOCKS),
            ("norm", self.norm, NORMS),
            ("rotary pairing", self.rotary_pairing, rotary.PAIRINGS),
        ):
            if name not in known:
                raise errors.unknown_name(what, name, known)
        if self.num_heads % self.num_kv_heads:
            raise errors.UsageError(
                f"DecoderConfig.num_heads {self.num_heads} is no multiple of num_kv_heads "
                f"{self.num_kv_heads}; change one"
            )
        if self.head_dim % 2:
            raise errors.UsageError(
                f"DecoderConfig.head_dim must be even, as rotary positions turn pairs; got "
                f"{self.head_dim}"
            )

    @property
    def num_decoder_layers(self) -> int:
        """Layers that decode: all of them."""
        return self.num_layers


class DecoderLayer(nn.Module):
    """Self-attention and MLP, added to what came in."""

    config: DecoderConfig
    rules: ShardingRules | None = None

    def setup(self):
        """Declares parameters and submodules."""
        config = self.config
        if config.block == "parallel":
            self.layer_norm = _norm(config)
        else:
            self.pre_self_attention_layer_norm = _norm(config)
            self.pre_mlp_layer_norm = _norm(config)
        self.self_attention = RotaryAttention(
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            emb_dim=config.emb_dim,
            pairing=config.rotary_pairing,
            dropout_rate=config.dropout_rate,
            dtype=config.dtype,
            rules=self.rules,
            fused=config.attention == "fused",
        )
        self.mlp = layers.MLP(
            hidden_dim=config.mlp_dim,
            activations=config.mlp_activations,
            dropout_rate=config.dropout_rate,
            dtype=config.dtype,
            rules=self.rules,
            kernel_init=layers.Init("normal"),
        )

    def __call__(
        self, x: jax.Array, kept: Masks, mask: jax.Array, turned: Rotation
    ) -> tuple[jax.Array, None]:
        """Returns (the next `x` `[batch, length, embed]`, None), the form a scan asks for."""
        y = self._normed(x)
        attended, _ = self.self_attention(y, mask, turned, kept.get("attention"))
        return self._rest(x, y, attended, kept), None

    def follow(
        self,
        x: jax.Array,
        parts: Sequence[Part],
        mask: jax.Array,
        turned: Rotation,
        num_members: int | None,
    ) -> tuple[jax.Array, KeysValues]:
        """Does whole sequences of members `[batch, members*length, embed]`, without dropout.

        They look at `parts` and, as `mask` says, at themselves. None for members: one, which looks
        at nothing else. Returns the next `x`, and keys and values.
        """
        y = self._normed(x)
        if num_members is None:
            attended, keys_values = self.self_attention(y, mask, turned)
            return self._rest(x, y, attended, {}), keys_values
        keys_values = self.self_attention.keys_values(y, turned, num_members)
        parts = [*parts, Part(keys_values, mask[:, :, None, None])]
        attended = self.self_attention.look(y, parts, num_members, turned)
        return self._rest(x, y, attended, {}), keys_values

    def step(
        self, x: jax.Array, parts: Sequence[Part], own: KeysValues, at: At, turned: Rotation
    ) -> tuple[jax.Array, KeysValues]:
        """Decodes one position of each member: `x` `[batch, members, embed]`.

        They look at `parts` and at their `own` cache `[batch, kv_heads, members, slots, kv]`.
        Returns the next `x`, and the step's keys and values, as `own` with one slot.
        """
        y, num_members = self._normed(x), x.shape[1]
        new = self.self_attention.keys_values(y, turned, num_members)
        parts = [*parts, *at.own(own, new)]
        attended = self.self_attention.look(y, parts, num_members, turned)
        return self._rest(x, y, attended, {}), new

    def _normed(self, x: jax.Array) -> jax.Array:
        """Returns what attention reads."""
        x = constrain(x, _HIDDEN, self.rules)
        if self.config.block == "parallel":
            return self.layer_norm(x)
        return self.pre_self_attention_layer_norm(x)

    def _rest(self, x: jax.Array, normed: jax.Array, attended: jax.Array, kept: Masks) -> jax.Array:
        rate = self.config.dropout_rate
        x = x + drop(attended, kept.get("attention_out"), rate)
        if self.config.block == "serial":
            normed = self.pre_mlp_layer_norm(x)
        return x + drop(self.mlp(normed, kept.get("mlp")), kept.get("mlp_out"), rate)


def _norm(config: DecoderConfig) -> nn.Module:
    return NORMS[config.norm](epsilon=config.norm_epsilon, dtype=config.dtype)


def dropout_masks(config: DecoderConfig, key: jax.Array, batch_size: int, length: int) -> PyTree:
    """Returns all dropout masks of a forward pass: `embedded`, `layers` and `output`.

    The places are those of T5's decoder. The masks under `layers` are stacked on axis 0 if layers
    are scanned; else `layers` is a list.
    """
    emb = (1, config.emb_dim)
    by_layer = dict(
        attention=(config.num_heads, 1, length), attention_out=emb,
        mlp=(1, config.mlp_dim), mlp_out=emb,
    )  # fmt: skip
    shapes = {f"layers/{place}": (config.num_layers, *shape) for place, shape in by_layer.items()}
    shapes |= {"embedded": emb, "output": emb}
    kept = unflatten(draw(key, config.dropout_rate, batch_size, shapes))
    own = scanning.by_layer(kept["layers"], config.num_layers, scan=config.scan_layers)
    return kept | {"layers": own}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KnownPrompts:
    """What decoding keeps of prompts; a pytree of `[batch, ...]`, but for the prefix.

    A prompt's last token is what the first step takes, so the steps look at those before it.
    """

    # By layer, [batch, kv_heads, kv, slots] and [batch, kv_heads, slots, kv].
    keys_values: Sequence[KeysValues]
    lengths: jax.Array  # int32 [batch]: slots that are looked at, the first ones
    last: jax.Array  # int32 [batch], the last token
    # The same of a beginning that all prompts share, of one row; or empty.
    prefix: Sequence[KeysValues] = ()

    def widened(self, length: int) -> Self:
        """Returns them with room for prompts of `length` tokens, and what a row begins with."""
        more = 1 + length - cached_attention.num_slots(self.keys_values[0])
        keys_values = cached_attention.with_slots(self.keys_values, more)
        return dataclasses.replace(self, keys_values=keys_values)


# As `scanning.InAxes` says.
_LAYER_AXES = {"__call__": (0, nn.broadcast, nn.broadcast)}


class DecoderStack(nn.Module):
    """From embedded tokens to normed hidden states, and the output matrix."""

    config: DecoderConfig
    rules: ShardingRules | None = None

    def setup(self):
        """Declares parameters and submodules."""
        config = self.config
        self.layers = scanning.build(
            remat.wrap(DecoderLayer, config.remat_policy, scanned=config.scan_layers),
            (config, self.rules),
            config.num_layers,
            _LAYER_AXES,
            scan=config.scan_layers,
        )
        self.decoder_norm = _norm(config)
        if not config.logits_via_embedding:
            # In float32 whatever the activations are: the loss needs it.
            self.logits_dense = layers.Dense(
                config.vocab_size,
                (axes.EMBED, axes.VOCAB),
                kernel_init=layers.Init("normal"),
                rules=self.rules,
            )

    def __call__(
        self, x: jax.Array, mask: jax.Array, positions: jax.Array, kept: Masks
    ) -> jax.Array:
        """Returns `[batch, length, embed]` for embedded tokens of that shape."""
        rate = self.config.dropout_rate
        x = drop(x, kept.get("embedded"), rate)
        x, _ = scanning.run(
            self.layers, _LAYER_AXES, "__call__",
            x, kept.get("layers", {}), mask, self._turned(positions),
        )  # fmt: skip
        return drop(self.decoder_norm(x), kept.get("output"), rate)

    def follow(
        self,
        x: jax.Array,
        parts: Sequence[Sequence[Part]],
        mask: jax.Array,
        positions: jax.Array,
        num_members: int | None,
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Does whole embedded sequences; arguments and result as of a layer's, by layer."""
        turned, found = self._turned(positions), []
        for layer, of_layer in zip(self.layers, parts, strict=True):
            x, keys_values = layer.follow(x, of_layer, mask, turned, num_members)
            found.append(keys_values)
        return self.decoder_norm(x), found

    def step(
        self,
        x: jax.Array,
        parts: Sequence[Sequence[Part]],
        own: Sequence[KeysValues],
        at: At,
        positions: jax.Array,
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Does one position; arguments as of a layer's, by layer; returns the next `own`."""
        turned, new = self._turned(positions), []
        for layer, of_layer, its_own in zip(self.layers, parts, own, strict=True):
            x, of_step = layer.step(x, of_layer, its_own, at, turned)
            new.append(of_step)
        x = self.decoder_norm(x)
        return x, cached_attention.write(own, new, at, after=x)

    def _turned(self, positions: jax.Array) -> Rotation:
        return rotary.rotation(positions, self.config.head_dim, self.config.rotary_theta)


class DecoderNetwork(nn.Module):
    """The whole network."""

    config: DecoderConfig
    rules: ShardingRules | None = None

    def setup(self):
        """Declares parameters and submodules."""
        config = self.config
        self.token_embedder = layers.Embed(
            config.vocab_size, config.emb_dim, config.embedding_init_std, config.dtype, self.rules
        )
        self.decoder = DecoderStack(config, self.rules)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Returns float32 logits `[batch, length, vocab]`: `logits` of `features`."""
        return self.logits(self.features(tokens))

    def features(
        self,
        tokens: jax.Array,
        segment_ids: jax.Array | None = None,
        positions: jax.Array | None = None,
        prefix: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the normed hidden states `[batch, length, embed]` after each of `tokens`.

        Dropout acts if there is a `dropout_key`.
        """
        kept = {}
        if dropout_key is not None:
            kept = dropout_masks(self.config, dropout_key, *tokens.shape)
        mask = masks.decoder_mask(tokens.shape[1], segment_ids, prefix)
        if positions is None:  # distances within a segment are all that counts
            positions = _positions(tokens)
        return self.decoder(self._embed(tokens), mask, positions, kept)

    def logits(self, x: jax.Array) -> jax.Array:
        """Returns float32 logits `[batch, length, vocab]` of the token after each position."""
        if self.config.logits_via_embedding:
            logits = self.token_embedder.attend(x)
        else:
            logits = self.decoder.logits_dense(x)
        if self.config.scale_logits:
            logits = logits * self.config.emb_dim**-0.5
        return constrain(logits, (axes.BATCH, axes.LENGTH, axes.VOCAB), self.rules)

    def prompts(
        self, tokens: jax.Array, num_tokens: jax.Array, prefix: Sequence[KeysValues] = ()
    ) -> KnownPrompts:
        """Returns what decoding keeps of prompts.

        Args:
            tokens: `[batch, length]`: what a row begins with and its prompt, or what of it comes
                after the prefix.
            num_tokens: int32 `[batch]`, how many of them there are.
            prefix: of all prompts, from `prefix`.
        """
        num_prefix, mask = _length(prefix), masks.causal_mask(tokens.shape[1])
        positions = _positions(tokens) + num_prefix
        if self.config.prefix_lm:
            is_prefix = (_positions(tokens) < num_tokens[:, None]).astype(jnp.int32)
            mask = jnp.logical_or(mask, masks.prefix_mask(is_prefix))
        parts = _prefix_parts(prefix) or [[]] * self.config.num_layers
        num_members = 1 if prefix else None
        _, found = self.decoder.follow(self._embed(tokens), parts, mask, positions, num_members)
        if prefix:  # without the dimension of members
            found = [tuple(a[:, :, 0] for a in of_layer) for of_layer in found]
        at = jnp.maximum(num_tokens - 1, 0)
        last = jnp.take_along_axis(tokens, at[:, None], axis=1)[:, 0]
        found = [cached_attention.turned(of_layer) for of_layer in found]
        return KnownPrompts(found, num_tokens - 1, last, prefix)

    def prefix(self, tokens: jax.Array) -> list[KeysValues]:
        """Returns keys and values of a beginning `[1, length]` that no later token changes."""
        mask, nothing = masks.causal_mask(tokens.shape[1]), [[]] * self.config.num_layers
        x, positions = self._embed(tokens), _positions(tokens)
        found = self.decoder.follow(x, nothing, mask, positions, None)[1]
        return [cached_attention.turned(of_layer) for of_layer in found]

    def step(
        self, tokens: jax.Array, prompts: KnownPrompts, own: Sequence[KeysValues], at: At
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Returns float32 logits `[batch, members, vocab]` after `tokens`, and the next `own`."""
        positions = (_first_position(prompts) + at.position)[:, None]
        positions = jnp.broadcast_to(positions, tokens.shape)
        x = self._embed(tokens)
        x, own = self.decoder.step(x, _parts(prompts), own, at, positions)
        return self.logits(x), own

    def follow(self, tokens: jax.Array, prompts: KnownPrompts) -> jax.Array:
        """Returns hidden states `[batch, members, length, embed]` after each of `tokens`."""
        batch, members, length = tokens.shape
        positions = _first_position(prompts)[:, None, None] + jnp.arange(length)[None, None]
        positions = jnp.broadcast_to(positions, tokens.shape).reshape(batch, -1)
        x, mask = self._embed(tokens.reshape(batch, -1)), masks.causal_mask(length)
        x, _ = self.decoder.follow(x, _parts(prompts), mask, positions, members)
        return x.reshape(batch, members, length, -1)

    def _embed(self, tokens: jax.Array) -> jax.Array:
        return constrain(self.token_embedder(tokens), _HIDDEN, self.rules)


def _positions(tokens: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)


def _first_position(prompts: KnownPrompts) -> jax.Array:
    """Returns int32 `[batch]`, the position of each prompt's last token."""
    return _length(prompts.prefix) + prompts.lengths


def _length(prefix: Sequence[KeysValues]) -> int:
    return cached_attention.num_slots(prefix[0]) if prefix else 0


def _prefix_parts(prefix: Sequence[KeysValues]) -> list[list[Part]]:
    return [[Part(of_layer, is_turned=True)] for of_layer in prefix]


def _parts(prompts: KnownPrompts) -> list[list[Part]]:
    """Returns by layer what all members of a row look at."""
    slots = jnp.arange(cached_attention.num_slots(prompts.keys_values[0]))
    mask = (slots[None, :] < prompts.lengths[:, None])[:, None, None, None, None, :]
    parts = [[Part(of_layer, mask, is_turned=True)] for of_layer in prompts.keys_values]
    prefix = _prefix_parts(prompts.prefix) or [[]] * len(parts)
    return [before + after for before, after in zip(prefix, parts, strict=True)]
