# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's own results, for drawing beside ours, and its finetunings: never measured here.

Source: Chung et al. 2022, "Scaling Instruction-Finetuned Language Models" (arXiv:2210.11416v5),
Table 3 (task scaling), Table 5 (all models) and Tables 2 and 22 (finetuning), in `facts/*.csv`, one
row a model. Where a printed number disagrees with another one in the paper, the row keeps what is
printed and its note says so.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetuning:
    """How the paper finetuned one model (Table 22), and what that took (Table 2)."""

    model: str  # as in Table 5
    params: str  # as in Table 5: '80M'
    architecture: str  # 'enc-dec' or 'decoder'
    flops_params: float  # parameters that Table 2 counts
    batch_size: int  # packed sequences
    dropout_rate: float
    learning_rate: float
    train_steps: int
    released_step: int | None  # of the public checkpoint, counted from pre-training; T5 only
    flops: float  # as printed
    source: str
    note: str

    # Derived: with it all rows of Table 2 but one are what the rule below gives. The paper states
    # no lengths; the released code has 2,048 + 512.
    SEQUENCE_LENGTH = 2560

    @property
    def num_positions(self) -> int:
        """Positions of all batches, padding counted."""
        return self.train_steps * self.batch_size * self.SEQUENCE_LENGTH

    @property
    def rule_flops(self) -> float:
        """FLOPs by the rule behind Table 2 (derived): half a T5's parameters see each position."""
        per_position = {"enc-dec": 3, "decoder": 6}[self.architecture]
        return per_position * self.flops_params * self.num_positions


@functools.cache
def finetunings() -> tuple[Finetuning, ...]:
    """Returns Table 22: every finetuned model."""
    return tuple(
        Finetuning(
            **{name: row[name] for name in ("model", "params", "architecture", "source", "note")},
            **{name: int(row[name]) for name in ("batch_size", "train_steps")},
            **{
                name: float(row[name])
                for name in ("flops_params", "dropout_rate", "learning_rate", "flops")
            },
            released_step=int(row["released_step"]) if row["released_step"] else None,
        )
        for row in _rows("table22_finetuning.csv")
    )


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("flan_jax.scaling").joinpath("facts", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


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
        for row in _rows(name)
    )
