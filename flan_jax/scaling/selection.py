# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""By which of its steps a run is judged.

last              the last step evaluated
validation        the step that is best on validation examples of tasks trained on ('held_in')
best:BENCHMARK    the step that is best on that group of tasks or benchmark
mean:K            no step: the mean of each score over the last K steps evaluated

The paper looked at its held-out benchmarks every 2k to 10k steps, took the best step of each model
by them, and the same one for all (Chung et al. 2022, section 2.2 and App. E): that is
'best:normalized_average', and it flatters held-out scores, since they choose the step that they are
then reported at.
"""

import collections
import dataclasses
import re
import statistics
from collections.abc import Mapping, Sequence

from flan_jax.core import errors
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.scores import Score

LAST, VALIDATION = "last", "validation"
HELD_IN = "held_in"
_BEST, _MEAN = "best:", "mean:"
_RULES = (LAST, VALIDATION, "best:BENCHMARK", "mean:K")

_Run = tuple[str, tuple[tuple[str, str], ...]]  # model, and the settings, sorted


@dataclasses.dataclass(frozen=True)
class _Rule:
    benchmark: str = ""  # the best step on it; '': the last one
    num_steps: int = 1  # averaged over, from the last


def select(rows: Sequence[Score], rule: str = LAST) -> list[Score]:
    """Returns of each run the rows of the step that it is judged by; equal steps: the earlier.

    Of 'mean:K' a row has the last step's number, and its error is that over the steps' errors as if
    they were one and the same, since the same questions were asked each time. A run of fewer steps
    is averaged over those it has; one of a single step is judged by that under any rule.

    Args:
        rows: of all runs and steps; runs differ in model or settings.
        rule: as the module's docstring has them.

    Raises:
        UsageError: there is no such rule, or no row that it could judge by.
    """
    parsed = _parse(rule)
    by_run: dict[_Run, dict[int, list[Score]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    for row in rows:
        key = (row.model, tuple(sorted(row.settings.items())))
        by_run[key][row.step].append(row)
    if parsed.benchmark:
        names = {row.benchmark for row in rows if row.subtask == scores_lib.MEAN}
        if any(len(steps) > 1 for steps in by_run.values()) and parsed.benchmark not in names:
            raise errors.unknown_name(
                "benchmark", parsed.benchmark, names, f"(of the selection {rule!r})"
            )
    chosen = []
    for (model, settings), steps in by_run.items():
        if len(steps) == 1:
            chosen += next(iter(steps.values()))
        elif parsed.benchmark:
            chosen += steps[_best_step(steps, parsed.benchmark, f"{model} {dict(settings)}", rule)]
        elif parsed.num_steps > 1:
            chosen += _mean_of(steps, sorted(steps)[-parsed.num_steps :])
        else:
            chosen += steps[max(steps)]
    return chosen


def describe(rule: str, rows: Sequence[Score] = ()) -> str:
    """Returns what a figure says of a rule: 'judged by ...'.

    Args:
        rule: as the module's docstring has them.
        rows: if given, of all steps: where each run has one, no rule could choose another.

    Raises:
        UsageError: there is no such rule.

    Example:
        >>> describe("mean:3")
        'the mean over its last 3 evaluated steps'
    """
    parsed = _parse(rule)
    if rows and max(_num_steps(rows).values()) == 1:
        return "its last step, the only one evaluated"
    if rule == VALIDATION:
        return "the step that is best on validation examples of the tasks trained on"
    if parsed.benchmark == HELD_IN:
        return "the step that is best on held-in tasks"
    if parsed.benchmark:
        name = parsed.benchmark.replace("_", " ")
        return (
            f"the step that is best on {name}, so what is held out chose it, as in the paper, and "
            "its score there is flattered"
        )
    if parsed.num_steps > 1:
        text = f"the mean over its last {parsed.num_steps} evaluated steps"
        fewest = min(_num_steps(rows).values(), default=parsed.num_steps)
        return text + (f" (some runs have {fewest})" if fewest < parsed.num_steps else "")
    return "its last step"


def _parse(rule: str) -> _Rule:
    if rule == LAST:
        return _Rule()
    if rule == VALIDATION:
        return _Rule(benchmark=HELD_IN)
    if rule.startswith(_BEST) and (benchmark := rule.removeprefix(_BEST)):
        return _Rule(benchmark=benchmark)
    if re.fullmatch(rf"{_MEAN}[1-9]\d*", rule):
        return _Rule(num_steps=int(rule.removeprefix(_MEAN)))
    raise errors.UsageError(
        f"no selection {rule!r}; choose one of {', '.join(_RULES)}, such as "
        "'best:normalized_average' or 'mean:3'"
    )


def _num_steps(rows: Sequence[Score]) -> dict[_Run, int]:
    steps = collections.defaultdict(set)
    for row in rows:
        steps[row.model, tuple(sorted(row.settings.items()))].add(row.step)
    return {run: len(found) for run, found in steps.items()}


def _best_step(steps: Mapping[int, Sequence[Score]], benchmark: str, run: str, rule: str) -> int:
    """Returns the best step by the first metric that every step has of the benchmark."""
    found: dict[tuple[str, str], dict[int, float]] = collections.defaultdict(dict)
    for step, rows in steps.items():
        for row in rows:
            if row.benchmark == benchmark and row.subtask == scores_lib.MEAN:
                found[row.protocol, row.metric][step] = row.value
    if not found:
        raise errors.UsageError(
            f"{run} has no mean of {benchmark!r}, by which the selection {rule!r} judges; choose "
            "another"
        )
    values = max(found.values(), key=len)
    return max(sorted(values), key=lambda step: values[step])


def _mean_of(steps: Mapping[int, Sequence[Score]], chosen: Sequence[int]) -> list[Score]:
    """Returns the means over some steps of every row that all of them have."""
    together: dict[tuple[str, ...], list[Score]] = collections.defaultdict(list)
    for step in chosen:
        for row in steps[step]:
            together[row.benchmark, row.protocol, row.subtask, row.metric].append(row)
    made = []
    for rows in together.values():
        if len(rows) == len(chosen):
            known = [row.stderr for row in rows if row.stderr is not None]
            made.append(
                dataclasses.replace(
                    rows[-1],
                    value=statistics.fmean(row.value for row in rows),
                    stderr=statistics.fmean(known) if len(known) == len(rows) else None,
                )
            )
    return made
