# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a figure is: plain data, which `figures` draws into files and a page may draw again.

Colors are Okabe and Ito's, which people with any color vision tell apart; series also differ in
marker, and each line carries its name.
"""

import dataclasses

INK, MUTED, GRID, PAPER = "#1f2430", "#656d7b", "#e4e7ec", "#ffffff"
SERIES = ("#7a8290", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# Light to dark, for a family of lines with an order: sizes, numbers of tasks.
SHADES = ("#6cb8e0", "#46a2d4", "#2489c4", "#1273ad", "#0b5e92", "#084b77", "#073a5e")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


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
    joined: bool = True  # False: points alone, without the line between them
    band: tuple[tuple[float, float, float], ...] = ()  # (x, low, high) behind the line
    middle: tuple[float, ...] = ()  # of the band, drawn faintly where it is another line's
    thin: bool = False  # a dotted line (a rule, a fit), without markers and name; with one x and a
    # band of that x: a predicted point, the band its interval
    reference: bool = False  # another's points (the paper's): behind ours, hollow and dashed
    hover: tuple[str, ...] = ()  # what a page tells about each point

    @property
    def hue(self) -> str:
        """Its color."""
        return _hue(self.color, self.shade)


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

    @property
    def hue(self) -> str:
        """Their color."""
        return _hue(self.color, self.shade)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes: lines, or bars."""

    title: str
    lines: tuple[Line, ...] = ()
    bars: tuple[Bars, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The groups of its bars, in their order."""
        return tuple(dict.fromkeys(name for series in self.bars for name in series.names))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture; panels stand side by side (below each other if narrow) on the same scales."""

    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    x_label: str
    y_label: str  # of bars too: what they are long by
    log_x: bool = False  # base 2, with the values themselves as ticks; 0 has a place at the left
    large_x: bool = False  # with log_x: base 10, with ticks such as 10 M, 1 B, 1e18
    note: str = ""
    digits: int = 1  # of the value beside a line's name
    name: str = ""  # of its files, without an ending: task_scaling

    @property
    def has_bars(self) -> bool:
        """Whether it shows bars."""
        return any(panel.bars for panel in self.panels)


def _hue(color: int, shade: float | None) -> str:
    if shade is None:
        return SERIES[color % len(SERIES)]
    return SHADES[round(shade * (len(SHADES) - 1))]
