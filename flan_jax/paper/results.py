# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's main results: Table 3 (task scaling), Table 4 (headline), Table 5 (all models).

Source: Chung et al. 2022, "Scaling Instruction-Finetuned Language Models" (arXiv:2210.11416v5).
Where a printed number disagrees with another one in the paper, the row keeps what is printed and
its note says so.
"""

import dataclasses
import functools

from flan_jax.core import errors
from flan_jax.paper import reading

BENCHMARKS = {
    "normalized_average": "Normalized average",
    "mmlu": "MMLU",
    "mmlu_cot": "MMLU-CoT",
    "bbh": "BBH",
    "bbh_cot": "BBH-CoT",
    "tydiqa": "TyDiQA",
    "mgsm": "MGSM",
}
"""Column of the tables -> name as printed, in the paper's order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperRow:
    """One model of one of the paper's tables; scores in percent, MMLU on its validation split."""

    model: str
    params: str  # as printed: '8B'
    num_tasks: int  # finetuning tasks; 0 without finetuning
    mixture: str  # 'CoT+Muffin', 'none'
    scores: tuple[float, ...]  # in the order of BENCHMARKS
    source: str
    note: str

    def score(self, benchmark: str) -> float:
        """Returns the score of a key of `BENCHMARKS`."""
        return self.scores[list(BENCHMARKS).index(benchmark)]


def task_scaling() -> tuple[PaperRow, ...]:
    """Returns Table 3: PaLM 8B, 62B and 540B against the number of finetuning tasks."""
    return _read("table3_task_scaling.csv")


def all_models() -> tuple[PaperRow, ...]:
    """Returns Table 5: every model with and without instruction finetuning."""
    return _read("table5_all_models.csv")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadlineRow:
    """One row of Table 4: a model asked in one way; scores in percent, MMLU on its test split."""

    model: str
    params: str
    num_tasks: int
    prompting: str  # 'direct', 'CoT', 'CoT + self-consistency'
    mmlu: float
    bbh_nlp: float
    bbh_alg: float
    tydiqa: float | None  # None: not asked so
    mgsm: float
    source: str


@functools.cache
def headline() -> tuple[HeadlineRow, ...]:
    """Returns Table 4: PaLM 540B before and after finetuning, without the prior best of others."""
    return tuple(
        HeadlineRow(
            **{name: row[name] for name in ("model", "params", "prompting", "source")},
            **{name: float(row[name]) for name in ("mmlu", "bbh_nlp", "bbh_alg", "mgsm")},
            num_tasks=int(row["num_tasks"]),
            tydiqa=float(row["tydiqa"]) if row["tydiqa"] else None,
        )
        for row in reading.rows("table4_headline.csv")
    )


def model_name(row: PaperRow) -> str:
    """Returns the name of a model of Table 5, with its size where others have the name too.

    Example:
        >>> [model_name(row) for row in all_models() if row.params in ("11B", "8B")]
        ['T5-XXL', 'Flan-T5-XXL', 'PaLM 8B', 'Flan-PaLM 8B']
    """
    alike = [other for other in all_models() if other.model == row.model]
    return row.model if len(alike) == 1 else f"{row.model} {row.params}"


def named_model(name: str) -> PaperRow:
    """Returns the row of Table 5 with a name as `model_name` gives it; case does not matter.

    Raises:
        UsageError: no model of the paper has the name.
    """
    models = {model_name(row): row for row in all_models()}
    for known, row in models.items():
        if known.casefold() == name.casefold():
            return row
    raise errors.unknown_name("model of the paper", name, models)


@functools.cache
def _read(name: str) -> tuple[PaperRow, ...]:
    return tuple(
        PaperRow(
            model=row["model"],
            params=row["params"],
            num_tasks=int(row["num_tasks"]),
            mixture=row["mixture"],
            scores=tuple(float(row[benchmark]) for benchmark in BENCHMARKS),
            source=row["source"],
            note=row["note"],
        )
        for row in reading.rows(name)
    )
