# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `flan-jax inspect` prints of a task and writes as a page."""

import argparse
import dataclasses
import json
import re

import pytest
import seqio

import tasks.mini.mixtures  # noqa: F401 - registers
from flan_jax import main
from flan_jax.collection import browsing, registry, sources, spec
from flan_jax.commands import build as build_command
from flan_jax.commands import inspect as inspect_command

MODULE = ("--module_import", "tasks.mini.mixtures")
TASK = "mini.muffin.thing_done"


def inspect(capsys, *words):
    assert main.main(["inspect", *MODULE, *words]) == 0
    return capsys.readouterr()


@pytest.fixture
def half_here():
    """A mixture of two tasks, of which the second's rows are nowhere."""
    here = registry.get_spec(TASK)
    source = sources.JsonLinesSource({"train": "$FLAN_JAX_NOWHERE/rows.jsonl"})
    gone = dataclasses.replace(here, name="gone.thing_done", source=source, splits=("train",))
    registry.add_task(gone)
    registry.add_mixture("half_here", [TASK, gone.name])
    registry.add_mixture("nothing_here", [gone.name])
    return gone


def test_the_commands_choices_are_those_of_the_specs():
    # They have lists of their own, so that --help imports nothing.
    for module, option, known in (
        (inspect_command, "setting", spec.SETTINGS),
        (build_command, "exemplar_policy", spec.EXEMPLAR_POLICIES),
    ):
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        (choices,) = [a.choices for a in parser._actions if a.dest == option]
        assert choices == known


def data_of(path):
    page = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_prompts_of_one_template_or_number_of_exemplars(capsys):
    out = inspect(capsys, TASK, "--template", "text_request_style", "--num", "4").out
    assert out.count("template text_request_style") == out.count("[inputs]") == 4
    out = inspect(capsys, TASK, "--shots", "2", "--num", "4").out
    assert out.count("num_shots 2") == out.count("[inputs]") == 4


def test_rows_with_too_few_exemplars_are_left_out_and_said(capsys):
    out = inspect(capsys, TASK, "--shots", "99", "--num", "1").out
    assert "left out: only 64 exemplars can be shown" in out and "[inputs]" not in out


def test_a_task_without_data_shows_its_templates_and_the_remedy(capsys, half_here):
    out = inspect(capsys, half_here.name, "--num", "1", "--lengths", "--vocabulary", "bytes").out
    assert "splits    train\n" in out and "metrics   exact_match" in out
    for template in half_here.templates.load():
        assert f"template {template.id}: {template.kind}" in out
        assert str(template.input) in out and f"[targets]\n{template.target}\n" in out
    assert "no prompts: rows.jsonl is looked for in the folder that" in out.splitlines()[-1]
    one = half_here.templates.load()[0].id
    assert inspect(capsys, half_here.name, "--template", one).out.count("[inputs]") == 1


def test_a_mixture_lists_the_tasks_without_data(capsys, half_here):
    out = inspect(capsys, "half_here").out
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert lines[TASK][-1] == "100.000" and lines[half_here.name][-4:-2] == ["not", "here"]
    assert "half_here: 2 tasks," in out and "1 of them are not here; the rates" in out
    out = inspect(capsys, "nothing_here").out
    assert out.endswith("1 of them are not here. `flan-jax inspect TASK` says why.\n")


def test_a_task_of_unknown_size_is_not_counted(capsys):
    seqio.TaskRegistry.add(
        "inspected_plain",
        source=seqio.FunctionDataSource(lambda split, shuffle_files, seed=None: None, ["train"]),
        output_features=registry.OUTPUT_FEATURES,
    )
    registry.add_mixture("inspected_sizes", [(TASK, 1.0), ("inspected_plain", 3.0)])
    lines = inspect(capsys, "inspected_sizes").out.splitlines()
    assert lines[1].split() == ["inspected_plain", "seqio", "-", "-", "75.000"]
    assert lines[-1] == (
        "inspected_sizes: 2 tasks, 400 examples before caps (not counted: 1 tasks of unknown size)."
    )


def test_lengths_are_percentiles_of_tokens(capsys):
    out = inspect(capsys, TASK, "--lengths", "--vocabulary", "bytes", "--split", "validation").out
    assert "tokens without EOS, of the first 16 examples" in out
    line = next(line for line in out.splitlines() if line.startswith("inputs "))
    numbers = [float(word) for word in line.split()[1:]]
    assert len(numbers) == len(browsing.PERCENTILES) + 2
    assert numbers[:-1] == sorted(numbers[:-1]) and numbers[0] > 10


def test_tasks_by_licence(capsys):
    out = inspect(capsys, "mini_8", "--licences").out
    assert out.startswith("Apache-2.0: 8 tasks\n")
    assert "mini_8: 8 tasks, 8 of them with a stated licence." in out


def test_a_page_of_a_mixture_and_of_a_task(capsys, tmp_path):
    path = tmp_path / "mini_4.html"
    err = inspect(capsys, "mini_4", "--html", str(path), "--num", "1", "--vocabulary", "bytes").err
    assert "4 tasks, 4 of them readable here" in err
    data = data_of(path)
    assert [len(task["examples"]) for task in data["tasks"]] == [1] * 4
    assert [m["name"] for m in data["mixtures"]] == ["mini_4"]
    assert {task["lengths"]["num"] for task in data["tasks"]} == {100}
    inspect(capsys, TASK, "--html", str(path), "--shots", "1", "--split", "train")
    (task,) = data_of(path)["tasks"]
    assert len(task["examples"]) == 3 and task["lengths"]["num"] == 320
    assert {e["meta"]["num_shots"] for e in task["examples"]} == {1}


@pytest.mark.slow  # renders all 170 tasks of the mini collection
def test_a_page_of_everything(capsys, tmp_path):
    path = tmp_path / "all.html"
    inspect(capsys, "--html", str(path), "--num", "1")
    data = data_of(path)
    names = {task["name"] for task in data["tasks"]}
    assert TASK in names and data["title"] == "All tasks"
    assert {"mini_all", "mini_heldout"} <= {m["name"] for m in data["mixtures"]}
