# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two evaluations of the same questions: what the difference is, and whether chance explains it.

Questions are paired by benchmark, split, way, subtask and id. The difference is of the unweighted
means over subtasks. Its 95 % interval is that of a paired bootstrap that draws questions again
within each subtask, so subtasks and their weights stay; the p value is two-sided, from how often a
draw is on the other side of no difference. Where a question is right or wrong, McNemar's exact test
on the questions that only one of the two gets right stands beside: there questions weigh alike,
whatever their subtask.
"""

import collections
import csv
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.collection.sources import read_lines
from flan_jax.core import files, tables
from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import metrics

NUM_RESAMPLES = 10_000
_CHUNK = 500  # resamples drawn together
PREDICTIONS = "predictions"

Part = tuple[str, str]  # benchmark, '<split>.<way>'


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """A question that a model was asked."""

    prompt_sha256: str
    scores: Mapping[str, float]  # metric -> 0 to 100


# Part -> subtask -> id of the question -> what came of it.
Evaluation = dict[Part, dict[str, dict[str, Answered]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two evaluations by one metric of a benchmark asked in one way; A and B in percent."""

    benchmark: str
    asked: str  # '<split>.<way>'
    metric: str
    n: int  # questions of both
    subtasks: int
    a: float
    b: float
    difference: float  # b - a
    low: float  # of the 95 % interval
    high: float
    p: float
    only_a: int | None  # questions that only A gets right; None where they have other scores too
    only_b: int | None
    mcnemar_p: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """All comparisons of two evaluations, and what does not fit."""

    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]  # for people: what only one has, and what was asked differently


def read(folder: str | os.PathLike) -> Evaluation:
    """Reads the predictions of an evaluation of benchmarks.

    Raises:
        UsageError: there are none below the folder.
        DataError: a line is malformed, or two have one id.
    """
    root = Path(folder) / PREDICTIONS
    found: Evaluation = {}
    for path in sorted(root.glob("*/*/*.jsonl")):
        part = (path.parent.parent.name, path.parent.name)
        found.setdefault(part, {})[path.stem] = dict(_lines(path))
    if not found:
        raise UsageError(
            f"no predictions of benchmarks in {root}; give a folder that flan-jax eval --suite "
            "wrote"
        )
    return found


def compare(a: Evaluation, b: Evaluation, *, seed: int = 0) -> Result:
    """Compares two evaluations.

    Raises:
        UsageError: they have no question in common.
    """
    notes, comparisons = _only_one(a, b), []
    for part in a:
        if part not in b:
            continue
        pairs = _pairs(a[part], b[part])
        num = sum(map(len, pairs.values()))
        name = " ".join(part)
        unpaired = [sum(map(len, side[part].values())) - num for side in (a, b)]
        if any(unpaired):
            notes.append(
                f"{name}: {num} questions compared; {unpaired[0]} that only A, and {unpaired[1]} "
                "that only B was asked are left out"
            )
        each = [pair for of_subtask in pairs.values() for pair in of_subtask]
        num_other = sum(one.prompt_sha256 != other.prompt_sha256 for one, other in each)
        if num_other:
            notes.append(f"{name}: {num_other} of {num} questions were asked by different prompts")
        if num:
            names = [m for m in each[0][0].scores if all(m in s.scores for p in each for s in p)]
            comparisons += [_compared(part, metric, pairs, seed) for metric in names]
            if not names:
                notes.append(f"{name}: no score of single questions that both have")
    if not comparisons:
        raise UsageError("the two evaluations have nothing to compare: " + "; ".join(notes))
    return Result(comparisons=tuple(comparisons), notes=tuple(notes))


def bootstrap(
    differences: Sequence[np.ndarray], *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> tuple[float, float, float]:
    """Returns the 95 % interval of the mean over subtasks of mean differences, and its p value.

    Drawing n questions again among n is drawing how often each value comes up, and there are few:
    so of each subtask one multinomial count is drawn for each resample.

    Args:
        differences: of each subtask, [questions].
        seed: of the draws.
        num_resamples: draws.

    Returns:
        Lower and upper end (the 2.5 and 97.5 percentiles), and the two-sided p value.
    """
    rng = np.random.default_rng(seed)
    means = np.zeros(num_resamples)
    for of_subtask in differences:
        values, times = np.unique(of_subtask, return_counts=True)
        for start in range(0, num_resamples, _CHUNK):
            chosen = slice(start, min(start + _CHUNK, num_resamples))
            size = chosen.stop - chosen.start
            drawn = rng.multinomial(len(of_subtask), times / len(of_subtask), size=size)
            means[chosen] += drawn @ values / len(of_subtask)
    means /= len(differences)
    low, high = np.percentile(means, [2.5, 97.5])
    # A resample whose mean is 0 but for rounding is on neither side.
    fewer = min(np.count_nonzero(means <= 1e-9), np.count_nonzero(means >= -1e-9))
    return float(low), float(high), min(1.0, 2 * (fewer + 1) / (num_resamples + 1))


def mcnemar(only_a: int, only_b: int) -> float:
    """Returns the two-sided p value of McNemar's exact test.

    Args:
        only_a: questions that only the first gets right.
        only_b: questions that only the second does.

    Example:
        >>> mcnemar(1, 9)  # 2 (1 + 10) / 2**10
        0.021484375
    """
    num, fewer = only_a + only_b, min(only_a, only_b)
    ways = term = 1
    for chosen in range(fewer):
        term = term * (num - chosen) // (chosen + 1)
        ways += term
    return min(1.0, 2 * ways / 2**num)


def table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yields the lines of a table for people."""
    head = ("benchmark", "asked", "metric", "n", "A", "B", "B - A", "95 % interval", "p", "only A",
            "only B", "McNemar p")  # fmt: skip
    rows = [
        (
            c.benchmark, c.asked, c.metric, f"{c.n:,}", f"{c.a:.1f}", f"{c.b:.1f}",
            f"{c.difference:+.1f}", f"{c.low:+.1f} to {c.high:+.1f}", _p(c.p),
            *("" if num is None else f"{num:,}" for num in (c.only_a, c.only_b)),
            "" if c.mcnemar_p is None else _p(c.mcnemar_p),
        )
        for c in comparisons
    ]  # fmt: skip
    yield from tables.aligned([head, *rows], right=range(3, len(head)))


def write_csv(path: str | os.PathLike, comparisons: Sequence[Comparison]) -> None:
    """Writes a row for each comparison, atomically; what is unknown is empty."""
    names = [field.name for field in dataclasses.fields(Comparison)]
    with files.atomic_open(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for comparison in comparisons:
            writer.writerow([_cell(getattr(comparison, name)) for name in names])


def _lines(path: Path) -> Iterator[tuple[str, Answered]]:
    seen = set()
    for number, text in enumerate(read_lines(path), start=1):
        try:
            line = json.loads(text)
            name = line["id"]
            is_known = name in seen
            answered = Answered(prompt_sha256=line["prompt_sha256"], scores=_scores(line))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}:{number}: no line of predictions ({error!r})") from None
        if is_known:
            raise DataError(f"{path}:{number}: a second line of question {name!r}")
        seen.add(name)
        yield name, answered


def _scores(line: Mapping[str, Any]) -> dict[str, float]:
    """Returns the scores of metrics that give each question one; 'exact_match/flexible' is one."""
    found = {
        name: float(value)
        for name, value in sorted(line.items())
        if name.partition("/")[0] in metrics.METRICS and type(value) in (int, float)
    }
    if bad := [name for name, value in found.items() if not math.isfinite(value)]:
        raise ValueError(f"{bad[0]} is {found[bad[0]]}")
    return found


def _only_one(a: Evaluation, b: Evaluation) -> list[str]:
    return [
        f"only {name} has {', '.join(' '.join(part) for part in one if part not in other)}"
        for name, one, other in (("A", a, b), ("B", b, a))
        if one.keys() - other.keys()
    ]


def _pairs(
    a: Mapping[str, Mapping[str, Answered]], b: Mapping[str, Mapping[str, Answered]]
) -> dict[str, list[tuple[Answered, Answered]]]:
    pairs = collections.defaultdict(list)
    for subtask, questions in a.items():
        others = b.get(subtask, {})
        for name, answered in questions.items():
            if name in others:
                pairs[subtask].append((answered, others[name]))
    return pairs


def _compared(
    part: Part,
    metric: str,
    pairs: Mapping[str, Sequence[tuple[Answered, Answered]]],
    seed: int,
) -> Comparison:
    each = [
        np.array([[one.scores[metric], other.scores[metric]] for one, other in of_subtask])
        for of_subtask in pairs.values()
    ]  # a [questions, 2] array a subtask
    a, b = np.mean([scores.mean(axis=0) for scores in each], axis=0)
    low, high, p = bootstrap([scores[:, 1] - scores[:, 0] for scores in each], seed=seed)
    together = np.concatenate(each)
    only_a = only_b = exact = None
    if np.isin(together, (0.0, 100.0)).all():
        only_a = int(np.count_nonzero(together[:, 0] > together[:, 1]))
        only_b = int(np.count_nonzero(together[:, 0] < together[:, 1]))
        exact = mcnemar(only_a, only_b)
    return Comparison(
        benchmark=part[0], asked=part[1], metric=metric, n=len(together), subtasks=len(each),
        a=float(a), b=float(b), difference=float(b - a), low=low, high=high, p=p,
        only_a=only_a, only_b=only_b, mcnemar_p=exact,
    )  # fmt: skip


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.0e}"


def _cell(value: str | int | float | None) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
