# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page: all data in it, none of it as anything but data, and nothing to be loaded."""

import html.parser
import json
import re

import pytest

import tasks.mini.mixtures  # noqa: F401 - registers
from flan_jax.commands import browser
from tests.commands import hostile_pages


class Page(html.parser.HTMLParser):
    """Collects elements, attributes and the text of each script; tags must close in order."""

    VOID = ("meta", "link", "img", "br", "hr", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in self.VOID:
            self.open.append(tag)
        self.current = (tag, dict(attributes).get("id"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            key = self.current if self.open[-1] == "script" else self.open[-1]
            self.texts[key] = self.texts.get(key, "") + data


@pytest.fixture(scope="module")
def data():
    return hostile_pages.collect()


@pytest.fixture(scope="module")
def text(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    size = browser.write_page(data, path)
    assert size == path.stat().st_size
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_holds_the_data_once_and_exactly(page, data):
    embedded = page.texts["script", "data"]
    whole = json.dumps(data).replace('\\ud83d"', '\\ufffd"')  # half a pair is no character
    assert json.loads(embedded) == json.loads(whole)
    assert ("script", "type", "application/json") in page.attributes


def test_no_text_can_end_the_script_or_begin_a_tag(page, text):
    assert page.tags.count("script") == 2
    assert not re.search("[<>&\u2028\u2029]", page.texts["script", "data"])
    assert "img" not in page.tags and "hacked'</script>" not in text
    assert page.texts["title"].startswith(hostile_pages.HOSTILE[:60])
    assert "{{ 7 * 7 }}" in text  # data is no template


def test_the_script_puts_text_in_as_text_only(page):
    script = page.texts["script", None]
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                 "new Function", "DOMParser", "fetch(", "XMLHttpRequest", "import("):  # fmt: skip
        assert name not in script, name


def test_the_page_loads_nothing_and_forbids_it(page, text):
    for tag, name, value in page.attributes:
        assert name not in ("src", "srcset", "action") and not name.startswith("on")
        if name == "href":
            assert (tag, value) == ("a", "#tasks")
    (policy,) = [v for t, n, v in page.attributes if v and "default-src" in v]
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"url\(|@import|https?://", page.texts["style"])


def test_the_same_data_gives_the_same_bytes(data, text):
    assert browser.render_page(data) == text


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path, data):
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(TypeError):
        browser.write_page({**data, "tasks": [object()]}, path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
