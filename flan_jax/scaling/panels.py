# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws what stands on one pair of axes: lines with their names beside them, or lying bars.

Bars lie, so that the names of their groups are read without tilting the head, however long.
"""

import textwrap

import numpy as np
from matplotlib import transforms

from flan_jax.scaling import axis
from flan_jax.scaling.plots import GRID, INK, MARKERS, MUTED, PAPER, Bars, Figure, Line, Panel

BAR_IN, GROUP_GAP_IN = 0.19, 0.15
_NAME_CHARS = 24  # of a group's name in one line
_BEHIND, _DASHES = 1.5, (0, (3, 2))
_ASIDE_POINTS = 7
_FAR_POINTS = 24  # a name further than this from its line's end is led to it


def draw_lines(ax, panel: Panel, figure: Figure) -> None:
    """Draws the lines of a panel, those of others behind ours."""
    _frame(ax, "y")
    place = axis.placer(figure)
    own = [line for line in panel.lines if not line.thin and not line.reference]
    thin = [line for line in panel.lines if line.thin]
    predicted = [line for line in thin if len(line.band) == 1]
    for line in thin:
        if line not in predicted:
            _draw_thin(ax, line, [place(x) for x in line.x])
    for index, line in enumerate(predicted):
        _draw_predicted(ax, line, place(line.x[0]), index)
    others = [line for line in panel.lines if line.reference]
    for index, line in enumerate(others):
        ax.plot(
            [place(x) for x in line.x],
            line.y,
            color=line.hue,
            linewidth=1.2,
            linestyle=_DASHES,
            marker=MARKERS[index % len(MARKERS)],
            markersize=5.5,
            markerfacecolor=PAPER,
            markeredgecolor=line.hue,
            markeredgewidth=1.1,
            clip_on=False,
            zorder=_BEHIND + index / 100,
        )
    for index, line in enumerate(own):
        at = [place(x) for x in line.x]
        if line.band:
            _draw_band(ax, line, [place(x) for x, _, _ in line.band])
        if any(line.spread):
            ax.errorbar(
                at, line.y, yerr=[value or 0.0 for value in line.spread], fmt="none",
                color=line.hue, capsize=2.5, elinewidth=1.2, alpha=0.75, zorder=2,
            )  # fmt: skip
        ax.plot(
            at,
            line.y,
            color=line.hue,
            linewidth=2.0 if line.markers else 1.6,
            linestyle="-" if line.joined else "none",
            marker=MARKERS[index % len(MARKERS)] if line.markers else None,
            markersize=6.5,
            markeredgecolor=PAPER,
            markeredgewidth=1.2,
            clip_on=False,  # a marker at zero is whole
            zorder=3 + index,
        )
    if figure.log_x:
        ax.set_xticks(*axis.ticks(figure, ax.bbox.width * 72 / ax.figure.dpi))
        ax.minorticks_off()


def draw_bars(ax, panel: Panel, figure: Figure, named: bool, height: float) -> None:
    """Draws the bars of a panel, the first group at the top, each with its value at its end.

    Args:
        ax: the axes.
        panel: what is drawn.
        figure: the panel's.
        named: whether the names of the groups stand at the left.
        height: of the axes, in inches: bars are as thick in all panels.
    """
    _frame(ax, "x")
    ax.spines["bottom"].set_visible(False)
    ax.axvline(0.0, color=MUTED, linewidth=0.8, zorder=2.5)  # where bars begin, to either side
    ax.tick_params(axis="x", length=0)
    tops, _ = group_tops(panel)
    centers = []
    for name, top in tops.items():
        inside = [series for series in panel.bars if name in series.names]
        for number, series in enumerate(inside):
            _draw_bar(ax, series, series.names.index(name), top + BAR_IN * (number + 0.5), figure)
        centers.append(top + BAR_IN * len(inside) / 2)
    ax.set_ylim(height, 0)
    labels = [name_label(name) if named else "" for name in tops]
    ax.set_yticks(centers, labels, size=9, color=INK)


def write_title(ax, text: str, pad: float) -> None:
    """Writes the title of a panel, that many points above it."""
    ax.set_title(text, size=10, weight="bold", loc="left", pad=pad, color=INK, linespacing=1.15)


def group_tops(panel: Panel) -> tuple[dict[str, float], float]:
    """Returns ({group: distance of its first bar from the top}, height), in inches."""
    tops, at = {}, GROUP_GAP_IN / 2
    for name in panel.names:
        tops[name] = at
        at += BAR_IN * sum(name in series.names for series in panel.bars) + GROUP_GAP_IN
    return tops, at - GROUP_GAP_IN / 2


def name_label(name: str) -> str:
    """Returns a group's name, in lines."""
    return "\n".join(textwrap.wrap(name, _NAME_CHARS))


def label_lines(ax, panel: Panel, figure: Figure, narrow: bool) -> None:
    """Writes each line's name and last value beside its end, moved apart where they would meet."""
    lines = [line for line in panel.lines if line.label]
    if not lines:
        return
    scale = 72.0 / ax.figure.dpi
    texts = [line_label(line, figure, narrow) for line in lines]
    place = axis.placer(figure)
    lasts = [(place(line.x[-1]), line.y[-1]) for line in lines]
    ends = np.array([ax.transData.transform(last) * scale for last in lasts])
    heights = np.array([label_points(text) for text in texts])
    right = ends[:, 0].max()
    floor, ceiling = ax.bbox.y0 * scale, ax.bbox.y1 * scale + 7
    places = axis.spread(ends[:, 1], heights, floor, ceiling)
    for line, text, last, end, y in zip(lines, texts, lasts, ends, places, strict=True):
        offset = (right - end[0] + 9, y - end[1])
        led = dict(arrowstyle="-", color=line.hue, linewidth=0.6, alpha=0.5, shrinkA=0, shrinkB=5)
        ax.annotate(
            text,
            last,
            offset,
            textcoords="offset points",
            va="center",
            size=9,
            linespacing=1.15,
            color=line.hue,
            weight="normal" if line.reference else "bold",
            annotation_clip=False,
            arrowprops=led if offset[0] > _FAR_POINTS else None,
        )


def line_label(line: Line, figure: Figure, narrow: bool) -> str:
    """Returns what stands beside a line's end."""
    value = f"{line.y[-1]:.{figure.digits}f}"
    if len(figure.panels) > 2 and not narrow:
        return f"{line.label}\n{value}"
    name = line.label
    if narrow:
        parts = textwrap.wrap(name, 12, break_long_words=False, break_on_hyphens=False)
        name = "\n".join(parts)
    return f"{name} {value}"


def label_points(text: str) -> float:
    """Returns the height of a label."""
    return 11.5 * (1 + text.count("\n"))


def _frame(ax, values: str) -> None:
    """Sets up axes whose values go along 'x' or 'y'."""
    ax.set_axisbelow(True)
    ax.patch.set_visible(False)  # else it would cover the labels of the panel at its left
    ax.grid(axis=values, color=GRID, linewidth=0.8)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", length=3, width=0.8)


def _draw_thin(ax, line: Line, at: list[float]) -> None:
    if line.band:
        _draw_band(ax, line, at, alpha=0.1)
    ax.plot(at, line.y, color=line.hue, linewidth=1.1, linestyle=":", zorder=2)


def _draw_predicted(ax, line: Line, at: float, index: int) -> None:
    """Draws a predicted point a little left of its place, where what was observed stands."""
    (_, low, high) = line.band[0]
    aside = transforms.ScaledTranslation(
        -_ASIDE_POINTS * (index + 1) / 72, 0.0, ax.figure.dpi_scale_trans
    )
    ax.errorbar(
        at, line.y[0], yerr=[[line.y[0] - low], [high - line.y[0]]], fmt="o", color=line.hue,
        markersize=5.0, markerfacecolor=PAPER, markeredgewidth=1.2, capsize=2.5, elinewidth=0.9,
        capthick=0.9, zorder=2.5, transform=ax.transData + aside,
    )  # fmt: skip


def _draw_band(ax, line: Line, at: list[float], alpha: float = 0.16) -> None:
    lows, highs = ([edges[i] for edges in line.band] for i in (1, 2))
    ax.fill_between(at, lows, highs, color=line.hue, alpha=alpha, linewidth=0, zorder=1)
    if line.middle:
        ax.plot(at, line.middle, color=line.hue, alpha=0.35, linewidth=1.1, zorder=1)


def _draw_bar(ax, series: Bars, index: int, at: float, figure: Figure) -> None:
    value = series.values[index]
    error = series.errors[index] if series.errors else None
    hollow = dict(facecolor=PAPER, edgecolor=series.hue, linewidth=1.0, linestyle=_DASHES)
    solid = dict(facecolor=series.hue, edgecolor="none")
    ax.barh(at, value, 0.82 * BAR_IN, zorder=2, **(hollow if series.reference else solid))
    if error:
        ax.errorbar(
            value, at, xerr=error, fmt="none", color=MUTED, capsize=2, elinewidth=1.1, zorder=3
        )
    ax.annotate(
        f"{value:.{figure.digits}f}",
        (max(value + (error or 0.0), 0.0), at),
        (4, 0),
        textcoords="offset points",
        va="center_baseline",
        size=8,
        color=MUTED if series.reference else INK,
        annotation_clip=False,
    )
