# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a layer keeps for the backward pass, and what it computes again: T5X's remat policies.

A layer's input is kept in any case. Computing again changes no number: dropout masks are arguments
of a layer, so both passes drop the same.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax

from flan_jax.core import errors

NONE = "none"
POLICIES = {
    NONE: None,
    # All matrix products but those with a batch dimension: attention weights are computed again.
    "minimal": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


def wrap(
    layer: type[nn.Module], policy: str, *, scanned: bool, methods: Sequence[str] = ("__call__",)
) -> type[nn.Module]:
    """Returns `layer` with `methods` keeping for the backward pass what `policy` says.

    Args:
        layer: the layer's class; its parameters keep their names.
        policy: a name of `POLICIES`.
        scanned: whether the class will be scanned: then nothing else has to keep the compiler from
            merging the second computation with the first.
        methods: those that training differentiates.
    """
    check(policy)
    if policy == NONE:
        return layer
    # A list: flax takes a tuple for a tree of its own.
    return nn.remat(layer, policy=POLICIES[policy], prevent_cse=not scanned, methods=list(methods))


def check(policy: str) -> None:
    """Refuses a name that is no policy."""
    if policy not in POLICIES:
        raise errors.unknown_name("remat policy", policy, POLICIES)
