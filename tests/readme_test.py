# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every command of the README exists as it is written there, and every file it points at."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax import config, main
from flan_jax.commands import compile as compile_command
from flan_jax.commands import prediction_arguments

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


def test_the_readme_has_commands():
    assert sum(command.startswith("flan-jax") for command in COMMANDS) >= 10
    assert "make quickstart" in COMMANDS and "make test" in COMMANDS


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("flan-jax")])
def test_each_command_is_understood(command):
    _, name, *argv = shlex.split(command)
    bindings = [a.removeprefix("--gin.") for a in argv if a.startswith("--gin.")]
    others = [a for a in argv if not a.startswith("--gin.")]
    args = main.build_parser(name).parse_args([name, *others])
    if hasattr(args, "checkpoint"):
        args.gin_bindings = bindings
        prediction_arguments.configure(args)
    elif getattr(args, "recipe", None):
        root = {"compile": "train", "launch": "train", "eval": "evaluate"}.get(name, name)
        unneeded = compile_command._UNNEEDED if name == "compile" else ()
        files = [config.recipe_file(args.recipe)]
        config.parse(files, bindings, roots=(root,), unneeded=unneeded)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for command in COMMANDS:
        if command.startswith("make "):
            assert f"\n{command.split()[1]}:" in makefile


def test_files_that_it_names_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    quoted = re.findall(r"`((?:tests|tasks|gin|flan_jax|docs)/[\w./]*\.\w+)`", README)
    for path in {*links, *quoted}:
        assert (ROOT / path).exists(), path


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"^(TABLE|NIV2|COT)$|\bTIME\b|TODO|FIXME", README, re.MULTILINE)


# Registers the whole collection in a process of its own.
@pytest.mark.slow
def test_the_task_of_ones_own_is_rendered_as_written(tmp_path):
    [code] = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    (tmp_path / "trivia").mkdir()
    rows = "".join(json.dumps({"q": f"Who is {n}?", "a": f"Ann {n}"}) + "\n" for n in range(4))
    for name in ("train", "dev"):
        (tmp_path / "trivia" / f"{name}.jsonl").write_text(rows)
    template = {"id": "plain", "input": "{question}", "target": "{answer}"}
    (tmp_path / "trivia" / "templates.jsonl").write_text(json.dumps(template) + "\n")
    (tmp_path / "my_tasks.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "flan_jax", "inspect", "mine.trivia", "--module_import", "my_tasks"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Who is 2?" in done.stdout and "Ann 2" in done.stdout
