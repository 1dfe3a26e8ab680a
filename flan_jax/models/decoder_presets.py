# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sizes of decoder-only models by name: PaLM, U-PaLM, an open LLaMA-like one, and a tiny one.

PaLM's shapes are of Chowdhery et al. 2022 (2204.02311, Table 1), with a vocabulary of 256,000.
U-PaLM (Tay et al. 2022, 2210.11399) is PaLM with prefix-LM attention. SmolLM2-135M's are of the
metadata of its published weights. The tiny one is ours; its vocabulary comes from the run.
"""

from typing import Any

from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.model import from_preset

PALM_VOCAB_SIZE = 256_000


def _palm(num_layers: int, num_heads: int, emb_dim: int, **others: Any) -> dict[str, Any]:
    return others | dict(
        vocab_size=PALM_VOCAB_SIZE,
        emb_dim=emb_dim,
        num_heads=num_heads,
        head_dim=256,
        num_layers=num_layers,
        mlp_dim=4 * emb_dim,
    )


PRESETS: dict[str, dict[str, Any]] = {
    # name: layers, query heads, width                               parameters
    "palm_8b": _palm(32, 16, 4096),  #                             8,632,012,800
    "palm_62b": _palm(64, 32, 8192),  #                           62,495,662,080
    "palm_540b": _palm(118, 48, 18432),  #                       540,356,474,880
    "u_palm_8b": _palm(32, 16, 4096, prefix_lm=True),
    "u_palm_62b": _palm(64, 32, 8192, prefix_lm=True),
    "u_palm_540b": _palm(118, 48, 18432, prefix_lm=True),
    "smollm2_135m": dict(  #                                         134,515,008
        vocab_size=49_152, emb_dim=576, num_heads=9, num_kv_heads=3, head_dim=64, num_layers=30,
        mlp_dim=1536, block="serial", norm="rms", norm_epsilon=1e-5, rotary_pairing="halves",
        rotary_theta=1e5, scale_logits=False, embedding_init_std=0.02,
    ),
    # For two CPU cores, where bfloat16 is slower than float32.
    "tiny_decoder": dict(  #                                  0.24 M + 64 a vocabulary row
        emb_dim=64, num_heads=4, head_dim=16, num_layers=4, mlp_dim=256, dtype="float32",
    ),
}  # fmt: skip


def decoder_config(preset: str, **overrides: Any) -> DecoderConfig:
    """Returns the configuration called `preset`, with fields of `DecoderConfig` overridden.

    Example:
        >>> decoder_config("palm_8b", dropout_rate=0.1).mlp_dim
        16384
    """
    return from_preset(DecoderConfig, PRESETS, "decoder preset", preset, **overrides)
