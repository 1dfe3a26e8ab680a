# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's Tables 2 to 5 and their figures, from its printed numbers; nothing is measured here.

Beside what is printed stands what follows from other numbers of the paper: FLOPs by the rule behind
Table 2, and the normalized average from its parts. Where they disagree, the printed number stays
and a note says so.

    OUT/table2.md, .csv, .tex    compute
    OUT/table3...                task scaling
    OUT/table4...                the headline
    OUT/table5...                all models
    OUT/paper_task_scaling.png, .svg, .pdf; so paper_size_scaling, paper_compute, paper_headline
"""

import dataclasses
import statistics
from pathlib import Path

from flan_jax.aot import slices
from flan_jax.core import files
from flan_jax.evals import normalized
from flan_jax.paper import finetuning, parts, pretraining, results
from flan_jax.scaling import curves, figures, tables
from flan_jax.scaling.plots import Bars, Figure, Line, Panel
from flan_jax.scaling.tables import Cell, Table

_SOURCE = "Chung et al. 2022 (arXiv:2210.11416v5)"
_MMLU_BASELINE = 25.0  # of four choices
_UNITS = {"M": 1e6, "B": 1e9}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperReport:
    """What was written."""

    text: str  # the tables, as Markdown
    files: tuple[Path, ...]


def write(out: Path) -> PaperReport:
    """Writes the tables and figures."""
    written, texts = [], []
    for name, make in TABLES.items():
        table = make()
        text = f"{table.title}\n\n{tables.markdown(table)}"
        texts.append(text)
        for ending, content in ((".md", text), (".tex", tables.latex(table))):
            written.append(out / f"{name}{ending}")
            with files.atomic_open(written[-1]) as file:
                file.write(content)
        written.append(out / f"{name}.csv")
        with files.atomic_open(written[-1]) as file:
            tables.write_csv(table, file)
    for figure in (task_scaling(), size_scaling(), compute_scaling(), headline()):
        written += figures.save(figure, out / figure.name)
    return PaperReport(text="\n".join(texts), files=tuple(written))


def table_2() -> Table:
    """Returns Table 2, with what its rule gives beside it."""
    rows, notes = [], []
    for row in pretraining.pretrainings():
        tuned = row.finetuning
        named = _model_name(row.model, row.params)
        shares = [f"{row.percent:g}", f"{100 * tuned.rule_flops / row.rule_flops:.1f}"]
        rows.append(
            (
                (named, row.params, tuned.architecture, f"{row.pretrain_flops:.1e}",
                 f"{row.rule_flops:.1e}", f"{tuned.flops:.1e}", f"{tuned.rule_flops:.1e}", *shares,
                 f"{tuned.num_positions:.2e}"),
                (),
            )
        )  # fmt: skip
        notes += [f"{named}: {note}." for note in (row.note, tuned.note) if note]
    return Table(
        title=f"{_SOURCE}, Table 2: compute of pre-training and of instruction finetuning",
        names=("Model", "Parameters", "Architecture", "Pre-training FLOPs",
               "Pre-training by the rule", "Finetuning FLOPs", "Finetuning by the rule",
               "Finetuning, %", "% by the rule", "Finetuning positions"),
        columns=(),
        rows=tuple(rows),
        note="Rule (derived): 6 (decoder) or 3 (encoder-decoder) for each parameter and token; in "
        f"finetuning {finetuning.Finetuning.SEQUENCE_LENGTH:,} positions a row, padding counted. "
        + " ".join(notes)
        + f" Flan-PaLM 540B took about {pretraining.FLAN_PALM_540B_CHIPS} TPU v4 chips for "
        f"{pretraining.FLAN_PALM_540B_HOURS} hours (section 2.2), which makes {_palm_mfu():.0%} of "
        "their peak.",
    )  # fmt: skip


def table_3() -> Table:
    """Returns Table 3: task scaling."""
    return tables.paper_table()


def table_4() -> Table:
    """Returns Table 4: PaLM 540B before and after, by prompting."""
    columns = ("MMLU", "BBH-nlp", "BBH-alg", "TyDiQA", "MGSM")
    return Table(
        title=f"{_SOURCE}, Table 4: PaLM 540B by prompting (MMLU on its test split)",
        names=("Model", "Prompting"),
        columns=columns,
        rows=tuple(
            (
                (f"{row.model} {row.params}", row.prompting),
                tuple(
                    None if value is None else Cell(value=value)
                    for value in (row.mmlu, row.bbh_nlp, row.bbh_alg, row.tydiqa, row.mgsm)
                ),
            )
            for row in results.headline()
        ),
    )


def table_5() -> Table:
    """Returns Table 5, with the gain of finetuning and the normalized average from its parts."""
    rows, before = [], 0.0
    for row in results.all_models():
        average = row.score(normalized.NAME)
        gain = None if not row.num_tasks else Cell(value=average - before)
        if not row.num_tasks:
            before = average
        own = from_parts(row)
        cells = (
            Cell(value=average), gain, None if own is None else Cell(value=own),
            *(Cell(value=value) for value in row.scores[1:]),
        )  # fmt: skip
        rows.append(((row.params, results.model_name(row)), cells))
    first, *others = results.BENCHMARKS.values()
    return Table(
        title=f"{_SOURCE}, Table 5: every model with and without instruction finetuning",
        names=("Parameters", "Model"),
        columns=(first, "Gain", "From its parts", *others),
        rows=tuple(rows),
        note="From its parts: the normalized average of the printed scores, BBH by file; all agree "
        "within 0.07 but PaLM 62B and 540B, whose BBH-CoT is another in Table 19. Gain: of the "
        "averages as printed.",
    )


TABLES = {"table2": table_2, "table3": table_3, "table4": table_4, "table5": table_5}
"""Name of its files -> the function that makes a table."""


def from_parts(row: results.PaperRow) -> float | None:
    """Returns a model's normalized average from its printed parts; None where some are unknown."""
    baselines = {each.file: each.baseline for each in parts.bbh_files()}
    found = [
        normalized.normalized(row.score(name), _MMLU_BASELINE) for name in ("mmlu", "mmlu_cot")
    ]
    for name in ("bbh", "bbh_cot"):
        scores = {
            part.part: part.score
            for part in parts.parts()
            if (part.model, part.params, part.benchmark) == (row.model, row.params, name)
        }
        if scores.keys() != baselines.keys():
            return None
        found.append(normalized.normalized_mean(scores, baselines))
    return statistics.fmean([*found, row.score("tydiqa"), row.score("mgsm")])


def task_scaling() -> Figure:
    """Returns Figure 4: the normalized average against the number of tasks, by size."""
    return dataclasses.replace(
        curves.paper_figure(),
        name="paper_task_scaling",
        title="Task scaling of PaLM",
        subtitle=f"{_SOURCE}, Table 3: printed numbers, nothing measured here",
    )


def size_scaling() -> Figure:
    """Returns the normalized average against parameters, before and after finetuning."""
    lines = []
    for family, color in (("T5", 1), ("PaLM", 2)):
        for tuned in (False, True):
            rows = [
                row
                for row in results.all_models()
                if row.model.removeprefix("Flan-").split("-")[0] == family
                and bool(row.num_tasks) == tuned
            ]
            lines.append(
                _line(("Flan-" if tuned else "") + family, color, not tuned,
                      [(_number(row.params), row.score(normalized.NAME)) for row in rows])
            )  # fmt: skip
    return Figure(
        name="paper_size_scaling",
        title="Size scaling, before and after instruction finetuning",
        subtitle=f"{_SOURCE}, Table 5: printed numbers, nothing measured here",
        panels=(Panel(title="", lines=tuple(lines)),),
        x_label="Parameters (log scale)",
        y_label="Normalized average of the paper's benchmarks, %",
        log_x=True,
        large_x=True,
    )


def compute_scaling() -> Figure:
    """Returns the same against all FLOPs, by the rule behind Table 2."""
    scores = {(row.model, row.params): row.score(normalized.NAME) for row in results.all_models()}
    lines = []
    for family, color in (("T5", 1), ("PaLM", 2)):
        rows = [
            row
            for row in pretraining.pretrainings()
            if row.model.removeprefix("Flan-").split("-")[0] == family
        ]
        before = [
            (row.rule_flops, scores[row.model.removeprefix("Flan-"), row.params]) for row in rows
        ]
        after = [
            (row.rule_flops + row.finetuning.rule_flops, scores[row.model, row.params])
            for row in rows
        ]
        lines += [_line(family, color, True, before), _line(f"Flan-{family}", color, False, after)]
    return Figure(
        name="paper_compute",
        title="Quality against all compute",
        subtitle=f"{_SOURCE}, Tables 2 and 5: scores as printed, FLOPs by the rule behind Table 2",
        panels=(Panel(title="", lines=tuple(lines)),),
        x_label="FLOPs of pre-training and finetuning (log scale)",
        y_label="Normalized average of the paper's benchmarks, %",
        log_x=True,
        large_x=True,
    )


def headline() -> Figure:
    """Returns Table 4 as bars: direct, with chain of thought, and with self-consistency."""
    panels = []
    for column, title in (("mmlu", "MMLU"), ("bbh_nlp", "BBH-nlp"), ("bbh_alg", "BBH-alg"),
                          ("mgsm", "MGSM")):  # fmt: skip
        panels.append(
            Panel(
                title=title,
                bars=tuple(
                    Bars(
                        label=f"{model} 540B",
                        names=tuple(row.prompting for row in rows),
                        values=tuple(getattr(row, column) for row in rows),
                        color=color,
                    )
                    for model, color in (("PaLM", 0), ("Flan-PaLM", 1))
                    if (rows := [row for row in results.headline() if row.model == model])
                ),
            )
        )
    return Figure(
        name="paper_headline",
        title="Prompting PaLM 540B before and after finetuning",
        subtitle=f"{_SOURCE}, Table 4: printed numbers, nothing measured here",
        panels=tuple(panels),
        x_label="",
        y_label="Score, %",
    )


def _line(label: str, color: int, pale: bool, points: list[tuple[float, float]]) -> Line:
    points = sorted(points)
    return Line(
        label=label, color=color, reference=pale,
        x=tuple(x for x, _ in points), y=tuple(y for _, y in points),
    )  # fmt: skip


def _model_name(model: str, params: str) -> str:
    alike = [row for row in results.all_models() if row.model == model]
    return model if len(alike) == 1 else f"{model} {params}"


def _number(params: str) -> float:
    return float(params[:-1]) * _UNITS[params[-1]]


def _palm_mfu() -> float:
    tuned = next(
        row for row in finetuning.finetunings() if (row.model, row.params) == ("Flan-PaLM", "540B")
    )
    peak = slices.GENERATIONS["v4"].peak_flops
    seconds = 3600 * pretraining.FLAN_PALM_540B_HOURS
    return tuned.rule_flops / (peak * pretraining.FLAN_PALM_540B_CHIPS * seconds)
