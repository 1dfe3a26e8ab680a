# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of a traced function: those of its matrix products.

Counted in the jaxpr, where a scan shows how often its body runs, so they are exact and the same
for every machine; the compiler's own count takes a loop's body once. All else (norms, softmax,
the optimizer) is left out, as it is by custom in a model's FLOPs.
"""

import math

from jax.extend import core


def matrix_flops(jaxpr: core.Jaxpr | core.ClosedJaxpr) -> int:
    """Returns the FLOPs of all matrix products, over all devices: 2 for each multiply and add.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def twice(x):
        ...     return jax.lax.scan(lambda c, _: (c @ c, None), x, length=2)[0]
        >>> matrix_flops(jax.make_jaxpr(twice)(jnp.zeros((4, 4))))
        256
    """
    total = 0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name == "dot_general":
            total += _dot_flops(equation)
            continue
        inner = [matrix_flops(sub) for sub in core.jaxprs_in_params(equation.params)]
        if equation.primitive.name == "cond":  # one of its branches runs
            total += max(inner, default=0)
        else:
            total += sum(inner) * equation.params.get("length", 1)
    return total


def _dot_flops(equation: core.JaxprEqn) -> int:
    (contracting, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[d] for d in contracting)
