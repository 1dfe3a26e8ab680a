# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Drawing: same bytes twice, every word and tick in the SVG, labels apart, colors replaceable."""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest

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
    assert first[2].startswith(b"%PDF")
    assert b"CreationDate" not in first[2]


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


def test_inline_svg_leaves_every_color_to_the_page(figure, bars):
    for drawing, series in ((figure, ("series-0", "series-1")), (bars, ("shade-0", "shade-6"))):
        text = figures.inline_svg(drawing)
        assert text.startswith("<svg")
        assert re.findall(r"#[0-9a-f]{6}\b", text) == []
        for name in ("ink", "muted", "grid", "card", *series):
            assert f"var(--{name})" in text
        ElementTree.fromstring(text)


def test_bars_tell_their_groups_values_and_series(bars):
    words = svg_words(figures.svg(bars))
    for expected in ("without few-shot", "templates", "CoT only", "20.3", "72.0", "-2.5", "71.0"):
        assert expected in words
    assert words.count("tiny") == words.count("paper: 3B") == 1  # in the legend
    # The second panel has the same groups: they stand at the left of the first alone.
    assert words.count("CoT only") == 1
    narrow = svg_words(figures.svg(bars, width_in=figures.NARROW_IN))
    assert narrow.count("CoT only") == 2


def test_the_papers_bars_and_points_are_hollow_and_dashed(bars, figure):
    (panel,) = figure.panels
    reference = figures.Line(label="paper: 8B", x=(9.0, 89.0), y=(30.0, 50.0), reference=True)
    with_it = dataclasses.replace(
        figure, panels=(dataclasses.replace(panel, lines=(*panel.lines, reference)),)
    )
    for ours, theirs in ((figure, with_it), (without_reference(bars), bars)):
        assert "stroke-dasharray" not in figures.svg(ours)
        assert "stroke-dasharray" in figures.svg(theirs)
    assert "paper: 8B 50.0" in svg_words(figures.svg(with_it))


@pytest.mark.parametrize(("num_panels", "narrow"), [(1, False), (6, False), (2, True)])
def test_no_two_texts_overlap_and_none_leaves_the_figure(bars, num_panels, narrow):
    x = (0.0, 9.0, 89.0, 282.0, 1836.0)
    lines = [
        figures.Line(
            label=f"{'paper: ' * reference}flan_t5_{size}", x=x, reference=reference,
            y=tuple(10.0 + k for k in range(5)),
        )
        for size in ("small", "base", "xxl")
        for reference in (False, True)
    ]  # fmt: skip
    lines.append(figures.Line(label="ours", x=(4.0, 8.0, 16.0), y=(1.0, 2.0, 3.0)))
    titles = [f"Held-out combinations, number {index}" for index in range(num_panels)]
    curves = figures.Figure(
        title="A title", subtitle="what was measured", x_label="Tasks", y_label="Score, %",
        log_x=True, note="words " * 60,
        panels=tuple(figures.Panel(title=title, lines=tuple(lines)) for title in titles),
    )  # fmt: skip
    arms = tuple(figures.Panel(title=title, bars=bars.panels[0].bars) for title in titles)
    for drawing in (curves, dataclasses.replace(bars, panels=arms)):
        width = figures.NARROW_IN if narrow else figures._wide_in(drawing)
        with matplotlib.rc_context(figures._RC):
            drawn = figures._draw(drawing, width)
            boxes = text_boxes(drawn)
        assert len(boxes) > 10
        for index, (text, box) in enumerate(boxes):
            inside = drawn.bbox.padded(1.0)
            assert inside.contains(box.x0, box.y0), text
            assert inside.contains(box.x1, box.y1), text
            for other, beside in boxes[:index]:
                overlap = box.intersection(box.padded(-1.0), beside.padded(-1.0))
                assert overlap is None or not (overlap.width and overlap.height), (text, other)


def test_a_predicted_point_and_a_fit_have_their_intervals(figure):
    (panel,) = figure.panels
    fit = figures.Line(
        label="", x=(4.0, 120.0), y=(0.0, 30.0), thin=True,
        band=((4.0, -5.0, 5.0), (120.0, 20.0, 140.0)),
    )  # fmt: skip
    point = figures.Line(label="", x=(120.0,), y=(33.0,), thin=True, band=((120.0, 25.0, 150.0),))
    for more in (fit, point):
        drawing = dataclasses.replace(figure, panels=(figures.Panel(title="", lines=(more,)),))
        words = svg_words(figures.svg(drawing))
        assert {"100"} <= set(words)  # the axis is as high as the interval
        assert not [word for word in words if word.startswith("Held")]


@pytest.fixture
def bars():
    names = ("all", "without few-shot templates", "CoT only")
    series = (
        figures.Bars(
            label="tiny", names=names, values=(50.0, 20.3, -2.5), errors=(1.0, None, 2.0), shade=0.0
        ),
        figures.Bars(label="mini", names=names, values=(70.0, 72.0, 0.0), shade=1.0),
        figures.Bars(label="paper: 3B", names=names[:1], values=(71.0,), reference=True),
    )
    return figures.Figure(
        title="Ablation", subtitle="mini", x_label="", y_label="Exact match, %",
        panels=tuple(figures.Panel(title=title, bars=series) for title in ("Direct", "CoT")),
    )  # fmt: skip


def without_reference(figure):
    panels = [
        dataclasses.replace(p, bars=tuple(bars for bars in p.bars if not bars.reference))
        for p in figure.panels
    ]
    return dataclasses.replace(figure, panels=tuple(panels))


def text_boxes(drawn):
    """Returns (text, box) of all that can be seen."""
    drawn.canvas.draw()
    axes = [ax for ax in drawn.axes if ax.get_visible()]
    texts = [*drawn.texts, *(text for ax in axes for text in ax.texts)]
    for ax in axes:
        texts += [ax.xaxis.label, ax.yaxis.label, ax._left_title]
        for one in (ax.xaxis, ax.yaxis):
            low, high = sorted(one.get_view_interval())
            texts += [t.label1 for t in one.get_major_ticks() if low <= t.get_loc() <= high]
    # Of an annotation the text alone, not the line that leads to it.
    return [
        (text.get_text(), matplotlib.text.Text.get_window_extent(text))
        for text in texts
        if text.get_text() and text.get_visible()
    ]
