# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Safetensors files and a small T5 folder made by hand, apart from the code they test."""

import json
import struct
from pathlib import Path

import ml_dtypes
import numpy as np

CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}

# A T5 1.1 of one encoder and two decoder layers.
CONFIG = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "vocab_size": 20,
    "d_model": 6,
    "d_kv": 4,
    "d_ff": 10,
    "num_layers": 1,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 30,
    "dropout_rate": 0.05,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "is_encoder_decoder": True,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
    "transformers_version": "4.40.0",
}


def t5_shapes(config):
    """Returns the shape of each tensor of a folder with this config.json."""
    d, inner, ff = config["d_model"], config["num_heads"] * config["d_kv"], config["d_ff"]
    gated = config["feed_forward_proj"].startswith("gated")
    shapes = {"shared.weight": (config["vocab_size"], d)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], d)
    for stack, blocks, attentions in (
        ("encoder", config["num_layers"], ["SelfAttention"]),
        ("decoder", config["num_decoder_layers"], ["SelfAttention", "EncDecAttention"]),
    ):
        shapes[f"{stack}.final_layer_norm.weight"] = (d,)
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        shapes[bias] = (config["relative_attention_num_buckets"], config["num_heads"])
        for block in range(blocks):
            for i, attention in enumerate(attentions):
                at = f"{stack}.block.{block}.layer.{i}"
                shapes[f"{at}.layer_norm.weight"] = (d,)
                shapes[f"{at}.{attention}.o.weight"] = (d, inner)
                for letter in "qkv":
                    shapes[f"{at}.{attention}.{letter}.weight"] = (inner, d)
            at = f"{stack}.block.{block}.layer.{len(attentions)}"
            shapes[f"{at}.layer_norm.weight"] = (d,)
            shapes[f"{at}.DenseReluDense.wo.weight"] = (d, ff)
            for name in ("wi_0", "wi_1") if gated else ("wi",):
                shapes[f"{at}.DenseReluDense.{name}.weight"] = (ff, d)
    return shapes


def t5_tensors(config, dtype="float32"):
    """Returns random tensors for a config.json."""
    rng = np.random.default_rng(0)
    dtype = DTYPES[CODES[dtype]]
    return {n: rng.normal(size=s).astype(dtype) for n, s in t5_shapes(config).items()}


def file_bytes(tensors):
    """Returns a safetensors file."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        content = array.tobytes()
        header[name] = {
            "dtype": CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def parse(content):
    """Returns the tensors of a safetensors file and its metadata."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.pop("__metadata__")
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(data)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"])
    return tensors, metadata


def make_folder(folder, config, tensors, num_files=1):
    """Writes a folder as transformers does; returns it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if num_files == 1:
        (folder / "model.safetensors").write_bytes(file_bytes(tensors))
        return folder
    weight_map = {}
    for i in range(num_files):
        file = f"model-{i + 1:05}-of-{num_files:05}.safetensors"
        part = dict(list(tensors.items())[i::num_files])
        (folder / file).write_bytes(file_bytes(part))
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
