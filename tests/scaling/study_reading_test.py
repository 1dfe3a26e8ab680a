# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a report reads: a sweep's folder, one evaluation's, several together, and faulty ones."""

import pytest

from flan_jax.core import errors, files
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import study


def row(value, step=9, benchmark="held_in", **settings):
    return scores_lib.Score(
        model="tiny", step=step, benchmark=benchmark, protocol="greedy", subtask="_mean",
        metric="exact_match", value=value, n=8, stderr=1.0, settings=settings,
    )  # fmt: skip


def write_sweep(folder, title="A trial", tasks="4", status="done", **more):
    run = {
        "name": f"num_tasks-{tasks}", "size": "mini", "settings": {"num_tasks": tasks},
        "status": status, "duration_s": 1.5, "num_parameters": 100,
    }  # fmt: skip
    info = {
        "title": title,
        "metric": "exact_match",
        "sizes": ["mini"],
        "wall_s": 2.0,
        "build_s": 1.0,
    }
    files.write_json(folder / "sweep.json", info | {"runs": [run]} | more)
    scores_lib.write_scores(folder / "scores.csv", [row(50.0, num_tasks=tasks)])
    return folder


def test_a_published_sweep_is_two_files(tmp_path):
    found = study.read(write_sweep(tmp_path))
    assert (found.title, found.metric, found.selection) == ("A trial", "exact_match", "last")
    (run,) = found.runs
    assert (run.name, run.settings, run.num_parameters) == ("num_tasks-4", {"num_tasks": "4"}, 100)
    assert run.folder is None and run.compute is None
    assert [score.value for score in found.scores] == [50.0]


def test_what_a_sweep_says_of_itself_is_kept(tmp_path):
    (tmp_path / "num_tasks-4").mkdir()
    said = {"subject": "S", "about": ["A"], "figures": ["losses"], "selection": "mean:2"}
    found = study.read(write_sweep(tmp_path, **said))
    assert (found.subject, found.about, found.figures) == ("S", ["A"], ["losses"])
    assert found.selection == "mean:2"
    assert found.runs[0].folder == tmp_path / "num_tasks-4"
    assert found.done == list(found.runs)


def test_a_sweep_without_a_finished_run_has_no_rows(tmp_path):
    write_sweep(tmp_path, status="failed")
    (tmp_path / "scores.csv").unlink()
    found = study.read(tmp_path)
    assert (found.scores, found.done) == ([], [])


def test_one_training_is_a_run_with_the_rows_of_every_step_once(tmp_path):
    last = row(80.0, step=20)
    scores_lib.write_scores(tmp_path / "scores.csv", [last])
    for step, rows in {10: [row(60.0, step=10)], 20: [last]}.items():
        folder = tmp_path / "eval" / f"step_{step}"
        folder.mkdir(parents=True)
        scores_lib.write_scores(folder / "scores.csv", rows)
    found = study.read(tmp_path)
    assert sorted((score.step, score.value) for score in found.scores) == [(10, 60.0), (20, 80.0)]
    assert {score.settings["run"] for score in found.scores} == {tmp_path.name}
    assert found.runs[0].folder == tmp_path


def test_several_folders_are_one_study(tmp_path):
    for name, tasks in (("a", "4"), ("b", "8")):
        (tmp_path / name).mkdir()
        write_sweep(tmp_path / name, title=name, tasks=tasks)
    found = study.read_all([tmp_path / "a", tmp_path / "b"])
    assert found.title == "a and b"
    assert [run.settings for run in found.runs] == [{"num_tasks": "4"}, {"num_tasks": "8"}]
    assert found.info["wall_s"] == 4.0


def test_equal_settings_of_two_folders_are_told_apart(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_sweep(tmp_path / name)
    found = study.read_all([tmp_path / "a", tmp_path / "b"])
    assert [run.name for run in found.runs] == ["a/num_tasks-4", "b/num_tasks-4"]
    assert [score.settings["folder"] for score in found.scores] == ["a", "b"]


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(errors.UsageError, match="neither a sweep .* nor an evaluation"):
        study.read(tmp_path)
    files.write_json(tmp_path / "sweep.json", {"title": "A"})
    with pytest.raises(errors.DataError, match="'runs'.*run the same flan-jax sweep again"):
        study.read(tmp_path)
