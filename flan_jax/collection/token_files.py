# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading many spans of a file of tokens: few calls, no memory map, no file left open."""

import os
from collections.abc import Sequence

import numpy as np

from flan_jax.core.errors import DataError

# Tokens between two spans that are read along rather than in a call of their own.
_GAP = 1024


def read_spans(
    path: str, dtype: np.dtype, starts: Sequence[int], lengths: Sequence[int]
) -> list[np.ndarray]:
    """Returns spans of a file's tokens. Those near the one before are read together with it.

    Args:
        path: the file.
        dtype: its token type.
        starts: the first token of each span; in ascending order the calls are fewest.
        lengths: tokens of each span.

    Raises:
        DataError: the file ends before a span does.
    """
    pieces: list[np.ndarray] = []
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    num, size, at = len(ends), dtype.itemsize, 0
    file = os.open(path, os.O_RDONLY)
    try:
        while at < num:
            first, start, end = at, starts[at], ends[at]
            at += 1
            while at < num and start <= starts[at] <= end + _GAP:
                end = max(end, ends[at])
                at += 1
            read = os.pread(file, size * (end - start), size * start)
            if len(read) < size * (end - start):
                raise DataError(
                    f"{path} ends before token {end}; it was cut since the store was opened, "
                    "build it again"
                )
            tokens = np.frombuffer(read, dtype)
            pieces += [tokens[starts[i] - start : ends[i] - start] for i in range(first, at)]
    finally:
        os.close(file)
    return pieces
