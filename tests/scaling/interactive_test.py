# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures as data for plotly.js: places, colors by name, escaped texts, another's points hollow."""

import dataclasses
import math

from flan_jax.core import files
from flan_jax.scaling import interactive
from flan_jax.scaling.plots import Line, Panel
from tests.scaling import explored_study


def test_lines_stand_where_the_drawing_has_them():
    chart = interactive.chart(explored_study.lines_figure())
    one, two = chart["panels"]
    ours = one["data"][2]  # after its band and the band's middle
    assert ours["x"] == [0.5, 2.0, 4.0]  # zero is one and a half doublings left of 4
    assert ours["y"] == [10.0, 20.0, 30.0] and ours["error_y"]["array"] == [1.0, 0.0, 2.0]
    assert ours["line"]["color"] == "{series-1}" and ours["marker"]["symbol"] == "circle"
    assert one["data"][0]["x"] == [2.0, 4.0, 4.0, 2.0]
    assert one["data"][0]["y"] == [15.0, 25.0, 35.0, 25.0]
    assert one["layout"]["xaxis"]["ticktext"] == ["0", "4", "16"]
    assert one["layout"]["yaxis"]["range"] == two["layout"]["yaxis"]["range"]
    assert math.isclose(one["layout"]["yaxis"]["range"][1], 90 * 1.06)
    rule, point = two["data"][3:]
    assert rule["line"]["dash"] == "dot" and rule["mode"] == "lines"
    assert (point["error_y"]["array"], point["error_y"]["arrayminus"]) == ([3.0], [6.0])


def test_the_papers_points_are_hollow_and_named_in_the_legend():
    chart = interactive.chart(explored_study.lines_figure())
    assert chart["legend"] == [
        ["ours <i>", "{series-1}", False], ["paper: 8B", "{shade-3}", True]]  # fmt: skip
    theirs = chart["panels"][0]["data"][3]
    assert theirs["line"]["dash"] == "dash" and theirs["marker"]["symbol"] == "circle-open"
    assert theirs["hovertext"][0] == "paper: 8B<br>40.0<br>tasks: 4"


def test_texts_are_escaped_and_lines_broken():
    ours = interactive.chart(explored_study.lines_figure())["panels"][0]["data"][2]
    assert ours["hovertext"] == ["a<br>b", "&lt;b&gt;", "c"]
    assert ours["name"] == "ours &lt;i&gt;" and ours["legendgroup"] == "ours <i>"


def test_what_hovers_has_short_lines():
    line = Line(label="", x=(1.0,), y=(1.0,), hover=("word " * 20 + "\n\nend",))
    panel = Panel(title="", lines=(line,))
    figure = dataclasses.replace(explored_study.lines_figure(), panels=(panel,))
    (text,) = interactive.chart(figure)["panels"][0]["data"][0]["hovertext"]
    assert [len(part) for part in text.split("<br>")] == [44, 44, 9, 0, 3]  # 9, 9 and 2 words


def test_bars_lie_by_group_the_first_at_the_top():
    (panel,) = interactive.chart(explored_study.bars_figure())["panels"]
    ours, written, paper, _ = panel["data"]
    assert (ours["x"], ours["orientation"]) == ([10.0, 60.0], "h")
    assert ours["y"][0] < ours["y"][1] < paper["y"][0]
    assert written["text"] == [" 10.0", " 60.0"] and written["x"] == [11.0, 60.0]
    assert ours["error_x"]["array"] == [1.0, 0.0]
    assert paper["marker"]["color"] == "{card}"
    rows = panel["layout"]["yaxis"]
    assert rows["ticktext"] == ["a &amp; b", "c"]
    assert math.isclose(rows["tickvals"][0], ours["y"][0]) and rows["range"][1] == 0.0  # the top
    assert math.isclose(rows["tickvals"][1], (ours["y"][1] + paper["y"][0]) / 2)
    assert panel["layout"]["xaxis"]["range"][1] > 70.0


def test_charts_are_json():
    for figure in (explored_study.lines_figure(), explored_study.bars_figure()):
        assert "NaN" not in files.dumps(interactive.chart(figure))
