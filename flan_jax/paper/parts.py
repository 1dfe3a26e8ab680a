# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's scores of the parts of its benchmarks (Chung et al. 2022, App. D).

That is BBH by file, direct and with chain of thought (the tables up to Table 19), and TyDiQA and
MGSM by language (Tables 20 and 21). Of BBH a few cells could not be read; they follow from the
printed mean of their row, as `status` says.
"""

import dataclasses
import functools

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class BbhFile:
    """One file of BBH; the 23 tasks are 27 files, as two puzzles come in three sizes."""

    file: str
    group: str  # 'nlp' or 'alg'
    baseline: float  # what guessing scores, in percent
    source: str


@functools.cache
def bbh_files() -> tuple[BbhFile, ...]:
    """Returns the files of BBH, with the baselines that the normalized average takes.

    The paper prints no baseline: these are derived, and with them its normalized averages follow
    from its other tables. They are not always what a file's options say: penguins_in_a_table has 0.
    """
    return tuple(
        BbhFile(**row | {"baseline": float(row["baseline"])})
        for row in reading.rows("bbh_files.csv")
    )
