# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of tiny models with drawn parameters, in each format, to be asked things."""

import jax
import numpy as np

from flan_jax import formats
from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.convert import huggingface, t5x
from flan_jax.convert.huggingface_llama import BLOCK
from flan_jax.convert.leaves import Arrays
from flan_jax.core.tree import flatten
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.t5 import T5, T5Config
from flan_jax.training import params_files

VOCABULARY = "package:tasks/mini/vocabulary/sentencepiece.model"
NUM_ROWS = 896
T5_CONFIG = T5Config(
    vocab_size=NUM_ROWS, emb_dim=32, num_heads=4, head_dim=8, num_encoder_layers=1,
    num_decoder_layers=2, mlp_dim=48, dropout_rate=0.1, dtype="float32",
)  # fmt: skip
DECODER_CONFIG = DecoderConfig(
    vocab_size=NUM_ROWS, emb_dim=32, num_heads=4, num_kv_heads=2, head_dim=8, num_layers=2,
    mlp_dim=48, dtype="float32", **BLOCK,
)  # fmt: skip


def drawn(config, dtype=np.float32):
    """Returns parameters that make a model say various things."""
    model = T5(config) if isinstance(config, T5Config) else DecoderLM(config)
    shapes = flatten(jax.eval_shape(model.init, jax.random.key(0)))
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=leaf.shape).astype(dtype) for name, leaf in shapes.items()}


def ours(folder, config=T5_CONFIG, vocabulary=VOCABULARY, dtype=np.float32):
    """Writes a checkpoint as training does; returns the MODEL_DIR."""
    info = {"vocabulary": load_vocabulary(vocabulary).facts()}
    info["model"] = formats.describe_model(config)
    params_files.write_params(folder / "checkpoint_5", Arrays(drawn(config, dtype)), info)
    return str(folder)


def native(folder, config=T5_CONFIG):
    """Writes a checkpoint of T5X."""
    t5x.write(folder / "checkpoint_5", Arrays(drawn(config)), step=5)
    return f"t5x:{folder}"


def hf(folder, config=T5_CONFIG, vocabulary=VOCABULARY, dtype=np.float32):
    """Writes a folder as transformers does, without a tokenizer where there is no vocabulary."""
    words = load_vocabulary(vocabulary) if vocabulary else None
    huggingface.write(folder, Arrays(drawn(config, dtype)), config, words)
    return f"hf:{folder}"
