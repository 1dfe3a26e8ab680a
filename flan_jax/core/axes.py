# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of logical axes (of arrays) and of mesh axes; nowhere else are they spelled out."""

# Mesh axes, the slowest network first.
SLICE = "slice"  # batch, over the data center's network
DATA = "data"  # batch, and parameters under FSDP
MODEL = "model"  # tensor parallelism
MESH_AXES = (SLICE, DATA, MODEL)

# Logical axes of activations.
BATCH = "batch"
LENGTH = "length"

# Logical axes of parameters, T5X's names.
EMBED = "embed"
MLP = "mlp"
HEADS = "heads"
KV = "kv"
JOINED_KV = "joined_kv"  # heads * kv, flattened
VOCAB = "vocab"
LAYERS = "layers"  # the scanned stack
RELPOS_BUCKETS = "relpos_buckets"

LOGICAL_AXES = (
    BATCH, LENGTH, EMBED, MLP, HEADS, KV, JOINED_KV, VOCAB, LAYERS, RELPOS_BUCKETS,
)  # fmt: skip
