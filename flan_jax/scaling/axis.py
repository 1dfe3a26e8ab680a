# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where things stand on a figure: values on a logarithmic axis, its ticks, labels side by side."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from flan_jax.scaling.plots import Figure

# (from, unit, name): what is larger than the first is told in the second.
_UNITS = ((1e12, 1e12, "T"), (1e9, 1e9, "B"), (1e5, 1e6, "M"), (1e3, 1e3, "k"))
_MANY = 8
_CHAR_POINTS = 6.2  # of a tick's label, at most


def placer(figure: Figure) -> Callable[[float], float]:
    """Returns the function from an x value to its place on the axis."""
    if not figure.log_x:
        return lambda x: x
    log = math.log10 if figure.large_x else math.log2
    least = min((x for p in figure.panels for li in p.lines for x in li.x if x > 0), default=1.0)
    # Zero has no logarithm: it stands one and a half doublings left of the least count.
    zero = log(least) - 1.5 * log(2)
    return lambda x: log(x) if x > 0 else zero


def ticks(figure: Figure, width_points: float) -> tuple[list[float], list[str]]:
    """Returns (places, labels) of the ticks of a logarithmic axis that fit on its width.

    Values are their own ticks: ours first, then those of others where there is room. Where there
    are many large ones, round numbers stand in their place.
    """
    place = placer(figure)
    lines = [line for panel in figure.panels for line in panel.lines]
    lines = [line for line in lines if not line.thin] or lines
    every = sorted({x for line in lines for x in line.x}, reverse=True)
    own = sorted({x for line in lines if not line.reference for x in line.x}, reverse=True)
    wanted = own + [x for x in every if x not in own]
    if figure.large_x and len(own) > _MANY:
        wanted = _round_numbers([x for x in every if x > 0]) + [0.0] * (every[-1] == 0)
    label = large if figure.large_x else count
    span = (place(every[0]) - place(every[-1])) or 1.0
    scale = width_points / (1.04 * span)
    kept: list[tuple[float, str]] = []
    for x in wanted:
        at, text = place(x), label(x)
        if all(
            abs(at - other) * scale >= _CHAR_POINTS * (len(text) + len(beside)) / 2 + 2
            for other, beside in kept
        ):
            kept.append((at, text))
    kept.sort()
    return [at for at, _ in kept], [text for _, text in kept]


def count(x: float) -> str:
    """Returns a count as it stands below the axis.

    Example:
        >>> count(64.0), count(1836.0)
        ('64', '1,836')
    """
    return f"{x:g}" if x < 1000 else f"{x:,.0f}"


def large(x: float) -> str:
    """Returns a number of parameters or FLOPs, in few characters.

    Example:
        >>> large(107136.0), large(2.5e8), large(1.1e10), large(3e18), large(0.0)
        ('0.11 M', '250 M', '11 B', '3e18', '0')
    """
    if x >= 1e15:
        mantissa, exponent = f"{x:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for least, unit, name in _UNITS:
        if x >= least:
            return f"{float(f'{x / unit:.2g}') if x < 100 * unit else round(x / unit):g} {name}"
    return f"{x:g}"


def _round_numbers(values: Sequence[float]) -> list[float]:
    """Returns powers of ten between the least and the largest value; if few, 2 and 5 times, too."""
    if not values:
        return []
    low, high = min(values) * 0.999, max(values) * 1.001
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    powers = [float(f"1e{e}") for e in exponents if low <= float(f"1e{e}") <= high]
    if len(powers) > 2:
        return powers
    between = [float(f"{m}e{e}") for m in (5, 2) for e in exponents]
    return powers + [x for x in between if low <= x <= high] or [values[0]]


def spread(
    centers: np.ndarray, heights: np.ndarray, floor: float, ceiling: float = math.inf
) -> np.ndarray:
    """Returns the nearest centers to these so that no two labels overlap or leave the bounds.

    Nearest in least squares: less the heights below it, each center is a value of a sequence that
    may not fall, so this is isotonic regression (pool adjacent violators), bounded. Labels that
    together are higher than the bounds leave them at the top.
    """
    order = np.argsort(centers, kind="stable")
    sorted_heights = heights[order]
    below = np.concatenate([[0.0], np.cumsum((sorted_heights[1:] + sorted_heights[:-1]) / 2)])
    pools: list[tuple[float, int]] = []  # (mean, how many)
    for value in centers[order] - below:
        mean, num = float(value), 1
        while pools and pools[-1][0] > mean:
            last, others = pools.pop()
            mean, num = (last * others + mean * num) / (others + num), others + num
        pools.append((mean, num))
    level = np.concatenate([np.full(num, mean) for mean, num in pools])
    level = np.minimum(level, ceiling - sorted_heights[-1] / 2 - below[-1])
    placed = np.empty(len(centers))
    placed[order] = np.maximum(level, floor + sorted_heights[0] / 2) + below
    return placed
