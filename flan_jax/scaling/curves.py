# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Curves out of score tables: quality against number of finetuning tasks, and training losses.

Here numbers become curves (means and standard errors over seeds); how they look is in `figures`.
The rows of a sweep's `scores.csv` carry the settings `num_tasks`, and where there are several,
`size` and `seed`.
"""

import collections
import dataclasses
import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import errors
from flan_jax.evals import normalized
from flan_jax.evals import scores as scores_lib
from flan_jax.paper import results
from flan_jax.scaling import figures

TITLES = {
    "held_in": "Held-in tasks",
    "held_out_combination": "Held-out combinations",
    "held_out_skill": "Held-out skills",
    **results.BENCHMARKS,
    f"{normalized.NAME}_direct": "Normalized average, direct",
    f"{normalized.NAME}_cot": "Normalized average, CoT",
    "gsm8k": "GSM8K",
}
"""How groups of tasks and benchmarks are called in figures and tables; others by their name."""

FORMS = {
    "_self_consistency": "self-consistency",
    "_zero_shot_cot": "zero-shot CoT",
    "_zero_shot": "zero-shot",
    "_few_shot": "few-shot",
    "_direct": "direct",
    "_cot": "with rationale",
}
"""What the end of a name says of how the same tasks are asked; a longer end comes first."""

METRIC_TITLES = {
    "exact_match": "Exact match",
    "accuracy": "Accuracy",
    "rouge_l": "ROUGE-L",
    "token_f1": "Token F1",
    normalized.NAME: "Normalized average",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """The quality after finetuning on `num_tasks` tasks, over all seeds."""

    num_tasks: int
    values: tuple[float, ...]  # one for each seed

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def stderr(self) -> float | None:
        """Standard error over seeds: standard deviation (n - 1) / sqrt(n); None for one seed."""
        num = len(self.values)
        return statistics.stdev(self.values) / math.sqrt(num) if num > 1 else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """One line: a group of tasks, a model size, and points by number of finetuning tasks."""

    benchmark: str
    size: str  # '' where the table names none
    points: tuple[Point, ...]


def benchmark_title(name: str) -> str:
    """Returns the name of a group or benchmark for people.

    Example:
        >>> benchmark_title("held_in"), benchmark_title("bbh_zero_shot_cot")
        ('Held-in tasks', 'BBH, zero-shot CoT')
    """
    base, form = base_and_form(name)
    title = TITLES.get(base, base.replace("_", " ").capitalize())
    return f"{title}, {form}" if form else title


def base_and_form(name: str) -> tuple[str, str]:
    """Returns what is asked, and how where the end of the name says that.

    Example:
        >>> base_and_form("held_out_skill_few_shot"), base_and_form("mmlu_cot")
        (('held_out_skill', 'few-shot'), ('mmlu_cot', ''))
    """
    for end, form in FORMS.items():
        if name not in TITLES and name.endswith(end):
            return name.removesuffix(end), form
    return name, ""


def benchmark_order(name: str) -> tuple[int, str]:
    """Returns a sort key: held-in, the held-out groups, the paper's benchmarks, others by name."""
    known = list(TITLES)
    base, _ = base_and_form(name)
    return (known.index(base) if base in known else len(known), name)


def metric_title(name: str) -> str:
    """Returns a metric's name for people."""
    return METRIC_TITLES.get(name, name.replace("_", " "))


def task_scaling(
    scores: Iterable[scores_lib.Score], *, metric: str = "exact_match"
) -> tuple[Curve, ...]:
    """Returns the curves of the macro means, held-in first; a run's last step counts.

    Raises:
        DataError: if no row has this metric, a number of tasks is missing or malformed, or one seed
            has two values for the same point.
    """
    rows = [s for s in scores if s.subtask == scores_lib.MEAN and s.metric == metric]
    if not rows:
        raise errors.DataError(
            f"the score table has no {scores_lib.MEAN} row of metric {metric!r}; "
            "evaluate with that metric, or draw another one"
        )
    latest: dict[tuple, scores_lib.Score] = {}
    for row in rows:
        key = (*_settings(row), row.benchmark)
        known = latest.get(key)
        if known is not None and known.step == row.step:
            raise errors.DataError(
                f"two values of {row.benchmark} {metric} for num_tasks, size, seed = {key[:3]} at "
                f"step {row.step}; name what differs between the runs among their settings"
            )
        if known is None or known.step < row.step:
            latest[key] = row
    grouped = collections.defaultdict(lambda: collections.defaultdict(list))
    for (num_tasks, size, _, benchmark), row in sorted(latest.items()):
        grouped[benchmark, size][num_tasks].append(row.value)
    curves = [
        Curve(
            benchmark=benchmark,
            size=size,
            points=tuple(Point(num_tasks=n, values=tuple(v)) for n, v in sorted(points.items())),
        )
        for (benchmark, size), points in grouped.items()
    ]
    return tuple(sorted(curves, key=lambda curve: (*benchmark_order(curve.benchmark), curve.size)))


def task_scaling_figure(
    curves: Sequence[Curve],
    *,
    title: str,
    subtitle: str,
    metric: str = "exact_match",
    study: Sequence[Curve] = (),
    baselines: Sequence[Curve] = (),
    size_order: Sequence[str] = (),
) -> figures.Figure:
    """Returns the task-scaling figure: one panel if there is one size, else one for each group.

    Args:
        curves: this sweep's.
        title: said in bold above the figure.
        subtitle: what was measured: collection, model size, seeds.
        metric: named on the y axis.
        study: curves of a study with several seeds, drawn behind as bands.
        baselines: curves of rules without learning, drawn as thin lines.
        size_order: model sizes from small to large; sizes not named here follow in name order.
    """
    drawn_sizes = {curve.size for curve in curves}
    sizes = [size for size in size_order if size in drawn_sizes]
    sizes += sorted(drawn_sizes - set(sizes))
    groups = list(dict.fromkeys(curve.benchmark for curve in curves))
    behind = {(curve.benchmark, curve.size): curve for curve in study}
    if study and not any((curve.benchmark, curve.size) in behind for curve in curves):
        raise errors.UsageError(
            f"the study has no curve in common with this sweep: it has {sorted(behind)}, the sweep "
            f"has {[(c.benchmark, c.size) for c in curves]}; give another study, or none"
        )

    def line(curve: Curve, label: str, **style: Any) -> figures.Line:
        band = behind.get((curve.benchmark, curve.size))
        return figures.Line(
            label=label,
            x=tuple(float(point.num_tasks) for point in curve.points),
            y=tuple(point.mean for point in curve.points),
            spread=tuple(point.stderr for point in curve.points),
            **style,
            band=_band(band) if band else (),
            middle=tuple(point.mean for point in band.points) if band else (),
        )

    def rules(group: str, **style: Any) -> tuple[figures.Line, ...]:
        return tuple(
            figures.Line(
                label="",
                x=tuple(float(point.num_tasks) for point in curve.points),
                y=tuple(point.mean for point in curve.points),
                thin=True,
                **style,
            )
            for curve in baselines
            if curve.benchmark == group
        )

    if len(sizes) == 1:
        colors = {group: _color(group, groups) for group in groups}
        lines = [
            line(curve, benchmark_title(curve.benchmark), color=colors[curve.benchmark])
            for curve in curves
        ]
        thin = [rule for group in groups for rule in rules(group, color=colors[group])]
        panels = (figures.Panel(title="", lines=(*lines, *thin)),)
    else:
        panels = tuple(
            figures.Panel(
                title=benchmark_title(group),
                lines=(
                    *(
                        line(curve, size, shade=index / (len(sizes) - 1))
                        for index, size in enumerate(sizes)
                        for curve in curves
                        if (curve.benchmark, curve.size) == (group, size)
                    ),
                    *rules(group),
                ),
            )
            for group in groups
        )
    return figures.Figure(
        title=title,
        subtitle=subtitle,
        panels=panels,
        x_label="Finetuning tasks (log scale)",
        y_label=f"{metric_title(metric)}, %",
        log_x=True,
        note=_note(curves, study, baselines),
    )


def losses_figure(
    losses: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], *, title: str, subtitle: str
) -> figures.Figure:
    """Returns the training curves: panel -> label -> (step, loss) pairs, in the order given."""
    return figures.Figure(
        title=title,
        subtitle=subtitle,
        panels=tuple(
            figures.Panel(
                title=panel,
                lines=tuple(
                    figures.Line(
                        label=label,
                        x=tuple(float(step) for step, _ in pairs),
                        y=tuple(loss for _, loss in pairs),
                        shade=index / max(len(lines) - 1, 1),
                        markers=False,
                    )
                    for index, (label, pairs) in enumerate(lines.items())
                ),
            )
            for panel, lines in losses.items()
        ),
        x_label="Step",
        y_label="Loss per target token, nats",
        digits=2,
    )


def paper_figure(benchmark: str = "normalized_average") -> figures.Figure:
    """Returns the paper's own task scaling (Table 3), for showing beside ours."""
    sizes = collections.defaultdict(list)
    for row in results.task_scaling():
        sizes[row.params].append((float(row.num_tasks), row.score(benchmark)))
    lines = tuple(
        figures.Line(
            label=f"PaLM {size}",
            x=tuple(x for x, _ in points),
            y=tuple(y for _, y in points),
            shade=index / (len(sizes) - 1),
        )
        for index, (size, points) in enumerate(sizes.items())
    )
    return figures.Figure(
        title="The paper's task scaling, for comparison",
        subtitle="Chung et al. 2022, Table 3: printed numbers, nothing measured here",
        panels=(figures.Panel(title="", lines=lines),),
        x_label="Finetuning tasks (log scale; 0 = before finetuning)",
        y_label=f"{results.BENCHMARKS[benchmark]} of the paper's benchmarks, %",
        log_x=True,
    )


def read_losses(path: str | os.PathLike, *, key: str = "loss") -> list[tuple[int, float]]:
    """Reads (step, value) pairs of one training metric from a run's `metrics.jsonl`, by step.

    A step written twice (a resumed run) counts once, with its last value. Lines that lack the
    metric, and those of evaluations, are passed over; a file that has it nowhere is a `DataError`.
    """
    pairs = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            if key in row and row["kind"] == "train":
                pairs[int(row["step"])] = float(row[key])
        except (ValueError, KeyError, TypeError) as error:
            raise errors.DataError(f"{path}:{number}: not a metrics line ({error!r})") from None
    if not pairs:
        raise errors.DataError(f"{path}: no line has the metric {key!r}")
    return sorted(pairs.items())


def mean_losses(seeds: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Returns the mean over seeds of (step, loss) pairs, at the steps that all of them have."""
    by_step = [dict(pairs) for pairs in seeds]
    common = set.intersection(*(set(pairs) for pairs in by_step))
    return [(step, statistics.fmean(pairs[step] for pairs in by_step)) for step in sorted(common)]


def num_seeds(curves: Iterable[Curve]) -> tuple[int, int]:
    """Returns the fewest and the most seeds that any point of the curves has."""
    counts = [len(point.values) for curve in curves for point in curve.points]
    return min(counts), max(counts)


def _settings(row: scores_lib.Score) -> tuple[int, str, str]:
    try:
        num_tasks = int(row.settings["num_tasks"])
    except (KeyError, ValueError):
        raise errors.DataError(
            f"a row of {row.benchmark} has num_tasks = {row.settings.get('num_tasks')!r}; task "
            "scaling needs that column as a whole number"
        ) from None
    return num_tasks, row.settings.get("size", ""), row.settings.get("seed", "")


def _color(benchmark: str, groups: Sequence[str]) -> int:
    """Held-in is the neutral color 0; every other group has its own from 1 on."""
    if benchmark == "held_in":
        return 0
    return 1 + [group for group in groups if group != "held_in"].index(benchmark)


def _band(curve: Curve) -> tuple[tuple[float, float, float], ...]:
    return tuple(
        (float(p.num_tasks), p.mean - (p.stderr or 0.0), p.mean + (p.stderr or 0.0))
        for p in curve.points
    )


def _note(curves: Sequence[Curve], study: Sequence[Curve], baselines: Sequence[Curve]) -> str:
    low, high = num_seeds(curves)
    if high == 1:
        note = "Lines: one seed, so no error bars."
    else:
        note = (
            f"Lines: mean of {_range(low, high)} seeds; bars: ± 1 standard error over seeds of the "
            "mean over tasks."
        )
    if study:
        note += (
            f" Bands: the several-seed study, mean of {_range(*num_seeds(study))} seeds ± 1 "
            "standard error."
        )
    if baselines:
        note += " Dotted: a rule that always gives a task's most frequent answer."
    return note


def _range(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"
