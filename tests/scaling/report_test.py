# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A report of a study: every score in its tables, its page and files, same bytes twice."""

import csv
import json
import re

import pytest

from flan_jax import reporting
from flan_jax.core import errors, files
from flan_jax.evals import scores as scores_lib
from flan_jax.paper import finetuning
from flan_jax.scaling import report as report_lib
from flan_jax.scaling import study
from flan_jax.scaling.compute import RunCompute

NASTY = "<script>alert('x')</script> & \"{{ 7 * 7 }}\""
COUNTS = (4, 8, 16, 120)


def row(benchmark, subtask, metric, value, **settings):
    return scores_lib.Score(
        model="tiny", step=100, benchmark=benchmark, protocol="greedy", subtask=subtask,
        metric=metric, n=32, stderr=1.0, value=value, settings=settings,
    )  # fmt: skip


def rows_of(index, num_tasks):
    base = 11.1 + 7 * index
    tasks = [
        row(benchmark, f"mini.{benchmark}.{task}", metric, base + 3 * task + len(metric),
            num_tasks=num_tasks, seed="0")
        for benchmark in ("held_in", "held_out_skill")
        for task in range(3)
        for metric in ("exact_match", "rouge_l")
    ]  # fmt: skip
    return tasks + scores_lib.macro_means(tasks)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sweep of four runs, the last one with metrics and predictions, and one that failed."""
    folder = tmp_path_factory.mktemp("sweep")
    compute = RunCompute(
        architecture=finetuning.ENC_DEC, num_params=1000, num_steps=10, num_positions=2000,
        num_tokens=1500, train_flops=4e9, rule_flops=6e6, train_s=1800.0, num_devices=2,
        device_kind="cpu",
    )  # fmt: skip
    runs = [
        {
            "name": f"num_tasks-{count}", "size": "tiny", "status": "done", "duration_s": 20.0,
            "settings": {"num_tasks": str(count), "seed": "0"}, "num_parameters": 1000,
            "compute": compute.as_json(),
        }
        for count in COUNTS
    ]  # fmt: skip
    runs.append(runs[0] | {"name": "lost", "status": "failed", "settings": {"num_tasks": "9"}})
    files.write_json(
        folder / "sweep.json",
        {
            "title": "Task scaling & more", "subject": "tiny T5 on <tasks>", "about": [NASTY],
            "metric": "exact_match", "sizes": ["tiny"], "wall_s": 121.0, "build_s": 21.0,
            "parallel": 1, "cores_per_run": 2, "machine": "2 CPU cores", "config": f"x = {NASTY!r}",
            "versions": {"jax": "0.10.2"}, "runs": runs,
        },
    )  # fmt: skip
    rows = [each for i, count in enumerate(COUNTS) for each in rows_of(i, str(count))]
    scores_lib.write_scores(folder / "scores.csv", rows)
    last = folder / "num_tasks-120"
    (last / "predictions").mkdir(parents=True)
    write_predictions(last / "predictions", "mini.held_in.0", [1, 0, 1])
    losses = [{"kind": "train", "step": step, "loss": 3.0 / step} for step in (1, 5, 10)]
    (last / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in losses))
    return folder


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    return reporting.report(str(folder), out=str(tmp_path_factory.mktemp("report")), price=2.0)


def table(made, name):
    path = made.page.parent / f"{name}.csv"
    return list(csv.DictReader(path.read_text().splitlines()))


def test_every_score_is_in_the_tables(folder, made):
    tasks = {(each["Task"], each["Metric"]): each for each in table(made, "task_table")}
    groups = {each["Tasks evaluated"]: each for each in table(made, "scores_table")}
    markdown = (made.page.parent / "scores_table.md").read_text()
    titles = {"held_in": "Held-in tasks", "held_out_skill": "Held-out skills"}
    metrics = {"exact_match": "Exact match", "rouge_l": "ROUGE-L"}
    for score in scores_lib.read_scores(folder / "scores.csv"):
        count = score.settings["num_tasks"]
        if score.subtask != scores_lib.MEAN:
            found = tasks[score.subtask, metrics[score.metric]]
            assert found[count] == f"{score.value:.1f}"
        else:
            assert f"{score.value:.1f} ± {score.stderr:.1f}" in markdown
            if score.metric == "exact_match":
                assert groups[titles[score.benchmark]][count] == f"{score.value:.1f}"


def test_laws_and_compute_have_tables(made):
    laws = {(each["Curve"], each["Form"]): each for each in table(made, "fits")}
    assert {curve for curve, _ in laws} == {"Held-in tasks", "Held-out skills"}
    assert ("Held-in tasks", "log-linear") in laws
    text = (made.page.parent / "fits.md").read_text()
    assert "What a doubling of tasks brings" in text and "| Held-in tasks | 21.91 |" in text
    (computed,) = table(made, "compute")
    assert computed["FLOPs"] == "4.00e+09" and computed["Runs"] == "4"
    # Four runs of half an hour on two devices, at 2 an hour.
    assert (computed["Device-hours, all runs"], computed["Cost, all runs"]) == ("4", "8.00")
    assert (made.page.parent / "compute.tex").read_text().startswith("\\begin{table}")


def test_the_page_says_what_it_is_and_escapes_all_text(made):
    page = made.page.read_text(encoding="utf-8")
    assert "Task scaling &amp; more" in page and "tiny T5 on &lt;tasks&gt;" in page
    assert NASTY not in page and "&lt;script&gt;alert(" in page
    assert "{{ 7 * 7 }}" in page
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "1 of 5 runs are not done" in text
    assert "Not measured here: the paper" in text and "58.5" in text
    assert "its last step, the only one evaluated" in text
    assert "2 min 01 s" in text  # altogether


def test_figures_come_in_three_formats_the_main_one_first(made):
    names = [path.name for path in made.figures]
    assert names[:3] == ["task_scaling.png", "task_scaling.svg", "task_scaling.pdf"]
    assert {"task_fits.png", "losses.png"} < set(names)
    assert [path.name for path in made.tables[:3]] == [
        "scores_table.md", "scores_table.csv", "scores_table.tex"
    ]  # fmt: skip
    assert all(path.is_file() for path in (*made.figures, *made.tables, made.page))


def test_the_same_study_gives_the_same_bytes(folder, made, tmp_path):
    reporting.report(str(folder), out=str(tmp_path), price=2.0)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in made.page.parent.iterdir())
    for name in names:
        assert (tmp_path / name).read_bytes() == (made.page.parent / name).read_bytes(), name


def test_one_evaluation_alone_has_a_report(tmp_path):
    scores = [row("held_in", "a", "accuracy", 40.0), row("held_in", "b", "accuracy", 60.0)]
    scores_lib.write_scores(tmp_path / "scores.csv", scores + scores_lib.macro_means(scores))
    made = reporting.report(str(tmp_path))
    assert made.page == tmp_path / "report" / "report.html"
    (found,) = table(made, "scores_table")
    assert found["Score"] == "50.0"


def test_what_cannot_be_reported_on_is_told_before_anything_is_written(folder, tmp_path):
    with pytest.raises(errors.UsageError, match="neither a sweep"):
        reporting.report(str(tmp_path))
    with pytest.raises(errors.UsageError, match="no selection 'frist'"):
        reporting.report(str(folder), out=str(tmp_path / "out"), select="frist")
    assert not (tmp_path / "out").exists()
    info = files.read_json(folder / "sweep.json")
    files.write_json(tmp_path / "sweep.json", info | {"runs": info["runs"][-1:]})
    with pytest.raises(errors.UsageError, match="no run is done yet"):
        reporting.report(str(tmp_path))
    files.write_json(tmp_path / "sweep.json", info)
    with pytest.raises(errors.UsageError, match="no scores are gathered"):
        reporting.report(str(tmp_path))


def test_a_study_without_predictions_shows_none(folder, tmp_path):
    found = study.read(folder)
    assert report_lib._examples(found, found.scores)
    bare = tmp_path / "published"
    bare.mkdir()
    for name in ("sweep.json", "scores.csv"):
        (bare / name).write_bytes((folder / name).read_bytes())
    found = study.read(bare)
    assert report_lib._examples(found, found.scores) == []


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
