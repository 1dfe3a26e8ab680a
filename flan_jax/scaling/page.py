# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A study as one page to explore: figures, runs, and every prediction; nothing is loaded.

The page opens from a file. All that it shows is inside it: figures drawn as SVG, which stay where
scripts are off and on paper; data for the same figures with hovering, drawn by plotly.js; the score
rows; and what runs answered, compressed. Its policy lets no script run but its own two, by their
hashes, and no connection be made. The same page gives the same bytes.
"""

import base64
import collections
import dataclasses
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Protocol

import markupsafe

import flan_jax
from flan_jax.core import files, pages
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.scores import Score
from flan_jax.scaling import curves, figures, interactive, predictions, selection
from flan_jax.scaling.plots import Figure
from flan_jax.scaling.predictions import Packed, TaskKey
from flan_jax.scaling.study import RunRecord, Study
from flan_jax.scaling.tables import Table


class Example(Protocol):
    """A prediction that stands in the page without a script."""

    task: str
    prompt: str
    prediction: str
    answer: str
    references: tuple[str, ...]
    right: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tile:
    """A number at the head of the page."""

    name: str
    value: str
    unit: str = ""
    change: str = ""  # such as '+12.3'
    is_better: bool = True  # whether the change is
    note: str = ""  # what the change is from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """Figures and tables under one heading."""

    title: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """All that a page says."""

    title: str
    subtitle: str
    about: Sequence[str] = ()  # paragraphs: what this is and is not
    tiles: Sequence[Tile] = ()
    sections: Sequence[Section] = ()  # what was measured
    task_table: Table | None = None
    study: Study
    examples: Sequence[tuple[str, Sequence[Example]]] = ()  # group -> right and wrong ones
    paper: Sequence[Section] = ()  # others' numbers, marked as not measured here
    facts: Sequence[tuple[str, str]] = ()
    timings: Sequence[tuple[str, float]] = ()  # stage -> seconds
    wall_s: float | None = None  # seconds for all; None: the sum of the stages
    config: str = ""  # the operative Gin text
    limit_bytes: int = predictions.LIMIT_BYTES  # of predictions, compressed


def write_page(page: Page, path: str | os.PathLike) -> None:
    """Writes the page, atomically.

    Raises:
        DataError: a file of predictions is malformed.
    """
    text = render(page)
    with files.atomic_open(path) as file:
        file.write(text)


def render(page: Page) -> str:
    """Returns the page as HTML."""
    study = page.study
    packed = predictions.pack(
        [run.folder for run in study.runs], metric=study.metric, limit_bytes=page.limit_bytes
    )
    drawn = [f for section in (*page.sections, *page.paper) for f in section.figures]
    data = {
        **explorer(study, packed),
        "charts": [interactive.chart(figure) for figure in drawn],
    }
    plotly = resources.files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")
    script = pages.template("flan_jax.scaling", "page.js.j2").render()
    template = pages.template(
        "flan_jax.scaling", "page.html.j2", thousands=lambda n: f"{n:,}", duration=duration
    )
    return template.render(
        page=page,
        judged=_judged(study),
        version=flan_jax.__version__,
        policy=" ".join(f"'{_hash(text)}'" for text in (script, plotly)),
        script=markupsafe.Markup(script),
        plotly=predictions.as_text(predictions.compress(plotly)),
        drawings={id(figure): _drawing(figure) for figure in drawn},
        numbers={id(figure): number for number, figure in enumerate(drawn)},
        identity=id,
        data=pages.embed(data),
        packed=[predictions.as_text(task) for task in packed.tasks.values()],
        left_out=packed.left_out,
        num_tasks=len(packed.tasks) + len(packed.left_out),
        total_s=sum(s for _, s in page.timings) if page.wall_s is None else page.wall_s,
    )


def explorer(study: Study, packed: Packed) -> dict[str, Any]:
    """Returns what the page's script shows of runs and tasks, as JSON values.

    Scores are those of each run's last step, whose predictions the page holds.

    Returns:
        `runs`: name, status, settings and facts of each; `settings`: names of the columns;
        `benchmarks`: name, title, metric, `means` of runs ({number of the run: [value, n, standard
        error]}), and tasks, each with its name, `scores` of runs and the number of its `packed`
        predictions (-1: they are not in the page).
    """
    numbers = {_key(run.settings): number for number, run in enumerate(study.runs)}
    places = {key: number for number, key in enumerate(packed.tasks)}
    last: dict[tuple, Score] = {}
    for row in study.scores:
        run = numbers.get(_key(row.settings))
        place = (row.benchmark, row.protocol, row.subtask, row.metric, run)
        if run is not None and (place not in last or last[place].step <= row.step):
            last[place] = row
    by_benchmark = collections.defaultdict(dict)
    for (benchmark, protocol, *rest), row in last.items():
        by_benchmark[benchmark, protocol][tuple(rest)] = row
    protocols = collections.Counter(benchmark for benchmark, _ in by_benchmark)
    found, shown = [], set()
    for (benchmark, protocol), rows in sorted(
        by_benchmark.items(), key=lambda item: (curves.benchmark_order(item[0][0]), item[0])
    ):
        one = _benchmark(benchmark, protocol, rows, study.metric, places)
        if protocols[benchmark] > 1:
            one["name"] += f"; {protocol}"
            one["title"] += f" ({protocol})"
        found.append(one)
        shown.update(task["packed"] for task in one["tasks"])
    rest = [(key, number) for key, number in places.items() if number not in shown]
    if rest:  # of runs that have no row: they are not done
        names = [" ".join(filter(None, (key.benchmark, key.asked, key.task))) for key, _ in rest]
        tasks = [
            {"name": name, "scores": {}, "packed": number}
            for name, (_, number) in zip(names, rest, strict=True)
        ]
        found.append(
            {"name": "-", "title": "Without scores", "metric": "", "means": {}, "tasks": tasks}
        )
    return {
        "runs": [_run(run) for run in study.runs],
        "settings": list(dict.fromkeys(name for run in study.runs for name in run.settings)),
        "benchmarks": found,
    }


def duration(seconds: float) -> str:
    """Returns a time for people.

    Example:
        >>> duration(9.25), duration(125), duration(7380)
        ('9.2 s', '2 min 05 s', '2 h 03 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _benchmark(
    benchmark: str,
    protocol: str,
    rows: Mapping[tuple[str, str, int], Score],
    metric: str,
    places: Mapping[TaskKey, int],
) -> dict[str, Any]:
    """Returns a benchmark with its tasks; `rows` are by subtask, metric and run."""
    names = collections.Counter(name for subtask, name, _ in rows if subtask == scores_lib.MEAN)
    names = names or collections.Counter(name for _, name, _ in rows)
    judge = min(names, key=lambda name: (name != metric, -names[name], name))
    _, split, way = scores_lib.how_asked(protocol)
    by_task: dict[str, dict[str, list]] = {}
    for (subtask, name, run), row in rows.items():
        by_task.setdefault(subtask, {})
        if name == judge:
            by_task[subtask][str(run)] = [round(row.value, 4), row.n, _rounded(row.stderr)]
    tasks = []
    for task in sorted(by_task):
        if not scores_lib.is_mean(task):
            key = TaskKey(task=task)
            if way:
                key = TaskKey(benchmark=benchmark, asked=f"{split}.{way}", task=task)
            scores = by_task[task]
            tasks.append({"name": task, "scores": scores, "packed": places.get(key, -1)})
    return {
        "name": benchmark,
        "title": curves.benchmark_title(benchmark),
        "metric": curves.metric_title(judge),
        "means": by_task.get(scores_lib.MEAN, {}),
        "tasks": tasks,
    }


def _run(run: RunRecord) -> dict[str, Any]:
    compute = run.compute
    return {
        "name": run.name,
        "status": run.status,
        "settings": dict(run.settings),
        "params": run.num_parameters,
        "flops": None if compute is None else compute.train_flops,
        "tokens": None if compute is None else compute.num_tokens,
        "seconds": run.duration_s,
    }


def _key(settings: Mapping[str, str]) -> tuple:
    return tuple(sorted((name, value) for name, value in settings.items() if value != ""))


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _drawing(figure: Figure) -> dict[str, markupsafe.Markup]:
    """Returns the drawing for wide and narrow windows, without the headings that the page has.

    Matplotlib has escaped all text in it.
    """
    bare = dataclasses.replace(figure, title="", subtitle="", note="")
    return {
        "wide": markupsafe.Markup(figures.inline_svg(bare)),
        "narrow": markupsafe.Markup(figures.inline_svg(bare, width_in=figures.NARROW_IN)),
    }


def _judged(study: Study) -> str:
    """Returns by which step figures judge a run, '' if by its last."""
    last, own = (
        selection.describe(rule, study.scores) for rule in (selection.LAST, study.selection)
    )
    return "" if own == last else own


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
