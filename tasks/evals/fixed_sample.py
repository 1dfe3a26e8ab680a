# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A sample of a benchmark's rows that is the same for everybody who has the same rows."""

import hashlib
import heapq
from collections.abc import Callable, Iterable
from typing import TypeVar

Row = TypeVar("Row")


def fixed_sample(rows: Iterable[Row], num: int, text: Callable[[Row], str]) -> list[Row]:
    """Returns up to `num` rows: those whose texts have the least SHA-256, the least first.

    So neither the order of the rows nor a seed matters, and the first of a sample are a sample.
    """

    def digest(row: Row) -> bytes:
        return hashlib.sha256(text(row).encode("utf-8", "surrogatepass")).digest()

    return heapq.nsmallest(num, rows, key=digest)
