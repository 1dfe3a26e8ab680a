# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers of a configuration that lie outside what makes sense are refused by name."""

import math

from flan_jax.core.errors import UsageError


def check(owner: str, interval: str, **values: float | None) -> None:
    """Raises a `UsageError` for the first value outside an interval; None stands for no value.

    Args:
        owner: the class that the values are fields of.
        interval: as one writes it: `[0, 1)`, or with `inf` for no upper end.
        **values: field name to its value.

    Example:
        >>> check("AdamW", "[0, 1)", beta1=0.9, beta2=2.0)
        Traceback (most recent call last):
        flan_jax.core.errors.UsageError: AdamW.beta2 must be within [0, 1), got 2.0
    """
    low, high = map(float, interval[1:-1].split(","))
    for name, value in values.items():
        if value is None:
            continue
        above = value > low or (value == low and interval[0] == "[")
        below = value < high or (value == high and interval[-1] == "]")
        if not (above and below):
            sign = ">=" if interval[0] == "[" else ">"
            allowed = f"within {interval}" if math.isfinite(high) else f"{sign} {low:g}"
            raise UsageError(f"{owner}.{name} must be {allowed}, got {value!r}")
