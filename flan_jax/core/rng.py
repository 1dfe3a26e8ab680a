# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stateless random draws for rendering: a value depends on a key and a name, never on history.

Each example owns the key (seed, task, index). A draw hashes that key with the draw's name, so
adding a new draw changes no other, and any machine, order or number of workers gives the same
bytes. Random numbers of the model (initialization, dropout, sampling) come from jax keys instead.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class ExampleKey:
    """The random key of one example.

    Args:
        seed: the seed of the build.
        task: the task's registered name.
        index: position of the example in its task's source, counted before any row is dropped.
    """

    __slots__ = ("_base",)

    def __init__(self, seed: int, task: str, index: int):
        self._base = hashlib.blake2b(
            f"{seed}\x00{task}\x00{index}".encode(), digest_size=16
        ).digest()

    def bits(self, name: str) -> int:
        """Returns 64 random bits for the draw called `name`."""
        digest = hashlib.blake2b(name.encode(), digest_size=8, key=self._base).digest()
        return int.from_bytes(digest, "little")

    def uniform(self, name: str) -> float:
        """Returns a number in [0, 1)."""
        return (self.bits(name) >> 11) * 2.0**-53

    def integer(self, name: str, num: int) -> int:
        """Returns an integer in [0, num); `num` must be positive."""
        if num <= 0:
            raise ValueError(f"draw {name!r}: num must be > 0, got {num}")
        return (self.bits(name) * num) >> 64

    def choice(self, name: str, items: Sequence[T]) -> T:
        """Returns one of `items`, each equally likely."""
        return items[self.integer(name, len(items))]

    def weighted_choice(self, name: str, items: Sequence[T], weights: Sequence[float]) -> T:
        """Returns one of `items` with probability proportional to its weight."""
        total = float(sum(weights))
        if total <= 0:
            raise ValueError(f"draw {name!r}: weights must sum to > 0, got {list(weights)}")
        point = self.uniform(name) * total
        for item, weight in zip(items, weights, strict=True):
            point -= weight
            if point < 0:
                return item
        return [i for i, w in zip(items, weights, strict=True) if w > 0][-1]

    def sample(self, name: str, num_items: int, num: int) -> list[int]:
        """Returns `num` different integers of [0, num_items), in random order (fewer if few)."""
        num = min(num, num_items)
        chosen: list[int] = []
        seen: set[int] = set()
        draw = 0
        # Rejection is cheap while few are wanted; past half of them a full shuffle is.
        if 2 * num > num_items:
            order = list(range(num_items))
            for i in range(num):
                j = i + self.integer(f"{name}/{i}", num_items - i)
                order[i], order[j] = order[j], order[i]
            return order[:num]
        while len(chosen) < num:
            candidate = self.integer(f"{name}/{draw}", num_items)
            draw += 1
            if candidate not in seen:
                seen.add(candidate)
                chosen.append(candidate)
        return chosen
