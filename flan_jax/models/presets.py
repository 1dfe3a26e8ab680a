# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Model sizes by name: T5 1.1 and 1.0 as published, and tiny ones for a laptop.

The published shapes are those of T5X's `examples/t5/t5_1_1/*.gin` and `t5_1_0/*.gin`, with 32,128
rows of vocabulary. T5 1.1's are the sizes of Flan-T5 (Chung et al. 2022, Table 2); T5 1.0 (Raffel
et al. 2020) has one MLP branch with ReLU, and its embedding is the output matrix too. Its two
largest sizes are as narrow as Large and have more and wider heads and a wider MLP. The tiny ones
are ours; their vocabulary comes from the run.
"""

from typing import Any

from flan_jax.models.model import from_preset
from flan_jax.models.t5_network import T5Config

T5_VOCAB_SIZE = 32128  # 32,000 pieces and 100 sentinels, padded to a multiple of 128


def _t5(
    emb_dim: int, mlp_dim: int, num_layers: int, num_heads: int, head_dim: int
) -> dict[str, Any]:
    return dict(
        emb_dim=emb_dim,
        mlp_dim=mlp_dim,
        num_encoder_layers=num_layers,
        num_decoder_layers=num_layers,
        num_heads=num_heads,
        head_dim=head_dim,
    )


def _t5_1_1(emb_dim: int, mlp_dim: int, num_layers: int, num_heads: int) -> dict[str, Any]:
    return _t5(emb_dim, mlp_dim, num_layers, num_heads, 64) | dict(vocab_size=T5_VOCAB_SIZE)


def _t5_1_0(
    emb_dim: int, mlp_dim: int, num_layers: int, num_heads: int, head_dim: int = 64
) -> dict[str, Any]:
    return _t5(emb_dim, mlp_dim, num_layers, num_heads, head_dim) | dict(
        vocab_size=T5_VOCAB_SIZE, mlp_activations=("relu",), logits_via_embedding=True
    )


PRESETS: dict[str, dict[str, Any]] = {
    # name: width, MLP width, layers per stack, heads                   parameters
    "t5_1_1_small": _t5_1_1(512, 1024, 8, 6),  #                        76,961,152
    "t5_1_1_base": _t5_1_1(768, 2048, 12, 12),  #                      247,577,856
    "t5_1_1_large": _t5_1_1(1024, 2816, 24, 16),  #                    783,150,080
    "t5_1_1_xl": _t5_1_1(2048, 5120, 24, 32),  #                     2,849,757,184
    "t5_1_1_xxl": _t5_1_1(4096, 10240, 24, 64),  #                  11,135,332,352
    "t5_1_0_small": _t5_1_0(512, 2048, 6, 8),  #                        60,506,624
    "t5_1_0_base": _t5_1_0(768, 3072, 12, 12),  #                      222,903,552
    "t5_1_0_large": _t5_1_0(1024, 4096, 24, 16),  #                    737,668,096
    "t5_1_0_3b": _t5_1_0(1024, 16384, 24, 32, 128),  #               2,851,598,336
    "t5_1_0_11b": _t5_1_0(1024, 65536, 24, 128, 128),  #            11,307,321,344
    # For two CPU cores, where bfloat16 is slower than float32.
    "micro": _t5(32, 64, 2, 4, 8) | dict(dtype="float32"),  # 0.05 M + 64 a vocabulary row
    "tiny": _t5(64, 128, 2, 4, 16) | dict(dtype="float32"),  # 0.20 M + 128 a vocabulary row
    "mini": _t5(128, 256, 3, 4, 32) | dict(dtype="float32"),  # 1.18 M + 256 a vocabulary row
}


def t5_config(preset: str, **overrides: Any) -> T5Config:
    """Returns the configuration called `preset`, with fields of `T5Config` overridden.

    Example:
        >>> t5_config("tiny", vocab_size=512).emb_dim
        64
    """
    return from_preset(T5Config, PRESETS, "model preset", preset, **overrides)
