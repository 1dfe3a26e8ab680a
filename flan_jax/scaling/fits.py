# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Laws through scaling curves: quality against numbers of tasks, parameters, or operations.

log-linear    y = a + b log2 x                the same gain for every doubling
saturating    y = c - d x^-e                  a ceiling c that is neared as a power of x
power law     100 - y = a x^-b                the error falls by the same share for every doubling

A curve has few points, so each law has as few constants as its shape needs: an irreducible error
in the power law would make three, which five sizes cannot tell from a smaller b. Each x counts
once, by its mean over seeds: what is left over holds the noise of seeds and the law's own misfit,
which seeds at one x share. Intervals are Student's, for as many degrees of freedom as there are
points beyond constants, through the Jacobian; of few points they are wide, as they should be.

An x of 0 (no finetuning) has no logarithm and is left out.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import optimize, stats

from flan_jax.core import errors
from flan_jax.scaling.tables import Table

LEVEL = 0.9  # of intervals
LOG_LINEAR, SATURATING, POWER_LAW = "log-linear", "saturating", "power law"
_EXPONENTS = (0.02, 4.0)  # of the saturating law: nearly log-linear, to a step
_FARTHEST = 1e9  # how many times as much the next point may take

Values = Sequence[float]


@dataclasses.dataclass(frozen=True)
class _Law:
    kind: str
    formula: str
    names: tuple[str, ...]
    value: Callable[[Values, float], float]  # (constants, x) -> y
    solve: Callable[[np.ndarray, np.ndarray], list[float]]  # (x, y) -> constants


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldBack:
    """The point of the largest x, predicted from the others."""

    x: float
    observed: float
    predicted: float
    low: float  # of the prediction interval
    high: float

    @property
    def is_inside(self) -> bool:
        """Whether the interval holds what was observed."""
        return self.low <= self.observed <= self.high


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """A law with its constants."""

    kind: str
    formula: str
    params: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]  # at LEVEL
    num_points: int
    rmse: float  # of the points, in units of y
    held_back: HeldBack | None  # None: the others are too few
    covariance: tuple[tuple[float, ...], ...]

    def predict(self, x: float) -> tuple[float, float, float]:
        """Returns the law's value at x, and the interval in which its curve lies there."""
        value, error = self._at(x)
        reach = error * _student(self.num_points - len(self.params))
        return value, value - reach, value + reach

    def value(self, x: float) -> float:
        """Returns the law's value at x."""
        return _LAWS[self.kind].value(list(self.params.values()), x)

    def _at(self, x: float) -> tuple[float, float]:
        constants = np.array(list(self.params.values()))
        slope = _gradient(_LAWS[self.kind], constants, x)
        return self.value(x), math.sqrt(max(slope @ np.array(self.covariance) @ slope, 0.0))

    def _predicted(self, x: float, observed: float) -> HeldBack:
        degrees = self.num_points - len(self.params)
        noise = self.rmse**2 * self.num_points / degrees
        value, error = self._at(x)
        reach = math.sqrt(error**2 + noise) * _student(degrees)
        return HeldBack(
            x=x, observed=observed, predicted=value, low=value - reach, high=value + reach
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gains:
    """Points of quality gained for each doubling of x, over each half of a curve."""

    first: float
    second: float
    first_error: float | None  # standard error over seeds
    second_error: float | None
    middle: float  # the x that ends the first half and begins the second

    @property
    def share(self) -> float | None:
        """What is left of the first half's gain in the second; None where it gained nothing."""
        return self.second / self.first if self.first > 0 else None


def log_linear(x: Values, y: Sequence[Values]) -> Fit:
    """Fits y = a + b log2 x.

    Args:
        x: where the points stand.
        y: of each the values of its seeds.

    Raises:
        DataError: there are too few points, or y is constant.
    """
    return _fit(_LAWS[LOG_LINEAR], x, y)


def saturating(x: Values, y: Sequence[Values]) -> Fit:
    """Fits y = c - d x^-e; as `log_linear`.

    Raises:
        DataError: as there; or the best e is at the end of what can be told apart.
    """
    return _fit(_LAWS[SATURATING], x, y)


def power_law(x: Values, y: Sequence[Values]) -> Fit:
    """Fits 100 - y = a x^-b in logarithms; as `log_linear`.

    Raises:
        DataError: as there; or a y is 100 or more.
    """
    return _fit(_LAWS[POWER_LAW], x, y)


def all_of(
    kinds: Sequence[str], x: Values, y: Sequence[Values]
) -> tuple[list[Fit], dict[str, str]]:
    """Returns the fits of several laws that can be made, and why the others cannot."""
    found, refused = [], {}
    for kind in kinds:
        try:
            found.append(_fit(_LAWS[kind], x, y))
        except errors.DataError as error:
            refused[kind] = str(error)
    return found, refused


def gains(x: Values, y: Sequence[Values]) -> Gains:
    """Returns what a doubling gains over each half of the curve.

    The halves meet at the point whose logarithm is nearest to the middle.

    Raises:
        DataError: there are fewer than three points.
    """
    xs, seeds = _usable(x, y)
    if len(xs) < 3:
        raise errors.DataError(
            f"halves of a curve need 3 points with x > 0, and there are {len(xs)}"
        )
    logs = np.log2(xs)
    inner = np.abs(logs[1:-1] - (logs[0] + logs[-1]) / 2)
    middle = 1 + int(np.argmin(inner))
    means = [statistics.fmean(own) for own in seeds]

    def between(a: int, b: int) -> tuple[float, float | None]:
        doublings = logs[b] - logs[a]
        if min(len(seeds[a]), len(seeds[b])) < 2:
            return (means[b] - means[a]) / doublings, None
        squares = [statistics.variance(seeds[i]) / len(seeds[i]) for i in (a, b)]
        return (means[b] - means[a]) / doublings, math.sqrt(sum(squares)) / doublings

    (first, first_error), (second, second_error) = between(0, middle), between(middle, -1)
    return Gains(
        first=float(first), second=float(second),
        first_error=None if first_error is None else float(first_error),
        second_error=None if second_error is None else float(second_error),
        middle=float(xs[middle]),
    )  # fmt: skip


def next_point(fit: Fit, at: float, points: float = 1.0) -> float | None:
    """Returns the x at which the law is `points` above its value at `at`.

    None where it never is: it falls, its ceiling is lower, or it takes 1e9 times as much.
    """
    goal = fit.value(at) + points

    def short(log_x: float) -> float:
        return fit.value(2.0**log_x) - goal

    low, high = math.log2(at), math.log2(at * _FARTHEST)
    if short(high) < 0 or short(low) > 0:
        return None
    return 2.0 ** optimize.brentq(short, low, high)


def table(
    curves: Sequence[tuple[str, Values, Sequence[Values]]], kinds: Sequence[str], unit: str
) -> Table:
    """Returns the laws through several curves as a table, with what could not be fitted.

    Args:
        curves: (name, x, seeds' values at each x).
        kinds: which laws.
        unit: what x counts: 'tasks', 'FLOPs'.
    """
    rows = []
    for name, x, y in curves:
        found, refused = all_of(kinds, x, y)
        last = max(x, default=0.0)
        for fit in found:
            constants = ", ".join(
                f"{each} = {fit.params[each]:.3g} ({low:.3g} to {high:.3g})"
                for each, (low, high) in fit.intervals.items()
            )
            rows.append(
                (name, f"{fit.kind}: {fit.formula}", constants, f"{fit.rmse:.1f}",
                 _held_back_text(fit.held_back), _next_text(fit, last, unit))
            )  # fmt: skip
        rows += [(name, kind, why, "", "", "") for kind, why in refused.items()]
    return Table(
        title=f"Laws through the curves, against {unit}",
        names=("Curve", "Law", f"Constants ({LEVEL:.0%} intervals)", "RMSE",
               "Last point from the others", "The next point of quality"),
        columns=(),
        rows=tuple((row, ()) for row in rows),
        note="Least squares through the means over seeds; x = 0 has no logarithm and is left out. "
        f"Last point: observed against predicted, with its {LEVEL:.0%} prediction interval.",
    )  # fmt: skip


def gains_table(curves: Sequence[tuple[str, Values, Sequence[Values]]], unit: str) -> Table | None:
    """Returns what a doubling gains over the first and the second half of curves; None of none."""
    rows = []
    for name, x, y in curves:
        try:
            found = gains(x, y)
        except errors.DataError:
            continue
        share = "" if found.share is None else f"{found.share:.2f}"
        rows.append(
            (name, f"{found.middle:,.6g}", _with_error(found.first, found.first_error),
             _with_error(found.second, found.second_error), share)
        )  # fmt: skip
    if not rows:
        return None
    return Table(
        title=f"Points of quality gained for each doubling of {unit}",
        names=("Curve", "Halves meet at", "First half", "Second half", "Second / first"),
        columns=(),
        rows=tuple((row, ()) for row in rows),
        note="Returns diminish where the last column is below 1. ± standard error over seeds.",
    )


def _fit(law: _Law, x: Values, y: Sequence[Values]) -> Fit:
    xs, seeds = _usable(x, y)
    means = np.array([statistics.fmean(own) for own in seeds])
    whole = _solved(law, xs, means)
    held_back = None
    if len(xs) - 1 > len(law.names):
        try:
            part = _solved(law, xs[:-1], means[:-1])
            held_back = part._predicted(float(xs[-1]), float(means[-1]))
        except errors.DataError:
            pass  # the others alone have no such law
    return dataclasses.replace(whole, held_back=held_back)


def _solved(law: _Law, xs: np.ndarray, means: np.ndarray) -> Fit:
    degrees = len(xs) - len(law.names)
    if degrees < 1:
        raise errors.DataError(
            f"needs {len(law.names) + 1} points with x > 0 for its {len(law.names)} constants, and "
            f"there are {len(xs)}"
        )
    if np.ptp(means) == 0:
        raise errors.DataError(f"the curve is constant ({means[0]:.3g} everywhere)")
    constants = np.array(law.solve(xs, means))
    left = means - np.array([law.value(constants, x) for x in xs])
    squares = float(left @ left)
    jacobian = np.array([_gradient(law, constants, x) for x in xs])
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * squares / degrees
    reach = np.sqrt(np.maximum(np.diag(covariance), 0.0)) * _student(degrees)
    return Fit(
        kind=law.kind,
        formula=law.formula,
        params=dict(zip(law.names, map(float, constants), strict=True)),
        intervals={
            name: (float(value - r), float(value + r))
            for name, value, r in zip(law.names, constants, reach, strict=True)
        },
        num_points=len(xs),
        rmse=math.sqrt(squares / len(xs)),
        held_back=None,
        covariance=tuple(tuple(map(float, row)) for row in covariance),
    )


def _usable(x: Values, y: Sequence[Values]) -> tuple[np.ndarray, list[Values]]:
    """Returns the points with x > 0, from small to large."""
    pairs = sorted((float(a), tuple(b)) for a, b in zip(x, y, strict=True) if a > 0)
    return np.array([a for a, _ in pairs]), [b for _, b in pairs]


def _student(degrees: int) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, degrees))


def _gradient(law: _Law, constants: np.ndarray, x: float) -> np.ndarray:
    """Returns the slope of the law's value in each constant, by central differences."""
    slopes = []
    for index, constant in enumerate(constants):
        step = 1e-5 * max(abs(constant), 1e-3)
        ends = []
        for sign in (1, -1):
            moved = constants.copy()
            moved[index] += sign * step
            ends.append(law.value(moved, x))
        slopes.append((ends[0] - ends[1]) / (2 * step))
    return np.array(slopes)


def _line(u: np.ndarray, v: np.ndarray) -> list[float]:
    slope, intercept = np.polyfit(u, v, 1)
    return [float(intercept), float(slope)]


def _solve_saturating(x: np.ndarray, y: np.ndarray) -> list[float]:
    """For a given exponent the other two constants are a line's: only the exponent is searched."""

    def squares(log_e: float) -> float:
        c, minus_d = _line(x ** -math.exp(log_e), y)
        left = y - c - minus_d * x ** -math.exp(log_e)
        return float(left @ left)

    low, high = (math.log(end) for end in _EXPONENTS)
    grid = np.linspace(low, high, 60)
    best = int(np.argmin([squares(value) for value in grid]))
    if best in (0, len(grid) - 1):
        what = "a straight line in log x" if best == 0 else "one step"
        raise errors.DataError(f"the points cannot be told from {what}, so no ceiling shows")
    found = optimize.minimize_scalar(
        squares, bounds=(grid[best - 1], grid[best + 1]), method="bounded"
    )
    e = math.exp(found.x)
    c, minus_d = _line(x**-e, y)
    return [c, -minus_d, e]


def _solve_power_law(x: np.ndarray, y: np.ndarray) -> list[float]:
    if (y >= 100).any():
        raise errors.DataError(f"needs values below 100 %, and one is {y.max():.4g}")
    intercept, slope = _line(np.log2(x), np.log2(100 - y))
    return [2.0**intercept, -slope]


_LAWS = {
    law.kind: law
    for law in (
        _Law(LOG_LINEAR, "a + b log2 x", ("a", "b"),
             lambda p, x: p[0] + p[1] * math.log2(x), lambda x, y: _line(np.log2(x), y)),
        _Law(SATURATING, "c - d x^-e", ("c", "d", "e"),
             lambda p, x: p[0] - p[1] * x ** -p[2], _solve_saturating),
        _Law(POWER_LAW, "100 - a x^-b", ("a", "b"),
             lambda p, x: 100 - p[0] * x ** -p[1], _solve_power_law),
    )
}  # fmt: skip


def _held_back_text(found: HeldBack | None) -> str:
    if found is None:
        return "too few others"
    text = f"{found.observed:.1f} against {found.predicted:.1f}"
    text += f" ({found.low:.1f} to {found.high:.1f})"
    return text + ("" if found.is_inside else ", outside")


def _next_text(fit: Fit, last: float, unit: str) -> str:
    needed = next_point(fit, last)
    if needed is None:
        return "out of reach"
    return f"at {needed:,.4g} {unit}, {needed / last:.2f} times the last"


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.2f}" + ("" if error is None else f" ± {error:.2f}")
