# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of lines: quality against tasks, parameters, FLOPs, and answers voted on.

Each is in the paper's layout (Chung et al. 2022, Figures 4 and 5): one line for each size or
mixture, one panel for each measure, and the paper's own numbers behind where it prints any.
"""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from flan_jax.evals import normalized
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.scores import Score
from flan_jax.paper import finetuning, results
from flan_jax.scaling import axis, captions, curves, series
from flan_jax.scaling.captions import THE_PAPER, Data
from flan_jax.scaling.group_tables import NUM_TASKS, SIZE
from flan_jax.scaling.plots import Figure, Line, Panel
from flan_jax.scaling.series import Measure, Point, Series

TASKS_LABEL = "Finetuning tasks (log scale)"
_SIZES_OF_T5 = re.compile(r"-(Small|Base|Large|XL|XXL)$")
_UNITS = {"M": 1e6, "B": 1e9}
# Rules whose names do not say all.
_RULES = dict.fromkeys(
    ("majority", "most_frequent"), "a rule that always gives a task's most frequent answer"
)
_MOST_BANDS = 4  # of a panel: more hide each other


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """What stands on the x axis of a figure."""

    label: str
    of: Callable[[Point], float | None]  # None: such a point is left out
    settings: tuple[str, ...]  # those that decide it: no line is told apart by them
    references: Callable[[Measure], Sequence[Line]] = lambda measure: ()
    source: str = ""  # of the references
    log: bool = True
    large: bool = False
    unit: str = ""  # of what a page tells of a point


def task_scaling(data: Data, name: str = "task_scaling") -> Figure | None:
    """Returns quality against the number of finetuning tasks; None if that does not vary."""
    return figure(data, name, TASKS_AXIS, series.measures(data.rows, data.metric))


def benchmarks(data: Data, name: str = "benchmarks") -> Figure | None:
    """Returns the same for each benchmark of the normalized average; None without that average."""
    if not any(row.benchmark == normalized.NAME for row in data.rows):
        return None
    return figure(data, name, TASKS_AXIS, series.of_the_paper(data.rows))


def size_scaling(data: Data, name: str = "size_scaling") -> Figure | None:
    """Returns quality against the number of parameters; None if that is not known or one."""
    return figure(data, name, parameters_axis(data), series.measures(data.rows, data.metric))


def size_scaling_flops(data: Data, name: str = "size_scaling_flops") -> Figure | None:
    """Returns quality against the FLOPs of finetuning; None if they are not known or one."""
    return figure(data, name, flops_axis(data), series.measures(data.rows, data.metric))


def parameters_axis(data: Data) -> Axis:
    """Returns the axis of the number of parameters."""
    return Axis(
        label="Parameters (log scale)",
        of=lambda point: data.of(point).num_parameters,
        settings=(SIZE,),
        references=_table_5,
        source=f"{THE_PAPER}, Table 5",
        large=True,
        unit="parameters",
    )


def flops_axis(data: Data) -> Axis:
    """Returns the axis of the FLOPs of finetuning; what was not finetuned does not stand on it."""
    return Axis(
        label="Finetuning FLOPs (log scale)",
        of=lambda point: data.of(point).train_flops or None,
        settings=(SIZE,),
        references=_table_2,
        source=f"{THE_PAPER}, Tables 2 and 5",
        large=True,
        unit="FLOPs",
    )


def self_consistency(data: Data, name: str = "self_consistency") -> Figure | None:
    """Returns quality against the number of answers voted on; None if no vote was taken."""
    rows = []
    for row in data.rows:
        num = num_answers(row)
        if num is not None:
            settings = {**row.settings, _NUM_ANSWERS: str(num)}
            metric = row.metric.partition(_K)[0]
            rows.append(dataclasses.replace(row, metric=metric, settings=settings))
    shown = sorted({Measure(row.benchmark, row.protocol, row.metric) for row in rows})
    return figure(dataclasses.replace(data, rows=rows), name, _ANSWERS_AXIS, shown)


def num_answers(row: Score) -> int | None:
    """Returns how many answers a score is the vote of; None if it is none.

    The score of all of them names no number: how many were asked for stands in its protocol.
    """
    _, found, num = row.metric.partition(_K)
    if found:
        return int(num) if num.isdigit() else None
    asked = re.search(r"\b(\d+) samples$", scores_lib.how_asked(row.protocol)[0])
    is_vote = row.benchmark.endswith("_self_consistency") and row.metric != "unparsed"
    return int(asked[1]) if asked and is_vote else None


def figure(data: Data, name: str, along: Axis, shown: Sequence[Measure]) -> Figure | None:
    """Returns a figure of measures along an axis; None if no line of it has two points.

    One line for each measure stands in one panel with the others; else each measure has a panel.
    """
    order = data.order
    by = series.varied(data.rows, order, along.settings)
    found = {m: series.lines(data.rows, m, along.of, by, order) for m in shown}
    found = {measure: lines for measure, lines in found.items() if lines}
    every = [line for lines in found.values() for line in lines]
    if not any(len(set(line.x)) > 1 for line in every):
        return None
    panels = _panels(data, along, found, by)
    drawn = [line for panel in panels for line in panel.lines]
    has_references = any(line.reference for line in drawn)
    return Figure(
        name=name,
        title=TITLES[name],
        subtitle=captions.subtitle(data),
        panels=panels,
        x_label=along.label,
        y_label=_y_label(list(found)),
        log_x=along.log,
        large_x=along.large,
        note=captions.note(
            data,
            [(line.measure, point) for line in every for point in line.points],
            bands=not data.behind and any(line.band for line in drawn),
            references=[along.source] if has_references else (),
            more=_about_what_is_beside(data, list(found), any(line.thin for line in drawn)),
        ),
    )


def _panels(
    data: Data, along: Axis, found: Mapping[Measure, Sequence[Series]], by: Sequence[str]
) -> tuple[Panel, ...]:
    references = {measure: tuple(along.references(measure)) for measure in found}
    titles = dict(zip(found, series.titles(list(found)), strict=True))
    together = not by and len(found) > 1 and not any(references.values())
    groups = [measure.benchmark for measure in found]
    panels = []
    for measure, lines in found.items():
        made = []
        for index, one in enumerate(lines):
            style = line_style(index, lines) if by else {"color": color_of(measure, groups)}
            label = titles[measure] if together else captions.name_of(one.names) or "ours"
            with_band = len(lines) <= _MOST_BANDS
            made.append(_line(data, one, label, along, style, with_band=with_band))
        rules = _rules(data, measure, along, made[0].color if together else 0)
        panels.append(Panel(title=titles[measure], lines=(*made, *rules, *references[measure])))
    if together:
        every = [line for panel in panels for line in panel.lines]
        return (Panel(title="", lines=tuple(sorted(every, key=lambda line: line.thin))),)
    if len(panels) == 1:  # its measure is named on the axis
        return (dataclasses.replace(panels[0], title=""),)
    return tuple(panels)


def _y_label(shown: Sequence[Measure]) -> str:
    metrics = list(dict.fromkeys(curves.metric_title(measure.metric) for measure in shown))
    if len(metrics) > 1:
        return "Score, %"
    (metric,) = metrics
    only = curves.benchmark_title(shown[0].benchmark)
    if len(shown) > 1 or only == metric:
        return f"{metric}, %"
    return f"{only}: {metric.lower() if metric[1:].islower() else metric}, %"


def _about_what_is_beside(data: Data, shown: Sequence[Measure], has_rules: bool) -> list[str]:
    """Returns the sentences of a note on the study behind and on rules."""
    sentences = []
    seeds = [len(p.values) for measure in shown for p in series.points(data.behind, measure)]
    if seeds:
        num = " to ".join(str(n) for n in dict.fromkeys((min(seeds), max(seeds))))
        sentences.append(f"Bands: the several-seed study, mean of {num} seeds ± 1 standard error.")
    names = _rule_names(data)
    if has_rules and len(names) == 1:
        sentences.append(f"Dotted: {_RULES.get(names[0], f'the rule {names[0]!r}')}.")
    elif has_rules:
        sentences.append("Dotted: rules without learning, by their names.")
    return sentences


def line_style(index: int, lines: Sequence[Series]) -> dict:
    """Returns the color of a line: sizes and counts from light to dark, mixtures each its own."""
    names = lines[index].names
    if captions.is_untrained(names) and SIZE not in names:
        return {"color": 0}
    ordered = all(name in (SIZE, NUM_TASKS) or captions.is_number(v) for name, v in names.items())
    if ordered:
        kept = [i for i, one in enumerate(lines) if not (
            captions.is_untrained(one.names) and SIZE not in one.names
        )]  # fmt: skip
        return {"shade": kept.index(index) / (len(kept) - 1)} if len(kept) > 1 else {"color": 1}
    first = any(captions.is_untrained(one.names) for one in lines[:index])
    return {"color": 1 + index - first}


def color_of(measure: Measure, groups: Sequence[str]) -> int:
    """Returns the neutral color 0 for held-in, and for every other group its own from 1 on."""
    if measure.benchmark == "held_in":
        return 0
    return 1 + [group for group in groups if group != "held_in"].index(measure.benchmark)


def _line(
    data: Data, one: Series, label: str, along: Axis, style: dict, *, with_band: bool
) -> Line:
    middle: tuple[float, ...] = ()
    if data.behind:
        band, middle = _behind(data, one, along)
    elif not with_band:
        band = ()
    else:
        found = [(x, point.interval()) for x, point in zip(one.x, one.points, strict=True)]
        band = tuple((x, *interval) for x, interval in found if interval is not None)
    text = axis.large if along.large else axis.count
    return Line(
        label=label,
        x=one.x,
        y=tuple(point.mean for point in one.points),
        spread=tuple(point.stderr for point in one.points),
        band=band if len(band) > 1 else (),
        middle=middle if len(band) > 1 else (),
        hover=tuple(
            captions.hover(point, f"{label}, {text(x)} {along.unit}".rstrip())
            for x, point in zip(one.x, one.points, strict=True)
        ),
        **style,
    )


def _behind(data: Data, one: Series, along: Axis) -> tuple[tuple, tuple[float, ...]]:
    """Returns the study's mean ± 1 standard error, and its mean, where it has the same line."""
    placed = []
    for point in series.points(data.behind, one.measure):
        x = along.of(point)
        if x is not None and all(point.get(name) == value for name, value in one.names.items()):
            placed.append((x, point.mean, point.stderr or 0.0))
    placed.sort()
    band = tuple((x, mean - error, mean + error) for x, mean, error in placed)
    return band, tuple(mean for _, mean, _ in placed)


def _rules(data: Data, measure: Measure, along: Axis, color: int) -> list[Line]:
    """Returns what rules without learning reach on the same tasks, as thin lines.

    A rule is the `model` of its rows; where there are several, each line has its rule's name.
    """
    names = _rule_names(data)
    made = []
    for name in names:
        same = [
            dataclasses.replace(row, protocol=measure.protocol)
            for row in data.baselines
            if (row.model, row.benchmark, row.metric) == (name, measure.benchmark, measure.metric)
        ]
        places = ((along.of(point), point.mean) for point in series.points(same, measure))
        placed = sorted((x, y) for x, y in places if x is not None)
        if placed:
            x, y = zip(*placed, strict=True)
            label = name.replace("_", " ") if len(names) > 1 else ""
            made.append(Line(label=label, x=x, y=y, thin=True, color=color))
    return made


def _rule_names(data: Data) -> list[str]:
    return list(dict.fromkeys(row.model for row in data.baselines))


def _num_tasks(point: Point) -> float | None:
    value = point.get(NUM_TASKS)
    return float(value) if captions.is_number(value) else None


def _column(measure: Measure) -> str | None:
    """Returns the column of the paper's tables that holds the same measure."""
    name = measure.benchmark
    if name == normalized.NAME:
        return name
    return name if normalized.METRICS.get(name) == measure.metric else None


def _table_3(measure: Measure) -> list[Line]:
    column = _column(measure)
    if column is None:
        return []
    placed = defaultdict(list)
    for row in results.task_scaling():
        placed[f"PaLM {row.params}"].append((float(row.num_tasks), row.score(column)))
    return [_reference(name, points, "tasks") for name, points in placed.items()]


def _table_5(measure: Measure) -> list[Line]:
    column = _column(measure)
    if column is None:
        return []
    placed = defaultdict(list)
    for row in results.all_models():
        family = _SIZES_OF_T5.sub("", row.model)
        placed[family].append((_params(row.params), row.score(column)))
    return [
        _reference(name, points, "parameters") for name, points in placed.items() if len(points) > 1
    ]


def _table_2(measure: Measure) -> list[Line]:
    column = _column(measure)
    if column is None:
        return []
    scores = {(row.model, row.params): row.score(column) for row in results.all_models()}
    placed = defaultdict(list)
    for row in finetuning.finetunings():
        if (row.model, row.params) in scores:
            family = _SIZES_OF_T5.sub("", row.model)
            placed[family].append((row.flops, scores[row.model, row.params]))
    return [_reference(name, points, "FLOPs") for name, points in placed.items() if len(points) > 1]


def _reference(name: str, placed: Sequence[tuple[float, float]], unit: str) -> Line:
    x, y = zip(*sorted(placed), strict=True)
    text = axis.count if unit == "tasks" else axis.large
    return Line(
        label=f"paper: {name}",
        x=x,
        y=y,
        reference=True,
        hover=tuple(f"paper: {name}, {text(a)} {unit}: {b:.1f}" for a, b in zip(x, y, strict=True)),
    )


def _params(printed: str) -> float:
    return float(printed[:-1]) * _UNITS[printed[-1]]


TITLES = {
    "task_scaling": "Quality against number of finetuning tasks",
    "benchmarks": "Each benchmark against number of finetuning tasks",
    "size_scaling": "Quality against model size",
    "size_scaling_flops": "Quality against finetuning compute",
    "self_consistency": "Self-consistency: quality against answers voted on",
}
TASKS_AXIS = Axis(
    label=TASKS_LABEL,
    of=_num_tasks,
    settings=(NUM_TASKS,),
    references=_table_3,
    source=f"{THE_PAPER}, Table 3",
    unit="tasks",
)
_K, _NUM_ANSWERS = "/k=", "num_answers"
_ANSWERS_AXIS = Axis(
    label="Answers voted on (log scale)",
    of=lambda point: float(point.get(_NUM_ANSWERS)),
    settings=(_NUM_ANSWERS,),
    unit="answers",
)
