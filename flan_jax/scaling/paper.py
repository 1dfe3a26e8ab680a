# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's own results, for drawing beside ours: never measured here.

Source: Chung et al. 2022, "Scaling Instruction-Finetuned Language Models" (arXiv:2210.11416v5),
Table 3 (task scaling) and Table 5 (all models), in `facts/*.csv`, one row a model. Where a printed
number disagrees with another one in the paper, the row keeps what is printed and its note says so.
"""

import csv
import dataclasses
import functools
from importlib import resources

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


@functools.cache
def _read(name: str) -> tuple[PaperRow, ...]:
    text = resources.files("flan_jax.scaling").joinpath("facts", name).read_text(encoding="utf-8")
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
        for row in csv.DictReader(text.splitlines())
    )
