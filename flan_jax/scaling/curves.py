# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What groups, benchmarks and metrics are called; training losses; the paper's own task scaling."""

import collections
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from flan_jax.core import errors
from flan_jax.evals import normalized
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
