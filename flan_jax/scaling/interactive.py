# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures as data for plotly.js: a chart for each panel, on the same scales as the drawn file's.

Colors are names of CSS variables in braces, such as `{series-1}`, for which a page puts in what its
theme has. Plotly takes texts for a kind of HTML; all are escaped here.
"""

import html
import textwrap
from collections.abc import Sequence
from typing import Any

from flan_jax.scaling import axis, panels
from flan_jax.scaling.plots import SERIES, SHADES, Bars, Figure, Line, Panel

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")  # as drawn
_TICKS_POINTS = 330.0  # as wide as a panel is on a phone
_NAME_CHARS = 22
_HOVER_CHARS = 44  # of a line: what hovers is cut at the chart's edge
_BAR_PX, _FRAME_PX = 21, 64


def chart(figure: Figure) -> dict[str, Any]:
    """Returns a figure as JSON values.

    Returns:
        `name`, `title`, `subtitle`, `note`, `legend` ([label, color, whether it is another's]) and
        `panels`, each with `title`, `height` in pixels, and `data` and `layout` of plotly.js. A
        trace belongs to the label of the legend that is its `legendgroup`.
    """
    legend: dict[str, list] = {}
    for panel in figure.panels:
        for one in (*panel.lines, *panel.bars):
            if one.label:
                legend.setdefault(one.label, [one.label, _color(one), one.reference])
    make = _bars_panel if figure.has_bars else _lines_panel
    return {
        "name": figure.name,
        "title": figure.title,
        "subtitle": figure.subtitle,
        "note": figure.note,
        "legend": list(legend.values()) if len(legend) > 1 else [],
        "panels": [make(panel, figure) for panel in figure.panels],
    }


def _lines_panel(panel: Panel, figure: Figure) -> dict[str, Any]:
    place = axis.placer(figure)
    data = []
    own = others = 0
    for line in panel.lines:
        at = [place(x) for x in line.x]
        index = others if line.reference else own
        data += _traces(line, at, [place(x) for x, _, _ in line.band], index, figure)
        if line.reference:
            others += 1
        elif not line.thin:
            own += 1
    x_axis = {"title": {"text": _escape(figure.x_label)}, "range": _x_range(figure)}
    if figure.log_x:
        places, labels = axis.ticks(figure, _TICKS_POINTS)
        x_axis |= {"tickvals": places, "ticktext": labels}
    layout = {
        "xaxis": x_axis,
        "yaxis": {"title": {"text": _escape(figure.y_label)}, "range": _y_range(figure)},
    }
    return {"title": panel.title, "height": 380, "data": data, "layout": layout}


def _traces(
    line: Line, at: Sequence[float], band_at: Sequence[float], index: int, figure: Figure
) -> list[dict[str, Any]]:
    color = _color(line)
    common = {"type": "scatter", "legendgroup": line.label, "name": _escape(line.label)}
    silent = common | {"hoverinfo": "skip", "mode": "lines"}
    traces = []
    is_point = line.thin and len(line.band) == 1
    if line.band and not is_point:
        lows, highs = ([edge[i] for edge in line.band] for i in (1, 2))
        traces.append(
            silent
            | {
                "x": [*band_at, *reversed(band_at)],
                "y": [*lows, *reversed(highs)],
                "fill": "toself",
                "fillcolor": color,
                "opacity": 0.12 if line.thin else 0.2,
                "line": {"width": 0},
            }
        )
    if line.middle:
        faint = {"color": color, "width": 1.2}
        traces.append(
            silent | {"x": list(band_at), "y": list(line.middle), "opacity": 0.4, "line": faint}
        )
    trace = common | {
        "x": list(at),
        "y": list(line.y),
        "hoverinfo": "text",
        "hovertext": _hover(line, figure),
        "mode": "lines",
        "line": {"color": color, "width": 2.4},
        "cliponaxis": False,
    }
    if line.reference:
        trace["mode"] = "lines+markers"
        trace["line"] = {"color": color, "width": 1.3, "dash": "dash"}
        trace["marker"] = {"color": color, "size": 8, "symbol": f"{_symbol(index)}-open"}
    elif is_point:
        (_, low, high) = line.band[0]
        trace["mode"] = "markers"
        trace["marker"] = {"color": color, "size": 8, "symbol": "circle-open"}
        trace["error_y"] = _errors([high - line.y[0]], color, [line.y[0] - low])
    elif line.thin:
        trace["line"] = {"color": color, "width": 1.3, "dash": "dot"}
    elif line.markers:
        trace["mode"] = "lines+markers" if line.joined else "markers"
        trace["marker"] = {
            "color": color,
            "size": 9,
            "symbol": _symbol(index),
            "line": {"color": "{card}", "width": 1.2},
        }
    if any(line.spread):
        trace["error_y"] = _errors([value or 0.0 for value in line.spread], color)
    return [*traces, trace]


def _bars_panel(panel: Panel, figure: Figure) -> dict[str, Any]:
    tops, height = panels.group_tops(panel)
    number = dict.fromkeys(tops, 0)  # of the next bar of each group
    data = []
    for series in panel.bars:
        centers = []
        for name in series.names:
            centers.append(round(tops[name] + panels.BAR_IN * (number[name] + 0.5), 4))
            number[name] += 1
        data += _bar_traces(series, centers, figure)
    ends = [end for one in figure.panels for series in one.bars for end in _ends(series)]
    layout = {
        "barmode": "overlay",  # each bar has a place of its own
        "xaxis": {
            "title": {"text": _escape(figure.y_label)},
            "range": [min(0.0, *ends) * 1.1, (max(ends) * 1.16) or 1.0],
        },
        "yaxis": {
            "range": [height, 0.0],
            "tickvals": [tops[name] + panels.BAR_IN * times / 2 for name, times in number.items()],
            "ticktext": [_wrapped(name) for name in tops],
            "automargin": True,
        },
    }
    pixels = round(_FRAME_PX + _BAR_PX * height / panels.BAR_IN)
    return {"title": panel.title, "height": pixels, "data": data, "layout": layout}


def _bar_traces(series: Bars, centers: Sequence[float], figure: Figure) -> list[dict[str, Any]]:
    """Returns the bars, and their values written behind the ends of their error bars."""
    color = _color(series)
    hollow = {"color": "{card}", "line": {"color": color, "width": 1.4}}
    common = {"legendgroup": series.label, "name": _escape(series.label), "y": list(centers)}
    bars = common | {
        "type": "bar",
        "orientation": "h",
        "x": list(series.values),
        "width": round(0.86 * panels.BAR_IN, 4),
        "marker": hollow if series.reference else {"color": color},
        "hoverinfo": "text",
        "hovertext": _hover_of_bars(series, figure),
        "textposition": "none",
    }
    if any(series.errors):
        bars["error_x"] = _errors([value or 0.0 for value in series.errors], "{muted}")
    written = common | {
        "type": "scatter",
        "mode": "text",
        "x": [max(end, 0.0) for end in _ends(series)],
        "text": [f" {value:.{figure.digits}f}" for value in series.values],
        "textposition": "middle right",
        "hoverinfo": "skip",
        "cliponaxis": False,
    }
    return [bars, written]


def _ends(series: Bars) -> list[float]:
    halves = series.errors or (None,) * len(series.values)
    return [value + (half or 0.0) for value, half in zip(series.values, halves, strict=True)]


def _x_range(figure: Figure) -> list[float]:
    place = axis.placer(figure)
    places = [place(x) for panel in figure.panels for line in panel.lines for x in line.x]
    air = 0.04 * ((max(places) - min(places)) or 1.0)
    return [min(places) - air, max(places) + air]


def _y_range(figure: Figure) -> list[float]:
    """Returns one scale for all panels, from zero if all is positive, with a little air."""
    ends = [0.0]
    for line in (line for panel in figure.panels for line in panel.lines):
        spread = line.spread or (None,) * len(line.y)
        ends += [edge for _, *edges in line.band for edge in edges]
        for y, half in zip(line.y, spread, strict=True):
            ends += [y - (half or 0.0), y + (half or 0.0)]
    return [min(ends) * 1.05, (max(ends) * 1.06) or 1.0]


def _errors(
    high: Sequence[float], color: str, low: Sequence[float] | None = None
) -> dict[str, Any]:
    found = {"type": "data", "array": list(high), "color": color, "thickness": 1.3, "width": 4}
    return found if low is None else found | {"symmetric": False, "arrayminus": list(low)}


def _hover(line: Line, figure: Figure) -> list[str]:
    if line.hover:
        return [_told(text) for text in line.hover]
    label = axis.large if figure.large_x else axis.count
    spread = line.spread or (None,) * len(line.y)
    return [
        _told(f"{line.label}\n{_value(y, half, figure)}\n{figure.x_label}: {label(x)}".strip())
        for x, y, half in zip(line.x, line.y, spread, strict=True)
    ]


def _hover_of_bars(series: Bars, figure: Figure) -> list[str]:
    if series.hover:
        return [_told(text) for text in series.hover]
    halves = series.errors or (None,) * len(series.values)
    return [
        _told(f"{name}\n{series.label}: {_value(value, half, figure)}")
        for name, value, half in zip(series.names, series.values, halves, strict=True)
    ]


def _value(value: float, half: float | None, figure: Figure) -> str:
    error = f" ± {half:.{figure.digits}f}" if half else ""
    return f"{value:.{figure.digits}f}{error}"


def _color(one: Line | Bars) -> str:
    if one.shade is None:
        return f"{{series-{one.color % len(SERIES)}}}"
    return f"{{shade-{round(one.shade * (len(SHADES) - 1))}}}"


def _symbol(index: int) -> str:
    return SYMBOLS[index % len(SYMBOLS)]


def _escape(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", "<br>")


def _told(text: str) -> str:
    lines = [textwrap.wrap(line, _HOVER_CHARS) or [""] for line in text.split("\n")]
    return _escape("\n".join(part for line in lines for part in line))


def _wrapped(name: str) -> str:
    return _escape("\n".join(textwrap.wrap(name, _NAME_CHARS)) or name)
