# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Both ends of an interval are kept to, open and closed, and the message names field and value."""

import math

import pytest

from flan_jax.core import ranges
from flan_jax.core.errors import UsageError


@pytest.mark.parametrize(
    ("interval", "value"), [("[0, 1)", 0), ("(0, 1]", 1), ("[1, inf)", 7), ("(0, inf)", 1e-9)]
)
def test_values_inside_pass(interval, value):
    ranges.check("Thing", interval, size=value, other=None)


@pytest.mark.parametrize(
    ("interval", "value", "message"),
    [
        ("[0, 1)", 1, "Thing.size must be within [0, 1), got 1"),
        ("[0, 1)", -0.5, "Thing.size must be within [0, 1), got -0.5"),
        ("(0, 1]", 0, "Thing.size must be within (0, 1], got 0"),
        ("[1, inf)", 0, "Thing.size must be >= 1, got 0"),
        ("(0, inf)", 0.0, "Thing.size must be > 0, got 0.0"),
        ("[0, inf)", math.nan, "Thing.size must be >= 0, got nan"),
        ("[0, inf)", math.inf, "Thing.size must be >= 0, got inf"),
    ],
)
def test_values_outside_are_named(interval, value, message):
    with pytest.raises(UsageError) as caught:
        ranges.check("Thing", interval, fine=0.5 if interval != "[1, inf)" else 1, size=value)
    assert str(caught.value) == message
