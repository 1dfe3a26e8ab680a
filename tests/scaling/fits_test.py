# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Laws through curves: known truths found again, intervals that cover, and refusals in words."""

import math

import numpy as np
import pytest

from flan_jax.core import errors
from flan_jax.paper import results
from flan_jax.scaling import fits

TASKS = (4, 8, 16, 32, 64, 128)


def one(values):
    return [(value,) for value in values]


def test_a_line_in_log_x_is_found():
    fit = fits.log_linear((0, *TASKS), one([-50.0, *(3 + 2.5 * math.log2(n) for n in TASKS)]))
    assert fit.params == pytest.approx({"a": 3.0, "b": 2.5})
    assert (fit.num_points, fit.rmse) == (6, pytest.approx(0.0, abs=1e-12))
    assert fit.predict(1024) == pytest.approx((28.0, 28.0, 28.0))
    assert fit.held_back.predicted == pytest.approx(20.5)
    # One more point of quality takes 2^(1 / 2.5) times the tasks.
    assert fits.next_point(fit, 128) == pytest.approx(128 * 2 ** (1 / 2.5))


def test_a_ceiling_is_found():
    fit = fits.saturating(TASKS, one([80 - 120 * n**-0.7 for n in TASKS]))
    assert fit.params == pytest.approx({"c": 80.0, "d": 120.0, "e": 0.7}, rel=1e-3)
    last = 80 - 120 * 128**-0.7
    assert fits.next_point(fit, 128) == pytest.approx(
        ((80 - last - 1) / 120) ** (-1 / 0.7), rel=1e-2
    )
    assert fits.next_point(fit, 128, points=5.0) is None


def test_a_power_law_of_the_error_is_found():
    flops = (1e15, 1e16, 1e17, 1e18)
    fit = fits.power_law(flops, one([100 - 3000 * c**-0.1 for c in flops]))
    assert fit.params == pytest.approx({"a": 3000.0, "b": 0.1})
    assert fit.held_back.is_inside


def test_intervals_of_a_line_are_the_textbooks():
    y = (1.0, 4.0, 4.0, 7.0)
    fit = fits.log_linear((1, 2, 4, 8), one(y))
    # u = 0..3: b = 9/5, residuals -0.3, 0.9, -0.9, 0.3, so s^2 = 1.8 / 2; var b = s^2 / 5.
    assert fit.params["b"] == pytest.approx(1.8)
    assert fit.rmse == pytest.approx(math.sqrt(1.8 / 4))
    reach = 2.9199856 * math.sqrt(0.9 / 5)  # Student's 95 % quantile of 2 degrees of freedom
    assert fit.intervals["b"] == pytest.approx((1.8 - reach, 1.8 + reach), rel=1e-4)
    at_mean = 2.9199856 * math.sqrt(0.9 / 4)
    assert fit.predict(2**1.5) == pytest.approx((4.0, 4.0 - at_mean, 4.0 + at_mean), rel=1e-4)


def test_seeds_count_by_their_mean():
    single = fits.log_linear(TASKS, one([2.0, 4.0, 5.0, 9.0, 11.0, 12.0]))
    pairs = [(2, 2), (3, 5), (5, 5), (8, 10), (10, 12), (13, 11)]
    assert fits.log_linear(TASKS, pairs).params == pytest.approx(single.params)


@pytest.mark.parametrize(
    ("kind", "truth"),
    [
        (fits.LOG_LINEAR, lambda n: 10 + 5 * math.log2(n)),
        (fits.SATURATING, lambda n: 80 - 100 * n**-0.6),
    ],
)
def test_intervals_cover_as_often_as_they_say(kind, truth):
    rng = np.random.default_rng(0)
    inside = held_back = made = 0
    for _ in range(150):
        noisy = one(truth(n) + rng.normal(0, 1.0) for n in TASKS)
        found, _ = fits.all_of([kind], TASKS, noisy)
        for fit in found:
            _, low, high = fit.predict(64)
            inside += low <= truth(64) <= high
            held_back += fit.held_back is None or fit.held_back.is_inside
            made += 1
    assert made > 140
    assert 0.85 < inside / made < 0.95
    assert 0.82 < held_back / made < 0.97


def test_what_a_doubling_gains_over_each_half():
    found = fits.gains((0, 4, 8, 16, 32, 64), [(9,), (0, 2), (5, 5), (9, 11), (11, 11), (11, 13)])
    assert (found.middle, found.first, found.second) == (16, 4.5, 1.0)
    assert found.share == pytest.approx(1 / 4.5)
    # Standard errors over two seeds: 1 at 4, 16 and 64.
    assert found.first_error == pytest.approx(math.sqrt(2) / 2)
    assert found.second_error == pytest.approx(math.sqrt(2) / 2)
    assert fits.gains((1, 2, 4), one([0.0, 1.0, 3.0])).second_error is None


@pytest.mark.parametrize(
    ("kind", "x", "y", "message"),
    [
        (fits.LOG_LINEAR, (0, 4, 8), (1, 2, 3), "needs 3 points with x > 0 .* there are 2"),
        (fits.SATURATING, (4, 8, 16), (1, 2, 3), "needs 4 points"),
        (fits.LOG_LINEAR, (4, 8, 16), (3, 3, 3), "the curve is constant"),
        (fits.POWER_LAW, (4, 8, 16), (98, 99, 100), "needs values below 100 %, and one is 100"),
        (fits.SATURATING, (4, 8, 16, 32), (1, 2, 3, 4), "a straight line in log x"),
        (fits.SATURATING, (4, 8, 16, 32), (0, 90, 90, 90), "one step"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_words(kind, x, y, message):
    found, refused = fits.all_of([kind], x, one(y))
    assert not found
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(refused[kind])


def test_halves_need_three_points():
    with pytest.raises(errors.DataError, match="need 3 points"):
        fits.gains((0, 4, 8), one([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("params", ["8B", "62B", "540B"])
def test_the_papers_own_curves_flatten(params):
    rows = [row for row in results.task_scaling() if row.params == params]
    x = [row.num_tasks for row in rows]
    y = [row.score("normalized_average") for row in rows]
    fit = fits.log_linear(x, one(y))
    trained = [(n, value) for n, value in zip(x, y, strict=True) if n]
    slope, intercept = np.polyfit([math.log2(n) for n, _ in trained], [v for _, v in trained], 1)
    assert fit.params == pytest.approx({"a": intercept, "b": slope})
    assert fits.gains(x, one(y)).share < 1.0


def test_the_table_tells_laws_and_what_there_is_none_of():
    curves = [("mini", TASKS, one([2.0, 4.0, 5.5, 9.0, 11.0, 12.0])), ("flat", (4, 8), one([1, 1]))]
    table = fits.table(curves, (fits.LOG_LINEAR, fits.SATURATING), "tasks")
    assert [names[:2] for names, _ in table.rows[:1]] == [("mini", "log-linear: a + b log2 x")]
    first = table.rows[0][0]
    assert first[4].startswith("12.0 against 13.")
    assert "tasks," in first[5] and "times the last" in first[5]
    assert ("flat", "log-linear") in [names[:2] for names, _ in table.rows]
    shares = fits.gains_table(curves, "tasks")
    assert [names[0] for names, _ in shares.rows] == ["mini"]
    assert fits.gains_table(curves[1:], "tasks") is None
