# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T5 as pure functions of its parameters: what training, decoding and evaluation see of a model.

Parameters are a nested dict of float32 arrays under the names of released T5X checkpoints
(`encoder/layers_0/attention/query/kernel`). The network itself is in `models/t5_network.py`.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from flan_jax.core.errors import UsageError
from flan_jax.core.tree import PyTree, flatten
from flan_jax.models import layers, remat
from flan_jax.models.cached_attention import KeysValues
from flan_jax.models.model import Batch, Model, dropout_key_in_use, feature, repeated
from flan_jax.models.t5_network import EncodedPrompts, T5Config, Transformer

_STACKS = ("encoder", "decoder")


@dataclasses.dataclass(frozen=True)
class T5(Model):
    """A T5 model: its configuration and the functions that use it."""

    config: T5Config

    LAYOUT = "encoder_decoder"
    NETWORK = Transformer

    def param_specs(self) -> Mapping[str, layers.ParamSpec]:
        """Returns path -> spec of every parameter, layers each apart."""
        return _param_specs(self.config)

    def features(
        self, params: PyTree, batch: Batch, *, train: bool, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns what `logits` takes: the last hidden states `[batch, length, embed]`, normed.

        Args:
            params: as `init` returns them.
            batch: int32 arrays under T5X's feature names. Needed are `encoder_input_tokens` and
                `decoder_input_tokens`, `[batch, length]` each; packed rows bring
                `encoder_segment_ids` and `decoder_segment_ids` too. Token 0 is padding.
            train: whether dropout acts.
            dropout_key: random key, needed if `train` and the dropout rate is above 0.
        """
        packed = [f"{side}_segment_ids" for side in _STACKS]
        if len([name for name in packed if name in batch]) == 1:
            raise UsageError(f"batch has only one of {packed}; packed rows need both")
        dropout_key = dropout_key_in_use(self.config, train, dropout_key)
        return self._run(
            "features",
            params,
            feature(batch, "encoder_input_tokens"),
            feature(batch, "decoder_input_tokens"),
            *(batch.get(name) for name in packed),
            dropout_key,
        )

    def prompt_cache(
        self,
        params: PyTree,
        prompts: jax.Array,
        prefix: Sequence[KeysValues] = (),
        num_tokens: jax.Array | None = None,
    ) -> EncodedPrompts:
        """Encodes prompts `[batch, length]`; what the decoder looks at of them is computed once."""
        del num_tokens
        if prefix:
            raise UsageError("an encoder reads a prompt as a whole; give no prefix")
        return self._run("prompts", params, prompts)

    def first_tokens(self, prompts: EncodedPrompts, num_members: int) -> jax.Array:
        """Returns what the first `decode_step` takes: 0, as T5 starts from padding."""
        return jnp.zeros((prompts.mask.shape[0], num_members), jnp.int32)


@functools.cache
def _param_specs(config: T5Config) -> dict[str, layers.ParamSpec]:
    """Returns path -> spec of every parameter, layers unscanned."""
    # The layers of a stack are alike: one of each is traced, and specs carry no arrays.
    shallow = dict(
        num_encoder_layers=1, num_decoder_layers=1, scan_layers=False, remat_policy=remat.NONE
    )
    network = Transformer(dataclasses.replace(config, **shallow))
    tokens = jnp.zeros((1, 1), jnp.int32)
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), tokens, tokens))
    num_layers = dict(encoder=config.num_encoder_layers, decoder=config.num_decoder_layers)
    return repeated(flatten(variables[layers.PARAM_SPECS]), num_layers)
