# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/ say what is there: the first task runs, commands and links exist."""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax import config, main
from flan_jax.commands import prediction_arguments
from flan_jax.evals import benchmark, measures, scores
from tasks.evals import benchmarks
from tests import tiny_checkpoints

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
# A fenced block; the name behind the language is that of the file it stands for.
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[str]:
    joined = "\n".join(text for language, _, text in blocks(page) if language == "sh")
    lines = joined.replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.strip()]


# A store is built and a model compiled, each in a process of its own.
@pytest.mark.slow
def test_the_first_task_runs_as_written_outside_the_repository(tmp_path):
    page = ROOT / "docs" / "first_task.md"
    for _, name, text in blocks(page):
        if name:
            (tmp_path / name).write_text(text)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "JAX_PLATFORMS": "cpu",
    }
    said = {}
    for command in [*commands(page), "python read_with_seqio.py"]:
        program, *arguments = shlex.split(command)
        if program == "export":
            continue
        start = {"python": [], "flan-jax": ["-m", "flan_jax"]}[program]
        done = subprocess.run(
            [sys.executable, *start, *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        said[arguments[0]] = done.stdout + done.stderr
    assert "validation: 1 tasks, 17 examples" in said["build"]
    assert "train: 2 tasks, 81 examples" in said["build"]
    assert "done, 40 steps" in said["train"]
    assert "unseen numbers/exact_match" in said["eval"]
    assert "Roman" in said["inspect"] and "Number" in said["read_with_seqio.py"]
    assert (tmp_path / "scores" / "predictions" / "roman.write.jsonl").is_file()


@pytest.mark.slow  # a tiny model decodes and scores in a process of its own
def test_the_benchmark_of_ones_own_is_asked_as_written(tmp_path):
    page = ROOT / "docs" / "evaluation.md"
    for _, name, text in blocks(page):
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    tiny_checkpoints.ours(tmp_path / "runs" / "mini")
    [command] = [c for c in commands(page) if "my_capitals" in c]
    done = subprocess.run(
        [sys.executable, "-m", "flan_jax", *shlex.split(command)[1:]],
        cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = tmp_path / "scores" / "capitals"
    rows = scores.read_scores(out / "scores.csv")
    means = {row.metric for row in rows if row.subtask == scores.MEAN}
    assert means >= {"exact_match", "accuracy"}
    line = json.loads((out / "predictions/capitals/test.rank/America.jsonl").read_text())
    exemplars = "Q: The capital of Italy?\nA: Rome\n\nQ: The capital of Peru?\nA: Lima\n\n"
    assert line["inputs"] == f"{exemplars}Q: The capital of Peru?\nA:"
    assert line["references"] == ["Lima"] and len(line["choice_logprobs"]) == 4


def test_a_training_asks_benchmarks_as_written(tmp_path):
    [text] = [text for kind, _, text in blocks(ROOT / "docs" / "evaluation.md") if kind == "gin"]
    path = tmp_path / "run.gin"
    path.write_text(text)
    given = ["MODEL_DIR=x", "INITIAL_CHECKPOINT_PATH=x"]
    config.parse([str(path)], given, roots=("train",))
    suite = config.bindings("train")["benchmarks"]
    assert (suite.benchmarks, suite.num_examples, suite.ways) == (("paper",), 5, "both")
    assert suite.splits == {"mmlu": "test"}


def test_the_page_has_each_benchmark_and_suite_with_its_filters():
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", page))
    assert set(benchmarks.SUITES) <= words
    num_rows = 0
    for name, each in benchmark.registered().items():
        load = each.load.func if isinstance(each.load, functools.partial) else each.load
        if not load.__module__.startswith("tasks."):
            continue  # of another test
        assert name in words, name
        row = re.search(rf"^\| `{name}` \| {re.escape(each.protocol)}\b.*$", page, re.MULTILINE)
        if row:
            filters = [m.filter for m in each.measures if isinstance(m, measures.Extracted)]
            assert re.findall(r"`(\w+)`", row[0]) == [name, *filters]
            num_rows += 1
            assert ", ".join(each.splits) in row[0]
    assert num_rows == 7


@pytest.mark.parametrize(
    "command",
    [c for page in PAGES if page.stem != "first_task" for c in commands(page) if "flan-jax" in c],
)
def test_each_command_is_understood(command):
    words = shlex.split(command)
    words = words[words.index("flan-jax") + 1 :]
    bindings = [w.removeprefix("--gin.") for w in words if w.startswith("--gin.")]
    args = main.build_parser(words[0]).parse_args([w for w in words if not w.startswith("--gin.")])
    if hasattr(args, "checkpoint"):
        args.gin_bindings = bindings
        prediction_arguments.configure(args)
    elif getattr(args, "recipe", None):
        root = {"eval": "evaluate"}.get(words[0], words[0])
        files = [config.recipe_file(args.recipe), *args.gin_file]
        config.parse(files, bindings, roots=(root,))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), link
    for path in re.findall(r"`((?:tests|tasks|gin|flan_jax|docs|benchmarks)/[\w./]*\.\w+)`", text):
        assert (ROOT / path).exists(), path


def test_the_macros_are_those_of_the_configuration():
    rows = [f"| `{n}` | {m.meaning}, such as `{m.example}` |" for n, m in config.MACROS.items()]
    assert "\n".join(["| macro | sets |", "|---|---|", *rows, ""]) in (
        ROOT / "docs" / "gin.md"
    ).read_text(encoding="utf-8")
