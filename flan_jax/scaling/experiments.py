# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which figures a study has: those that its sweep names, or all that what varies lets one draw.

They come in the paper's order: tasks, sizes, chain of thought, ways of asking, voting, mixtures;
then fits and training losses.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from flan_jax.core import errors
from flan_jax.evals.scores import Score
from flan_jax.scaling import (
    bar_figures,
    captions,
    curves,
    fit_figures,
    line_figures,
    selection,
    series,
)
from flan_jax.scaling.captions import Data, RunFacts
from flan_jax.scaling.figures import Figure
from flan_jax.scaling.group_tables import MIXTURE, NUM_TASKS, SEED, SIZE
from flan_jax.scaling.study import RunRecord, Study

METRICS_FILE = "metrics.jsonl"
_ABLATIONS = ("cot_ablation", "mixture_ablation")


def figures_for(
    study: Study, *, behind: Sequence[Score] = (), baselines: Sequence[Score] = ()
) -> list[Figure]:
    """Returns the figures of a study, the first one with the study's title.

    Args:
        study: whose.
        behind: rows of a several-seed study of the same, drawn behind as bands.
        baselines: rows of rules without learning, drawn as thin lines.

    Raises:
        UsageError: the study names a figure that there is none of, or that its runs do not give.
    """
    data = data_of(study, behind=behind, baselines=baselines)
    for name in study.figures:
        if name not in FIGURES:
            raise errors.unknown_name("figure", name, FIGURES, place="Sweep.figures")
    if study.figures:
        drawn = {name: FIGURES[name](data) for name in study.figures}
        lacking = [name for name, figure in drawn.items() if figure is None]
        if lacking and len(study.done) == len(study.runs):
            raise errors.UsageError(
                f"Sweep.figures names {lacking[0]!r}, but nothing that it shows varies across the "
                "runs, or it was not evaluated; drop that name, or sweep over what it needs"
            )
    else:
        wanted = [name for name in FIGURES if _is_wanted(name, data)]
        wanted.sort(key=lambda name: name not in _ABLATIONS)  # what such a study is for
        drawn = {name: FIGURES[name](data) for name in wanted}
        if not any(figure for name, figure in drawn.items() if name != "losses"):
            drawn = {"settings": bar_figures.settings(data), **drawn}
    found = [figure for figure in drawn.values() if figure is not None]
    if found:
        found[0] = dataclasses.replace(found[0], title=study.title)
    return found


def data_of(study: Study, *, behind: Sequence[Score] = (), baselines: Sequence[Score] = ()) -> Data:
    """Returns what the figures of a study are made from: one step of each of its runs."""
    runs: dict[series.Settings, list[RunRecord]] = {}
    for run in study.done:
        settings = {k: v for k, v in run.settings.items() if k != SEED and v != ""}
        runs.setdefault(tuple(sorted(settings.items())), []).append(run)
    return Data(
        title=study.title,
        subject=study.subject,
        metric=study.metric,
        rows=selection.select(study.scores, study.selection),
        sizes=study.sizes,
        facts={settings: _facts(alike) for settings, alike in runs.items()},
        judged=selection.describe(study.selection, study.scores),
        behind=behind,
        baselines=baselines,
    )


def losses(data: Data) -> Figure | None:
    """Returns the training losses, a panel for each size; None if no run kept its metrics."""
    order = data.order
    by = series.varied(data.rows, order)
    several = len(order.get(SIZE, ())) > 1
    found: dict[str, dict[str, list]] = {}
    for settings, facts in data.facts.items():
        if facts.metrics:
            own = dict(settings)
            names = {name: own.get(name, "") for name in by if name != SIZE}
            if not names and NUM_TASKS in own:
                names = {NUM_TASKS: own[NUM_TASKS]}
            seeds = [curves.read_losses(path) for path in facts.metrics]
            label = captions.name_of(names) or "ours"
            panel = found.setdefault(own.get(SIZE, "") if several else "", {})
            panel[label] = curves.mean_losses(seeds)
    if not found:
        return None
    counts = sorted({len(facts.metrics) for facts in data.facts.values() if facts.metrics})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    drawn = curves.losses_figure(found, title="Training loss", subtitle=captions.subtitle(data))
    note = "Lines: one seed." if counts[-1] == 1 else f"Lines: mean of {seeds} seeds."
    return dataclasses.replace(drawn, name="losses", note=note)


def _facts(alike: Sequence[RunRecord]) -> RunFacts:
    """Returns what is known of runs that differ in their seed alone."""
    flops = [run.compute.train_flops for run in alike if run.compute is not None]
    paths = [run.folder / METRICS_FILE for run in alike if run.folder is not None]
    return RunFacts(
        num_parameters=alike[0].num_parameters,
        train_flops=sum(flops) / len(flops) if flops else None,
        metrics=tuple(path for path in paths if path.is_file()),
    )


def differ_in_count_alone(data: Data) -> bool:
    """Returns whether what runs were finetuned on differs in its number of tasks alone.

    Mixtures that a sweep names differ in more: no curve goes through their numbers of tasks.
    """
    return MIXTURE not in series.varied(data.rows, data.order)


def _is_wanted(name: str, data: Data) -> bool:
    """Returns whether a figure is drawn where a study names none."""
    shown = series.measures(data.rows, data.metric)
    has_mixtures = not differ_in_count_alone(data)
    if name in ("task_scaling", "benchmarks", "task_fits"):
        return not has_mixtures  # which differ in more than their number of tasks
    if name == "cot_ablation":
        return has_mixtures and bar_figures.are_paired_by_rationale(shown)
    if name == "mixture_ablation":
        return has_mixtures and not bar_figures.are_paired_by_rationale(shown)
    if name == "prompt_settings":
        return bar_figures.are_asked_in_several_ways(shown)
    return name != "settings"


FIGURES: Mapping[str, Callable[[Data], Figure | None]] = {
    "task_scaling": line_figures.task_scaling,
    "benchmarks": line_figures.benchmarks,
    "size_scaling": line_figures.size_scaling,
    "size_scaling_flops": line_figures.size_scaling_flops,
    "cot_ablation": bar_figures.cot_ablation,
    "prompt_settings": bar_figures.prompt_settings,
    "self_consistency": line_figures.self_consistency,
    "mixture_ablation": bar_figures.mixture_ablation,
    "settings": bar_figures.settings,
    "task_fits": fit_figures.task_fits,
    "compute_fits": fit_figures.compute_fits,
    "losses": losses,
}
"""Name -> the function that draws it, or gives None where nothing of it is there."""
