# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What figures are made from, and the words around them: headings, names of lines, notes.

A note says of every figure how many seeds a number is the mean of, what bars and bands are, by
which step a run is judged, and whose numbers stand beside ours.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flan_jax.evals.scores import Score
from flan_jax.scaling import axis, group_tables
from flan_jax.scaling.group_tables import MIXTURE, NUM_TASKS, SEED, SIZE, Order
from flan_jax.scaling.series import LEVEL, Measure, Point, Settings

THE_PAPER = "Chung et al. 2022"
_UNTRAINED = ("none", "no finetuning")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What figures need of runs that differ in their seed alone."""

    num_parameters: int | None = None
    train_flops: float | None = None
    metrics: tuple[Path, ...] = ()  # the metrics.jsonl of each seed that has one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """What the figures of a study are made from."""

    title: str
    metric: str
    rows: Sequence[Score]  # one step of each run
    subject: str = ""  # what was finetuned on what
    sizes: Sequence[str] = ()  # from small to large
    # In the order of the runs.
    facts: Mapping[Settings, RunFacts] = dataclasses.field(default_factory=dict)
    judged: str = ""  # by which step a run is, in words
    behind: Sequence[Score] = ()  # of a several-seed study, drawn behind as bands
    baselines: Sequence[Score] = ()  # of rules without learning, drawn as thin lines

    @property
    def order(self) -> Order:
        """The values of the settings, in the order of the runs; rows are sorted otherwise."""
        settings = [*map(dict, self.facts), *(row.settings for row in self.rows)]
        return group_tables.order_of(settings, self.sizes)

    def of(self, point: Point) -> RunFacts:
        """Returns what is known of the runs of a point."""
        return self.facts.get(point.settings, RunFacts())


def subtitle(data: Data) -> str:
    """Returns what was finetuned on what, of which sizes, with which seeds."""
    sizes: dict[str, int] = {}
    for settings, facts in data.facts.items():
        if facts.num_parameters is not None:
            sizes.setdefault(dict(settings).get(SIZE, ""), facts.num_parameters)
    named = [
        axis.large(num) + (f" ({size})" if len(sizes) > 1 else "") for size, num in sizes.items()
    ]
    seeds = sorted({row.settings[SEED] for row in data.rows if SEED in row.settings},
                   key=lambda seed: (len(seed), seed))  # fmt: skip
    parts = [data.subject] if data.subject else []
    if named:
        listed = ", ".join(named) if len(named) != 2 else " and ".join(named)
        parts.append(f"{listed} parameters")
    if seeds:
        parts.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}")
    return ", ".join(parts)


def name_of(names: Mapping[str, str]) -> str:
    """Returns what a line or a bar is called by the settings that tell it apart.

    Example:
        >>> name_of({"size": "mini", "num_tasks": "1836"}), name_of({"learning_rate": "0.003"})
        ('mini, 1,836 tasks', 'learning rate 0.003')
    """
    parts = []
    for name, value in names.items():
        if name == NUM_TASKS and value.isdigit():
            parts.append(f"{int(value):,} tasks" if int(value) else "no finetuning")
        elif name == MIXTURE and value == "none":
            parts.append("no finetuning")
        elif not value or is_number(value) or value in ("True", "False", "None"):
            parts.append(f"{name.replace('_', ' ')} {value or 'not set'}")
        else:  # a word tells what it is
            parts.append(value)
    return ", ".join(parts)


def is_number(value: str) -> bool:
    """Returns whether a setting's value is one."""
    try:
        float(value)
    except ValueError:
        return False
    return True


def is_untrained(names: Mapping[str, str]) -> bool:
    """Returns whether the settings say that nothing was finetuned."""
    return names.get(NUM_TASKS) == "0" or names.get(MIXTURE) in _UNTRAINED


def hover(point: Point, where: str, digits: int = 1) -> str:
    """Returns what a page tells of a point."""
    text = f"{where}: {point.mean:.{digits}f}"
    if point.stderr is not None:
        each = ", ".join(f"{value:.{digits}f}" for value in point.values)
        text += f" ± {point.stderr:.{digits}f} ({len(point.values)} seeds: {each})"
    interval = point.interval()
    if interval is not None:
        text += f"; {LEVEL:.0%} interval {interval[0]:.{digits}f} to {interval[1]:.{digits}f}"
    return text


def note(
    data: Data,
    points: Iterable[tuple[Measure, Point]],
    *,
    marks: str = "Lines",
    bands: bool = False,
    references: Iterable[str] = (),
    more: Sequence[str] = (),
) -> str:
    """Returns the note of a figure.

    Args:
        data: the figure's.
        points: all that are drawn, with their measures.
        marks: 'Lines', 'Points' or 'Bars'.
        bands: whether intervals are drawn as bands.
        references: the sources of others' numbers that are drawn.
        more: further sentences.
    """
    points = list(points)
    counts = sorted({len(point.values) for _, point in points})
    errors = "whiskers" if marks == "Bars" else "error bars"
    if counts[-1] == 1:
        text = f"{marks}: one seed, so no {errors}."
    else:
        seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        whiskers = errors if marks == "Bars" else "bars"
        text = (
            f"{marks}: mean of {seeds} seeds; {whiskers}: ± 1 standard error over seeds of the "
            "mean over tasks."
        )
    if bands:
        drawn = [over(measure, point) for measure, point in points]
        kinds = " or ".join(dict.fromkeys(kind for kind in drawn if kind))
        text += f" Bands: {LEVEL:.0%} bootstrap intervals over {kinds}."
    sentences = [text, *more]
    if data.judged:
        sentences.append(f"Each run is judged by {data.judged}.")
    sources = list(dict.fromkeys(references))
    if sources:
        sentences.append(
            f"Hollow and dashed: printed numbers of {' and '.join(sources)}, of other models on "
            "other data; nothing of them was measured here."
        )
    return " ".join(sentences)


def over(measure: Measure, point: Point) -> str:
    """Returns what is drawn again for the interval of a point; '' if it has none."""
    parts = ["seeds"] if len(point.values) > 1 else []
    parts += ["tasks"] if point.tasks else []
    parts += ["questions"] if point.question_errors else []
    return " and ".join(parts)
