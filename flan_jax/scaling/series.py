# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers of figures out of score rows: means over seeds, with what is uncertain about them.

A point is what the runs that differ in their seed alone reach on one measure. Its error bar is the
standard error over seeds. Its band is a bootstrap interval: which seeds were drawn is one accident,
which tasks were another, so both are drawn again, each from what is there; a task is asked of all
seeds, so a draw of tasks is one for all of them. The questions of a published benchmark are drawn
likewise, its subtasks are not, since all that there are were asked: in place of questions, which
the rows do not hold, one normal deviation of the standard error over questions moves all seeds.
With few seeds the bootstrap shows too little of what seeds do: of n, (n - 1) / n of the variance.
"""

import collections
import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from flan_jax.core import errors
from flan_jax.evals import normalized
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.scores import Score
from flan_jax.scaling import curves
from flan_jax.scaling.group_tables import MIXTURE, NUM_TASKS, SEED, Order

LEVEL = 0.95  # of the bands
_NUM_DRAWS = 2000
_RNG_SEED = 0

Settings = tuple[tuple[str, str], ...]  # a run's but for its seed, sorted


@dataclasses.dataclass(frozen=True, order=True)
class Measure:
    """What is drawn on one scale: a group of tasks or a benchmark, asked in one way."""

    benchmark: str
    protocol: str
    metric: str

    def is_mean(self, row: Score) -> bool:
        """Whether a row is the mean of this over all tasks."""
        return row.subtask == scores_lib.MEAN and self.has(row)

    def has(self, row: Score) -> bool:
        """Whether a row is of this."""
        own = (self.benchmark, self.protocol, self.metric)
        return own == (row.benchmark, row.protocol, row.metric)

    @property
    def is_of_tasks(self) -> bool:
        """Whether its tasks are a sample; the subtasks of a published benchmark are none."""
        return not scores_lib.how_asked(self.protocol)[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A measure after runs that differ in their seed alone."""

    settings: Settings
    seeds: tuple[str, ...]
    values: tuple[float, ...]  # one for each seed
    tasks: tuple[tuple[float, ...], ...] = ()  # for each seed the tasks that all have; may be none
    question_errors: tuple[float, ...] = ()  # for each seed, over questions; none: not known

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def stderr(self) -> float | None:
        """Standard error over seeds: standard deviation (n - 1) / sqrt(n); None for one seed."""
        num = len(self.values)
        return statistics.stdev(self.values) / math.sqrt(num) if num > 1 else None

    def get(self, name: str) -> str:
        """Returns a setting; '' if there is none of that name."""
        return dict(self.settings).get(name, "")

    def interval(self) -> tuple[float, float] | None:
        """Returns the bootstrap interval of the mean; None if one number is all there is."""
        return _interval(self.values, self.tasks, self.question_errors)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """The points of one line, from left to right."""

    measure: Measure
    names: Mapping[str, str]  # setting -> its value, of those that tell the lines apart
    x: tuple[float, ...]
    points: tuple[Point, ...]


def measures(rows: Iterable[Score], metric: str) -> list[Measure]:
    """Returns what has a mean in this metric, in the order in which it is shown.

    Where the metric is exact match, TyDiQA's own stands in its place, as in the paper.
    """
    found = {
        Measure(row.benchmark, row.protocol, row.metric)
        for row in rows
        if row.subtask == scores_lib.MEAN
        and row.metric in (metric, _reported(row.benchmark, metric))
    }
    return sorted(found, key=lambda m: (*curves.benchmark_order(m.benchmark), m))


def of_the_paper(rows: Iterable[Score]) -> list[Measure]:
    """Returns the benchmarks of the normalized average that were asked whole, as in its order."""
    rows = [row for row in rows if row.benchmark in normalized.METRICS]
    found = {
        Measure(row.benchmark, row.protocol, row.metric)
        for row in rows
        if row.metric == normalized.METRICS[row.benchmark]
        and row.subtask == scores_lib.MEAN
        and row.n == normalized.NUM_SUBTASKS[row.benchmark]
        and scores_lib.how_asked(row.protocol)[2] == "generate"
    }
    order = list(normalized.METRICS)
    return sorted(found, key=lambda m: (order.index(m.benchmark), m))


def titles(shown: Sequence[Measure]) -> list[str]:
    """Returns the names of measures, with how each was asked where two would be called the same."""
    names = [curves.benchmark_title(measure.benchmark) for measure in shown]
    return [
        f"{name} ({measure.protocol})" if names.count(name) > 1 else name
        for name, measure in zip(names, shown, strict=True)
    ]


def points(rows: Iterable[Score], measure: Measure) -> list[Point]:
    """Returns the points of a measure: one for all runs that differ in their seed alone.

    Args:
        rows: one step of each run.
        measure: of which.

    Raises:
        DataError: two runs differ in nothing, so that their values cannot be told apart.
    """
    means: dict[Settings, dict[str, Score]] = collections.defaultdict(dict)
    tasks: dict[tuple[Settings, str], dict[str, float]] = collections.defaultdict(dict)
    for row in rows:
        if not measure.has(row):
            continue
        settings = tuple(sorted((k, v) for k, v in row.settings.items() if k != SEED))
        seed = row.settings.get(SEED, "")
        if row.subtask == scores_lib.MEAN:
            if seed in means[settings]:
                named = ", ".join(
                    f"{name} = {value}" for name, value in sorted(row.settings.items())
                )
                raise errors.DataError(
                    f"two values of {measure.benchmark} {measure.metric} for {named or 'one run'} "
                    f"at step {row.step}; name what differs between the runs among their settings"
                )
            means[settings][seed] = row
        elif not scores_lib.is_mean(row.subtask):
            tasks[settings, seed][row.subtask] = row.value
    made = []
    for settings, by_seed in means.items():
        seeds = sorted(by_seed, key=lambda seed: (len(seed), seed))
        stderrs = [by_seed[seed].stderr for seed in seeds]
        is_known = not measure.is_of_tasks and None not in stderrs
        made.append(
            Point(
                settings=settings,
                seeds=tuple(seeds),
                values=tuple(by_seed[seed].value for seed in seeds),
                tasks=_common([tasks[settings, seed] for seed in seeds])
                if measure.is_of_tasks
                else (),
                question_errors=tuple(e for e in stderrs if e is not None) if is_known else (),
            )
        )
    return made


def lines(
    rows: Sequence[Score],
    measure: Measure,
    x: Callable[[Point], float | None],
    by: Sequence[str],
    order: Order,
) -> list[Series]:
    """Returns the lines of a measure: a line for each combination of the settings named.

    Args:
        rows: one step of each run.
        measure: of which.
        x: where a point stands; None: it stands nowhere.
        by: the settings that tell the lines apart.
        order: of their values, from `group_tables.order_of`.
    """
    found: dict[tuple[str, ...], list[tuple[float, Point]]] = collections.defaultdict(list)
    for point in points(rows, measure):
        place = x(point)
        if place is not None:
            found[tuple(point.get(name) for name in by)].append((place, point))

    def rank(names: tuple[str, ...]) -> list[int]:
        return [order[by[i]].index(v) if v in order[by[i]] else -1 for i, v in enumerate(names)]

    made = []
    for names in sorted(found, key=rank):
        placed = sorted(found[names], key=lambda pair: (pair[0], pair[1].settings))
        made.append(
            Series(
                measure=measure,
                names=dict(zip(by, names, strict=True)),
                x=tuple(place for place, _ in placed),
                points=tuple(point for _, point in placed),
            )
        )
    return made


def varied(rows: Iterable[Score], order: Order, without: Sequence[str] = ()) -> list[str]:
    """Returns the settings that vary, but for seeds, those named, and what follows from others.

    Where mixtures have names, their numbers of tasks follow from them; what follows from the
    settings named tells nothing more.
    """
    settings = [row.settings for row in rows]
    names = [n for n, values in order.items() if len(values) > 1 and n not in (SEED, *without)]
    if MIXTURE in names and NUM_TASKS in names and _follows(NUM_TASKS, (MIXTURE,), settings):
        names.remove(NUM_TASKS)
    return [n for n in names if not (without and _follows(n, without, settings))]


def _follows(name: str, of: Sequence[str], settings: Iterable[Mapping[str, str]]) -> bool:
    known: dict[tuple, str] = {}
    for own in settings:
        value = own.get(name, "")
        if known.setdefault(tuple(own.get(other, "") for other in of), value) != value:
            return False
    return True


@functools.lru_cache(maxsize=4096)  # several figures show the same points
def _interval(
    values: tuple[float, ...],
    tasks: tuple[tuple[float, ...], ...],
    question_errors: tuple[float, ...],
) -> tuple[float, float] | None:
    num = len(values)
    if num == 1 and not tasks and not question_errors:
        return None
    rng = np.random.default_rng(_RNG_SEED)
    weights = rng.multinomial(num, [1 / num] * num, size=_NUM_DRAWS) / num
    if tasks:
        of_tasks = np.array(tasks)
        num_tasks = of_tasks.shape[1]
        drawn = rng.multinomial(num_tasks, [1 / num_tasks] * num_tasks, size=_NUM_DRAWS)
        means = ((weights @ of_tasks) * drawn).sum(axis=1) / num_tasks
    else:
        means = weights @ np.array(values)
    if question_errors:
        deviations = rng.standard_normal(_NUM_DRAWS)
        means = means + deviations * (weights @ np.array(question_errors))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _common(by_seed: Sequence[Mapping[str, float]]) -> tuple[tuple[float, ...], ...]:
    """Returns the values of the tasks that all seeds have; () if there are none."""
    names = sorted(set.intersection(*(set(own) for own in by_seed)))
    return tuple(tuple(own[name] for name in names) for own in by_seed) if names else ()


def _reported(benchmark: str, metric: str) -> str:
    base, _ = curves.base_and_form(benchmark)
    return normalized.METRICS.get(base, metric) if metric == "exact_match" else metric
