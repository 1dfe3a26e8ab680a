# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Drawing: same bytes twice, every word and tick in the SVG, labels apart, colors replaceable."""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.scaling import figures


@pytest.fixture
def figure():
    lines = (
        figures.Line(
            label="Held-in <b> & co", x=(4.0, 16.0, 120.0), y=(47.0, 39.0, 32.1),
            spread=(1.0, 2.0, None), band=((4.0, 40.0, 50.0), (120.0, 30.0, 36.0)),
        ),
        figures.Line(label="Held-out", x=(4.0, 16.0, 120.0), y=(1.2, 6.2, 31.9), color=1),
    )  # fmt: skip
    return figures.Figure(
        title="Task scaling", subtitle="mini collection, seed 0", note="one seed", log_x=True,
        x_label="Tasks", y_label="Exact match, %", panels=(figures.Panel(title="", lines=lines),),
    )  # fmt: skip


def svg_words(text):
    root = ElementTree.fromstring(text)
    return [element.text for element in root.iter() if element.tag.endswith("}text")]


def test_drawing_twice_gives_the_same_bytes_without_a_date(figure, tmp_path):
    first = [path.read_bytes() for path in figures.save(figure, tmp_path / "a")]
    second = [path.read_bytes() for path in figures.save(figure, tmp_path / "b")]
    assert first == second
    assert first[0].startswith(b"\x89PNG")
    assert b"<dc:date>" not in first[1]


def test_svg_holds_all_text_as_text_and_the_real_counts_as_ticks(figure):
    words = svg_words(figures.svg(figure))
    for expected in (
        "Task scaling", "mini collection, seed 0", "one seed", "Tasks", "Exact match, %",
        "4", "16", "120", "Held-in <b> & co 32.1", "Held-out 31.9",
    ):  # fmt: skip
        assert expected in words


def test_a_narrow_figure_breaks_its_lines(figure):
    title = dataclasses.replace(figure, title="many words " * 8)
    assert len(svg_words(figures.svg(title, width_in=figures.NARROW_IN))) > len(
        svg_words(figures.svg(title))
    )


def test_inline_svg_leaves_every_color_to_the_page(figure):
    text = figures.inline_svg(figure)
    assert text.startswith("<svg")
    assert re.findall(r"#[0-9a-f]{6}\b", text) == []
    for name in ("ink", "muted", "grid", "card", "series-0", "series-1"):
        assert f"var(--{name})" in text
    ElementTree.fromstring(text)


def test_zero_tasks_have_a_place_left_of_the_least_count():
    line = figures.Line(label="x", x=(0.0, 9.0, 1836.0), y=(1.0, 2.0, 3.0))
    drawing = figures.Figure(
        title="", subtitle="", x_label="", y_label="", log_x=True,
        panels=(figures.Panel(title="", lines=(line,)),),
    )  # fmt: skip
    place = figures._placer(drawing)
    assert place(0.0) < place(9.0) < place(1836.0)
    assert {"0", "9", "1,836"} <= set(svg_words(figures.svg(drawing)))


@given(st.lists(st.floats(0, 300), min_size=1, max_size=8))
def test_labels_never_overlap_nor_leave_the_bottom(centers):
    heights = np.full(len(centers), 11.5)
    placed = np.sort(figures._spread(np.array(centers), heights, floor=0.0))
    assert np.all(np.diff(placed) > 11.5 - 1e-6)
    assert placed[0] >= 11.5 / 2 - 1e-6


def test_labels_that_are_apart_stay_where_they_are():
    centers = np.array([100.0, 20.0])
    assert figures._spread(centers, np.array([11.5, 11.5]), 0.0).tolist() == [100.0, 20.0]


def test_labels_that_meet_part_evenly():
    placed = figures._spread(np.array([52.0, 50.0, 200.0]), np.array([10.0, 10.0, 10.0]), 0.0)
    assert placed.tolist() == [56.0, 46.0, 200.0]
