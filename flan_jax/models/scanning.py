# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The layers of a stack as modules: a list, or one module that is scanned over.

Either way a method of the layers is called through `run`, so a network is written once. How the
parameters of one form become those of the other is in `models/stacking.py`.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from flan_jax.core.tree import PyTree

PARAM_SCAN_AXIS = 1  # of a stacked parameter, the dimension that counts the layers; T5X's

# Per method of a layer and argument after its carry: 0 where each layer has its own (stacked on
# axis 0 if scanned, a list if not), nn.broadcast where all layers share one.
InAxes = dict[str, tuple]


def build(
    layer: type[nn.Module], arguments: tuple, num_layers: int, in_axes: InAxes, *, scan: bool
) -> nn.Module | list[nn.Module]:
    """Returns the layers of a stack, each `layer(*arguments)`: a list, or one scanned module."""
    if not scan:
        return [layer(*arguments) for _ in range(num_layers)]
    shared = dict(
        variable_axes={"params": PARAM_SCAN_AXIS},
        split_rngs={"params": True},
        out_axes=0,
        length=num_layers,
    )
    methods = {name: shared | {"in_axes": given} for name, given in in_axes.items()}
    return nn.scan(layer, methods=methods)(*arguments)


def by_layer(
    arrays: Mapping[str, jax.Array], num_layers: int, *, scan: bool
) -> dict[str, jax.Array] | list[dict[str, jax.Array]]:
    """Returns `[batch, layers, ...]` arrays as an argument of which each layer has its own."""
    stacked = {name: jnp.moveaxis(array, 1, 0) for name, array in arrays.items()}
    if scan:
        return stacked
    return [{name: array[i] for name, array in stacked.items()} for i in range(num_layers)]


def run(
    stack: nn.Module | list[nn.Module],
    in_axes: InAxes,
    method: str,
    carry: PyTree,
    *arguments: PyTree,
) -> tuple[PyTree, PyTree]:
    """Calls `method` of each layer in turn; returns the last carry and the outputs by layer."""
    if isinstance(stack, nn.Module):
        return getattr(stack, method)(carry, *arguments)
    outputs = []
    for i, layer in enumerate(stack):
        own = [
            argument[i] if axis == 0 and argument else argument  # {}: no dropout masks
            for argument, axis in zip(arguments, in_axes[method], strict=True)
        ]
        carry, output = getattr(layer, method)(carry, *own)
        outputs.append(output)
    return carry, outputs
