# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page of a study in a real browser, from a file: figures, drilling down, comparing, widths."""

import json

import pytest

from flan_jax.evals import compare
from flan_jax.scaling import page as page_lib
from tests.scaling import explored_study
from tests.serving import chromium

pytestmark = [
    pytest.mark.large,  # starts a browser
    pytest.mark.skipif(
        chromium.CHROMIUM is None, reason=f"no browser on PATH ({', '.join(chromium.NAMES)})"
    ),
]

FOUND = "document.getElementById('found').textContent"
CHIPS = "[...document.querySelectorAll('#filters .chip')].map((e) => e.lastChild.textContent)"
LIVE = "document.querySelectorAll('figure.live .main-svg').length > 0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    found = explored_study.make(folder)
    page_lib.write_page(explored_study.page_of(found), folder / "page.html")
    return folder


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def opened(tab, folder):
    def go(address="", **more):
        tab._call("Page.navigate", url="about:blank")  # else a new hash alone loads nothing
        tab.messages.clear()
        tab.open((folder / "page.html").as_uri() + address, **more)
        tab.wait(f"{FOUND}.includes(' of ')")
        return tab

    return go


def choose(page, name, value):
    page.run(
        f"(() => {{ const s = document.getElementById('{name}'); s.value = {json.dumps(value)}; "
        "s.dispatchEvent(new Event('change')); })()"
    )
    settle(page)


def settle(page):
    page.run("new Promise((done) => setTimeout(done, 50))")
    page.wait(f"{FOUND}.includes(' of ')")


def show(page, name):
    page.run(f"document.querySelector('#filters [data-show={name}]').click()")
    settle(page)


def test_every_prediction_is_there_as_it_is(opened):
    page = opened()
    texts = page.run(
        "[...document.querySelectorAll('#cards article')].map((card) => "
        "[card.querySelector('.prompt').textContent, card.querySelector('.said').textContent])"
    )
    hostile = [text.replace("\ud800", "?") for text in explored_study.HOSTILE]
    assert texts == [[text, f"says {text}"] for text in hostile]  # of the last run, whole
    assert page.run(CHIPS) == ["4", "2", "2"]
    assert page.run("document.title") == "Two </title><script>runs</script>"
    assert page.run("document.querySelectorAll('main img').length") == 0
    assert page.complaints() == []
    assert {url.partition("#")[0].rpartition("/")[2] for url in page.requests()} <= {
        "page.html", ""}  # fmt: skip


def test_two_runs_are_compared_as_flan_jax_compares_them(opened, folder):
    page = opened()
    choose(page, "benchmark", "toy")
    choose(page, "run-a", "first")
    choose(page, "run-b", "second")
    assert page.run(CHIPS) == ["12", "7", "1", "2", "2", "12"]  # by hand, from TOY
    (expected,) = compare.compare(
        *(compare.read(folder / name / "benchmarks") for name in ("first", "second"))
    ).comparisons
    assert (expected.only_a, expected.only_b) == (7, 1)
    assert f"p = {expected.mcnemar_p:.4f}" in page.run(FOUND)
    show(page, "only-b")
    assert page.run("document.querySelector('#cards code').textContent") == "sub · q9"
    assert page.run(FOUND).startswith("1 prediction of 12")
    assert page.run("[...document.querySelectorAll('#cards .said')].map((e) => e.textContent)") == [
        "(A)",
        "(B)",
    ]
    address = page.run("location.hash")
    again = opened(address)
    assert again.run(FOUND).startswith("1 prediction of 12")
    assert again.complaints() == []


def test_search_and_a_task_of_the_address(opened):
    page = opened("#benchmark=toy&task=sub&q=question+1")
    assert page.run(FOUND).startswith("3 predictions of 12")  # 1, 10 and 11
    assert page.run("document.getElementById('task').value") == "sub"
    assert page.run("document.querySelector('#cards mark').textContent") == "Question"
    nothing = opened("#benchmark=none&a=none&show=none")  # falls back to what there is
    assert nothing.run(FOUND).startswith("4 predictions of 4")


def test_runs_are_sorted_and_chosen(opened):
    page = opened()
    cells = "document.querySelectorAll('#run-table tbody td:nth-child(2)')"
    names = f"[...{cells}].map((cell) => cell.textContent)"
    assert page.run(names) == ["4", "8"]
    head = "document.querySelector('#run-table thead th:nth-child(2) button').click()"
    page.run(head)
    page.run(head)
    assert page.run(names) == ["8", "4"]
    page.run("document.querySelector('#run-table tbody tr:last-child .pick').click()")
    assert page.run("document.getElementById('run-a').value") == "first"


def test_figures_answer_to_legend_panel_and_pointer(opened):
    page = opened()
    page.wait(LIVE)
    first = "#figure-lines .plot:first-child .scatterlayer .trace"
    traces = f"document.querySelectorAll('{first}').length"
    page.wait(f"{traces} === 4")
    page.run("document.querySelector('#figure-lines .legend').click()")
    page.wait(f"{traces} === 1")
    page.run("document.querySelectorAll('#figure-lines .chips')[0].children[2].click()")
    page.wait("document.querySelector('#figure-lines .plot').hidden")
    page.run("document.querySelectorAll('#figure-lines .chips')[0].children[0].click()")
    page.run("document.querySelector('#figure-lines .legend').click()")
    page.wait(f"{traces} === 4")
    page.run("document.getElementById('figure-lines').scrollIntoView()")
    page.point(f"{first}:nth-child(3) .points path")
    page.wait("document.querySelector('#figure-lines .hovertext') !== null")
    assert page.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
def test_both_widths_and_schemes_are_readable(opened, dark):
    for width in (390, 1280):
        page = opened("#a=first&b=second", width=width, dark=dark)
        page.wait(LIVE)
        page.run("document.getElementById('scores').open = true")
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.complaints() == []
    ink = page.run("getComputedStyle(document.querySelector('.main-svg .xtick text')).fill")
    assert ink == ("rgb(232, 234, 238)" if dark else "rgb(31, 36, 48)")


def test_paper_has_the_drawings_in_the_place_of_the_plots(opened):
    page = opened()
    page.wait(LIVE)
    shown = "getComputedStyle(document.querySelector('#figure-lines .drawings')).display"
    assert page.run(shown) == "none"
    page._call("Emulation.setEmulatedMedia", media="print")
    assert page.run(shown) == "block"
    assert page.run("getComputedStyle(document.querySelector('.plots')).display") == "none"
    page._call("Emulation.setEmulatedMedia", media="")
