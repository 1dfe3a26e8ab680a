# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What each method of the collection is worth to a T5 of 3B (Longpre et al. 2023, Table 1).

That is the paper of the collection itself (arXiv:2301.13688), not Chung et al. 2022: T5 1.1 XL,
LM-adapted, finetuned on Flan 2022 whole and with one method taken away, and on earlier collections.
`gin/sweeps/mixture_ablation.gin` trains the same on the mixtures here.
"""

import dataclasses
import functools

from flan_jax.core import errors
from flan_jax.paper import reading

ZERO_SHOT, FEW_SHOT = "zero-shot", "few-shot"
BENCHMARKS = {
    "mmlu_zero_shot": ("mmlu", ZERO_SHOT),
    "mmlu": ("mmlu", FEW_SHOT),
    "bbh_zero_shot": ("bbh", ZERO_SHOT),
    "bbh": ("bbh", FEW_SHOT),
    "bbh_zero_shot_cot": ("bbh_cot", ZERO_SHOT),
    "bbh_cot": ("bbh_cot", FEW_SHOT),
}
"""Benchmark as it is asked here -> column and prompting of the table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablation:
    """One model of the table, asked in one way; scores in percent, as printed."""

    name: str  # 'without CoT'
    mixture: str  # the one here that is meant by it; '' where none is
    prompting: str  # ZERO_SHOT or FEW_SHOT
    held_in: float  # mean of 8 tasks that the collection trains on
    cot: float  # mean of 5 tasks with chain of thought
    mmlu: float
    bbh: float
    bbh_cot: float
    source: str
    note: str


@functools.cache
def ablations() -> tuple[Ablation, ...]:
    """Returns the table."""
    numbers = ("held_in", "cot", "mmlu", "bbh", "bbh_cot")
    return tuple(
        Ablation(**row | {name: float(row[name]) for name in numbers})
        for row in reading.rows("flan_collection_ablations.csv")
    )


def published(benchmark: str) -> dict[str, float]:
    """Returns {mixture: score} of a key of `BENCHMARKS`, for those mixtures that are here.

    Example:
        >>> published("mmlu")["flan2022"], published("mmlu_zero_shot")["flan2022_no_cot"]
        (52.4, 47.5)

    Raises:
        UsageError: the table has no such benchmark.
    """
    if benchmark not in BENCHMARKS:
        raise errors.unknown_name("benchmark of the Flan Collection", benchmark, BENCHMARKS)
    column, prompting = BENCHMARKS[benchmark]
    return {
        row.mixture: getattr(row, column)
        for row in ablations()
        if row.mixture and row.prompting == prompting
    }
