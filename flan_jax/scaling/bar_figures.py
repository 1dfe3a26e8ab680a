# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of bars: ablations of the finetuning data, ways of asking, and whatever else varies.

A panel is a measure, a group of bars is a mixture (or a way of asking), and the bars of a group are
the sizes. They show what Chung et al. 2022 show in Figures 5 and 6, which print no values, and what
Longpre et al. 2023 print in Table 1, which stands beside ours where it has the same mixture.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from flan_jax.evals import normalized
from flan_jax.evals import scores as scores_lib
from flan_jax.paper import flan_collection
from flan_jax.scaling import captions, curves, group_tables, series
from flan_jax.scaling.captions import Data
from flan_jax.scaling.group_tables import MIXTURE, NUM_TASKS, SIZE
from flan_jax.scaling.plots import Bars, Figure, Panel
from flan_jax.scaling.series import Measure, Point

_COLLECTION = "Longpre et al. 2023 (The Flan Collection), Table 1"
_COLLECTION_LABEL = "paper: Flan Collection, 3B"
_MEANT = {"few-shot": "zero-shot", "with rationale": "direct"}
_CHAINS = ("with rationale", "CoT")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Bar:
    """One bar: where it stands, and what it shows."""

    panel: str
    group: str
    names: Mapping[str, str]  # setting -> value, of those that tell the bars of a group apart
    measure: Measure
    point: Point


def cot_ablation(data: Data, name: str = "cot_ablation") -> Figure | None:
    """Returns the arms of the chain-of-thought ablation, each asked directly and for a rationale.

    None unless mixtures vary. The normalized average over all six benchmarks, which mixes the two
    ways, is left out where those over each are there.
    """
    shown = series.measures(data.rows, data.metric)
    apart = [m for m in shown if m.benchmark != normalized.NAME]
    return _by_setting(data, name, MIXTURE, apart or shown)


def mixture_ablation(data: Data, name: str = "mixture_ablation") -> Figure | None:
    """Returns what is left of each measure without a part of the mixture; None if none varies."""
    return _by_setting(data, name, MIXTURE, series.measures(data.rows, data.metric))


def settings(data: Data, name: str = "settings") -> Figure | None:
    """Returns the scores by the setting that a table has across; None if there is no score."""
    across = group_tables.across(data.order)
    return _by_setting(data, name, across, series.measures(data.rows, data.metric))


def prompt_settings(data: Data, name: str = "prompt_settings") -> Figure | None:
    """Returns what is asked in several ways, by way; None if nothing is.

    A panel is what is asked, a group of bars a way of asking it, and its bars what else varies.
    """
    order = data.order
    by = series.varied(data.rows, order)
    asked = ways(series.measures(data.rows, data.metric))
    bars = []
    for base, of_base in asked.items():
        for way, measure in of_base.items() if len(of_base) > 1 else ():
            for point in series.points(data.rows, measure):
                names = {setting: point.get(setting) for setting in by}
                bars.append(
                    _Bar(
                        panel=curves.benchmark_title(base),
                        group=way[:1].upper() + way[1:],
                        names=names,
                        measure=measure,
                        point=point,
                    )
                )
    return _figure(data, name, bars, order) if bars else None


def ways(shown: Iterable[Measure]) -> dict[str, dict[str, Measure]]:
    """Returns {what is asked: {how: measure}}, in order.

    A benchmark's protocol says how; of a group of tasks its name does, in its end, and what has no
    such end is asked in the other of the two ways.
    """
    found: dict[str, list[tuple[str, Measure]]] = {}
    for measure in shown:
        base, form = _parted(measure.benchmark)
        how, split, _ = scores_lib.how_asked(measure.protocol)
        found.setdefault(base, []).append((how if split else form, measure))
    named = {}
    for base, pairs in found.items():
        forms = [form for form, _ in pairs]
        meant = " ".join(dict.fromkeys(_MEANT[form] for form in forms if form in _MEANT))
        named[base] = {form or meant or "as it is": measure for form, measure in pairs}
    return named


def are_paired_by_rationale(shown: Sequence[Measure]) -> bool:
    """Returns whether all that is asked is asked directly and for a chain of thought."""
    names = {measure.benchmark for measure in shown}
    if {f"{normalized.NAME}_cot", f"{normalized.NAME}_direct"} <= names:
        return True
    asked = ways(shown).values()
    return bool(asked) and all(
        len(of_base) > 1 and any(chain in way for way in of_base for chain in _CHAINS)
        for of_base in asked
    )


def are_asked_in_several_ways(shown: Sequence[Measure]) -> bool:
    """Returns whether all that is asked is asked both with and without exemplars."""
    asked = ways(shown).values()
    return bool(asked) and all(
        len({_is_zero_shot(way) for way in of_base}) == 2 for of_base in asked
    )


def _by_setting(data: Data, name: str, setting: str, shown: Sequence[Measure]) -> Figure | None:
    order = data.order
    if name != "settings" and len(order.get(setting, ())) < 2:
        return None
    by = [other for other in series.varied(data.rows, order) if other != setting]
    by = [other for other in by if not (setting == MIXTURE and other == NUM_TASKS)]
    bars = []
    for measure, title in zip(shown, series.titles(shown), strict=True):
        for point in series.points(data.rows, measure):
            value = {setting: point.get(setting)} if setting else {}
            bars.append(
                _Bar(
                    panel=title,
                    group=captions.name_of(value) if value else "all runs",
                    names={other: point.get(other) for other in by},
                    measure=measure,
                    point=point,
                )
            )
    references = _of_the_collection(bars) if setting == MIXTURE else {}
    return _figure(data, name, bars, order, setting, references) if bars else None


def _figure(
    data: Data,
    name: str,
    bars: Sequence[_Bar],
    order: group_tables.Order,
    setting: str = "",
    references: Mapping[str, Bars] | None = None,
) -> Figure:
    references = references or {}
    series_names = _ordered([dict(bar.names) for bar in bars], order)
    groups = _ordered_groups(bars, order, setting)
    made = []
    for title in dict.fromkeys(bar.panel for bar in bars):
        of_panel = [bar for bar in bars if bar.panel == title]
        drawn = []
        for index, names in enumerate(series_names):
            own = [bar for bar in of_panel if bar.names == names]
            own.sort(key=lambda bar: groups.index(bar.group))
            if own:
                drawn.append(_bars(names, own, index, series_names))
        drawn += [references[title]] if title in references else []
        made.append(Panel(title=title, bars=tuple(drawn)))
    metrics = list(dict.fromkeys(curves.metric_title(bar.measure.metric) for bar in bars))
    return Figure(
        name=name,
        title=title_of(name, setting),
        subtitle=captions.subtitle(data),
        panels=tuple(made),
        x_label="",
        y_label=f"{metrics[0]}, %" if len(metrics) == 1 else "Score, %",
        note=captions.note(
            data,
            [(bar.measure, bar.point) for bar in bars],
            marks="Bars",
            references=[_COLLECTION] if references else (),
        ),
    )


def title_of(name: str, setting: str = "") -> str:
    """Returns the title of a figure of bars, by its name and by what varies."""
    if name == "settings":
        return f"Quality by {setting.replace('_', ' ')}" if setting else "Quality"
    return TITLES[name]


def _bars(
    names: Mapping[str, str],
    own: Sequence[_Bar],
    index: int,
    every: Sequence[Mapping[str, str]],
) -> Bars:
    ordered = all(setting == SIZE or captions.is_number(value) for setting, value in names.items())
    style = {"shade": index / max(len(every) - 1, 1)} if ordered and names else {"color": 1 + index}
    if any(captions.is_untrained(other) for other in every) and not ordered:
        style = {"color": index}
    return Bars(
        label=captions.name_of(names) or "ours",
        names=tuple(bar.group for bar in own),
        values=tuple(bar.point.mean for bar in own),
        errors=tuple(bar.point.stderr for bar in own),
        hover=tuple(
            captions.hover(
                bar.point,
                ", ".join(part for part in (captions.name_of(names), bar.group, bar.panel) if part),
            )
            for bar in own
        ),
        **style,
    )


def _ordered(found: Sequence[dict], order: group_tables.Order) -> list[dict]:
    """Returns each once, by the order of the settings' values."""
    once: list[dict] = []
    for names in found:
        if names not in once:
            once.append(names)
    return sorted(
        once,
        key=lambda names: [
            order[n].index(v) if n in order and v in order[n] else -1 for n, v in names.items()
        ],
    )


def _ordered_groups(bars: Sequence[_Bar], order: group_tables.Order, setting: str) -> list[str]:
    if not setting:  # directly before with a rationale, without exemplars before with them
        return sorted(
            dict.fromkeys(bar.group for bar in bars),
            key=lambda way: (any(chain in way for chain in _CHAINS), not _is_zero_shot(way)),
        )
    values = order.get(setting, [])

    def rank(bar: _Bar) -> int:
        value = bar.point.get(setting)
        return values.index(value) if value in values else -1

    return list(dict.fromkeys(bar.group for bar in sorted(bars, key=rank)))


def _of_the_collection(bars: Sequence[_Bar]) -> dict[str, Bars]:
    """Returns {panel: the printed numbers of the same mixtures} where there are any."""
    labels = {row.mixture: row.name for row in flan_collection.ablations() if row.mixture}
    found = {}
    for title in dict.fromkeys(bar.panel for bar in bars):
        own = [bar for bar in bars if bar.panel == title]
        benchmark = own[0].measure.benchmark
        if benchmark not in flan_collection.BENCHMARKS:
            continue
        printed = {}
        for mixture, value in flan_collection.published(benchmark).items():
            printed |= {mixture: value, labels[mixture]: value}
        groups = [group for group in dict.fromkeys(bar.group for bar in own) if group in printed]
        if groups:
            found[title] = Bars(
                label=_COLLECTION_LABEL,
                names=tuple(groups),
                values=tuple(printed[group] for group in groups),
                reference=True,
                hover=tuple(f"{_COLLECTION_LABEL}, {g}: {printed[g]:.1f}" for g in groups),
            )
    return found


def _is_zero_shot(way: str) -> bool:
    return way.lower().startswith(("zero-shot", "0-shot"))


def _parted(benchmark: str) -> tuple[str, str]:
    """Returns what is asked and how, of the paper's benchmarks too: BBH-CoT is BBH with CoT."""
    for end, form in curves.FORMS.items():
        if benchmark.endswith(end):
            return _parted(benchmark.removesuffix(end))[0], form
    return benchmark, ""


TITLES = {
    "cot_ablation": "Finetuning with and without chain of thought",
    "mixture_ablation": "What each part of the mixture is worth",
    "prompt_settings": "Zero-shot, few-shot and chain-of-thought prompts",
}
