# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The linen modules of T5 1.1; `models/t5.py` is what the rest of the library uses.

An encoder-decoder with relative position bias and gated GELU, as T5X builds it
(google-research/t5x, `examples/t5/network.py`), under its parameter names. With `scan_layers` the
layers of a stack are one module `layers` whose parameters are stacked on axis 1 (T5X's
`examples/scalable_t5`); otherwise they are `layers_0`, `layers_1`, ...
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan_jax.core import axes, errors
from flan_jax.core.tree import PyTree, unflatten
from flan_jax.models import cached_attention, layers, masks, model, remat, scanning
from flan_jax.models.attention import Attention
from flan_jax.models.cached_attention import At, KeysValues, Part
from flan_jax.models.dropout import draw, drop
from flan_jax.models.positions import RelativePositionBias
from flan_jax.parallel.rules import ShardingRules, constrain

Masks = Mapping[str, Any]  # dropout masks by place, see `dropout_masks`; empty for no dropout
_HIDDEN = (axes.BATCH, axes.LENGTH, axes.EMBED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5Config:
    """Shape and numerics of a T5; the published sizes are in `models/presets.py`."""

    vocab_size: int  # rows of the embedding table, padding of the vocabulary included
    emb_dim: int
    num_heads: int
    head_dim: int
    num_encoder_layers: int
    num_decoder_layers: int
    mlp_dim: int
    mlp_activations: tuple[str, ...] = ("gelu", "linear")
    dropout_rate: float = 0.0
    dtype: str = "bfloat16"  # of activations; weights, softmax, norms and logits are float32
    logits_via_embedding: bool = False  # True ties the output matrix to the embedding (T5 1.0)
    scan_layers: bool = False  # one compiled layer per stack, parameters stacked on axis 1
    remat_policy: str = remat.NONE  # what the backward pass computes again, of `remat.POLICIES`
    embedding_init_std: float = 1.0  # T5X's; small models trained with Adam do better near 0.1
    attention: str = "plain"  # or 'fused', where nothing is dropped
    relpos_buckets: int = 32
    relpos_max_distance: int = 128

    # When a run goes on: how layers are stored and computed, not what they compute.
    MAY_CHANGE = ("scan_layers", "remat_policy", "attention")

    def __post_init__(self):
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        model.check_config(self)
        # Half of the buckets are for one direction, half of those for single distances.
        if self.relpos_buckets < 4 or self.relpos_max_distance <= self.relpos_buckets // 2:
            raise errors.UsageError(
                "T5Config.relpos_buckets must be at least 4, and relpos_max_distance above half of "
                f"it, got {self.relpos_buckets} and {self.relpos_max_distance}"
            )

    @property
    def num_kv_heads(self) -> int:
        """Heads of keys and values: each head of the queries has its own."""
        return self.num_heads


def _attention(config: T5Config, rules: ShardingRules | None) -> Attention:
    return Attention(
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        emb_dim=config.emb_dim,
        dropout_rate=config.dropout_rate,
        dtype=config.dtype,
        rules=rules,
        fused=config.attention == "fused",
    )


def _mlp(config: T5Config, rules: ShardingRules | None) -> layers.MLP:
    return layers.MLP(
        hidden_dim=config.mlp_dim,
        activations=config.mlp_activations,
        dropout_rate=config.dropout_rate,
        dtype=config.dtype,
        rules=rules,
    )


class EncoderLayer(nn.Module):
    """Self-attention, then MLP; each on a normed input and added to what came in."""

    config: T5Config
    rules: ShardingRules | None = None

    def setup(self):
        """Declares parameters and submodules."""
        config = self.config
        self.pre_attention_layer_norm = layers.RMSNorm(dtype=config.dtype)
        self.attention = _attention(config, self.rules)
        self.pre_mlp_layer_norm = layers.RMSNorm(dtype=config.dtype)
        self.mlp = _mlp(config, self.rules)

    def __call__(
        self, x: jax.Array, kept: Masks, mask: jax.Array, bias: jax.Array
    ) -> tuple[jax.Array, None]:
        """Returns (the next `x` `[batch, length, embed]`, None), the form a scan asks for."""
        rate = self.config.dropout_rate
        x = constrain(x, _HIDDEN, self.rules)
        y = self.pre_attention_layer_norm(x)
        y = self.attention(y, y, mask, bias, kept.get("attention"))
        x = x + drop(y, kept.get("attention_out"), rate)
        y = self.mlp(self.pre_mlp_layer_norm(x), kept.get("mlp"))
        return x + drop(y, kept.get("mlp_out"), rate), None


class DecoderLayer(nn.Module):
    """Self-attention, attention over the encoded input, then MLP."""

    config: T5Config
    rules: ShardingRules | None = None

    def setup(self):
        """Declares parameters and submodules."""
        config = self.config
        self.pre_self_attention_layer_norm = layers.RMSNorm(dtype=config.dtype)
        self.self_attention = _attention(config, self.rules)
        self.pre_cross_attention_layer_norm = layers.RMSNorm(dtype=config.dtype)
        self.encoder_decoder_attention = _attention(config, self.rules)
        self.pre_mlp_layer_norm = layers.RMSNorm(dtype=config.dtype)
        self.mlp = _mlp(config, self.rules)

    def __call__(
        self,
        x: jax.Array,
        kept: Masks,
        encoded: jax.Array,
        self_mask: jax.Array,
        bias: jax.Array,
        cross_mask: jax.Array,
    ) -> tuple[jax.Array, None]:
        """Returns (the next `x` `[batch, length, embed]`, None), the form a scan asks for."""
        x = constrain(x, _HIDDEN, self.rules)
        y = self.pre_self_attention_layer_norm(x)
        y = self.self_attention(y, y, self_mask, bias, kept.get("self_attention"))
        x = x + drop(y, kept.get("self_attention_out"), self.config.dropout_rate)
        y = self.pre_cross_attention_layer_norm(x)
        y = self.encoder_decoder_attention(
            y, encoded, cross_mask, None, kept.get("cross_attention")
        )
        x = x + drop(y, kept.get("cross_attention_out"), self.config.dropout_rate)
        y = self.mlp(self.pre_mlp_layer_norm(x), kept.get("mlp"))
        return x + drop(y, kept.get("mlp_out"), self.config.dropout_rate), None

    def step(
        self, x: jax.Array, own: KeysValues, cross: Part, at: At, bias: jax.Array
    ) -> tuple[jax.Array, KeysValues]:
        """Decodes one position of each member, without dropout.

        Args:
            x: `[batch, members, embed]`.
            own: the members' own cache, `[batch, heads, members, slots, kv]` each.
            cross: the encoded prompts.
            at: where this step is.
            bias: by age, `[heads, slots]`.

        Returns:
            The next `x`, and the step's keys and values, as `own` with one slot.
        """
        y, num_members = self.pre_self_attention_layer_norm(x), x.shape[1]
        new = self.self_attention.keys_values(y, num_members)
        return self._look(x, y, at.own(own, new, bias), cross, num_members), new

    def follow(
        self, x: jax.Array, cross: Part, mask: jax.Array, bias: jax.Array, num_members: int
    ) -> jax.Array:
        """Does whole sequences of members `[batch, members*length, embed]`, without dropout."""
        y = self.pre_self_attention_layer_norm(x)
        own = Part(self.self_attention.keys_values(y, num_members), mask, bias)
        return self._look(x, y, [own], cross, num_members)

    def _look(
        self, x: jax.Array, normed: jax.Array, own: Sequence[Part], cross: Part, num_members: int
    ) -> jax.Array:
        x = x + self.self_attention.look(normed, own, num_members)
        y = self.pre_cross_attention_layer_norm(x)
        x = x + self.encoder_decoder_attention.look(y, [cross], num_members)
        return x + self.mlp(self.pre_mlp_layer_norm(x))

    def cross_keys_values(self, encoded: jax.Array) -> KeysValues:
        """Returns keys and values of encoded prompts `[batch, length, embed]`."""
        return self.encoder_decoder_attention.keys_values(encoded)


def dropout_masks(
    config: T5Config, key: jax.Array, batch_size: int, inputs_length: int, targets_length: int
) -> PyTree:
    """Returns all dropout masks of a forward pass: per stack `embedded`, `layers` and `output`.

    The masks under `layers` are stacked on axis 0 if layers are scanned; else `layers` is a list.
    """
    emb, mlp, heads = (1, config.emb_dim), (1, config.mlp_dim), config.num_heads
    to_inputs, to_targets = (heads, 1, inputs_length), (heads, 1, targets_length)
    by_layer = {
        "encoder": dict(attention=to_inputs, attention_out=emb, mlp=mlp, mlp_out=emb),
        "decoder": dict(
            self_attention=to_targets, self_attention_out=emb, cross_attention=to_inputs,
            cross_attention_out=emb, mlp=mlp, mlp_out=emb,
        ),
    }  # fmt: skip
    num_layers = dict(encoder=config.num_encoder_layers, decoder=config.num_decoder_layers)
    shapes = {
        "encoder/embedded": emb,
        "decoder/embedded": emb,
        # Only here T5X drops single numbers instead of whole features.
        "encoder/output": (inputs_length, config.emb_dim),
        "decoder/output": emb,
    }
    for stack, places in by_layer.items():
        for place, shape in places.items():
            shapes[f"{stack}/layers/{place}"] = (num_layers[stack], *shape)
    kept = unflatten(draw(key, config.dropout_rate, batch_size, shapes))
    for stack, num in num_layers.items():
        drawn = kept[stack]["layers"]
        kept[stack]["layers"] = scanning.by_layer(drawn, num, scan=config.scan_layers)
    return kept


# As `scanning.InAxes` says.
_ENCODER_AXES = {"__call__": (0, nn.broadcast, nn.broadcast)}
_DECODER_AXES = {"__call__": (0, *(nn.broadcast,) * 4)}


class Encoder(nn.Module):
    """The encoder's stack, from embedded tokens to what the decoder looks at."""

    config: T5Config
    rules: ShardingRules | None = None

    def setup(self):
        """Declares parameters and submodules."""
        config = self.config
        self.relpos_bias = _position_bias(config, bidirectional=True)
        layer = remat.wrap(EncoderLayer, config.remat_policy, scanned=config.scan_layers)
        self.layers = scanning.build(
            layer, (config, self.rules), config.num_encoder_layers, _ENCODER_AXES,
            scan=config.scan_layers,
        )  # fmt: skip
        self.encoder_norm = layers.RMSNorm(dtype=config.dtype)

    def __call__(self, x: jax.Array, mask: jax.Array, kept: Masks) -> jax.Array:
        """Returns `[batch, length, embed]` for embedded tokens of that shape."""
        rate, length = self.config.dropout_rate, x.shape[1]
        bias = self.relpos_bias(length, length)
        x = drop(x, kept.get("embedded"), rate)
        x, _ = scanning.run(
            self.layers, _ENCODER_AXES, "__call__", x, kept.get("layers", {}), mask, bias
        )
        return drop(self.encoder_norm(x), kept.get("output"), rate)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EncodedPrompts:
    """What decoding keeps of prompts; a pytree of `[batch, ...]`."""

    # By layer of the decoder, [batch, heads, kv, length] and [batch, heads, length, kv].
    keys_values: Sequence[KeysValues]
    mask: jax.Array  # boolean [batch, length]

    def widened(self, length: int) -> Self:
        """Returns them with padding up to `length`."""
        more = length - self.mask.shape[1]
        keys_values = cached_attention.with_slots(self.keys_values, more)
        return type(self)(keys_values, jnp.pad(self.mask, ((0, 0), (0, more))))


class Decoder(nn.Module):
    """The decoder's stack, from embedded tokens to normed hidden states, and its output matrix."""

    config: T5Config
    rules: ShardingRules | None = None

    def setup(self):
        """Declares parameters and submodules."""
        config = self.config
        self.relpos_bias = _position_bias(config, bidirectional=False)
        layer = remat.wrap(DecoderLayer, config.remat_policy, scanned=config.scan_layers)
        self.layers = scanning.build(
            layer, (config, self.rules), config.num_decoder_layers, _DECODER_AXES,
            scan=config.scan_layers,
        )  # fmt: skip
        self.decoder_norm = layers.RMSNorm(dtype=config.dtype)
        if not config.logits_via_embedding:
            # In float32 whatever the activations are: the loss needs it.
            self.logits_dense = layers.Dense(
                config.vocab_size, (axes.EMBED, axes.VOCAB), rules=self.rules
            )

    def __call__(
        self,
        x: jax.Array,
        encoded: jax.Array,
        self_mask: jax.Array,
        cross_mask: jax.Array,
        kept: Masks,
    ) -> jax.Array:
        """Returns `[batch, length, embed]` for embedded tokens of that shape."""
        rate, length = self.config.dropout_rate, x.shape[1]
        bias = self.relpos_bias(length, length)
        x = drop(x, kept.get("embedded"), rate)
        x, _ = scanning.run(
            self.layers, _DECODER_AXES, "__call__",
            x, kept.get("layers", {}), encoded, self_mask, bias, cross_mask,
        )  # fmt: skip
        return drop(self.decoder_norm(x), kept.get("output"), rate)

    def prompts(self, encoded: jax.Array, mask: jax.Array) -> EncodedPrompts:
        """Returns what decoding keeps of encoded prompts, whose tokens `mask` marks."""
        found = [layer.cross_keys_values(encoded) for layer in self.layers]
        return EncodedPrompts([cached_attention.turned(of_layer) for of_layer in found], mask)

    def step(
        self, x: jax.Array, prompts: EncodedPrompts, own: Sequence[KeysValues], at: At
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Does one position: `x` `[batch, members, embed]` embedded; returns hidden states, `own`.

        `own` has by layer the members' keys and values, `[batch, heads, members, slots, kv]` each.
        """
        num_slots = own[0][0].shape[3]
        # Distances go from 1 - num_slots to num_slots - 1; an age is one to the left.
        by_distance = self.relpos_bias.by_distance(num_slots, num_slots)
        by_age, new = by_distance[:, num_slots - 1 :: -1], []
        for layer, of_layer, cross in zip(self.layers, own, _cross(prompts), strict=True):
            x, of_step = layer.step(x, of_layer, cross, at, by_age)
            new.append(of_step)
        x = self.decoder_norm(x)
        return x, cached_attention.write(own, new, at, after=x)

    def follow(self, x: jax.Array, prompts: EncodedPrompts, num_members: int) -> jax.Array:
        """Returns hidden states of whole embedded sequences `[batch, members*length, embed]`."""
        length = x.shape[1] // num_members
        mask = masks.causal_mask(length)[:, :, None, None]
        bias = self.relpos_bias(length, length)[:, :, None, None]
        for layer, cross in zip(self.layers, _cross(prompts), strict=True):
            x = layer.follow(x, cross, mask, bias, num_members)
        return self.decoder_norm(x)


def _cross(prompts: EncodedPrompts) -> list[Part]:
    mask = prompts.mask[:, None, None, None, None, :]
    return [Part(of_layer, mask, is_turned=True) for of_layer in prompts.keys_values]


def _position_bias(config: T5Config, *, bidirectional: bool) -> RelativePositionBias:
    return RelativePositionBias(
        num_heads=config.num_heads,
        bidirectional=bidirectional,
        num_buckets=config.relpos_buckets,
        max_distance=config.relpos_max_distance,
    )


class Transformer(nn.Module):
    """The whole network."""

    config: T5Config
    rules: ShardingRules | None = None

    def setup(self):
        """Declares parameters and submodules."""
        config = self.config
        self.token_embedder = layers.Embed(
            config.vocab_size, config.emb_dim, config.embedding_init_std, config.dtype, self.rules
        )
        self.encoder = Encoder(config, self.rules)
        self.decoder = Decoder(config, self.rules)

    def __call__(
        self, encoder_input_tokens: jax.Array, decoder_input_tokens: jax.Array
    ) -> jax.Array:
        """Returns float32 logits `[batch, length, vocab]`: `logits` of `features`."""
        return self.logits(self.features(encoder_input_tokens, decoder_input_tokens))

    def features(
        self,
        encoder_input_tokens: jax.Array,
        decoder_input_tokens: jax.Array,
        encoder_segment_ids: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the decoder's normed hidden states `[batch, length, embed]`.

        Dropout acts if there is a `dropout_key`.
        """
        kept: PyTree = {}
        if dropout_key is not None:
            batch_size, inputs_length = encoder_input_tokens.shape
            lengths = inputs_length, decoder_input_tokens.shape[1]
            kept = dropout_masks(self.config, dropout_key, batch_size, *lengths)
        encoded = self.encode(encoder_input_tokens, encoder_segment_ids, kept.get("encoder", {}))
        return self.decoder(
            self._embed(decoder_input_tokens),
            encoded,
            masks.decoder_mask(decoder_input_tokens.shape[1], decoder_segment_ids),
            masks.cross_mask(encoder_input_tokens, encoder_segment_ids, decoder_segment_ids),
            kept.get("decoder", {}),
        )

    def logits(self, x: jax.Array) -> jax.Array:
        """Returns float32 logits `[batch, length, vocab]` of the target after each position."""
        if self.config.logits_via_embedding:
            # The embedding has unit variance, so the shared matrix needs scaling down.
            logits = self.token_embedder.attend(x) / self.config.emb_dim**0.5
        else:
            logits = self.decoder.logits_dense(x)
        return constrain(logits, (axes.BATCH, axes.LENGTH, axes.VOCAB), self.rules)

    def encode(
        self,
        tokens: jax.Array,
        segment_ids: jax.Array | None = None,
        kept: Masks | None = None,
    ) -> jax.Array:
        """Returns `[batch, length, embed]`; `kept` are the encoder's dropout masks, if any."""
        mask = masks.encoder_mask(tokens, segment_ids)
        return self.encoder(self._embed(tokens), mask, kept or {})

    def prompts(self, tokens: jax.Array) -> EncodedPrompts:
        """Encodes `tokens` `[batch, length]` and returns what decoding keeps of them."""
        return self.decoder.prompts(self.encode(tokens), tokens > 0)

    def step(
        self, tokens: jax.Array, prompts: EncodedPrompts, own: Sequence[KeysValues], at: At
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Returns float32 logits `[batch, members, vocab]` after `tokens`, and the next `own`."""
        x, own = self.decoder.step(self._embed(tokens), prompts, own, at)
        return self.logits(x), own

    def follow(self, tokens: jax.Array, prompts: EncodedPrompts) -> jax.Array:
        """Returns hidden states `[batch, members, length, embed]` after each of `tokens`."""
        batch, members, length = tokens.shape
        x = self._embed(tokens.reshape(batch, members * length))
        x = self.decoder.follow(x, prompts, members)
        return x.reshape(batch, members, length, -1)

    def _embed(self, tokens: jax.Array) -> jax.Array:
        return constrain(self.token_embedder(tokens), _HIDDEN, self.rules)
