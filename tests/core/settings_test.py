# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings are described as JSON, and told apart by the names that Gin uses."""

import dataclasses
import json

from flan_jax.core import settings


@dataclasses.dataclass(frozen=True)
class Inner:
    """Has a field that may change."""

    rate: float
    note: str = "a"

    MAY_CHANGE = ("note",)


@dataclasses.dataclass(frozen=True)
class Outer:
    """Holds another."""

    inner: Inner
    sizes: tuple[int, ...] = (1, 2)
    more: object = None


@dataclasses.dataclass(frozen=True)
class Other:
    """Has the same field as `Inner`."""

    rate: float


def there(value):
    """What reading the description back from a file gives."""
    return json.loads(json.dumps(settings.describe(value)))


def lines(first, second):
    return list(settings.differences(there(first), settings.describe(second)))


def test_equal_settings_have_no_difference_after_a_round_trip():
    value = {"x": Outer(Inner(0.1), more={"k": [1.5, None]})}
    assert lines(value, value) == []
    assert lines(Outer(Inner(0.1, "a")), Outer(Inner(0.1, "b"))) == []


def test_differences_name_class_field_and_both_values():
    assert lines(Outer(Inner(0.1)), Outer(Inner(0.2), (1, 3))) == [
        "Inner.rate is 0.1 there, 0.2 here",
        "Outer.sizes is [1, 2] there, [1, 3] here",
    ]
    assert lines(Outer(Inner(0.1)), Outer(Other(0.1))) == ["Outer.inner is Inner there, Other here"]
    assert lines({"a": 1}, {"b": 1}) == ["a is 1 there, absent here", "b is absent there, 1 here"]
    assert lines(Outer(Inner(1.0)), Outer(Inner(1.0), more=Inner(2.0))) == [
        "Outer.more is None there, Inner here"
    ]
