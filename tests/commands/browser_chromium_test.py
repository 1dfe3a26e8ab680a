# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser without a window: its script runs, searches, opens, and is safe."""

import contextlib
import html.parser
import json
import os
import shutil
import signal
import subprocess

import pytest

import tasks.mini.mixtures  # noqa: F401 - registers
from flan_jax.commands import browser
from tests.commands import hostile_pages

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.large,  # each test starts a browser
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser on PATH ({', '.join(NAMES)})"),
]

# Ends the browser's whole group, and does so too where the test itself was killed.
LIMIT = ("timeout", "--signal=KILL", "60")
# Told before the page's own script runs.
LISTEN = """<script>
addEventListener('error', (event) => document.documentElement.dataset.error = event.message);
</script>"""
# Each for `act`: dispatches a key where the focus is; types into the search field.
KEY = """
const key = (k) => document.activeElement.dispatchEvent(
  new KeyboardEvent('keydown', { key: k, bubbles: true }));
"""
SEARCH = """
const field = document.getElementById('search');
field.value = 'muffin HELD_in';
field.dispatchEvent(new Event('input'));
"""


class Dom(html.parser.HTMLParser):
    """The names of the listed tasks, texts by the id of their element, and all attributes."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.texts, self.attributes, self.tags, self._ids = [], {}, {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "html":
            self.attributes = attributes
        if tag == "tr" and "data-task" in attributes:
            self.rows.append(attributes["data-task"])
        if tag not in ("meta", "input"):
            self._ids.append(attributes.get("id"))

    def handle_endtag(self, tag):
        self._ids.pop()

    def handle_data(self, data):
        for name in filter(None, self._ids):
            self.texts[name] = self.texts.get(name, "") + data


@pytest.fixture(scope="module")
def data():
    return hostile_pages.collect()


@pytest.fixture(scope="module")
def dump(data, tmp_path_factory):
    """Returns the page's elements after it was opened at an address and `act` was run in it."""
    folder = tmp_path_factory.mktemp("browser")
    text = browser.render_page(data).replace("<head>", f"<head>{LISTEN}", 1)

    def run(address="", act=""):
        path = folder / "page.html"
        script = f"<script>{{const say = (v) => document.documentElement.dataset.said = v; {act}}}"
        path.write_text(text.replace("</body>", f"{script}</script></body>"), encoding="utf-8")
        words = [
            *LIMIT, CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--timeout=20000", f"--user-data-dir={folder / 'profile'}", path.as_uri() + address,
        ]  # fmt: skip
        # The browser's own children would hold a pipe open, and outlive it: a file, and a group.
        with open(folder / "dom.html", "w+b") as out, open(os.devnull, "wb") as null:
            process = subprocess.Popen(words, stdout=out, stderr=null, start_new_session=True)
            try:
                assert process.wait() == 0
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            out.seek(0)
            dom = Dom(out.read().decode())
        assert "data-error" not in dom.attributes, dom.attributes["data-error"]
        return dom

    return run


def test_all_tasks_are_listed_and_search_filters_them(dump, data):
    names = [task["name"] for task in data["tasks"]]
    dom = dump()
    assert dom.rows == names
    assert dom.texts["found"] == f"{len(names)} tasks"
    dom = dump(act=SEARCH)
    wanted = [name for name in names if ".muffin." in name]
    assert 0 < len(wanted) < len(names)
    assert dom.rows == wanted
    assert dom.texts["found"] == f"{len(wanted)} of {len(names)} tasks"


def test_the_address_holds_the_view(dump, data):
    by_name = [task["name"] for task in data["tasks"]]
    assert dump("#q=muffin").rows == [n for n in by_name if ".muffin." in n]
    assert dump("#here=fault").rows == ["hostile.fault", "hostile.odd"]
    mixture = next(m for m in data["mixtures"] if m["name"] == "mini_4")
    rates = dict(zip(mixture["tasks"], mixture["rates"], strict=True))
    dom = dump("#mixture=mini_4&sort=-rate")
    assert dom.rows == [by_name[i] for i in sorted(rates, key=lambda i: (-rates[i], i))]
    dom = dump(act=f"{SEARCH} say(location.hash)")
    assert dom.attributes["data-said"] == "#q=muffin+HELD_in"


def test_keys_search_walk_open_and_close(dump, data):
    first, second = (task["name"] for task in data["tasks"][:2])
    focused = "document.activeElement.textContent"
    dom = dump(act=f"{KEY} key('j'); key('j'); say({focused})")
    assert dom.attributes["data-said"] == second
    dom = dump(act=f"{KEY} key('j'); document.activeElement.click(); key('j'); say(location.hash)")
    assert dom.attributes["data-said"] == f"#task={second}"
    assert second in dom.texts["task-name"]
    dom = dump(f"#task={first}", f"{KEY} key('Escape'); say({focused})")
    assert dom.attributes["data-said"] == first and "task-name" not in dom.texts
    dom = dump(act=f"{KEY} key('/'); say(document.activeElement.id)")
    assert dom.attributes["data-said"] == "search"


def test_a_task_shows_its_prompts_and_hostile_text_stays_text(dump, data):
    dom = dump("#task=hostile.rows")
    text = dom.texts["task"]
    task = next(task for task in data["tasks"] if task["name"] == "hostile.rows")
    assert text.count("Exemplar ") == sum(
        kind == "exemplar" for example in task["examples"] for kind, _ in example["parts"]
    )
    for example in task["examples"]:
        # A parser makes U+FFFD of NUL, and may not keep it at all in a dump.
        assert json.dumps(example["targets"][0])[1:40].replace('\\"', '"') in text
    assert "img" not in dom.tags and "<img src=x onerror=" in text
    for name in ("hostile.missing", "hostile.fault", "hostile.odd"):
        assert "img" not in dump(f"#task={name}").tags
    assert dom.texts.get("subtitle") and dom.tags.count("script") == 4
