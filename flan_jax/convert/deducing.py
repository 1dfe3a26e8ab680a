# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The configuration of a T5 from the shapes of its parameters, for checkpoints that say none."""

import re
from collections.abc import Mapping

import jax

from flan_jax.convert.leaves import STACK_AXIS, is_stacked
from flan_jax.core.errors import UsageError
from flan_jax.models.t5 import T5Config

_EMBEDDING = "token_embedder/embedding"
_OUTPUT = "decoder/logits_dense/kernel"


def t5_config(shapes: Mapping[str, jax.ShapeDtypeStruct]) -> T5Config:
    """Returns the configuration of the T5 whose parameters have these names and shapes.

    Shapes do not tell everything. Taken for granted is what all published T5s have: gated GELU
    where the MLP is gated and ReLU where not, dropout 0.1, positions apart by up to 128.

    Raises:
        UsageError: they are no T5's.
    """
    stacked = is_stacked(shapes)

    def shape(name: str, layer: bool = False) -> tuple[int, ...]:
        full = name.replace("layers_0", "layers") if stacked else name
        if full not in shapes:
            raise UsageError(
                f"the parameters are no T5's: there is no {full}; say what model they are of with "
                "--recipe or --gin_file"
            )
        size = shapes[full].shape
        one = (*size[:STACK_AXIS], *size[STACK_AXIS + 1 :]) if layer and stacked else size
        if len(one) != 2:
            raise UsageError(f"the parameters are no T5's: {full} is of shape {list(size)}")
        return one

    vocab_size, emb_dim = shape(_EMBEDDING)
    num_heads, num_buckets = shape("encoder/relpos_bias/rel_embedding")
    _, joined = shape("encoder/layers_0/attention/query/kernel", layer=True)
    mlp_dim, _ = shape("encoder/layers_0/mlp/wo/kernel", layer=True)
    is_gated = any(name.endswith("/mlp/wi_0/kernel") for name in shapes)
    return T5Config(
        vocab_size=vocab_size,
        emb_dim=emb_dim,
        num_heads=num_heads,
        head_dim=joined // num_heads,
        num_encoder_layers=_num_layers(shapes, "encoder"),
        num_decoder_layers=_num_layers(shapes, "decoder"),
        mlp_dim=mlp_dim,
        mlp_activations=("gelu", "linear") if is_gated else ("relu",),
        dropout_rate=0.1,
        logits_via_embedding=_OUTPUT not in shapes,
        scan_layers=stacked,
        relpos_buckets=num_buckets,
    )


def in_words(config: T5Config) -> str:
    """Returns what was deduced, for people to judge."""
    return (
        f"by its parameters a T5 of {config.num_encoder_layers} + {config.num_decoder_layers} "
        f"layers, width {config.emb_dim}, {config.num_heads} heads of {config.head_dim}, MLP "
        f"{config.mlp_dim} ({', '.join(config.mlp_activations)}), {config.vocab_size} rows of "
        f"vocabulary, output {'tied' if config.logits_via_embedding else 'not tied'}"
    )


def _num_layers(shapes: Mapping[str, jax.ShapeDtypeStruct], stack: str) -> int:
    """Returns how many layers a stack has."""
    norm = f"{stack}/layers/pre_mlp_layer_norm/scale"
    if norm in shapes:
        return shapes[norm].shape[STACK_AXIS]
    return len({m[0] for name in shapes if (m := re.match(rf"{stack}/layers_\d+/", name))})
