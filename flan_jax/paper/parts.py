# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's scores of the parts of its benchmarks (Chung et al. 2022, App. D).

That is BBH by file, direct and with chain of thought (the tables up to Table 19), and TyDiQA and
MGSM by language (Tables 20 and 21). Of BBH a few cells could not be read; they follow from the
printed mean of their row, as `status` says.
"""

import dataclasses
import functools
import types
from collections.abc import Mapping

from flan_jax.paper import reading

PRINTED = "printed"
SOLVED = "solved"  # from the printed mean of the row, whose rounding leaves +-1.4
ASSUMED = "assumed"  # only the sum of two is known: good for means, not to be quoted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One model's score of one part of a benchmark."""

    model: str  # as in Table 5
    params: str  # as in Table 5; '' for models of others
    benchmark: str  # a key of `results.BENCHMARKS`
    part: str  # a file of BBH, or the code of a language: 'fi'
    score: float  # in percent
    status: str  # PRINTED, SOLVED or ASSUMED
    source: str


@functools.cache
def parts() -> tuple[Part, ...]:
    """Returns all parts of all models."""
    return tuple(
        Part(**row | {"score": float(row["score"])})
        for name in ("bbh_per_task.csv", "per_language.csv")
        for row in reading.rows(name)
    )


@functools.cache
def bbh_baselines() -> Mapping[str, float]:
    """Returns what guessing scores in each file of BBH, derived from the normalized averages.

    The paper prints none of them: with these its normalized averages follow from its other tables.
    They differ from what the files' options say in places: penguins_in_a_table has 0, not 20.
    """
    rows = reading.rows("bbh_baselines.csv")
    return types.MappingProxyType({row["task"]: float(row["baseline"]) for row in rows})
