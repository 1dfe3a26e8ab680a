# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""An evaluation as tables in Markdown, beside the paper's numbers for a model of its Table 5.

Nothing is measured here: it is a function of score rows, of what guessing scores, and of counts of
prompts. A table that has no row is left out.
"""

import dataclasses
import os
import types
from collections.abc import Mapping, Sequence

from flan_jax.core import files, tables
from flan_jax.evals import normalized
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.benchmark import GENERATE, TEST, VALIDATION
from flan_jax.evals.scores import Score
from flan_jax.paper import parts, results

UNPARSED = "unparsed"
_NO_COUNTS: Mapping[str, Mapping[str, int]] = types.MappingProxyType({})

# Benchmarks with a table of their parts, and what a part is.
_WITH_PARTS = {"bbh": ("BBH by file", "File"), "tydiqa": ("TyDiQA by language", "Language"),
               "mgsm": ("MGSM by language", "Language")}  # fmt: skip

# What the paper reports elsewhere than in Table 5: (benchmark, split) -> prompting and column of
# Table 4.
_HEADLINE = {
    ("mmlu", TEST): ("direct", "mmlu"),
    ("mmlu_cot", TEST): ("CoT", "mmlu"),
    ("mgsm_direct", TEST): ("direct", "mgsm"),
    ("mgsm_self_consistency", TEST): ("CoT + self-consistency", "mgsm"),
}

_COUNTS = {
    "prompts": "Prompts",
    "dropped": "Exemplars did not all fit",
    "dropped_exemplars": "Exemplars dropped",
    "too_long": "Not asked: too long",
    "cut": "Answers cut at their longest",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Asked:
    """A benchmark asked in one way."""

    benchmark: str
    protocol: str
    rows: tuple[Score, ...]

    @property
    def metric(self) -> str:
        """The headline metric, which comes first."""
        return self.rows[0].metric

    def of(self, metric: str) -> list[Score]:
        """The subtasks' rows of a metric."""
        return [
            row for row in self.rows if row.metric == metric and not scores_lib.is_mean(row.subtask)
        ]

    def mean(self, metric: str, subtask: str = scores_lib.MEAN) -> Score | None:
        """The mean of a metric over all subtasks, or over a group."""
        found = [row for row in self.rows if (row.metric, row.subtask) == (metric, subtask)]
        return found[0] if found else None


def write(
    path: str | os.PathLike,
    scores: Sequence[Score],
    *,
    baselines: Mapping[tuple[str, str], float],
    paper_model: str | None = None,
    counts: Mapping[str, Mapping[str, int]] = _NO_COUNTS,
    num_examples: int | None = None,
) -> None:
    """Writes what `markdown` returns, atomically."""
    text = markdown(
        scores, baselines=baselines, paper_model=paper_model, counts=counts,
        num_examples=num_examples,
    )  # fmt: skip
    with files.atomic_open(path) as file:
        file.write(text)


def markdown(
    scores: Sequence[Score],
    *,
    baselines: Mapping[tuple[str, str], float],
    paper_model: str | None = None,
    counts: Mapping[str, Mapping[str, int]] = _NO_COUNTS,
    num_examples: int | None = None,
) -> str:
    """Returns the report.

    Args:
        scores: of one model at one step, as the evaluation gives them: of a benchmark asked in one
            way the headline metric comes first. Normalized averages among them are passed over.
        baselines: (benchmark, subtask) -> what guessing scores.
        paper_model: a name of `results.model_name` to compare with; None: none.
        counts: 'benchmark (protocol)' -> number of `prompts`, of those with exemplars `dropped`, of
            `dropped_exemplars`, of prompts `too_long`, of answers `cut` at the most tokens allowed.
        num_examples: of each subtask only so many were asked; None: all.

    Raises:
        UsageError: the paper has no such model.
        ValueError: no scores, or of several models or steps.
    """
    paper = results.named_model(paper_model) if paper_model else None
    if len({(score.model, score.step) for score in scores}) != 1:
        raise ValueError("a report is of the scores of one model at one step; pass these")
    asked = _by_way(scores)
    made, lacking = normalized.averages(scores, baselines)
    sections = [
        ("Scores", _scores(asked, baselines, paper)),
        ("Normalized averages", _averages(made, lacking, paper)),
        ("Groups of subtasks", _groups(asked, paper)),
        *((title, _parts(name, column, asked, paper)) for name, (title, column) in
          _WITH_PARTS.items()),
        ("Other measures", _others(asked)),
        ("Prompts and answers", _counted(asked, counts)),
    ]  # fmt: skip
    head = [
        f"# Evaluation of {scores[0].model}, step {scores[0].step}",
        _about(paper, num_examples),
    ]
    body = [f"## {title}\n\n{text.rstrip()}" for title, text in sections if text]
    return "\n\n".join([*head, *body]) + "\n"


def _about(paper: results.PaperRow | None, num_examples: int | None) -> str:
    text = (
        "Scores are in percent, unless a metric's name says otherwise. A benchmark's score is the "
        "unweighted mean over its subtasks; ± is its standard error over questions."
    )
    if num_examples is not None:
        text += f" Not all were asked: of each subtask at most {num_examples}, evenly spread."
    if paper is not None:
        text += (
            f" The paper's numbers are those of {results.model_name(paper)} ({paper.source}, "
            "unless said otherwise), not measured here."
        )
    return text


def _by_way(scores: Sequence[Score]) -> list[_Asked]:
    grouped: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        if score.benchmark not in normalized.AVERAGES:
            grouped.setdefault((score.benchmark, score.protocol), []).append(score)
    return [
        _Asked(benchmark=benchmark, protocol=protocol, rows=tuple(rows))
        for (benchmark, protocol), rows in grouped.items()
    ]


def _scores(
    asked: Sequence[_Asked],
    baselines: Mapping[tuple[str, str], float],
    paper: results.PaperRow | None,
) -> str:
    lines = []
    for part in asked:
        rows, mean = part.of(part.metric), part.mean(part.metric)
        if mean is None:
            continue
        error = scores_lib.error_of_mean([row.stderr for row in rows])
        guessing = [baselines.get((row.benchmark, row.subtask)) for row in rows]
        known = [value for value in guessing if value is not None]
        lines.append(
            [
                part.benchmark,
                part.protocol,
                part.metric,
                _value(mean.value, error),
                f"{sum(row.n for row in rows):,}",
                f"{len(rows)}",
                f"{sum(known) / len(known):.1f}" if known and len(known) == len(guessing) else "",
                *_beside(mean.value, _paper_score(part, paper), paper),
            ]
        )
    head = ["Benchmark", "Asked", "Metric", "Score", "Questions", "Subtasks", "Guessing"]
    text = _table([*head, *_beside_head(paper)], lines, num_names=3)
    if any(_in_table_4(part) and _paper_score(part, paper) is not None for part in asked):
        text += "\nMMLU on its test split, and other forms of MGSM: the paper's Table 4.\n"
    generated = [part for part in asked if scores_lib.how_asked(part.protocol)[2] == GENERATE]
    if paper and any(_in_table_4(p) and _paper_score(p, paper) is None for p in generated):
        text += (
            "\nOn MMLU's test split, and in other forms of MGSM, the paper has only the 540B models"
            " (its Table 4).\n"
        )
    return text


def _averages(
    made: Sequence[Score], lacking: Mapping[str, int], paper: results.PaperRow | None
) -> str:
    lines, splits = [], set()
    for score in made:
        split = scores_lib.how_asked(score.protocol)[1]  # of MMLU
        splits.add(split)
        printed = None
        if paper is not None and (score.benchmark, split) == (normalized.NAME, VALIDATION):
            printed = paper.score(normalized.NAME)
        members = ", ".join(normalized.AVERAGES[score.benchmark])
        value = _value(score.value, score.stderr)
        lines.append([score.benchmark, members, value, *_beside(score.value, printed, paper)])
    text = _table(["Average", "Over", "Score", *_beside_head(paper)], lines, num_names=2)
    if splits - {VALIDATION}:
        what = "MMLU" if splits == {TEST} else "One form of MMLU"
        text += f"\n{what} is on its test split here; in the paper's average, on validation.\n"
    if len(lacking) == len(normalized.NUM_SUBTASKS) and not any(lacking.values()):
        return text
    for name, members in normalized.AVERAGES.items():
        without = [
            f"{member} ({lacking[member]} of {normalized.NUM_SUBTASKS[member]} subtasks)"
            for member in members
            if member in lacking
        ]
        if without:
            text += f"\nNo {name}; it lacks {', '.join(without)}.\n"
    return text.lstrip("\n")


def _groups(asked: Sequence[_Asked], paper: results.PaperRow | None) -> str:
    lines = []
    for part in asked:
        names = [
            row.subtask
            for row in part.rows
            if scores_lib.group_of(row.subtask) and row.metric == part.metric
        ]
        for name in names:
            mean, group = part.mean(part.metric, name), scores_lib.group_of(name)
            assert mean is not None
            printed = _paper_group(part, group, paper)
            lines.append(
                [
                    part.benchmark, part.protocol, group, f"{mean.n}", _value(mean.value, None),
                    *_beside(mean.value, printed, paper),
                ]
            )  # fmt: skip
    head = ["Benchmark", "Asked", "Group", "Subtasks", "Score", *_beside_head(paper)]
    text = _table(head, lines, num_names=3)
    if any(line[-1] for line in lines) and paper is not None:
        text += "\nThe paper's groups of BBH are means of its per-file scores.\n"
    return text


def _parts(
    family: str, column: str, asked: Sequence[_Asked], paper: results.PaperRow | None
) -> str:
    forms = [p for p in asked if p.benchmark == family or p.benchmark.startswith(f"{family}_")]
    names = dict.fromkeys(row.subtask for form in forms for row in form.of(form.metric))
    head = [column]
    columns: list[dict[str, str]] = []
    for form in forms:
        head.append(f"{form.benchmark}, {form.protocol}")
        columns.append({r.subtask: _value(r.value, r.stderr) for r in form.of(form.metric)})
        theirs = _paper_parts(form, paper)
        if theirs:
            head.append("paper")
            columns.append({name: _as_read(part) for name, part in theirs.items()})
    lines = [[name, *(cells.get(name, "") for cells in columns)] for name in names]
    text = _table(head, lines, num_names=1)
    if any("~" in cell for line in lines for cell in line):
        text += "\n~: not legible to us; it follows from the printed mean of its row, ±1.4.\n"
    return text


def _others(asked: Sequence[_Asked]) -> str:
    lines = [
        [part.benchmark, part.protocol, row.metric, f"{row.value:.1f}"]
        for part in asked
        for row in part.rows
        if row.subtask == scores_lib.MEAN
        and row.metric not in (part.metric, UNPARSED)
        and not row.metric.startswith(f"{UNPARSED}/")
    ]
    return _table(["Benchmark", "Asked", "Metric", "Mean"], lines, num_names=3)


def _counted(asked: Sequence[_Asked], counts: Mapping[str, Mapping[str, int]]) -> str:
    lines = []
    for part in asked:
        own = counts.get(f"{part.benchmark} ({part.protocol})", counts.get(part.benchmark))
        rows = part.of(UNPARSED)
        unparsed = f"{sum(round(row.value * row.n / 100) for row in rows):,}" if rows else ""
        numbers = [f"{own[key]:,}" if own else "" for key in _COUNTS]
        if own or rows:
            lines.append([part.benchmark, part.protocol, *numbers, unparsed])
    head = ["Benchmark", "Asked", *_COUNTS.values(), "No answer found"]
    return _table(head, lines, num_names=2)


def _paper_score(part: _Asked, paper: results.PaperRow | None) -> float | None:
    """Returns what the paper reports for the same benchmark, asked in the same way."""
    _, split, way = scores_lib.how_asked(part.protocol)
    if paper is None or way != GENERATE:
        return None
    if _in_table_4(part):
        prompting, column = _HEADLINE[part.benchmark, split]
        for row in results.headline():
            if (row.model, row.params, row.prompting) == (paper.model, paper.params, prompting):
                return getattr(row, column)
        return None
    return paper.score(part.benchmark) if part.benchmark in results.BENCHMARKS else None


def _in_table_4(part: _Asked) -> bool:
    return (part.benchmark, scores_lib.how_asked(part.protocol)[1]) in _HEADLINE


def _paper_parts(part: _Asked, paper: results.PaperRow | None) -> dict[str, parts.Part]:
    if paper is None or scores_lib.how_asked(part.protocol)[2] != GENERATE:
        return {}
    return {
        each.part: each
        for each in parts.parts()
        if (each.benchmark, each.model, each.params) == (part.benchmark, paper.model, paper.params)
    }


def _paper_group(part: _Asked, group: str, paper: results.PaperRow | None) -> float | None:
    theirs = _paper_parts(part, paper)
    members = [file.file for file in parts.bbh_files() if file.group == group]
    own = [theirs[name].score for name in members if name in theirs]
    return sum(own) / len(own) if own else None


def _as_read(part: parts.Part) -> str:
    marks = {parts.PRINTED: f"{part.score:.1f}", parts.SOLVED: f"~{part.score:.1f}"}
    return marks.get(part.status, "")


def _value(value: float, error: float | None) -> str:
    return f"{value:.1f}" + ("" if error is None else f" ± {error:.1f}")


def _beside_head(paper: results.PaperRow | None) -> list[str]:
    return ["Paper", "Difference"] if paper else []


def _beside(value: float, printed: float | None, paper: results.PaperRow | None) -> list[str]:
    if paper is None:
        return []
    return ["", ""] if printed is None else [f"{printed:.1f}", f"{value - printed:+.1f}"]


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], num_names: int) -> str:
    """Returns a table whose first columns are text; '' without lines."""
    return tables.markdown([head, *lines], right=range(num_names, len(head))) if lines else ""
