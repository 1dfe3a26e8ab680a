# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page of a study: texts stay texts, its policy holds its scripts, and what it counts."""

import base64
import dataclasses
import gzip
import hashlib
import html.parser
import json
import re

import pytest

from flan_jax.scaling import page, predictions
from tests.scaling import explored_study


class Parsed(html.parser.HTMLParser):
    """What of a page a browser would take for tags."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.tags, self.policy, self._open = [], [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        self._open = attributes if tag == "script" else None

    def handle_data(self, data):
        if self._open is not None:
            self.scripts.append((self._open, data))
            self._open = None


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return explored_study.make(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def text(study):
    return page.render(explored_study.page_of(study))


@pytest.fixture(scope="module")
def parsed(text):
    return Parsed(text)


def unpack(script):
    return gzip.decompress(base64.b64decode(script)).decode()


def test_the_same_study_gives_the_same_bytes(study, text, tmp_path):
    page.write_page(explored_study.page_of(study), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text


def test_hostile_texts_make_no_tags(parsed, text):
    assert "img" not in parsed.tags and "b" not in parsed.tags
    assert len(parsed.scripts) == 1 + 2 + 1 + 1  # data, two tasks, plotly.js, the page's own
    assert "<title>Two &lt;/title&gt;&lt;script&gt;runs&lt;/script&gt;</title>" in text
    assert "\u2028" not in text


def test_the_policy_allows_the_two_scripts_alone(parsed):
    own = [body for attributes, body in parsed.scripts if "type" not in attributes]
    plotly = [
        unpack(body) for attributes, body in parsed.scripts if attributes.get("id") == "plotly"
    ]
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in (*own, *plotly)
    ]
    assert len(hashes) == 2
    assert parsed.policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {' '.join(hashes)}; "
        "base-uri 'none'; form-action 'none'"
    )


def test_nothing_is_loaded(text):
    assert not re.search(r"\b(src|href)=\"(?!#)", text) and "url(http" not in text


def test_data_of_the_page(study, parsed):
    (data,) = [json.loads(b) for a, b in parsed.scripts if a.get("id") == "data"]
    assert [run["name"] for run in data["runs"]] == ["first", "second"]
    assert data["settings"] == ["num_tasks", "size"]
    held_in, toy = data["benchmarks"]
    (task,) = held_in["tasks"]
    assert (held_in["title"], held_in["metric"]) == ("Held-in tasks", "Exact match")
    assert held_in["means"] == {"0": [50.0, 1, 1.5], "1": [75.0, 1, 1.5]}
    assert task == {"name": explored_study.TASK, "packed": 0,
                    "scores": {"0": [50.0, 4, 1.5], "1": [75.0, 4, 1.5]}}  # fmt: skip
    assert (toy["tasks"][0]["name"], toy["tasks"][0]["packed"]) == ("sub", 1)
    assert [chart["name"] for chart in data["charts"]] == ["lines", "bars"]


def test_a_benchmark_asked_in_two_ways_stands_twice_and_unscored_tasks_apart(study):
    rows = explored_study.rows(0, 10.0)[3:]
    other = [explored_study.rows(0, 20.0)[3:][0]]
    rows += [type(other[0])(**{**vars(other[0]), "protocol": "zero-shot; dev; rank"})]
    packed = predictions.pack([study.runs[0].folder], metric="exact_match")
    found = page.explorer(type(study)(**{**vars(study), "scores": rows}), packed)["benchmarks"]
    assert [one["title"] for one in found] == [
        "Toy (zero-shot; dev; rank)", "Toy (zero-shot; test; generate)", "Without scores",
    ]  # fmt: skip
    assert found[0]["tasks"][0]["packed"] == -1 and found[1]["tasks"][0]["packed"] == 1
    assert [task["name"] for task in found[2]["tasks"]] == [explored_study.TASK]


def test_a_step_other_than_the_last_is_said_beside_the_runs(study, text):
    assert "Figures and tables above judge" not in text
    rows = [*study.scores, *(dataclasses.replace(row, step=row.step - 1) for row in study.scores)]
    averaged = dataclasses.replace(study, scores=rows, selection="mean:2")
    shown = page.render(explored_study.page_of(averaged))
    assert "Figures and tables above judge each run by the mean over its last 2 evaluated" in shown
    last = dataclasses.replace(averaged, selection="last")
    assert "Figures and tables above judge" not in page.render(explored_study.page_of(last))


def test_what_is_left_out_is_said(study):
    text = page.render(explored_study.page_of(study, limit_bytes=0))
    assert "The predictions of 2 of 2 tasks are not in this page" in text
    assert 'id="packed-0"' not in text


def test_without_a_script_figures_and_examples_are_there(study, text):
    assert text.count("<svg") == 4  # two figures, wide and narrow
    example = predictions.read(
        study.runs[0].folder / "predictions" / f"{explored_study.TASK}.jsonl"
    )
    shown = [type("E", (), {"right": True, **{n: getattr(example[0], n) for n in
             ("task", "prompt", "prediction", "answer", "references")}})]  # fmt: skip
    more = page.render(explored_study.page_of(study, examples=[("Held-in tasks", shown)]))
    assert "&lt;script&gt;document.title" in more and "✓ right" in more


@pytest.mark.parametrize(
    ("seconds", "said"), [(59.4, "59.4 s"), (125, "2 min 05 s"), (3600, "1 h 00 min")]
)
def test_times_for_people(seconds, said):
    assert page.duration(seconds) == said
