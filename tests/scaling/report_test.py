# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report page: every score in it, all text escaped, nothing loaded, same bytes twice."""

import dataclasses
import html.parser
import json
import re

import pytest

from flan_jax.core import errors
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import report as report_lib

NASTY = "<script>alert('x')</script> & \"{{ 7 * 7 }}\""


@pytest.fixture(scope="module")
def report():
    rows = []
    for index, num_tasks in enumerate((4, 16, 120)):
        settings = {"num_tasks": str(num_tasks), "seed": "0"}
        tasks = [
            scores_lib.Score(
                model="tiny",
                step=100,
                benchmark=benchmark,
                protocol="greedy",
                subtask=f"mini.{benchmark}.{task}",
                metric=metric,
                n=32,
                stderr=1.0,
                value=11.1 + 7 * index + 3.3 * task + len(benchmark),
                settings=settings,
            )  # fmt: skip
            for benchmark in ("held_in", "held_out_skill")
            for task in range(3)
            for metric in ("exact_match", "rouge_l")
        ]
        rows += tasks + scores_lib.macro_means(tasks)
    example = report_lib.Example(
        group="held_in", task="mini.a", prompt=NASTY, prediction="so. The answer is 5.",
        answer="5", references=("5", NASTY), score=100.0,
    )  # fmt: skip
    wrong = dataclasses.replace(example, prediction="", answer="", score=0.0)
    return report_lib.Report(
        title="Task scaling & more",
        subtitle="mini collection, tiny T5, seed 0",
        scores=rows,
        losses={"": {"4 tasks": [(0, 4.0), (100, 1.25)], "16 tasks": [(0, 4.0), (100, 1.5)]}},
        examples=[example, wrong],
        facts=[("Model", "tiny <T5>")],
        timings=[("Build", 21.0), ("Train", 100.0)],
        config=f"x = {NASTY!r}",
    )


class Page(html.parser.HTMLParser):
    """Collects text, tags and attributes, and checks that tags close in order."""

    VOID = {"meta", "link", "img", "br", "hr", "input"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def made(report, tmp_path_factory):
    return report_lib.write_report(report, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(made):
    return made.page.read_text(encoding="utf-8")


def test_every_score_is_on_the_page_and_in_the_tables(report, page, made):
    cells = re.findall(r'<td class="number"[^>]*>([0-9.]+)', page)
    markdown = made.table_markdown.read_text()
    for score in report.scores:
        assert f"{score.value:.1f}" in cells
        if score.subtask == scores_lib.MEAN:
            assert f"{score.value:.1f} ± {score.stderr:.1f}" in markdown
    for task in {score.subtask for score in report.scores} - {scores_lib.MEAN}:
        assert task in page


def test_all_text_is_escaped_and_nothing_in_it_is_run(page):
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert "".join(parsed.words).count(NASTY) >= 3  # prompt and references
    assert "{{ 7 * 7 }}" in page
    assert "tiny &lt;T5&gt;" in page


def test_nothing_is_loaded_from_anywhere(page):
    parsed = Page(page)
    assert not {"link", "img", "iframe", "object", "script", "image"} & set(parsed.tags)
    names = {name for name, _ in parsed.attributes}
    assert "src" not in names
    for name, value in parsed.attributes:
        if name.endswith("href"):
            assert value.startswith("#")
    assert "url(http" not in page
    assert "@import" not in page


def test_the_page_says_what_it_is_and_whose_numbers_stand_beside_it(page):
    text = " ".join("".join(Page(page).words).split())
    assert "It is not the paper's data, nor any of its models" in text
    assert "Not measured here: the paper's own numbers" in text
    assert "arXiv:2210.11416v5), Table 3" in text
    assert "58.5" in text
    assert "2 min 01 s" in text  # altogether
    assert "✓ right" in text
    assert "✗ wrong" in text
    assert "(nothing)" in text
    assert "Held-out skills" in text


def test_the_same_report_gives_the_same_bytes(report, made, tmp_path):
    again = report_lib.write_report(report, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "losses.pdf", "losses.png", "losses.svg", "report.html", "scores_table.csv",
        "scores_table.md", "task_scaling.pdf", "task_scaling.png", "task_scaling.svg",
    ]  # fmt: skip
    for name in names:
        assert (tmp_path / name).read_bytes() == (made.page.parent / name).read_bytes()
    assert again.figures[0] == tmp_path / "task_scaling.png"


def test_the_smallest_report_needs_scores_only(report, tmp_path):
    small = report_lib.Report(title="t", subtitle="s", scores=report.scores[:28])
    page = report_lib.write_report(small, tmp_path).page.read_text()
    assert "Predictions" not in page
    assert "How it was made" not in page
    assert not (tmp_path / "losses.png").exists()


def write_predictions(folder, task, rights):
    with open(folder / f"{task}.jsonl", "w") as file:
        for index, right in enumerate(rights):
            row = {
                "id": index, "inputs": f"{task}/{index}", "prediction": "p", "answer": "a",
                "references": ["a"], "metrics": {"exact_match": 100.0 * right},
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")


def test_examples_are_the_first_right_and_wrong_ones_of_different_tasks(tmp_path):
    write_predictions(tmp_path, "b", [0, 1, 1])
    write_predictions(tmp_path, "a", [1, 1, 1])
    picked = report_lib.pick_examples(tmp_path, {"held_in": ["b", "a", "absent"]}, num_each=2)
    assert [(e.prompt, e.right) for e in picked] == [("a/0", True), ("b/1", True), ("b/0", False)]
    more = report_lib.pick_examples(tmp_path, {"held_in": ["a"]}, num_each=2)
    assert [e.prompt for e in more] == ["a/0", "a/1"]


def test_a_malformed_prediction_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"metrics": {"exact_match": 1}}\n')
    with pytest.raises(errors.DataError, match="a.jsonl:1: not a prediction"):
        report_lib.pick_examples(tmp_path, {"g": ["a"]})
