# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page about a task-scaling sweep, with its figures and tables as files.

The page loads nothing from anywhere: style and drawings are inside it, and there is no script. All
text goes through Jinja's escaping. It is a function of the `Report` alone: the same report gives
the same bytes.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import markupsafe

from flan_jax.core import errors, files, pages
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import curves as curves_lib
from flan_jax.scaling import figures, tables

ABOUT_MINI = (
    "The tasks are the mini collection that ships with flan_jax: small exercises written by a "
    "program, in the four families of instruction data that the paper mixes, and the models are "
    "tiny T5s trained here from random weights. It is not the paper's data, nor any of its models: "
    "the scores below say nothing about English, and are not comparable with the paper's.",
    "What carries over is the experiment: models finetuned on more tasks, with the same budget of "
    "steps each, are asked tasks that none of them was trained on. The scores were measured by the "
    "run that made this page; what comes from elsewhere (the bands of a study, dotted rules, the "
    "paper's own numbers) is named where it stands. Held-out combinations ask for unseen "
    "combinations of skills that were trained; held-out skills ask for skills that were not.",
)
"""What a report on the mini collection is and is not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One prediction shown in the report."""

    group: str
    task: str
    prompt: str
    prediction: str
    answer: str  # extracted from the prediction
    references: tuple[str, ...]
    score: float  # 0 to 100; 100 counts as right

    @property
    def right(self) -> bool:
        """Whether the metric gives full marks."""
        return self.score >= 100.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report says."""

    title: str
    subtitle: str  # collection, model size, seeds: also stands in the figures
    scores: Sequence[scores_lib.Score]  # of all runs, with num_tasks (and size, seed) as settings
    about: Sequence[str] = ABOUT_MINI  # paragraphs: what this is and is not
    metric: str = "exact_match"  # of the figure and of the first table
    study: Sequence[scores_lib.Score] = ()  # of a several-seed study, drawn behind
    baselines: Sequence[scores_lib.Score] = ()  # of rules without learning, drawn as thin lines
    size_order: Sequence[str] = ()  # from small to large
    # Panel -> label -> (step, loss) pairs.
    losses: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]] = dataclasses.field(
        default_factory=dict
    )
    examples: Sequence[Example] = ()
    facts: Sequence[tuple[str, str]] = ()  # name -> value: model, steps, machine, versions
    timings: Sequence[tuple[str, float]] = ()  # stage -> seconds
    wall_s: float | None = None  # seconds for all; None: the sum of the stages
    config: str = ""  # the operative Gin text


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """What `write_report` made."""

    page: Path
    table_markdown: Path
    table_csv: Path
    figures: tuple[Path, ...]  # PNG and SVG of each; the task-scaling curve first


def write_report(report: Report, out: str | os.PathLike) -> ReportFiles:
    """Writes `report.html`, its figures as PNG and SVG, and `scores_table.md` and `.csv`.

    Raises:
        DataError: if the scores lack the metric or the number of tasks.
    """
    out = Path(out)

    def curves_of(rows: Sequence[scores_lib.Score]) -> tuple[curves_lib.Curve, ...]:
        return curves_lib.task_scaling(rows, metric=report.metric) if rows else ()

    curves = curves_lib.task_scaling(report.scores, metric=report.metric)
    scaling = curves_lib.task_scaling_figure(
        curves,
        title=report.title,
        subtitle=report.subtitle,
        metric=report.metric,
        study=curves_of(report.study),
        baselines=curves_of(report.baselines),
        size_order=report.size_order,
    )
    drawn = list(figures.save(scaling, out / "task_scaling"))
    losses = None
    if report.losses:
        losses = curves_lib.losses_figure(
            report.losses, title="Training loss", subtitle=report.subtitle
        )
        drawn += figures.save(losses, out / "losses")
    others = sorted({s.metric for s in report.scores} - {report.metric})
    group_tables = [
        tables.group_table(report.scores, m, report.size_order) for m in (report.metric, *others)
    ]
    with files.atomic_open(out / "scores_table.md") as file:
        file.write("\n".join(f"{t.title}\n\n{tables.markdown(t)}" for t in group_tables))
    with files.atomic_open(out / "scores_table.csv") as file:
        tables.write_csv(group_tables[0], file)
    page = pages.template(
        "flan_jax.scaling",
        "report.html.j2",
        thousands=lambda value: f"{value:,}",
        duration=_duration,
    ).render(
        report=report,
        tiles=_tiles(curves),
        metric_title=curves_lib.metric_title(report.metric),
        scaling=_inline(scaling),
        losses=_inline(losses) if losses else None,
        group_tables=group_tables,
        task_table=tables.task_table(report.scores),
        paper_table=tables.paper_table(),
        paper_figure=_inline(curves_lib.paper_figure()),
        examples=_by_group(report.examples),
        total_s=sum(s for _, s in report.timings) if report.wall_s is None else report.wall_s,
    )
    with files.atomic_open(out / "report.html") as file:
        file.write(page)
    return ReportFiles(
        page=out / "report.html",
        table_markdown=out / "scores_table.md",
        table_csv=out / "scores_table.csv",
        figures=tuple(drawn),
    )


def pick_examples(
    predictions: str | os.PathLike,
    groups: Mapping[str, Sequence[str]],
    *,
    metric: str = "exact_match",
    num_each: int = 2,
) -> list[Example]:
    """Returns predictions to show: for each group the first few right ones and wrong ones.

    Args:
        predictions: folder with one `<task>.jsonl` for each task, as the evaluation writes them.
        groups: group -> names of its tasks.
        metric: decides what is right.
        num_each: right ones, and as many wrong ones, for each group; each from another task where
            there are enough tasks.
    """
    picked = []
    for group, tasks in groups.items():
        for right in (True, False):
            candidates = [
                example
                for task in sorted(tasks)
                for example in _first_two(
                    _read_predictions(predictions, group, task, metric), right
                )
            ]
            firsts = [e for i, e in enumerate(candidates) if i == _index_of_task(candidates, e)]
            seconds = [e for e in candidates if e not in firsts]
            picked += [*firsts, *seconds][:num_each]
    return picked


def _first_two(examples: Iterable[Example], right: bool) -> list[Example]:
    found = []
    for example in examples:
        if example.right == right:
            found.append(example)
        if len(found) == 2:
            break
    return found


def _index_of_task(candidates: Sequence[Example], example: Example) -> int:
    return next(i for i, other in enumerate(candidates) if other.task == example.task)


def _read_predictions(folder, group: str, task: str, metric: str) -> Iterable[Example]:
    path = Path(folder) / f"{task}.jsonl"
    if not path.is_file():
        return
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                if metric not in row["metrics"]:
                    return
                yield Example(
                    group=group,
                    task=task,
                    prompt=row["inputs"],
                    prediction=row["prediction"],
                    answer=row["answer"],
                    references=tuple(row["references"]),
                    score=float(row["metrics"][metric]),
                )
            except (ValueError, KeyError, TypeError) as error:
                raise errors.DataError(f"{path}:{number}: not a prediction ({error!r})") from None


def _tiles(curves: Sequence[curves_lib.Curve]) -> list[dict]:
    """The change of each curve from its fewest to its most tasks, for the head of the page."""
    several_sizes = len({curve.size for curve in curves}) > 1
    tiles = []
    for curve in curves:
        first, last = curve.points[0], curve.points[-1]
        errors_of = [p.stderr for p in (first, last) if p.stderr is not None]
        tiles.append(
            {
                "title": curves_lib.benchmark_title(curve.benchmark)
                + (f", {curve.size}" if several_sizes else ""),
                "value": last.mean,
                "first": first.mean,
                "change": last.mean - first.mean,
                # Runs of different task counts are independent.
                "change_error": math.hypot(*errors_of) if len(errors_of) == 2 else None,
                "fewest": first.num_tasks,
                "most": last.num_tasks,
            }
        )
    return tiles


def _by_group(examples: Sequence[Example]) -> list[tuple[str, list[Example]]]:
    groups = dict.fromkeys(example.group for example in examples)
    return [
        (curves_lib.benchmark_title(group), [e for e in examples if e.group == group])
        for group in sorted(groups, key=curves_lib.benchmark_order)
    ]


def _inline(figure: figures.Figure) -> dict[str, markupsafe.Markup]:
    """The drawing twice, for wide and narrow windows, without its headings: the page has its own.

    Matplotlib has escaped all text in it.
    """
    bare = dataclasses.replace(figure, title="", subtitle="")
    return {
        "wide": markupsafe.Markup(figures.inline_svg(bare)),
        "narrow": markupsafe.Markup(figures.inline_svg(bare, width_in=figures.NARROW_IN)),
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
