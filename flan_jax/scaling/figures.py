# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How figures look: a heading, panels of lines or bars on a light grid, and a note below.

Drawing a `Figure` twice gives the same bytes (no dates, no random ids, the font that matplotlib
ships). SVG text stays text. In a page, `inline_svg` gives the same drawing with its colors as CSS
variables, so that it follows a light or dark theme.
"""

import dataclasses
import io
import math
import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import figure as mpl_figure
from matplotlib import patches
from matplotlib.backends import backend_agg

from flan_jax.core import files
from flan_jax.scaling import axis, panels
from flan_jax.scaling.plots import (
    GRID,
    INK,
    MUTED,
    PAPER,
    SERIES,
    SHADES,
    Bars,
    Figure,
    Line,
    Panel,
)

__all__ = ["Bars", "Figure", "Line", "Panel", "inline_svg", "rendered", "save", "svg"]

WIDE_IN, NARROW_IN = 7.6, 4.0
_THREE_PANELS_IN = 9.2  # three side by side have room for their labels
_TITLE_IN = 0.17  # of each further line of a panel's title
_PANEL_IN = 1.6  # width of a panel of several, at least
_DPI = 150
_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,'DejaVu Sans',sans-serif"
_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "flan_jax",
    "pdf.fonttype": 42,  # TrueType: text of a PDF can be searched and edited
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


def save(figure: Figure, stem: str | os.PathLike) -> tuple[Path, Path, Path]:
    """Writes `STEM.png` (150 dots per inch), `STEM.svg` and `STEM.pdf`; returns the paths."""
    paths = Path(f"{stem}.png"), Path(f"{stem}.svg"), Path(f"{stem}.pdf")
    contents = (
        _render(figure, _wide_in(figure), "png"),
        svg(figure).encode(),
        _render(figure, _wide_in(figure), "pdf"),
    )
    for path, content in zip(paths, contents, strict=True):
        with files.atomic_open(path, "wb") as file:
            file.write(content)
    return paths


def svg(figure: Figure, *, width_in: float | None = None) -> str:
    """Returns the figure as a stand-alone SVG document on white; None: as wide as `save` does."""
    return _render(figure, width_in or _wide_in(figure), "svg").decode()


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
    """Returns a width that leaves each of several panels side by side room beside its labels."""
    if len(figure.panels) < 3:
        return WIDE_IN
    layout = _layout(figure, _THREE_PANELS_IN)
    lacking = layout.columns * (_PANEL_IN - layout.panel_width)
    return _THREE_PANELS_IN + max(0.0, lacking)


def _render(figure: Figure, width_in: float, kind: str) -> bytes:
    return rendered(lambda: _draw(figure, width_in), kind)


def rendered(draw: Callable[[], mpl_figure.Figure], kind: str) -> bytes:
    """Returns the file of a drawing in the look of all figures: 'png', 'svg' or 'pdf'."""
    metadata = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": "flan_jax"},
        "pdf": {"CreationDate": None, "Creator": "flan_jax", "Producer": None},
    }[kind]
    with matplotlib.rc_context(_RC):
        out = io.BytesIO()
        draw().savefig(out, format=kind, dpi=_DPI, facecolor=PAPER, metadata=metadata)
    if kind != "svg":
        return out.getvalue()
    text = out.getvalue().decode()
    return re.sub(r"'DejaVu Sans'(, [^;\"]*)?", lambda _: _FONT, text).encode()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where things stand, in inches."""

    figure: Figure
    width: float
    narrow: bool
    columns: int
    title: list[str]
    subtitle: list[str]
    note: list[str]
    legend: list[list[Bars]]  # rows of it
    panel_titles: list[str]  # in lines
    top: float  # above the panels
    bottom: float  # below them
    left: float
    right: float
    gap: float  # between two panels side by side
    panel: float  # height of one; of bars, of the highest

    @property
    def rows(self) -> int:
        """Of panels."""
        return math.ceil(len(self.figure.panels) / self.columns)

    @property
    def panel_width(self) -> float:
        """Of each."""
        every = self.width - self.left - self.right - (self.columns - 1) * self.gap
        return every / self.columns

    @property
    def between(self) -> float:
        """Height between two rows of panels."""
        return 0.6 + _TITLE_IN * max(title.count("\n") for title in self.panel_titles)

    @property
    def height(self) -> float:
        """Of the whole."""
        panels_in = self.rows * self.panel + (self.rows - 1) * self.between
        return self.top + panels_in + self.bottom


def _layout(figure: Figure, width: float) -> _Layout:
    narrow = width < 5.5
    num = len(figure.panels)
    title = textwrap.wrap(figure.title, int(width * 9.5))
    subtitle = textwrap.wrap(figure.subtitle, int(width * 13))  # of its smaller font
    note = textwrap.wrap(figure.note, int(width * 15))
    top = 0.37 + 0.23 * len(title) + 0.19 * len(subtitle) + (0.19 if title else 0.0)
    bottom = 0.56 + 0.16 * len(note)
    columns = 1 if narrow else {4: 2}.get(num, min(num, 3))
    layout = _Layout(
        figure=figure,
        width=width,
        narrow=narrow,
        columns=columns,
        title=title,
        subtitle=subtitle,
        note=note,
        bottom=bottom,
        **(_room_of_bars if figure.has_bars else _room_of_lines)(figure, width, columns),
        panel_titles=[""],
        top=top,
    )
    chars = int((layout.panel_width + min(layout.gap, layout.right) - 0.1) / 0.092)
    titles = [
        "\n".join(textwrap.wrap(panel.title, chars, break_on_hyphens=False))
        for panel in figure.panels
    ]
    if titles[0]:
        top += 0.26 + _TITLE_IN * max(text.count("\n") for text in titles[:columns])
    if figure.has_bars:
        top += 0.2 * len(layout.legend) - 0.19  # nothing stands above the bars' axes
    return dataclasses.replace(layout, panel_titles=titles, top=top)


def _room_of_bars(figure: Figure, width: float, columns: int) -> dict[str, Any]:
    names = [name for panel in figure.panels for name in panel.names]
    lines = [line for name in names for line in panels.name_label(name).split("\n")]
    left = 0.22 + 0.073 * max(map(len, lines))
    return dict(
        legend=_legend_rows(figure, width - 0.3),
        left=left,
        right=0.5,
        gap=0.4 + (0.0 if _have_same_names(figure) else left - 0.2),
        panel=max(panels.group_tops(panel)[1] for panel in figure.panels),
    )


def _room_of_lines(figure: Figure, width: float, columns: int) -> dict[str, Any]:
    narrow = width < 5.5
    lines = [[line for line in panel.lines if line.label] for panel in figure.panels]
    labels = [[panels.line_label(line, figure, narrow) for line in own] for own in lines]
    widths = [
        len(part) * (0.07 if line.reference else 0.078)
        for own, texts in zip(lines, labels, strict=True)
        for line, text in zip(own, texts, strict=True)
        for part in text.split("\n")
    ]
    right = 0.22 + max(widths, default=0.0)
    tallest = max(sum(map(panels.label_points, texts)) for texts in labels) / 72
    return dict(
        legend=[],
        left=0.44,
        right=right,
        gap=right,
        panel=max(2.5 if narrow or columns > 1 else 2.9, tallest),
    )


def _draw(figure: Figure, width_in: float) -> mpl_figure.Figure:
    layout = _layout(figure, width_in)
    width, height, columns = layout.width, layout.height, layout.columns
    drawn = mpl_figure.Figure(figsize=(width, height))
    backend_agg.FigureCanvasAgg(drawn)
    axes = drawn.subplots(
        layout.rows,
        columns,
        sharex=True,
        sharey=not figure.has_bars,
        squeeze=False,
        gridspec_kw={
            "left": layout.left / width,
            "right": 1 - layout.right / width,
            "top": 1 - layout.top / height,
            "bottom": layout.bottom / height,
            "wspace": layout.gap / layout.panel_width,
            "hspace": layout.between / layout.panel,
        },
    )
    _write_heading(drawn, layout)
    if figure.has_bars:
        _draw_all_bars(axes, layout)
    else:
        _draw_all_lines(axes, layout)
    return drawn


def _write_heading(drawn: mpl_figure.Figure, layout: _Layout) -> None:
    width, height = layout.width, layout.height
    left = 0.12 / width
    y = height - 0.14
    for line in layout.title:
        drawn.text(left, y / height, line, size=12.5, weight="bold", va="top")
        y -= 0.23
    for line in layout.subtitle:
        drawn.text(left, (y - 0.03) / height, line, size=9.5, color=MUTED, va="top")
        y -= 0.19
    y -= 0.18
    for row in layout.legend:
        x = 0.12
        for series in row:
            style = dict(facecolor=series.hue, edgecolor="none")
            if series.reference:
                style = dict(facecolor=PAPER, edgecolor=series.hue, linestyle=(0, (3, 2)))
            box = patches.Rectangle(
                (x / width, (y - 0.05) / height), 0.16 / width, 0.11 / height,
                transform=drawn.transFigure, **style,
            )  # fmt: skip
            drawn.add_artist(box)
            drawn.text((x + 0.22) / width, y / height, series.label, size=9, va="center_baseline")
            x += _legend_in(series)
        y -= 0.2
    for number, line in enumerate(reversed(layout.note)):
        drawn.text(left, (0.1 + 0.16 * number) / height, line, size=8, color=MUTED)


def _draw_all_lines(axes, layout: _Layout) -> None:
    figure = layout.figure
    for index, ax in enumerate(axes.flat):
        if index >= len(figure.panels):
            ax.set_visible(False)
            continue
        panels.draw_lines(ax, figure.panels[index], figure)
        in_first_row = index < layout.columns  # where the y axis is named below the title
        panels.write_title(ax, layout.panel_titles[index], pad=22 if in_first_row else 9)
        if index + layout.columns >= len(figure.panels):
            ax.tick_params(labelbottom=True)
            if index % layout.columns == 0:
                place = "left" if layout.columns > 1 else "center"
                ax.set_xlabel(figure.x_label, size=9, loc=place)
    # Above the first axes instead of turned beside them: read without tilting the head.
    axes[0, 0].annotate(
        figure.y_label, (0, 1), (-0.32 * 72, 9), xycoords="axes fraction",
        textcoords="offset points", size=9, color=MUTED,
    )  # fmt: skip
    _set_limits(axes, figure)
    axes[0, 0].figure.canvas.draw()  # fixes the scales that the labels are placed by
    for ax, panel in zip(axes.flat, figure.panels, strict=False):
        panels.label_lines(ax, panel, figure, layout.narrow)


def _draw_all_bars(axes, layout: _Layout) -> None:
    figure = layout.figure
    for index, ax in enumerate(axes.flat):
        if index >= len(figure.panels):
            ax.set_visible(False)
            continue
        panel = figure.panels[index]
        is_named = index % layout.columns == 0 or not _have_same_names(figure)
        panels.draw_bars(ax, panel, figure, is_named, layout.panel)
        panels.write_title(ax, layout.panel_titles[index], pad=8)
        if index + layout.columns >= len(figure.panels):
            ax.tick_params(labelbottom=True)
            if index % layout.columns == 0:
                ax.set_xlabel(figure.y_label, size=9, loc="left")
    every = [
        (value, error or 0.0)
        for panel in figure.panels
        for series in panel.bars
        for value, error in zip(
            series.values, series.errors or (None,) * len(series.values), strict=True
        )
    ]
    low = min(0.0, *(value - error for value, error in every))
    high = max(value + error for value, error in every)
    # Room for the values beside the longest bars.
    air = (high - low) * 0.2 / layout.panel_width
    axes[0, 0].set_xlim(low * 1.05, (high + air) or 1.0)


def _have_same_names(figure: Figure) -> bool:
    return len({panel.names for panel in figure.panels}) == 1


def _legend_rows(figure: Figure, width: float) -> list[list[Bars]]:
    """Returns the series named above the bars, in rows; none where there is but one."""
    series = {bars.label: bars for panel in figure.panels for bars in panel.bars}
    if len(series) < 2:
        return []
    rows: list[list[Bars]] = [[]]
    for one in series.values():
        if rows[-1] and sum(map(_legend_in, [*rows[-1], one])) > width:
            rows.append([])
        rows[-1].append(one)
    return rows


def _legend_in(series: Bars) -> float:
    """Returns the width of a name of the legend, with what stands around it."""
    return 0.42 + 0.072 * len(series.label)


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
    place = axis.placer(figure)
    places = [place(x) for line in lines for x in line.x]
    air = 0.02 * ((max(places) - min(places)) or 1.0)
    axes[0, 0].set_xlim(min(places) - air, max(places) + air)
