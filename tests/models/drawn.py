# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random parameters for comparisons: norm scales too, and nothing is compiled to draw them."""

import jax
import numpy as np

from flan_jax.core.tree import flatten


def drawn_params(model, *, unit_embedding=False):
    """Returns path -> float32 parameter; products keep the size of what goes in.

    Args:
        model: whose parameters.
        unit_embedding: whether the embedding's numbers are of size one, as PaLM's.
    """
    rng = np.random.default_rng(0)

    def draw(path, shape):
        noise = rng.normal(size=shape).astype(np.float32)
        if path.endswith("scale"):
            return 1 + 0.3 * noise
        is_unit = unit_embedding and path.endswith("embedding")
        return noise if is_unit else noise * shape[-2] ** -0.5

    shapes = flatten(jax.eval_shape(model.init, jax.random.key(0)))
    return {path: draw(path, leaf.shape) for path, leaf in shapes.items()}
