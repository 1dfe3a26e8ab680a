# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A study's report: figures and tables as files, and one page with all of it.

    OUT/<figure>.png, .svg, .pdf     each figure that the study has
    OUT/scores_table.md, .csv, .tex  groups of tasks by what varies
    OUT/task_table.csv               every task
    OUT/fits.md, .csv, .tex          laws through the curves, where there are some
    OUT/compute.md, .csv, .tex       what the runs computed
    OUT/report.html                  the page

It is a function of the study, its runs' files and what is drawn beside them: the same ones give the
same bytes.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import errors, files
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.scores import Score
from flan_jax.scaling import (
    captions,
    compute,
    curves,
    experiments,
    figures,
    fits,
    group_tables,
    line_figures,
    page,
    selection,
    series,
    tables,
)
from flan_jax.scaling.captions import Data
from flan_jax.scaling.study import Study
from flan_jax.scaling.tables import Table

_FEW_RUNS = 12
_PAPER = (
    "Other models, other data, other benchmarks: only the shape of a curve can be set beside those "
    "above. Source: Chung et al. 2022, “Scaling Instruction-Finetuned Language Models” "
    "(arXiv:2210.11416v5), Table 3."
)


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
class ReportFiles:
    """What a report consists of."""

    page: Path
    tables: tuple[Path, ...]  # the scores' first: .md, .csv, .tex
    figures: tuple[Path, ...]  # PNG, SVG and PDF of each, the study's main one first


def write_report(
    study: Study,
    out: str | os.PathLike,
    *,
    behind: Sequence[Score] = (),
    baselines: Sequence[Score] = (),
    price: float | None = None,
) -> ReportFiles:
    """Writes the report of a study: of its runs that are done.

    Args:
        study: what to report on.
        out: folder to write to; files of the same names are replaced.
        behind: rows of a several-seed study of the same, drawn behind as bands.
        baselines: rows of rules without learning, drawn as thin lines.
        price: of a device-hour, in any currency, for the cost of what was computed.

    Raises:
        UsageError: the study names a figure or a selection that there is none of.
        DataError: its rows or predictions are malformed.
    """
    out = Path(out)
    data = experiments.data_of(study, behind=behind, baselines=baselines)
    drawn = experiments.figures_for(study, behind=behind, baselines=baselines)
    group = _group_tables(study, data)
    every = group_tables.task_table(data.rows, data.order)
    laws = _laws(data)
    runs = [(run.size, run.compute) for run in study.done if run.compute is not None]
    computed = compute.table(runs, price)
    written = [
        *_write_tables(out / "scores_table", group),
        _write(out / "task_table.csv", lambda file: tables.write_csv(every, file)),
    ]
    if laws:
        written += _write_tables(out / "fits", laws)
    if computed is not None:
        written += _write_tables(out / "compute", [computed])
    saved = [path for figure in drawn for path in figures.save(figure, out / figure.name)]
    sections = [page.Section(title=figure.title, figures=[figure]) for figure in drawn]
    sections.append(page.Section(title="Scores", tables=group))
    if laws:
        sections.append(page.Section(title="Laws through the curves", tables=laws))
    if computed is not None:
        sections.append(page.Section(title="What it took", tables=[computed]))
    page.write_page(
        page.Page(
            title=study.title,
            subtitle=captions.subtitle(data) + _unfinished(study),
            about=study.about,
            tiles=_tiles(data),
            sections=sections,
            task_table=every,
            study=study,
            examples=_examples(study, data.rows),
            paper=[
                page.Section(
                    title="The same experiment in the paper",
                    paragraphs=[_PAPER],
                    figures=[curves.paper_figure()],
                    tables=[tables.paper_table()],
                )
            ],
            facts=_facts(study),
            timings=_timings(study),
            wall_s=study.info.get("wall_s"),
            config=study.info.get("config", ""),
        ),
        out / "report.html",
    )
    return ReportFiles(page=out / "report.html", tables=tuple(written), figures=tuple(saved))


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


def _group_tables(study: Study, data: Data) -> list[Table]:
    """Returns a table for each metric that has means, the study's own first."""
    means = [row.metric for row in data.rows if row.subtask == scores_lib.MEAN]
    shown = [study.metric] * (study.metric in means)
    shown += sorted(set(means) - {study.metric, *_parts_of_votes(means)})
    return [group_tables.group_table(data.rows, metric, data.order) for metric in shown]


def _parts_of_votes(metrics: Iterable[str]) -> list[str]:
    """Returns the metrics of the first k answers: a figure shows them."""
    return [metric for metric in metrics if "/k=" in metric]


def _laws(data: Data) -> list[Table]:
    """Returns the laws in tasks and in FLOPs through the curves that have enough points."""
    axes = [(line_figures.flops_axis(data), "FLOPs", (fits.power_law,))]
    if experiments.differ_in_count_alone(data):
        in_tasks = (line_figures.TASKS_AXIS, "tasks", (fits.log_linear, fits.saturating))
        axes.insert(0, in_tasks)
    made = []
    for along, unit, laws in axes:
        by = series.varied(data.rows, data.order, along.settings)
        shown = series.measures(data.rows, data.metric)
        named, gained = [], []
        for measure, title in zip(shown, series.titles(shown), strict=True):
            for line in series.lines(data.rows, measure, along.of, by, data.order):
                if len({x for x in line.x if x > 0}) > 2:
                    name = ", ".join(filter(None, (title, captions.name_of(line.names))))
                    named += [(name, _attempt(law, line)) for law in laws]
                    gained.append((name, _attempt(fits.gain_per_doubling, line)))
        if named:
            made.append(fits.table(f"Laws in {unit}", named, of=unit))
        if any(isinstance(found, fits.Gains) for _, found in gained):  # else the laws say why
            made.append(fits.gains_table(f"What a doubling of {unit} brings", gained, of=unit))
    return made


def _attempt(law: Callable[..., Any], line: series.Series) -> Any:
    """Returns what a law makes of a line, or why it makes nothing."""
    try:
        return law(line.x, [point.values for point in line.points])
    except errors.DataError as error:
        return error


def _write_tables(stem: Path, made: Sequence[Table]) -> list[Path]:
    """Writes tables as Markdown and LaTeX, and the first one as CSV."""
    markdown = "\n".join(f"{table.title}\n\n{tables.markdown(table)}" for table in made)
    latex = "\n".join(tables.latex(table) for table in made)
    return [
        _write(Path(f"{stem}.md"), lambda file: file.write(markdown)),
        _write(Path(f"{stem}.csv"), lambda file: tables.write_csv(made[0], file)),
        _write(Path(f"{stem}.tex"), lambda file: file.write(latex)),
    ]


def _write(path: Path, write: Callable) -> Path:
    with files.atomic_open(path) as file:
        write(file)
    return path


def _tiles(data: Data) -> list[page.Tile]:
    """The change of each curve from its fewest to its most tasks, for the head of the page.

    There is none where mixtures differ in more than their number of tasks.
    """
    if not experiments.differ_in_count_alone(data):
        return []
    along = line_figures.TASKS_AXIS
    by = series.varied(data.rows, data.order, along.settings)
    shown = series.measures(data.rows, data.metric)
    tiles = []
    for measure, title in zip(shown, series.titles(shown), strict=True):
        for line in series.lines(data.rows, measure, along.of, by, data.order):
            first, last = line.points[0], line.points[-1]
            name = ", ".join(filter(None, (title, captions.name_of(line.names))))
            change = last.mean - first.mean
            known = [p.stderr for p in (first, last) if p.stderr is not None]
            # Runs of different task counts are independent.
            error = f" ± {math.hypot(*known):.1f}" if len(known) == 2 else ""
            several = len(line.points) > 1
            tiles.append(
                page.Tile(
                    name=name,
                    value=f"{last.mean:.1f}",
                    unit=f"% after {line.x[-1]:,.0f} tasks",
                    change=f"{change:+.1f}" if several else "",
                    is_better=change > 0,
                    note=f"{error} from {first.mean:.1f} % after {line.x[0]:,.0f}".strip()
                    if several
                    else "",
                )
            )
    return tiles if len(tiles) <= _FEW_RUNS else []


def _unfinished(study: Study) -> str:
    left = len(study.runs) - len(study.done)
    return f"; {left} of {len(study.runs)} runs are not done" if left else ""


def _examples(study: Study, rows: Sequence[Score]) -> list[tuple[str, list[Example]]]:
    """Returns predictions of the last run to show; none if they are not there."""
    folder = study.done[-1].folder
    if folder is None:
        return []
    groups: dict[str, list[str]] = {}
    for row in rows:
        if not scores_lib.is_mean(row.subtask):
            groups.setdefault(row.benchmark, []).append(row.subtask)
    picked = pick_examples(
        folder / "predictions",
        {group: sorted(set(names)) for group, names in groups.items()},
        metric=study.metric,
    )
    shown = dict.fromkeys(example.group for example in picked)
    return [
        (curves.benchmark_title(group), [e for e in picked if e.group == group])
        for group in sorted(shown, key=curves.benchmark_order)
    ]


def _facts(study: Study) -> list[tuple[str, str]]:
    info, sizes = study.info, {run.size: run.num_parameters for run in study.done}
    facts = [("runs", f"{len(study.done)} of {len(study.runs)}")]
    facts += [
        (f"parameters of {size}" if size else "parameters", f"{num:,}")
        for size, num in sizes.items()
        if num is not None
    ]
    facts.append(("judged by", selection.describe(study.selection, study.scores)))
    if info.get("parallel"):
        cores = info["cores_per_run"]
        facts.append(("at a time", f"{info['parallel']}, on {cores} core(s) each"))
    if "machine" in info:
        facts.append(("machine", info["machine"]))
    return facts + list(info.get("versions", {}).items())


def _timings(study: Study) -> list[tuple[str, float]]:
    """Returns what took how long: each run where there are few, else the runs of each size."""
    built = [("build", study.info["build_s"])] if study.info.get("build_s") else []
    timed = [run for run in study.done if run.duration_s is not None]
    if len(timed) <= _FEW_RUNS:
        return built + [(run.name, run.duration_s) for run in timed]
    by_size: dict[str, list[float]] = {}
    for run in timed:
        by_size.setdefault(run.size, []).append(run.duration_s)
    return built + [
        (f"{len(times)} runs of {size}, {sum(times) / len(times):.0f} s each", sum(times))
        for size, times in by_size.items()
    ]
