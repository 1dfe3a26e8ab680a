# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoder-only models as pure functions of their parameters: PaLM, U-PaLM, the LLaMA-like.

What training, decoding and evaluation see of a model, as `models/t5.py` is for T5. The network
itself is in `models/decoder_network.py`.

An example is one sequence: token 0, the prompt, the target. The input at each position is the token
before the one to predict. Decoders from elsewhere were trained without that token 0: of them a
sequence begins with the prompt.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from flan_jax.core.tree import PyTree, flatten
from flan_jax.models import layers, remat
from flan_jax.models.cached_attention import KeysValues
from flan_jax.models.decoder_network import DecoderConfig, DecoderNetwork, KnownPrompts
from flan_jax.models.model import Batch, Model, dropout_key_in_use, feature, repeated

_PREFIX = "decoder_causal_attention"


@dataclasses.dataclass(frozen=True)
class DecoderLM(Model):
    """A decoder-only model: its configuration and the functions that use it."""

    config: DecoderConfig
    begins_with_prompt: bool = False  # a sequence, when decoding; else with token 0

    LAYOUT = "decoder"
    NETWORK = DecoderNetwork

    def param_specs(self) -> Mapping[str, layers.ParamSpec]:
        """Returns path -> spec of every parameter, layers each apart."""
        return _param_specs(self.config)

    def features(
        self, params: PyTree, batch: Batch, *, train: bool, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns what `logits` takes: the last hidden states `[batch, length, embed]`, normed.

        Args:
            params: as `init` returns them.
            batch: int32 arrays `[batch, length]` under SeqIO's names. Needed is
                `decoder_input_tokens`; a prefix LM needs `decoder_causal_attention` too (1 on the
                prefix); packed rows bring `decoder_segment_ids` and `decoder_positions`.
            train: whether dropout acts.
            dropout_key: random key, needed if `train` and the dropout rate is above 0.
        """
        dropout_key = dropout_key_in_use(self.config, train, dropout_key)
        return self._run(
            "features",
            params,
            feature(batch, "decoder_input_tokens"),
            batch.get("decoder_segment_ids"),
            batch.get("decoder_positions"),
            feature(batch, _PREFIX) if self.config.prefix_lm else None,
            dropout_key,
        )

    @property
    def has_prefix_cache(self) -> bool:
        """Whether attention is causal: in a prefix LM a prompt's tokens see its later ones."""
        return not self.config.prefix_lm

    def prefix_cache(self, params: PyTree, prefix: jax.Array) -> Sequence[KeysValues]:
        """Returns what a beginning of prompts, `[length]`, leaves, whatever comes after it."""
        if not self.has_prefix_cache:
            return super().prefix_cache(params, prefix)
        before = 0 if self.begins_with_prompt else 1
        return self._run("prefix", params, jnp.pad(prefix[None], ((0, 0), (before, 0))))

    def prompt_cache(
        self,
        params: PyTree,
        prompts: jax.Array,
        prefix: Sequence[KeysValues] = (),
        num_tokens: jax.Array | None = None,
    ) -> KnownPrompts:
        """Reads prompts `[batch, length]`, 0 after the last token; see `Model.prompt_cache`."""
        if num_tokens is None:
            num_tokens = _lengths(prompts)
        if prefix:
            return self._run("prompts", params, prompts, num_tokens, prefix)
        if self.begins_with_prompt:  # an empty prompt is token 0; as many slots as otherwise
            return self._run("prompts", params, jnp.pad(prompts, ((0, 0), (0, 1))), num_tokens)
        return self._run("prompts", params, jnp.pad(prompts, ((0, 0), (1, 0))), 1 + num_tokens)

    def first_tokens(self, prompts: KnownPrompts, num_members: int) -> jax.Array:
        """Returns what the first `decode_step` takes: the last token of each prompt."""
        return jnp.broadcast_to(prompts.last[:, None], (len(prompts.last), num_members))


def _lengths(prompts: jax.Array) -> jax.Array:
    """Returns `[batch]` int32: tokens up to the last that is not 0, which may be within one."""
    place = jnp.arange(1, prompts.shape[1] + 1, dtype=jnp.int32)
    return jnp.max(jnp.where(prompts != 0, place[None, :], 0), axis=1, initial=0)


@functools.cache
def _param_specs(config: DecoderConfig) -> dict[str, layers.ParamSpec]:
    """Returns path -> spec of every parameter, layers unscanned."""
    # The layers are alike: one is traced, and specs carry no arrays.
    shallow = dataclasses.replace(config, num_layers=1, scan_layers=False, remat_policy=remat.NONE)
    tokens = jnp.zeros((1, 1), jnp.int32)
    variables = jax.eval_shape(lambda: DecoderNetwork(shallow).init(jax.random.key(0), tokens))
    return repeated(flatten(variables[layers.PARAM_SPECS]), {"decoder": config.num_layers})
