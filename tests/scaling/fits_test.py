# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fits: known curves are found, intervals cover, the paper's Table 3, and what is refused."""

import numpy as np
import pytest

from flan_jax.core import errors
from flan_jax.paper import results
from flan_jax.scaling import fits

TASKS = [4, 8, 16, 32, 64, 112]


def one_seed(curve, x=TASKS):
    return [[float(curve(each))] for each in x]


def table3(params):
    rows = [row for row in results.task_scaling() if row.params == params]
    return [row.num_tasks for row in rows], [[row.score("normalized_average")] for row in rows]


@pytest.mark.parametrize(
    ("fit", "curve", "params"),
    [
        (fits.log_linear, lambda n: 20 + 3 * np.log2(n), {"a": 20, "b": 3}),
        (fits.saturating, lambda n: 50 - 60 * n**-0.7, {"c": 50, "d": 60, "e": 0.7}),
        (fits.power_law, lambda n: 100 - 80 * n**-0.2, {"a": 80, "b": 0.2}),
    ],
)
def test_a_curve_without_noise_is_found(fit, curve, params):
    found = fit(TASKS, one_seed(curve))
    assert found.params == pytest.approx(params, rel=1e-3)
    assert found.rmse < 1e-3
    assert found.predict(1000).value == pytest.approx(curve(1000), rel=1e-3)
    last = found.held_back
    assert (last.x, last.observed) == (112, pytest.approx(curve(112)))
    assert last.predicted == pytest.approx(curve(112), rel=1e-3)
    reached = fits.next_point(found, 16)
    assert curve(reached) == pytest.approx(curve(16) + 1, rel=1e-4)


def test_operations_of_any_size_fit():
    flops = [1e18, 1e19, 1e20, 1e21, 1e22]
    law = fits.power_law(flops, one_seed(lambda c: 100 - 3000 * c**-0.1, flops))
    assert law.params == pytest.approx({"a": 3000, "b": 0.1})
    assert law.formula == "100 - 3e+03 C^-0.1"
    curve = fits.saturating(flops, one_seed(lambda c: 60 - 1e4 * c**-0.15, flops))
    assert curve.params == pytest.approx({"c": 60, "d": 1e4, "e": 0.15}, rel=1e-2)


@pytest.mark.parametrize("params", ["8B", "62B", "540B"])
def test_slopes_of_the_papers_table_3(params):
    x, y = table3(params)
    fit = fits.log_linear(x, y)
    slope, start = np.polyfit(np.log2(x[1:]), np.ravel(y)[1:], 1)
    assert fit.params == pytest.approx({"a": start, "b": slope})
    assert (fit.left_out, fit.num_points) == ((0.0,), 4)


def test_intervals_of_a_line_are_students():
    _, y = table3("8B")
    x, y = [9, 89, 282, 1836], np.ravel(y)[1:]
    logs = np.log2(x)
    design = np.stack([np.ones(4), logs], 1)
    slope, start = np.polyfit(logs, y, 1)
    variance = np.sum((y - start - slope * logs) ** 2) / 2
    error = np.sqrt(variance * np.linalg.inv(design.T @ design)[1, 1])
    fit = fits.log_linear(x, [[value] for value in y])
    student = 2.92  # 95 % of Student's t, 2 degrees of freedom
    assert fit.intervals["b"] == pytest.approx(
        (slope - student * error, slope + student * error), rel=0.1
    )
    # A last point predicted from three, by the textbook.
    rest, at = design[:3], design[3]
    line = np.linalg.lstsq(rest, y[:3])[0]
    variance = np.sum((y[:3] - rest @ line) ** 2)
    error = np.sqrt(variance * (1 + at @ np.linalg.inv(rest.T @ rest) @ at))
    student = 6.314  # 1 degree of freedom
    assert fit.held_back[2:] == pytest.approx(
        (at @ line, at @ line - student * error, at @ line + student * error), rel=0.15
    )


def test_a_line_is_refused_a_limit_and_given_it_where_there_is_one():
    x, y = table3("540B")
    fit = fits.saturating(x, y)
    assert fit.params["c"] == pytest.approx(58.84, abs=0.01)
    low, high = fit.intervals["c"]
    assert 55 < low < 58.84
    assert high == np.inf  # four points do not exclude that it goes on
    assert fits.next_point(fit, 1836) is None
    assert fit.held_back is None
    with pytest.raises(errors.DataError, match="do not level off.*log-linear"):
        fits.saturating(TASKS, one_seed(np.log2))
    with pytest.raises(errors.DataError, match="level off at once"):
        fits.saturating(TASKS, one_seed(lambda n: 10 + 30 * (n > 4)))


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_intervals_cover(monkeypatch, num_seeds):
    monkeypatch.setattr(fits, "_NUM_DRAWS", 300)
    random = np.random.default_rng(0)
    inside = held = 0
    for _ in range(200):
        y = [20 + 3 * np.log2(n) + random.standard_normal(num_seeds) for n in TASKS]
        fit = fits.log_linear(TASKS, y)
        low, high = fit.intervals["b"]
        inside += low <= 3 <= high
        held += fit.held_back.low <= fit.held_back.observed <= fit.held_back.high
    assert 0.85 <= inside / 200 <= 0.97
    assert 0.85 <= held / 200 <= 0.97


def test_the_intervals_of_a_limit_cover(monkeypatch):
    monkeypatch.setattr(fits, "_NUM_DRAWS", 200)
    monkeypatch.setattr(fits, "_EXPONENTS", np.geomspace(0.05, 5, 40))
    random, inside = np.random.default_rng(0), 0
    for _ in range(30):
        y = [50 - 60 * n**-0.7 + random.standard_normal(3) for n in TASKS]
        fit = fits.saturating(TASKS, y)
        low, high = fit.intervals["c"]
        inside += low <= 50 <= high
    assert inside / 30 >= 0.73  # 90 %, less three standard errors of 30 trials


def test_seeds_widen_intervals_where_the_form_does_not_suit():
    same = [[each - 0.1, each, each + 0.1] for each in (10, 30, 12, 33, 14, 35)]
    low, high = fits.log_linear(TASKS, same).intervals["b"]
    assert high - low > 5  # seeds alone, a tenth apart, would say 0.1
    noisy = [[each - 10, each, each + 10] for each in (10, 11, 12, 13, 14, 15)]
    low, high = fits.log_linear(TASKS, noisy).intervals["b"]
    assert high - low > 3  # the means lie on a line, by chance


def test_two_times_the_same_is_the_same():
    assert fits.log_linear(*table3("62B")) == fits.log_linear(*table3("62B"))
    x, y = table3("62B")
    assert fits.log_linear(x, y).intervals == fits.log_linear(x[::-1], y[::-1]).intervals


def test_diminishing_returns_are_the_slopes_of_two_halves():
    x = [4, 16, 64, 256, 1024]

    def bent(n):
        return 4 * np.log2(min(n, 64)) + np.log2(max(n, 64) / 64)

    gains = fits.gain_per_doubling(x, one_seed(bent, x))
    assert (gains.middle, gains.first.value, gains.second.value) == pytest.approx((64, 4, 1))
    assert gains.difference == pytest.approx((-3, -3, -3))
    gains = fits.gain_per_doubling(*table3("540B"))
    assert gains.first.value > 4 * gains.second.value > 0
    assert gains.difference.low < 0 < gains.difference.high  # four points do not prove it


@pytest.mark.parametrize(
    ("fit", "x", "y", "message"),
    [
        (fits.log_linear, [0, 4, 8], [[1], [2], [3]], r"2 point\(s\) above 0.*need 3 or more"),
        (fits.saturating, [4, 8, 16], [[1], [2], [3]], "3 parameters need 4"),
        (fits.log_linear, [4, 8, 16], [[5], [5], [5]], "all 3 points are 5; there is nothing"),
        (fits.power_law, [4, 8, 16], [[5], [50], [100]], "score of 100 leaves no error"),
        (fits.log_linear, [4, 8, 16], [[5], [float("nan")], [1]], r"x = 8 the values are \[nan\]"),
        (fits.log_linear, [4, 8, 16], [[5], [], [1]], "x = 8"),
        (fits.gain_per_doubling, [4, 8, 16], [[1], [2], [3]], "gains per doubling: 3 point"),
    ],
)
def test_what_cannot_be_fitted_is_refused(fit, x, y, message):
    with pytest.raises(errors.DataError, match=message):
        fit(x, y)


def test_falling_curves_have_no_next_point():
    fit = fits.log_linear(TASKS, one_seed(lambda n: 30 - 2 * np.log2(n)))
    assert fit.formula == "30 - 2 log2(n)"
    assert fits.next_point(fit, 8) is None
    law = fits.power_law(TASKS, one_seed(lambda n: 100 - 20 * n**0.1))
    assert law.formula == "100 - 20 C^0.1"
    assert fits.next_point(law, 8) is None


def test_a_table_holds_fits_and_why_there_is_none():
    x, y = table3("8B")
    fit = fits.log_linear(x, y)
    table = fits.table("Fits", [("8B", fit), ("62B", errors.DataError("too few"))])
    (names, cells), (refused, none) = table.rows
    assert names[:3] == (
        "8B",
        "log-linear",
        "3.02 + 1.87 log2(n) (without 0, which has no logarithm)",
    )
    assert names[4].startswith("26.3 (") and names[4].endswith("measured 21.9: inside")
    assert names[5] == "2,662"
    assert str(cells[0]) == "1.4"
    assert refused[:3] == ("62B", "none", "too few") and none == (None,)
    assert {len(names), len(refused)} == {len(table.names)}


def test_gains_are_told_with_what_is_sure_of_them():
    tasks = (4, 8, 16, 32, 64)
    flattening = [
        (10.0 * i + e, 10.0 * i - e) for i, e in zip((0, 1, 2, 2.1, 2.2), (0.1,) * 5, strict=True)
    ]
    found = fits.gain_per_doubling(tasks, flattening)
    refused = errors.DataError("too few points")
    table = fits.gains_table("Gains", [("mini", found), ("other", refused)], of="tasks")
    (mini, _), (other, _) = table.rows
    assert mini[:2] == ("mini", "16")
    assert mini[2].startswith("10.00 (") and mini[3].startswith("1.00 (")
    assert mini[4].startswith("-9.00 (-") and " to -" in mini[4]  # the whole interval is below 0
    assert other == ("other", "too few points", "", "", "")
