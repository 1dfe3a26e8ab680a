# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The few shapes that programs are compiled for: lengths of prompts, and numbers of rows."""

import itertools
import math
from collections.abc import Sequence

import jax

from flan_jax.core import axes
from flan_jax.parallel.rules import ShardingRules

_SHORTEST_BUCKET = 64


def buckets(longest: int, chosen: Sequence[int] = ()) -> tuple[int, ...]:
    """Returns the lengths that prompts of up to `longest` tokens are padded to, sorted.

    They are `longest` and, of the `chosen` ones, those below it. If none are chosen there are two
    of each doubling, so that no longer prompt is padded by more than a half.

    Example:
        >>> buckets(300)
        (64, 96, 128, 192, 256, 300)
    """
    sizes = ((_SHORTEST_BUCKET << i) * half // 2 for i in itertools.count() for half in (2, 3))
    shorter = chosen or itertools.takewhile(lambda size: size < longest, sizes)
    return (*sorted({size for size in shorter if size < longest}), longest)


def bucket(length: int, sizes: Sequence[int]) -> int:
    """Returns the least of sorted `sizes` that holds `length`."""
    return next(size for size in sizes if size >= length)


def power_of_two(num: int) -> int:
    """Returns the least power of two that is not below `num`, which is at least 1."""
    return 1 << (num - 1).bit_length()


def num_rows(num_prompts: int, most: int, rules: ShardingRules | None) -> int:
    """Returns how many rows a program for so many prompts has.

    Few prompts get few rows, a power of two. They divide over the parts of the mesh that a batch is
    laid out over, which may make them more than `most`.
    """
    unit = num_parts(rules)
    return -(-min(most, power_of_two(num_prompts)) // unit) * unit


def num_parts(rules: ShardingRules | None) -> int:
    """Returns over how many parts of the mesh a batch is laid out."""
    if rules is None:
        return 1
    on = dict(rules.activations)[axes.BATCH] or ()
    sizes = jax.sharding.get_abstract_mesh().shape
    return math.prod(sizes.get(name, 1) for name in ((on,) if isinstance(on, str) else on))
