# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of laws: the points of a curve, the law through them, and the last point held back.

A panel is a measure and a law (`fits`), so that laws are compared where they stand side by side.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flan_jax.core import errors
from flan_jax.scaling import captions, curves, fits, series
from flan_jax.scaling.captions import Data
from flan_jax.scaling.fits import Fit
from flan_jax.scaling.line_figures import TASKS_AXIS, Axis, flops_axis, line_style
from flan_jax.scaling.plots import Figure, Line, Panel
from flan_jax.scaling.series import Series

Law = Callable[[Sequence[float], Sequence[Sequence[float]]], Fit]
_NUM_PLACES = 33  # at which a law is drawn


def task_fits(data: Data, name: str = "task_fits") -> Figure | None:
    """Returns the log-linear and the saturating law in tasks; None if no curve gives one."""
    return _figure(
        data, name, TASKS_AXIS, {"log-linear": fits.log_linear, "saturating": fits.saturating}
    )


def compute_fits(data: Data, name: str = "compute_fits") -> Figure | None:
    """Returns the power law in the FLOPs of finetuning; None if no curve gives one."""
    return _figure(data, name, flops_axis(data), {"power law": fits.power_law})


def _figure(data: Data, name: str, along: Axis, laws: Mapping[str, Law]) -> Figure | None:
    order = data.order
    by = series.varied(data.rows, order, along.settings)
    shown = series.measures(data.rows, data.metric)
    panels, drawn = [], []
    for law, fit in laws.items():
        for measure, title in zip(shown, series.titles(shown), strict=True):
            lines = series.lines(data.rows, measure, along.of, by, order)
            lines = [line for line in lines if len(set(line.x)) > 1]
            made = [_fitted(line, fit) for line in lines]
            if any(made):
                bounds = _bounds(lines)
                styles = [line_style(i, lines) if by else {"color": 1} for i in range(len(lines))]
                parts = [
                    part
                    for line, found, style in zip(lines, made, styles, strict=True)
                    for part in _parts(line, found, style, bounds)
                ]
                panels.append(Panel(title=f"{title}: {law}", lines=tuple(parts)))
                drawn += [(measure, point) for line in lines for point in line.points]
    if not panels:
        return None
    metrics = list(dict.fromkeys(curves.metric_title(measure.metric) for measure, _ in drawn))
    return Figure(
        name=name,
        title=TITLES[name],
        subtitle=captions.subtitle(data),
        panels=tuple(panels),
        x_label=along.label,
        y_label=f"{metrics[0]}, %" if len(metrics) == 1 else "Score, %",
        log_x=along.log,
        large_x=along.large,
        note=captions.note(
            data,
            drawn,
            marks="Points",
            more=[
                f"Dotted: least squares through the means, with the {fits.LEVEL:.0%} interval of "
                "the law, cut where it leaves the picture. Hollow: the last point as the law "
                f"through the others predicts it, with its {fits.LEVEL:.0%} prediction interval."
            ],
        ),
    )


def _fitted(line: Series, law: Law) -> Fit | None:
    try:
        return law(line.x, [point.values for point in line.points])
    except errors.DataError:  # why stands in the table of laws
        return None


def _bounds(lines: Sequence[Series]) -> tuple[float, float]:
    """Returns between what intervals are drawn: half as far again as the points reach."""
    every = [
        point.mean + sign * (point.stderr or 0.0)
        for line in lines
        for point in line.points
        for sign in (-1, 1)
    ]
    air = (max(every) - min(every)) / 2
    return min(every) - air, max(every) + air


def _parts(line: Series, fit: Fit | None, style: dict, bounds: tuple[float, float]) -> list[Line]:
    """Returns the points of a curve, the law through them, and the last point held back."""
    label = captions.name_of(line.names) or "ours"
    points = Line(
        label=label,
        x=line.x,
        y=tuple(point.mean for point in line.points),
        spread=tuple(point.stderr for point in line.points),
        joined=False,
        hover=tuple(
            captions.hover(point, f"{label}, {x:g}")
            for x, point in zip(line.x, line.points, strict=True)
        ),
        **style,
    )
    if fit is None:
        return [points]
    low, high = bounds

    def cut(x: float, y: float, least: float, most: float) -> tuple[float, float, float]:
        return x, min(max(least, low), y), max(min(most, high), y)

    fitted = sorted(x for x in line.x if x > 0)
    places = [float(x) for x in np.geomspace(fitted[0], fitted[-1], _NUM_PLACES)]
    curve = [fit.predict(x) for x in places]
    parts = [
        points,
        Line(
            label="",
            x=tuple(places),
            y=tuple(y for y, _, _ in curve),
            thin=True,
            band=tuple(cut(x, *at) for x, at in zip(places, curve, strict=True)),
            **style,
        ),
    ]
    if fit.held_back is not None:
        held = fit.held_back
        band = cut(held.x, held.predicted, held.low, held.high)
        says = (
            f"{label}, {held.x:g}, held back: {held.observed:.1f}, predicted {held.predicted:.1f}"
        )
        parts.append(
            Line(
                label="",
                x=(held.x,),
                y=(held.predicted,),
                thin=True,
                band=(band,),
                hover=(f"{says} ({held.low:.1f} to {held.high:.1f})",),
                **style,
            )
        )
    return parts


TITLES = {
    "task_fits": "Laws in the number of finetuning tasks",
    "compute_fits": "Power law in finetuning compute",
}
