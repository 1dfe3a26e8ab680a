# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Texts at which an answer ends. They are found in the decoded text, not among the tokens.

The same text may be cut into tokens in several ways, and a stop may begin within a token.
"""

import bisect
import dataclasses
from collections.abc import Sequence
from typing import Protocol


class Decoder(Protocol):
    """What is needed of a vocabulary."""

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids."""
        ...


@dataclasses.dataclass(frozen=True)
class Stop:
    """Where an answer ends."""

    text: str  # before the stop text
    num_tokens: int  # the fewest that hold the stop text


def first_stop(vocabulary: Decoder, ids: Sequence[int], stops: Sequence[str]) -> Stop | None:
    """Returns where the first of the stop texts is; None if there is none."""
    ids = list(map(int, ids))
    if _cut(vocabulary.decode(ids), stops) is None:
        return None
    holds = bisect.bisect_left(
        range(len(ids)),
        True,
        key=lambda n: _cut(vocabulary.decode(ids[: n + 1]), stops) is not None,
    )
    return Stop(_cut(vocabulary.decode(ids[: holds + 1]), stops), holds + 1)


def settled(text: str, stops: Sequence[str]) -> str:
    """Returns as much of an unfinished answer as no later token changes.

    A half character, and what may be the beginning of a stop text, is left out.
    """
    text = text.rstrip("\N{REPLACEMENT CHARACTER}")
    most = max((len(stop) - 1 for stop in stops), default=0)
    for length in range(min(most, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return text[:-length]
    return text


def _cut(text: str, stops: Sequence[str]) -> str | None:
    found = [at for at in map(text.find, stops) if at >= 0]
    return text[: min(found)] if found else None
