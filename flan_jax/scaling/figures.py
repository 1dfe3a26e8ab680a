# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How figures look: lines with direct labels on a light grid, as PNG and as SVG.

A `Figure` is plain data; drawing it twice gives the same bytes (no dates, no random ids, the font
that matplotlib ships). SVG text stays text. In a page, `inline_svg` gives the same drawing with its
colors as CSS variables, so that it follows a light or dark theme.

Colors are Okabe and Ito's, which people with any color vision tell apart; series also differ in
marker, and each line carries its name.
"""

import dataclasses
import io
import math
import os
import re
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import figure as mpl_figure
from matplotlib.backends import backend_agg

from flan_jax.core import files

INK, MUTED, GRID, PAPER = "#1f2430", "#656d7b", "#e4e7ec", "#ffffff"
SERIES = ("#7a8290", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# Light to dark, for a family of lines with an order: sizes, numbers of tasks.
SHADES = ("#6cb8e0", "#46a2d4", "#2489c4", "#1273ad", "#0b5e92", "#084b77", "#073a5e")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

WIDE_IN, NARROW_IN = 7.6, 4.0
_THREE_PANELS_IN = 9.2  # three side by side have room for their labels
_DPI = 150
_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,'DejaVu Sans',sans-serif"
_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "flan_jax",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One named line."""

    label: str  # '' for none
    x: tuple[float, ...]
    y: tuple[float, ...]
    spread: tuple[float | None, ...] = ()  # half length of each error bar
    color: int = 0  # index into SERIES
    shade: float | None = None  # 0 (light) to 1 (dark): used instead of color
    markers: bool = True
    band: tuple[tuple[float, float, float], ...] = ()  # (x, low, high) behind the line
    thin: bool = False  # a dotted line (a rule, a fit), without markers and name; with one x and a
    # band of that x: a predicted point, the band its interval
    reference: bool = False  # another's points (the paper's): behind ours, hollow and dashed
    hover: tuple[str, ...] = ()  # what a page tells about each point


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bars:
    """One series of bars: a bar in each named group; the series of a panel stand side by side."""

    label: str
    names: tuple[str, ...]  # of the groups; the series of a panel may have different ones
    values: tuple[float, ...]
    errors: tuple[float | None, ...] = ()  # half length of each error bar
    color: int = 0  # index into SERIES
    shade: float | None = None  # as of a Line
    reference: bool = False  # another's numbers (the paper's): hollow and dashed
    hover: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes: lines, or bars."""

    title: str
    lines: tuple[Line, ...] = ()
    bars: tuple[Bars, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture; panels stand side by side (below each other if narrow) on the same scales."""

    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    x_label: str
    y_label: str
    log_x: bool = False  # base 2, with the values themselves as ticks; 0 has a place at the left
    large_x: bool = False  # with log_x: base 10, with ticks such as 10 M, 1 B, 1e18
    note: str = ""
    digits: int = 1  # of the value beside a line's name
    name: str = ""  # of its files, without an ending: task_scaling


def save(figure: Figure, stem: str | os.PathLike) -> tuple[Path, Path]:
    """Writes `STEM.png` (150 dots per inch) and `STEM.svg`; returns both paths."""
    paths = Path(f"{stem}.png"), Path(f"{stem}.svg")
    with files.atomic_open(paths[0], "wb") as file:
        file.write(_render(figure, _wide_in(figure), "png"))
    with files.atomic_open(paths[1]) as file:
        file.write(svg(figure))
    return paths


def svg(figure: Figure, *, width_in: float | None = None) -> str:
    """Returns the figure as a stand-alone SVG document on white; None: as wide as `save` does."""
    text = _render(figure, width_in or _wide_in(figure), "svg").decode()
    return re.sub(r"'DejaVu Sans'(, [^;\"]*)?", lambda _: _FONT, text)


def inline_svg(figure: Figure, *, width_in: float | None = None) -> str:
    """Returns an `<svg>` element for a page, its colors replaced by CSS variables.

    The page defines `--ink --muted --grid --card`, `--series-0` to `--series-6` and `--shade-0` to
    `--shade-6`.
    """
    text = svg(figure, width_in=width_in)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    names = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "card"}
    names |= {color: f"series-{index}" for index, color in enumerate(SERIES)}
    names |= {color: f"shade-{index}" for index, color in enumerate(SHADES)}
    for color, name in names.items():
        text = text.replace(color, f"var(--{name})")
    return text


def _wide_in(figure: Figure) -> float:
    return _THREE_PANELS_IN if len(figure.panels) > 2 else WIDE_IN


def _render(figure: Figure, width_in: float, kind: str) -> bytes:
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": "flan_jax"}}[kind]
    with matplotlib.rc_context(_RC):
        drawn = _draw(figure, width_in)
        out = io.BytesIO()
        drawn.savefig(out, format=kind, dpi=_DPI, facecolor=PAPER, metadata=metadata)
    return out.getvalue()


def _draw(figure: Figure, width_in: float) -> mpl_figure.Figure:
    narrow = width_in < 5.5
    columns = 1 if narrow else min(len(figure.panels), 3)
    rows = math.ceil(len(figure.panels) / columns)
    chars = int(width_in * 13)  # of the subtitle's font
    subtitle = textwrap.wrap(figure.subtitle, chars)
    title = textwrap.wrap(figure.title, int(width_in * 9.5))
    note = textwrap.wrap(figure.note, int(width_in * 15))
    top = 0.37 + 0.23 * len(title) + 0.19 * len(subtitle) + (0.19 if title else 0.0)
    top += 0.26 if figure.panels[0].title else 0.0
    bottom = 0.56 + 0.16 * len(note)
    panel_in = 2.5 if narrow or columns > 1 else 2.9
    height_in = top + bottom + rows * panel_in + (rows - 1) * 0.6
    drawn = mpl_figure.Figure(figsize=(width_in, height_in))
    backend_agg.FigureCanvasAgg(drawn)
    lines = [line for panel in figure.panels for line in panel.lines if line.label]
    labels = [_label(line, figure, narrow) for line in lines]
    right = 0.22 + 0.078 * max(len(part) for label in labels for part in label.split("\n"))
    axes = drawn.subplots(
        rows,
        columns,
        sharex=True,
        sharey=True,
        squeeze=False,
        gridspec_kw={
            "left": 0.44 / width_in,
            "right": 1 - right / width_in,
            "top": 1 - top / height_in,
            "bottom": bottom / height_in,
            "wspace": (right + 0.25) / ((width_in - 0.44 - right) / columns) if columns > 1 else 0,
            "hspace": 0.3,
        },
    )
    left = 0.12 / width_in
    y = height_in - 0.14
    for line in title:
        drawn.text(left, y / height_in, line, size=12.5, weight="bold", va="top")
        y -= 0.23
    for line in subtitle:
        drawn.text(left, (y - 0.03) / height_in, line, size=9.5, color=MUTED, va="top")
        y -= 0.19
    for number, line in enumerate(reversed(note)):
        drawn.text(left, (0.1 + 0.16 * number) / height_in, line, size=8, color=MUTED)
    for index, ax in enumerate(axes.flat):
        if index >= len(figure.panels):
            ax.set_visible(False)
            continue
        _draw_panel(ax, figure.panels[index], figure)
        if index // columns == rows - 1 or index + columns >= len(figure.panels):
            ax.tick_params(labelbottom=True)
            if index % columns == 0:
                ax.set_xlabel(figure.x_label, size=9, loc="left" if columns > 1 else "center")
    # Above the first axes instead of turned beside them: read without tilting the head.
    axes[0, 0].annotate(
        figure.y_label, (0, 1), (-0.32 * 72, 9), xycoords="axes fraction",
        textcoords="offset points", size=9, color=MUTED,
    )  # fmt: skip
    _set_limits(axes, figure)
    drawn.canvas.draw()  # fixes the scales that the labels are placed by
    for ax, panel in zip(axes.flat, figure.panels, strict=False):
        _label_lines(ax, panel, figure, narrow)
    return drawn


def _draw_panel(ax, panel: Panel, figure: Figure) -> None:
    ax.set_axisbelow(True)
    ax.patch.set_visible(False)  # else it would cover the labels of the panel at its left
    ax.grid(axis="y", color=GRID, linewidth=0.8)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", length=3, width=0.8)
    if panel.title:
        ax.set_title(panel.title, size=10, weight="bold", loc="left", pad=22, color=INK)
    xs = sorted({x for line in panel.lines for x in line.x})
    place = _placer(figure)
    for line in panel.lines:
        if line.thin:
            at = [place(x) for x in line.x]
            ax.plot(at, line.y, color=_line_color(line), linewidth=1.1, linestyle=":", zorder=2)
    for index, line in enumerate(line for line in panel.lines if not line.thin):
        color = _line_color(line)
        if line.band:
            at = [place(x) for x, _, _ in line.band]
            lows, highs = ([edges[i] for edges in line.band] for i in (1, 2))
            ax.fill_between(at, lows, highs, color=color, alpha=0.16, linewidth=0, zorder=1)
            means = [(low + high) / 2 for low, high in zip(lows, highs, strict=True)]
            ax.plot(at, means, color=color, alpha=0.35, linewidth=1.1, zorder=1)
        at = [place(x) for x in line.x]
        if any(line.spread):
            spread = [value or 0.0 for value in line.spread]
            ax.errorbar(
                at, line.y, yerr=spread, fmt="none", color=color, capsize=2.5, elinewidth=1.2,
                alpha=0.75, zorder=2,
            )  # fmt: skip
        ax.plot(
            at,
            line.y,
            color=color,
            linewidth=2.0 if line.markers else 1.6,
            marker=MARKERS[index % len(MARKERS)] if line.markers else None,
            markersize=6.5,
            markeredgecolor=PAPER,
            markeredgewidth=1.2,
            clip_on=False,  # a marker at zero is whole
            zorder=3 + index,
        )
    if figure.log_x:
        ax.set_xticks([place(x) for x in xs], [f"{x:g}" if x < 1000 else f"{x:,.0f}" for x in xs])


def _set_limits(axes, figure: Figure) -> None:
    """One scale for all panels, from zero if all is positive, with a little air."""
    lines = [line for panel in figure.panels for line in panel.lines]
    lows = [low for line in lines for _, low, _ in line.band]
    highs = [high for line in lines for _, _, high in line.band]
    for line in lines:
        spread = line.spread or (None,) * len(line.y)
        lows += [y - (s or 0.0) for y, s in zip(line.y, spread, strict=True)]
        highs += [y + (s or 0.0) for y, s in zip(line.y, spread, strict=True)]
    low, high = min(0.0, *lows), max(highs)
    axes[0, 0].set_ylim(low * 1.05, (high * 1.06) or 1.0)
    place = _placer(figure)
    places = [place(x) for line in lines for x in line.x]
    air = 0.02 * ((max(places) - min(places)) or 1.0)
    axes[0, 0].set_xlim(min(places) - air, max(places) + air)


def _label_lines(ax, panel: Panel, figure: Figure, narrow: bool) -> None:
    """Writes each line's name and last value beside its end, moved apart where they would meet."""
    lines = [line for line in panel.lines if line.label]
    if not lines:
        return
    to_points = ax.transData.transform
    scale = 72.0 / ax.figure.dpi
    texts = [_label(line, figure, narrow) for line in lines]
    place = _placer(figure)
    ends = np.array([to_points((place(line.x[-1]), line.y[-1])) * scale for line in lines])
    heights = np.array([11.5 * (1 + text.count("\n")) for text in texts])
    right = ends[:, 0].max()
    floor = ax.bbox.y0 * scale
    for index, y in zip(range(len(texts)), _spread(ends[:, 1], heights, floor), strict=True):
        line = lines[index]
        ax.annotate(
            texts[index],
            (place(line.x[-1]), line.y[-1]),
            (right - ends[index, 0] + 9, y - ends[index, 1]),
            textcoords="offset points",
            va="center",
            size=9,
            linespacing=1.15,
            color=_line_color(line),
            weight="bold",
            annotation_clip=False,
        )


def _spread(centers: np.ndarray, heights: np.ndarray, floor: float) -> np.ndarray:
    """Returns the nearest centers to these so that no two labels overlap or reach below `floor`.

    Nearest in least squares: less the heights below it, each center is a value of a sequence that
    may not fall, so this is isotonic regression (pool adjacent violators), bounded from below.
    """
    order = np.argsort(centers, kind="stable")
    sorted_heights = heights[order]
    below = np.concatenate([[0.0], np.cumsum((sorted_heights[1:] + sorted_heights[:-1]) / 2)])
    pools: list[tuple[float, int]] = []  # (mean, how many)
    for value in centers[order] - below:
        mean, count = float(value), 1
        while pools and pools[-1][0] > mean:
            last, num = pools.pop()
            mean, count = (last * num + mean * count) / (num + count), num + count
        pools.append((mean, count))
    level = np.concatenate([np.full(count, mean) for mean, count in pools])
    placed = np.empty(len(centers))
    placed[order] = np.maximum(level, floor + sorted_heights[0] / 2) + below
    return placed


def _label(line: Line, figure: Figure, narrow: bool) -> str:
    value = f"{line.y[-1]:.{figure.digits}f}"
    if len(figure.panels) > 2 and not narrow:
        return f"{line.label}\n{value}"
    name = "\n".join(textwrap.wrap(line.label, 12)) if narrow else line.label
    return f"{name} {value}"


def _placer(figure: Figure):
    """Returns the function from an x value to its place on the axis."""
    if not figure.log_x:
        return lambda x: x
    least = min((x for p in figure.panels for li in p.lines for x in li.x if x > 0), default=1.0)
    # Zero has no logarithm: it stands one and a half doublings left of the least count.
    return lambda x: math.log2(x) if x > 0 else math.log2(least) - 1.5


def _line_color(line: Line) -> str:
    if line.shade is None:
        return SERIES[line.color % len(SERIES)]
    return SHADES[round(line.shade * (len(SHADES) - 1))]
