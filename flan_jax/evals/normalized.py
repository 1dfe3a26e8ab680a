# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's normalized average: how far above guessing a model is, over six benchmarks.

A score becomes 0 where guessing is and 100 where everything is right; it may be negative. A
benchmark's is the mean over its subtasks, each with its own baseline, and the average is the mean
over MMLU, BBH (both direct and with chain of thought), TyDiQA and MGSM (Chung et al. 2022,
footnote 5). The paper does not print the baselines: `paper.parts` says where BBH's are from, and
with them 18 of the 20 averages of Table 5 follow from its other tables within 0.07. The other two
are PaLM 62B (0.10 less) and PaLM 540B (0.27 less), whose BBH-CoT is not the same in Tables 5 and
19.

The same over the benchmarks with chain of thought, and over those without, is what the paper's
ablation of the CoT data compares (section 4). Its Figure 5 prints no values, so there are none to
set beside ours.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from flan_jax.evals import scores as scores_lib
from flan_jax.evals.benchmark import GENERATE, VALIDATION
from flan_jax.evals.scores import Score

NAME = "normalized_average"

AVERAGES: Mapping[str, tuple[str, ...]] = {
    NAME: ("mmlu", "mmlu_cot", "bbh", "bbh_cot", "tydiqa", "mgsm"),
    f"{NAME}_cot": ("mmlu_cot", "bbh_cot", "mgsm"),
    f"{NAME}_direct": ("mmlu", "bbh", "tydiqa"),
}
"""Average -> its benchmarks."""

NUM_SUBTASKS: Mapping[str, int] = {
    "mmlu": 57, "mmlu_cot": 57, "bbh": 27, "bbh_cot": 27, "tydiqa": 8, "mgsm": 10
}  # fmt: skip
"""Of the benchmarks of the paper."""

METRICS: Mapping[str, str] = {name: "exact_match" for name in NUM_SUBTASKS} | {
    "tydiqa": "squad_em_multilingual"
}
"""Benchmark -> the metric that the paper reports."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Normalized:
    split: str
    value: float
    stderr: float | None
    row: Score  # one of the benchmark's


def normalized(score: float, baseline: float) -> float:
    """Returns a score in percent with 0 at the baseline.

    Example:
        >>> normalized(62.5, 25.0), normalized(10.0, 25.0)
        (50.0, -20.0)
    """
    return 100.0 * (score - baseline) / (100.0 - baseline)


def normalized_mean(scores: Mapping[str, float], baselines: Mapping[str, float]) -> float:
    """Returns the normalized score of a benchmark from those of its subtasks."""
    return statistics.fmean(normalized(value, baselines[name]) for name, value in scores.items())


def averages(
    scores: Sequence[Score], baselines: Mapping[tuple[str, str], float]
) -> tuple[list[Score], dict[str, int]]:
    """Returns the averages of a run, and the benchmarks not all there -> subtasks that are.

    Only answers that were generated count, and only whole benchmarks. Where MMLU was asked on both
    splits, the validation split counts, as in the paper. The split that the protocol names is
    MMLU's; it names two where the form with chain of thought was asked on another.

    The standard error is that over questions. MMLU's two forms ask the same questions, and so do
    BBH's: the errors of two forms are added, which is the most that they can make together.

    Args:
        scores: of one model at one step.
        baselines: (benchmark, subtask) -> what guessing scores.
    """
    rows = {name: rows_of(scores, name) for name in NUM_SUBTASKS}
    lacking = {
        name: len(rows[name]) for name, num in NUM_SUBTASKS.items() if len(rows[name]) != num
    }
    found = {name: _normalized(own, baselines) for name, own in rows.items() if name not in lacking}
    made = [
        _average(name, {member: found[member] for member in members})
        for name, members in AVERAGES.items()
        if not lacking.keys() & set(members)
    ]
    return made, lacking


def rows_of(scores: Sequence[Score], benchmark: str) -> list[Score]:
    """Returns the rows of the subtasks of a benchmark of the paper, in the metric that it reports.

    They are of answers that were generated, and of one split: validation where it was asked.
    """
    by_split: dict[str, list[Score]] = {}
    for score in scores:
        if (score.benchmark, score.metric) == (benchmark, METRICS[benchmark]):
            _, split, way = scores_lib.how_asked(score.protocol)
            if way == GENERATE and not scores_lib.is_mean(score.subtask):
                by_split.setdefault(split, []).append(score)
    return by_split.get(VALIDATION) or next(iter(by_split.values()), [])


def _normalized(rows: Sequence[Score], baselines: Mapping[tuple[str, str], float]) -> _Normalized:
    each = {row.subtask: baselines[row.benchmark, row.subtask] for row in rows}
    errors = [
        None if row.stderr is None else 100.0 * row.stderr / (100.0 - each[row.subtask])
        for row in rows
    ]
    return _Normalized(
        split=scores_lib.how_asked(rows[0].protocol)[1],
        value=normalized_mean({row.subtask: row.value for row in rows}, each),
        stderr=scores_lib.error_of_mean(errors),
        row=rows[0],
    )


def _average(name: str, members: Mapping[str, _Normalized]) -> Score:
    by_questions: dict[str, list[float | None]] = {}
    for benchmark, member in members.items():
        by_questions.setdefault(benchmark.removesuffix("_cot"), []).append(member.stderr)
    together = [None if None in each else math.fsum(each) for each in by_questions.values()]
    error = scores_lib.error_of_mean(together)
    first = next(iter(members.values()))
    splits = dict.fromkeys(each.split for name, each in members.items() if name.startswith("mmlu"))
    return dataclasses.replace(
        first.row,
        benchmark=name,
        protocol=f"mean of {len(members)} benchmarks; {' and '.join(splits)}; {GENERATE}",
        subtask=scores_lib.MEAN,
        metric=NAME,
        value=statistics.fmean(member.value for member in members.values()),
        n=len(members),
        stderr=None if error is None else error * len(together) / len(members),
    )
