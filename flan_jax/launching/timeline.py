# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The picture of a run's time: its shares, what each process did when, and how far the run got.

Below a bar of shares, a lane for the run and one for each process, and a line of steps over the
same time: it falls back where an attempt began from a checkpoint before the last step made. Colors
are Okabe and Ito's, with greys and violets for what happens before the first step.
"""

import datetime
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib import figure as mpl_figure
from matplotlib import patches, ticker
from matplotlib.backends import backend_agg

from flan_jax.core import events, files
from flan_jax.launching.attempts import Record
from flan_jax.launching.goodput import (
    LOST,
    STEPS,
    Account,
    Span,
    duration,
    lane,
)
from flan_jax.scaling import figures
from flan_jax.scaling.plots import GRID, INK, MUTED, PAPER

COLORS = {
    "steps": "#009e73",
    "data_wait": "#e69f00",
    "eval": "#0072b2",
    "save": "#56b4e9",
    "restore": "#f0e442",
    "compile": "#cc79a7",
    "init": "#4b3f72",
    "preparation": "#8f83b8",
    "lost": "#d55e00",
    "down": "#d3d7de",
    "other": "#7a8290",
}
_WIDTH, _LEFT, _RIGHT = 9.2, 0.95, 0.25  # inches
_BINS = 1200  # stretches of time that a lane shows, each in the color of most of it
_MOST_LANES = 8
_TICK = dict(arrowstyle="-", linewidth=0.6, color=MUTED, shrinkA=0, shrinkB=0)
_NUMBER_IN = 0.2  # for the number of an attempt
_MANY = 25  # checkpoints or faults; more of them are drawn smaller
_UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def save(account: Account, stem: str | os.PathLike) -> tuple[Path, Path]:
    """Writes `STEM.png` and `STEM.svg`; returns the paths."""
    paths = Path(f"{stem}.png"), Path(f"{stem}.svg")
    for path in paths:
        content = figures.rendered(lambda: _draw(account), path.suffix[1:])
        with files.atomic_open(path, "wb") as file:
            file.write(content)
    return paths


def stretches(
    spans: Iterable[Span], start: float, wall_s: float, num: int = _BINS
) -> Iterator[tuple[float, float, str]]:
    """Yields (start, seconds, category) for a lane, few enough to draw however long the run is.

    Time is cut into `num` equal parts, each in the category of most of it; times are since `start`.
    """
    part_s = wall_s / num
    shares: list[dict[str, float]] = [{} for _ in range(num)]
    for span in spans:
        at, end = span.start - start, span.end - start
        for index in range(max(int(at / part_s), 0), min(math.ceil(end / part_s), num)):
            inside_s = min(end, (index + 1) * part_s) - max(at, index * part_s)
            mine = shares[index]
            mine[span.category] = mine.get(span.category, 0.0) + inside_s
    most = [max(share, key=share.get) if share else None for share in shares]
    begun = 0
    for index in range(1, num + 1):
        if index == num or most[index] != most[begun]:
            if most[begun] is not None:
                yield begun * part_s, (index - begun) * part_s, most[begun]
            begun = index


def _draw(account: Account) -> mpl_figure.Figure:
    names = [name for name, seconds in account.seconds.items() if seconds > 0]
    processes = sorted({index for one in account.attempts for index in one.attempt.logs})
    # The run, as it is accounted for, and its processes if they are several.
    shown = processes[:_MOST_LANES] if len(processes) > 1 else []
    lanes = {"run": account.spans}
    lanes |= {f"process {index}": list(lane(account, index)) for index in shown}
    rows = math.ceil(len(names) / 4)
    # Inches from the top: heading, shares, legend, lanes, steps, the axis of time.
    shares_at, legend_at = 0.78, 1.18
    lanes_at = legend_at + 0.2 * rows + (0.34 if len(account.attempts) > 1 else 0.16)
    lanes_in = 0.42 if len(lanes) == 1 else 0.26 * len(lanes)
    steps_at = lanes_at + lanes_in + 0.3
    steps_in = 1.7
    height = steps_at + steps_in + 0.62
    drawn = mpl_figure.Figure(figsize=(_WIDTH, height))
    backend_agg.FigureCanvasAgg(drawn)

    def axes(top: float, size: float, left: float = _LEFT, **shared):
        where = (left / _WIDTH, 1 - (top + size) / height)
        wide = (_WIDTH - left - _RIGHT) / _WIDTH
        return drawn.add_axes((*where, wide, size / height), **shared)

    _write_heading(drawn, account, len(processes), height)
    _draw_shares(axes(shares_at, 0.26, 0.14), account, names)
    _draw_legend(drawn, account, names, legend_at, height)
    unit_s, unit = next(
        ((size, name) for size, name in _UNITS if account.wall_s >= 3 * size), _UNITS[-1]
    )
    upper = axes(lanes_at, lanes_in)
    lower = axes(steps_at, steps_in, sharex=upper)
    _draw_lanes(upper, account, lanes, unit_s)
    _draw_steps(lower, account, unit_s)
    lower.set_xlabel(f"{unit} since the first start", size=9, loc="left")
    if len(processes) > _MOST_LANES:
        drawn.text(
            1 - _RIGHT / _WIDTH, 0.1 / height, f"{len(shown)} of {len(processes)} processes shown",
            size=8, color=MUTED, ha="right",
        )  # fmt: skip
    return drawn


def _write_heading(drawn, account: Account, num_processes: int, height: float) -> None:
    num, start = len(account.attempts), account.spans[0].start if account.spans else 0.0
    lost = sum(one.num_lost for one in account.attempts)
    begun = datetime.datetime.fromtimestamp(start, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = [
        f"{num} attempts" if num > 1 else "1 attempt",
        f"{num_processes} processes" if num_processes > 1 else "1 process",
        f"{duration(account.wall_s)} from {begun}",
    ]
    parts += [f"{lost} steps made twice"] if lost else []
    left = 0.14 / _WIDTH
    title = f"Goodput {account.goodput:.1%}"
    drawn.text(left, 1 - 0.14 / height, title, size=12.5, weight="bold", va="top")
    drawn.text(left, 1 - 0.42 / height, ", ".join(parts), size=9.5, color=MUTED, va="top")


def _draw_shares(ax, account: Account, names: Sequence[str]) -> None:
    at = 0.0
    for name in names:
        share = account.seconds[name] / account.wall_s
        ax.barh(0, share, left=at, height=1, color=COLORS[name], linewidth=0)
        if share >= 0.05:
            dark = name in ("steps", "eval", "init", "lost", "other", "preparation")
            ax.text(
                at + share / 2, 0, f"{share:.0%}", size=8.5, ha="center", va="center_baseline",
                color=PAPER if dark else INK,
            )  # fmt: skip
        at += share
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.5, 0.5)
    ax.set_axis_off()


def _draw_legend(drawn, account: Account, names: Sequence[str], at: float, height: float) -> None:
    columns, wide = 4, (_WIDTH - 0.14) / 4
    for number, name in enumerate(names):
        x, y = 0.14 + wide * (number % columns), height - at - 0.2 * (number // columns)
        box = patches.Rectangle(
            (x / _WIDTH, (y - 0.05) / height), 0.16 / _WIDTH, 0.11 / height,
            transform=drawn.transFigure, facecolor=COLORS[name], edgecolor="none",
        )  # fmt: skip
        drawn.add_artist(box)
        seconds = account.seconds[name]
        text = f"{name.replace('_', ' ')}  {duration(seconds)}"
        drawn.text((x + 0.22) / _WIDTH, y / height, text, size=8.5, va="center_baseline")


def _draw_lanes(ax, account: Account, lanes: Mapping[str, Sequence[Span]], unit_s: float) -> None:
    start, wall_s = account.spans[0].start, account.wall_s
    for row, own in enumerate(lanes.values()):
        bars: dict[str, list[tuple[float, float]]] = {}
        for at, seconds, category in stretches(own, start, wall_s):
            bars.setdefault(category, []).append((at / unit_s, seconds / unit_s))
        for category, places in bars.items():
            ax.broken_barh(places, (row - 0.42, 0.84), facecolor=COLORS[category], linewidth=0)
    ax.set_ylim(len(lanes) - 0.5, -0.5)
    ax.set_yticks(range(len(lanes)), list(lanes), size=8.5)
    ax.set_xlim(0, wall_s / unit_s)
    ax.tick_params(length=0, labelbottom=False, labelcolor=MUTED)
    for side in ("top", "right", "left", "bottom"):
        ax.spines[side].set_visible(False)
    if len(account.attempts) > 1:
        _number_attempts(ax, account, unit_s)


def _number_attempts(ax, account: Account, unit_s: float) -> None:
    above = dict(xycoords=("data", "axes fraction"), textcoords="offset points", size=7)
    wide, free_at = account.wall_s / unit_s, 0.0
    for one in account.attempts:
        at = (one.attempt.start - account.spans[0].start) / unit_s
        ax.annotate("", (at, 1), (0, 4), arrowprops=_TICK, **above)
        if at >= free_at:  # else there is no room beside the number before
            ax.annotate(str(one.attempt.number), (at, 1), (1.5, 2), color=MUTED, **above)
            free_at = at + wide * _NUMBER_IN / (_WIDTH - _LEFT - _RIGHT)
    ax.annotate("attempt", (0, 1), (-6, 2), color=MUTED, ha="right", **above)


def _draw_steps(ax, account: Account, unit_s: float) -> None:
    start = account.spans[0].start
    saved: list[tuple[float, int]] = []
    faults: list[tuple[float, int]] = []
    reached = 0
    for one in account.attempts:
        line = [
            ((record["time"] - start) / unit_s, record["step_count"])
            for record in one.attempt.main
            if record["event"] == events.STEP
        ]
        thin = line[:: max(1, len(line) // _BINS)] + line[-1:]
        num_kept = sum(one.kept is None or step <= one.kept for _, step in thin)
        for part, color in (
            (thin[: num_kept + 1], COLORS[STEPS]),
            (thin[num_kept:], COLORS[LOST]),
        ):
            if part:
                ax.plot(*zip(*part, strict=True), color=color, linewidth=1.8)
        saved += [((t - start) / unit_s, step) for t, step in checkpoints(one.attempt.main)]
        reached = reached if one.last_step is None else one.last_step
        if not one.attempt.is_well and not one.attempt.is_last:
            faults.append(((one.attempt.end - start) / unit_s, reached))
    for points, style in (
        (saved, dict(marker="o", s=14, facecolor=PAPER, edgecolor=INK, label="checkpoint")),
        (faults, dict(marker="X", s=36, facecolor=INK, edgecolor=PAPER, label="ended by a fault")),
    ):
        if points:
            style["s"] *= max(min(1.0, _MANY / len(points)), 0.4)
            ax.scatter(*zip(*points, strict=True), zorder=3, linewidth=0.7, clip_on=False, **style)
    if saved or faults:
        ax.legend(loc="upper left", frameon=False, fontsize=8, handletextpad=0.2, borderpad=0)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("step", size=9)
    ax.yaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    ax.grid(axis="y", color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(length=0, labelsize=8.5)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)


def checkpoints(log: Sequence[Record]) -> list[tuple[float, int]]:
    """Returns the time and step of each checkpoint of an attempt: when its writing had begun.

    What is left of it is done beside the steps that follow.
    """
    found, step = [], None
    for record in log:
        if record["event"] == events.STEP:
            step = record["step_count"]
        elif record["event"].endswith("_end_time") and step is not None:
            if "checkpoint_save" in record.values():
                found.append((record["time"], step))
    return found
