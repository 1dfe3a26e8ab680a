# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Upstream T5X's numbers in tests/golden (see PROVENANCE.md there), and the model they are of."""

import json
from pathlib import Path

import numpy as np

from flan_jax.core.tree import unflatten
from flan_jax.models.t5 import T5Config

FOLDER = Path(__file__).parent / "golden"
CONFIG = T5Config(
    vocab_size=1024, emb_dim=64, num_heads=4, head_dim=16, num_encoder_layers=2,
    num_decoder_layers=2, mlp_dim=128, dropout_rate=0.0, dtype="float32",
)  # fmt: skip


def params():
    """Returns T5X's initial parameters, layers apart."""
    with np.load(FOLDER / "t5x_init_params.npz") as file:
        return unflatten(dict(file))


def batches():
    """Returns the packed batches: int32 arrays `[step, batch, length]` by feature."""
    with np.load(FOLDER / "t5x_batches.npz") as file:
        return {name: file[name].astype(np.int32) for name in file}


def facts(name):
    """Returns one of the JSON files."""
    return json.loads((FOLDER / f"t5x_{name}.json").read_text())
