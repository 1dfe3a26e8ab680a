# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Curves fitted to scores: what another doubling of tasks or of operations brings.

log_linear    y = a + b log2(n): every doubling brings the same
saturating    y = c - d n^-e: each doubling brings 2^-e of what the one before it brought, up to c
power_law     100 - y = a C^-b: each doubling leaves 2^-b of the error

Four to six points do not tell more parameters than these: so a power law has no irreducible part,
which its exponent would take up (of error, `saturating` has it), and an exponential approach in n
itself is over between two points that lie a factor of two or more apart.

Least squares over the means of seeds, all alike; two of the forms are linear in what is sought, and
the third is but for e, which is looked for on a grid: no start, no local minimum. Intervals are of
90 % and from a seeded parametric bootstrap: fits to data drawn around the curve with noise whose
own size is drawn as it is known, by chi-squared, which for linear forms gives Student's interval.
The noise is the points' scatter about the curve, or, where that is more, what it and the seeds'
scatter say together: a form that does not suit widens them. Over six points of simulated curves
with one seed and with three, intervals of parameters held the truth in 85 to 94 % of trials.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from flan_jax.core import errors
from flan_jax.scaling import tables

LEVEL = 0.9
LOG_LINEAR, SATURATING, POWER_LAW = "log-linear", "saturating", "power law"
_NUM_DRAWS = 2000
_TOP = 100.0  # a score without error
# Of n^-e. Below, a doubling brings over 97 % of the one before it: no levelling off to be seen in
# ten of them. Above, under 4 %: there is no second point on the way.
_EXPONENTS = np.geomspace(0.05, 5.0, 300)


class Interval(NamedTuple):
    """A value and its interval of 90 %; an end may be infinite."""

    value: float
    low: float
    high: float


class HeldBack(NamedTuple):
    """The last point, predicted from the others: the interval is that of a point, noise and all."""

    x: float
    observed: float
    predicted: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class _Form:
    """A family of curves. `values` are [draws, points], parameters [draws, parameters]."""

    kind: str
    params: tuple[str, ...]
    solve: Callable[[np.ndarray, np.ndarray], np.ndarray]  # x, values -> parameters
    curve: Callable[[np.ndarray, np.ndarray], np.ndarray]  # parameters, x -> values
    reach: Callable[[np.ndarray, float], float]  # of one curve: where it has a value
    formula: str
    shown: Callable[[np.ndarray], np.ndarray]  # parameters -> those of the formula
    is_error: bool = False  # fitted is the logarithm of what is missing to 100


@dataclasses.dataclass(frozen=True)
class Fit:
    """One curve."""

    kind: str
    formula: str
    params: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    num_points: int
    last_x: float
    rmse: float
    held_back: HeldBack | None  # None: too few points are left without it, or they give no fit
    left_out: tuple[float, ...]  # numbers without a logarithm
    _form: _Form = dataclasses.field(repr=False, compare=False)
    _found: np.ndarray = dataclasses.field(repr=False, compare=False)  # [1, parameters]
    _draws: np.ndarray = dataclasses.field(repr=False, compare=False)  # [draws, parameters]
    _noise: np.ndarray = dataclasses.field(repr=False, compare=False)  # [draws], of a point

    def predict(self, x: float) -> Interval:
        """Returns the curve's value at x > 0 and its interval, without a point's own noise."""
        return self._at(x, 0.0)

    def _at(self, x: float, noise: np.ndarray | float) -> Interval:
        at = np.array([x], float)
        draws = self._form.curve(self._draws, at)[:, 0] + noise
        value = float(_unlinked(self._form, self._form.curve(self._found, at))[0, 0])
        return Interval(value, *_ends(_unlinked(self._form, draws)))


@dataclasses.dataclass(frozen=True)
class Gains:
    """Diminishing returns: points of quality a doubling, before and after the middle."""

    middle: float  # of x, on its logarithmic axis
    first: Interval
    second: Interval
    difference: Interval  # second - first: below 0 they diminish


def log_linear(x: Sequence[float], y: Sequence[Sequence[float]]) -> Fit:
    """Fits y = a + b log2(x).

    Args:
        x: numbers of tasks, or of what else is doubled; 0 has no logarithm and is left out.
        y: of each the seeds' values.

    Raises:
        DataError: no such curve can be fitted; why.

    Example:
        >>> log_linear([2, 4, 8], [[1.5], [2.5], [3.5]]).formula
        '0.5 + 1 log2(n)'
    """
    return _fit(_LOG_LINEAR, x, y)


def saturating(x: Sequence[float], y: Sequence[Sequence[float]]) -> Fit:
    """Fits y = c - d x^-e; c is what no number of tasks exceeds. Arguments as of `log_linear`.

    An end of c's interval is infinite where the points do not exclude that there is no such limit.
    """
    return _fit(_SATURATING, x, y)


def power_law(x: Sequence[float], y: Sequence[Sequence[float]]) -> Fit:
    """Fits 100 - y = a x^-b, in logarithms: noise is a share of the error. Else as `log_linear`."""
    return _fit(_POWER_LAW, x, y)


def next_point(fit: Fit, at: float) -> float | None:
    """Returns the x at which quality is one point above that at x = `at`; None: nowhere."""
    value = fit.predict(at).value + 1.0
    with np.errstate(all="ignore"):
        linked = np.log(_TOP - value) if fit._form.is_error else value
        reached = float(fit._form.reach(fit._found[0], linked))
    return reached if np.isfinite(reached) and reached > at else None


def gain_per_doubling(x: Sequence[float], y: Sequence[Sequence[float]]) -> Gains:
    """Returns what a doubling brings in the first half of log2(x) and in the second.

    Two straight lines that meet in the middle of the logarithmic axis, with no form assumed but
    this. Arguments and errors as of `log_linear`.
    """
    points = _Points.of(x, y, "gains per doubling", 3)
    logs = np.log2(points.x)
    middle = (logs[0] + logs[-1]) / 2

    def design(at: np.ndarray) -> np.ndarray:
        log = np.log2(at)
        return np.stack([np.ones_like(log), np.minimum(log, middle), np.fmax(log - middle, 0)], 1)

    form = _linear("gains", ("a", "first", "second"), design, lambda *_: np.nan)
    found, draws, _ = _estimate(form, points, points.values)
    first, second = found[0, 1], found[0, 2]
    return Gains(
        middle=float(2**middle),
        first=Interval(float(first), *_ends(draws[:, 1])),
        second=Interval(float(second), *_ends(draws[:, 2])),
        difference=Interval(float(second - first), *_ends(draws[:, 2] - draws[:, 1])),
    )


def table(
    title: str, fits: Sequence[tuple[str, Fit | errors.DataError]], of: str = "tasks"
) -> tables.Table:
    """Returns fits as a table; of one that was refused it says why.

    Args:
        title: the table's.
        fits: name of a curve, and its fit or the error of the attempt.
        of: what x counts, for people.
    """
    rows = []
    for name, fit in fits:
        if isinstance(fit, errors.DataError):
            rows.append(((name, "none", str(fit), "", "", ""), (None,)))
        else:
            rows.append((_row(name, fit), (tables.Cell(value=fit.rmse),)))
    return tables.Table(
        title=title,
        names=("Curve", "Form", "Fit", "Intervals", "Last point predicted", "One more point at"),
        columns=("Root mean square error",),
        rows=tuple(rows),
        note=f"Least squares over means of seeds, by {of}; intervals of 90 % from a seeded "
        "parametric bootstrap. The last point is predicted from the others: the interval is that "
        f"of a new point. One more point at: {of} at which the curve is one point above its value "
        "at the last one.",
    )


def gains_table(
    title: str, found: Sequence[tuple[str, Gains | errors.DataError]], of: str = "tasks"
) -> tables.Table:
    """Returns what doublings bring as a table: where returns diminish, and whether that is sure.

    Args:
        title: the table's.
        found: name of a curve, and its gains or the error of the attempt.
        of: what x counts, for people.
    """
    rows = []
    for name, gains in found:
        if isinstance(gains, errors.DataError):
            rows.append((name, str(gains), "", "", ""))
            continue
        spans = [
            f"{each.value:.2f} ({each.low:.2f} to {each.high:.2f})"
            for each in (gains.first, gains.second, gains.difference)
        ]
        rows.append((name, f"{gains.middle:,.4g}", *spans))
    return tables.Table(
        title=title,
        names=("Curve", "Middle", "A doubling before it", "A doubling after it", "Difference"),
        columns=(),
        rows=tuple((row, ()) for row in rows),
        note=f"Points of quality for each doubling of {of}, by two straight lines that meet in the "
        "middle of the logarithmic axis; intervals of 90 %. Returns diminish where the difference "
        "is below 0, and surely so where its whole interval is.",
    )


def _row(name: str, fit: Fit) -> tuple[str, ...]:
    spans = ", ".join(
        f"{key} {low:.3g} to {high:.3g}" for key, (low, high) in fit.intervals.items()
    )
    left_out = " (without 0, which has no logarithm)" if fit.left_out else ""
    held = "too few points"
    if fit.held_back is not None:
        last = fit.held_back
        is_inside = "inside" if last.low <= last.observed <= last.high else "outside"
        held = (
            f"{last.predicted:.1f} ({last.low:.1f} to {last.high:.1f}), measured "
            f"{last.observed:.1f}: {is_inside}"
        )
    reached = next_point(fit, fit.last_x)
    more = (
        "nowhere" if reached is None else f"{reached:,.0f}" if reached < 1e9 else f"{reached:.3g}"
    )
    return name, fit.kind, fit.formula + left_out, spans, held, more


@dataclasses.dataclass(frozen=True)
class _Points:
    """What is fitted: x rising and above 0, and of each the seeds' values."""

    x: np.ndarray
    values: tuple[np.ndarray, ...]
    left_out: tuple[float, ...]

    @property
    def means(self) -> np.ndarray:
        return np.array([each.mean() for each in self.values])

    @classmethod
    def of(
        cls, x: Sequence[float], y: Sequence[Sequence[float]], what: str, num_params: int
    ) -> "_Points":
        """Returns the points; refuses those that no curve can be fitted to."""
        together: dict[float, list[float]] = {}
        for each, values in zip(x, y, strict=True):
            together.setdefault(float(each), []).extend(float(value) for value in values)
        for each, values in together.items():
            if not values or not np.isfinite([each, *values]).all():
                raise errors.DataError(
                    f"{what}: at x = {each:g} the values are {values}; each needs numbers"
                )
        kept = sorted(each for each in together if each > 0)
        if len(kept) <= num_params:
            raise errors.DataError(
                f"{what}: {len(kept)} point(s) above 0, and its {num_params} parameters need "
                f"{num_params + 1} or more"
            )
        values = tuple(np.array(together[each]) for each in kept)
        means = [value.mean() for value in values]
        if np.ptp(means) <= 1e-9 * max(1.0, abs(means[0])):
            raise errors.DataError(
                f"{what}: all {len(kept)} points are {means[0]:g}; there is nothing to fit"
            )
        return cls(np.array(kept), values, tuple(each for each in together if each <= 0))

    def without_last(self) -> "_Points":
        return _Points(self.x[:-1], self.values[:-1], self.left_out)


def _fit(form: _Form, x: Sequence[float], y: Sequence[Sequence[float]]) -> Fit:
    points = _Points.of(x, y, form.kind, len(form.params))
    if form.is_error and (high := max(value.max() for value in points.values)) >= _TOP:
        raise errors.DataError(
            f"{form.kind}: a score of {high:g} leaves no error, and so no logarithm of it"
        )
    return _fitted(form, points, _held_back(form, points))


def _held_back(form: _Form, points: _Points) -> HeldBack | None:
    if len(points.x) - 1 <= len(form.params):
        return None
    try:
        rest = _fitted(form, points.without_last(), None)
    except errors.DataError:
        return None
    noise = np.random.default_rng(1).standard_normal(_NUM_DRAWS) * rest._noise
    at = float(points.x[-1])
    return HeldBack(at, float(points.means[-1]), *rest._at(at, noise))


def _fitted(form: _Form, points: _Points, held_back: HeldBack | None) -> Fit:
    linked = tuple(np.log(_TOP - each) if form.is_error else each for each in points.values)
    found, draws, noise = _estimate(form, points, linked)
    if form.kind == SATURATING:
        _check_levels_off(found[0, 2])
    misses = _unlinked(form, form.curve(found, points.x))[0] - points.means
    params = dict(zip(form.params, map(float, form.shown(found)[0]), strict=True))
    shown = form.shown(draws)
    return Fit(
        kind=form.kind,
        formula=_signed(form.formula.format(**params)),
        params=params,
        intervals={name: _ends(shown[:, n]) for n, name in enumerate(form.params)},
        num_points=len(points.x),
        last_x=float(points.x[-1]),
        rmse=float(np.sqrt(np.mean(misses**2))),
        held_back=held_back,
        left_out=points.left_out,
        _form=form,
        _found=found,
        _draws=draws,
        _noise=noise,
    )


def _estimate(
    form: _Form, points: _Points, values: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns parameters, those of the draws, and the draws' noise of a point."""
    means = np.array([each.mean() for each in values])
    found = form.solve(points.x, means[None])
    fitted = form.curve(found, points.x)[0]
    variance, freedom = _variance(means - fitted, values, len(form.params))
    random = np.random.default_rng(0)
    noise = np.sqrt(variance * freedom / random.chisquare(freedom, _NUM_DRAWS))
    drawn = fitted + noise[:, None] * random.standard_normal((_NUM_DRAWS, len(means)))
    return found, form.solve(points.x, drawn), noise


def _variance(
    misses: np.ndarray, values: Sequence[np.ndarray], num_params: int
) -> tuple[float, int]:
    """Returns the variance of a mean about its curve, and the degrees of freedom behind it."""
    freedom, total = len(misses) - num_params, float(np.sum(misses**2))
    if min(map(len, values)) == 1:
        return total / freedom, freedom
    of_means = float(np.mean([each.var(ddof=1) / len(each) for each in values]))
    more = sum(len(each) - 1 for each in values)
    return max(total / freedom, (total + more * of_means) / (freedom + more)), freedom + more


def _ends(draws: np.ndarray) -> tuple[float, float]:
    # No interpolation, which between infinite ends is none.
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(draws, ends, method="inverted_cdf")
    return float(low), float(high)


def _signed(formula: str) -> str:
    return formula.replace("+ -", "- ").replace("- -", "+ ").replace("^--", "^")


def _unlinked(form: _Form, values: np.ndarray) -> np.ndarray:
    return _TOP - np.exp(values) if form.is_error else values


def _check_levels_off(exponent: float) -> None:
    if exponent <= _EXPONENTS[0]:
        raise errors.DataError(
            f"{SATURATING}: the points do not level off, each doubling brings as much as the one "
            "before or more; see the log-linear fit"
        )
    if exponent >= _EXPONENTS[-1]:
        raise errors.DataError(
            f"{SATURATING}: the points level off at once, all of the gain lies before the second"
        )


def _linear(
    kind: str,
    params: tuple[str, ...],
    design: Callable[[np.ndarray], np.ndarray],
    reach: Callable[[np.ndarray, float], float],
    formula: str = "",
    is_error: bool = False,
    shown: Callable[[np.ndarray], np.ndarray] = lambda found: found,
) -> _Form:
    """Returns a form that is `design(x) @ parameters`."""
    return _Form(
        kind=kind,
        params=params,
        solve=lambda x, values: values @ np.linalg.pinv(design(x)).T,
        curve=lambda found, x: found @ design(x).T,
        reach=reach,
        formula=formula,
        shown=shown,
        is_error=is_error,
    )


def _solve_saturating(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    found = _best_on_grid(x, values, _EXPONENTS)
    if len(values) > 1:  # draws: a hundredth of e is nothing beside how they differ
        return found
    near = int(np.argmin(np.abs(_EXPONENTS - found[0, 2])))
    if near in (0, len(_EXPONENTS) - 1):
        return found
    return _best_on_grid(x, values, np.geomspace(_EXPONENTS[near - 1], _EXPONENTS[near + 1], 2001))


def _best_on_grid(x: np.ndarray, values: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Returns (c, d, e) of each row; for each e the others are a linear problem."""
    best = np.full(len(values), np.inf)
    found = np.zeros((len(values), 3))
    falling = (x / x[0]) ** -exponents[:, None]
    designs = np.stack([np.ones_like(falling), -falling], 2)  # [exponents, points, 2]
    inverses = np.linalg.pinv(designs)
    for exponent, design, inverse in zip(exponents, designs, inverses, strict=True):
        linear = values @ inverse.T
        total = np.sum((values - linear @ design.T) ** 2, axis=1)
        better = total < best
        best[better] = total[better]
        found[better, :2] = linear[better] * [1.0, x[0] ** exponent]
        found[better, 2] = exponent
    return found


def _with_log2(x: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), np.log2(x)], 1)


def _with_log(x: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), -np.log(x)], 1)


def _limits(found: np.ndarray) -> np.ndarray:
    """Returns c, d and e, the first two without end where nothing levels off."""
    endless = found[:, 2:] <= _EXPONENTS[0]
    limits = np.where(endless, np.sign(found[:, 1:2]) * np.inf, found[:, :2])
    return np.concatenate([limits, found[:, 2:]], axis=1)


_LOG_LINEAR = _linear(
    LOG_LINEAR,
    ("a", "b"),
    _with_log2,
    lambda p, y: 2 ** ((y - p[0]) / p[1]),
    "{a:.3g} + {b:.3g} log2(n)",
)
_SATURATING = _Form(
    kind=SATURATING,
    params=("c", "d", "e"),
    solve=_solve_saturating,
    curve=lambda p, x: p[:, :1] - p[:, 1:2] * x ** -p[:, 2:],
    reach=lambda p, y: ((p[0] - y) / p[1]) ** (-1 / p[2]),
    formula="{c:.3g} - {d:.3g} n^-{e:.3g}",
    shown=_limits,
)
_POWER_LAW = _linear(
    POWER_LAW,
    ("a", "b"),
    _with_log,
    lambda p, y: np.exp((p[0] - y) / p[1]),
    "100 - {a:.3g} C^-{b:.3g}",
    is_error=True,
    shown=lambda found: np.stack([np.exp(found[:, 0]), found[:, 1]], 1),
)
