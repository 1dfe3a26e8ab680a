# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The raters' page in a real browser, from a file: keys, what it keeps, and the CSV it saves."""

import json
import os

import pytest

from flan_jax.evals import open_ended, rating_sheet
from tests.evals import open_ended_folders
from tests.serving import chromium

pytestmark = [
    pytest.mark.large,  # starts a browser
    pytest.mark.skipif(
        chromium.CHROMIUM is None, reason=f"no browser on PATH ({', '.join(chromium.NAMES)})"
    ),
]

STATE = "document.querySelector('.here .state').textContent"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    a, b = open_ended_folders.two(tmp_path_factory.mktemp("models"))
    return open_ended.pairs(open_ended.read_answers(a), open_ended.read_answers(b), 0)[0]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def opened(page, pairs, tmp_path):
    """Returns the page of a sheet that was never opened before."""
    rating_sheet.write_sheet(tmp_path, "sheet", pairs)
    page.messages.clear()
    page.open((tmp_path / "sheet.html").as_uri())
    page.run("localStorage.clear()")
    page.open((tmp_path / "sheet.html").as_uri())
    return page


def press(page, *keys):
    for key in keys:
        page.run(
            "(document.activeElement || document.body).dispatchEvent(new KeyboardEvent('keydown', "
            f"{{ key: {json.dumps(key)}, bubbles: true }}))"
        )


def click(page, selector):
    page.run(f"document.querySelector({json.dumps(selector)}).click()")


def done(page):
    return page.run("document.getElementById('done').textContent")


def saved(page, folder):
    """Returns the bytes of the CSV that the browser saves when told to."""
    page._call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    click(page, "#save")
    path = folder / "sheet_filled.csv"
    for _ in range(500):
        if path.exists() and not [name for name in os.listdir(folder) if "crdownload" in name]:
            break
        page.run("new Promise((done) => setTimeout(done, 20))")
    found = path.read_bytes()
    path.unlink()
    return found


def test_the_saved_sheet_is_the_written_one_but_for_the_choices(opened, pairs, tmp_path):
    written = (tmp_path / "sheet.csv").read_bytes()
    assert saved(opened, tmp_path) == written
    press(opened, "1", "3", "2")
    found = saved(opened, tmp_path)
    for choice in ("left", "right", "tie"):
        found = found.replace(f',"{choice}"\n'.encode(), b',""\n')
    assert found == written
    press(opened, *["1"] * (len(pairs) - 3))
    (tmp_path / "all.csv").write_bytes(saved(opened, tmp_path))
    rows = list(rating_sheet.read_sheet(tmp_path / "all.csv"))
    assert [row.sha256 for row in rows] == [pair.digest() for pair in pairs]
    assert [row.choice for row in rows] == ["left", "right", "tie"] + ["left"] * (len(pairs) - 3)
    assert done(opened) == f"{len(pairs)} of {len(pairs)} rated: all done, save the CSV"
    assert opened.complaints() == []


def test_the_page_guards_what_the_written_sheet_guards(opened, tmp_path):
    texts = [*open_ended_folders.CHANGED, "planning_01", "Of the 3 I would take the second one."]
    pairs = [
        open_ended.Pair(
            category="c", id=str(i), prompt=text, left=f"'{text}", right=f"{text}\n", left_model="a"
        )
        for i, text in enumerate(texts)
    ]
    rating_sheet.write_sheet(tmp_path, "sheet", pairs)
    opened.open((tmp_path / "sheet.html").as_uri())
    assert saved(opened, tmp_path) == (tmp_path / "sheet.csv").read_bytes()
    assert opened.complaints() == []


def test_keys_choose_walk_change_and_clear(opened):
    assert opened.run(STATE) == "not rated"
    press(opened, "1")
    label = "document.activeElement.getAttribute('aria-label')"
    assert done(opened) == "1 of 20 rated" and opened.run(label) == "Pair 2 of 20"
    press(opened, "ArrowLeft")
    assert opened.run(STATE) == "left chosen"
    press(opened, "3")  # a change stays here
    assert opened.run(STATE) == "right chosen" and opened.run(label) == "Pair 1 of 20"
    assert opened.run("document.querySelector('.answer.chosen').dataset.side") == "right"
    opened.press("ArrowRight")
    press(opened, "2", "2", "ArrowLeft", "0")
    assert opened.run(STATE) == "not rated" and done(opened) == "2 of 20 rated"
    press(opened, "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert opened.run(label) == "Pair 1 of 20"
    press(opened, "u", "u")
    assert opened.run(label) == "Pair 4 of 20"
    opened.run(
        "document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', { key: '1', ctrlKey: true, bubbles: true }))"
    )
    assert done(opened) == "2 of 20 rated"
    assert opened.complaints() == []


def test_choices_are_kept_for_this_sheet_only(opened, pairs, tmp_path):
    press(opened, "1", "2")
    opened.open((tmp_path / "sheet.html").as_uri())
    assert done(opened) == "2 of 20 rated" and opened.run(STATE) == "not rated"
    opened.run('localStorage.setItem(Object.keys(localStorage)[0], \'["left", "tie"]\')')
    opened.open((tmp_path / "sheet.html").as_uri())
    assert done(opened) == "0 of 20 rated"  # what is kept is not of these pairs
    press(opened, "1")
    rating_sheet.write_sheet(tmp_path, "other", pairs[::-1])
    opened.open((tmp_path / "other.html").as_uri())
    assert done(opened) == "0 of 20 rated"


def test_a_browser_that_keeps_nothing_says_so(opened):
    hidden = "document.getElementById('unkept').hidden"
    assert opened.run(hidden) is True
    opened.run("Storage.prototype.setItem = () => { throw new Error('full'); }")
    press(opened, "1")
    assert opened.run(hidden) is False and done(opened) == "1 of 20 rated"


def test_the_list_shows_all_pairs_and_takes_the_same_keys(opened, pairs):
    click(opened, "#view")
    texts = opened.run(
        "[...document.querySelectorAll('.pair')].map((pair) => "
        "[...pair.querySelectorAll('.text')].map((e) => e.textContent))"
    )
    assert texts == [[p.prompt, p.left or "(empty)", p.right or "(empty)"] for p in pairs]
    click(opened, ".pair:nth-child(5) [data-choice=right]")
    assert done(opened) == "1 of 20 rated" and opened.run(STATE) == "not rated"
    press(opened, "1", "ArrowLeft")
    assert opened.run(STATE) == "left chosen"
    click(opened, "#view")
    assert opened.run("document.querySelectorAll('.pair').length") == 1
    assert opened.run(STATE) == "left chosen"


def test_hostile_text_stays_text_and_nothing_is_loaded(opened, tmp_path):
    click(opened, "#view")
    assert opened.run("document.querySelectorAll('img').length") == 0
    assert opened.run("document.title") == "sheet · which answer is better?"
    assert opened.run("document.querySelectorAll('script').length") == 2
    assert opened.complaints() == []
    assert {url.rpartition("/")[2] for url in opened.requests()} <= {"sheet.html", "about:blank"}


@pytest.mark.parametrize("dark", [False, True])
def test_every_width_and_both_schemes_are_readable(opened, tmp_path, dark):
    for width in (320, 720, 1280):
        opened.open((tmp_path / "sheet.html").as_uri(), width=width, dark=dark)
        assert opened.run("document.documentElement.scrollWidth") <= width
        lefts = opened.run("[...document.querySelectorAll('.answer')].map((e) => e.offsetLeft)")
        assert len(set(lefts)) == (2 if width > 720 else 1)
    ink = opened.run("getComputedStyle(document.body).color")
    assert (ink == "rgb(231, 234, 239)") == dark
