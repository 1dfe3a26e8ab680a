# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Places on an axis: zero on a logarithmic one, ticks that have room, labels that never meet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.scaling import axis
from flan_jax.scaling.plots import Figure, Line, Panel


def drawing(*xs, reference=(), **changes):
    lines = [Line(label="x", x=tuple(xs), y=tuple(xs))]
    if reference:
        lines.append(Line(label="paper", x=tuple(reference), y=tuple(reference), reference=True))
    return Figure(
        title="", subtitle="", x_label="", y_label="", log_x=True,
        panels=(Panel(title="", lines=tuple(lines)),), **changes,
    )  # fmt: skip


def test_zero_tasks_have_a_place_left_of_the_least_count():
    figure = drawing(0.0, 9.0, 1836.0)
    place = axis.placer(figure)
    assert place(0.0) < place(9.0) < place(1836.0)
    assert place(18.0) - place(9.0) == pytest.approx(1.0)
    assert axis.ticks(figure, 400.0)[1] == ["0", "9", "1,836"]


def test_ticks_of_others_stand_where_ours_leave_room():
    figure = drawing(4.0, 8.0, 16.0, 32.0, 64.0, 128.0, reference=(0.0, 9.0, 282.0, 1836.0))
    assert axis.ticks(figure, 400.0)[1] == [
        "0", "4", "8", "16", "32", "64", "128", "282", "1,836"
    ]  # fmt: skip
    assert axis.ticks(figure, 100.0)[1] == ["0", "4", "8", "32", "128", "1,836"]


def test_a_few_large_numbers_are_their_own_ticks():
    sizes = drawing(8e7, 2.5e8, 1.1e10, large_x=True, reference=(8e9, 5.4e11))
    assert axis.ticks(sizes, 300.0)[1] == ["80 M", "250 M", "11 B", "540 B"]


@pytest.mark.parametrize(
    ("xs", "labels"),
    [
        ([8e7 * 2**k for k in range(9)], ["100 M", "1 B", "10 B"]),
        ([27_000.0 + 31_000 * k for k in range(10)], ["50 k", "0.1 M", "0.2 M"]),
        ([0.0, *(3e18 * 1.5**k for k in range(9))], ["0", "5e18", "1e19", "2e19", "5e19"]),
    ],
)
def test_many_large_numbers_have_round_ticks(xs, labels):
    assert axis.ticks(drawing(*xs, large_x=True), 300.0)[1] == labels


@given(st.lists(st.floats(0, 300), min_size=1, max_size=8))
def test_labels_never_overlap_nor_leave_the_bounds(centers):
    heights = np.full(len(centers), 11.5)
    placed = np.sort(axis.spread(np.array(centers), heights, floor=0.0, ceiling=100.0))
    assert np.all(np.diff(placed) > 11.5 - 1e-6)
    assert placed[0] >= 11.5 / 2 - 1e-6
    assert placed[-1] <= 100.0 - 11.5 / 2 + 1e-6


def test_labels_that_are_apart_stay_where_they_are():
    centers = np.array([100.0, 20.0])
    assert axis.spread(centers, np.array([11.5, 11.5]), 0.0).tolist() == [100.0, 20.0]


def test_labels_that_meet_part_evenly():
    placed = axis.spread(np.array([52.0, 50.0, 200.0]), np.array([10.0, 10.0, 10.0]), 0.0)
    assert placed.tolist() == [56.0, 46.0, 200.0]


def test_labels_higher_than_the_bounds_leave_them_at_the_top():
    placed = axis.spread(np.array([5.0, 5.0]), np.array([10.0, 10.0]), 0.0, ceiling=15.0)
    assert placed.tolist() == [5.0, 15.0]
