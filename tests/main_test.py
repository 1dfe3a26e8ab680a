# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: help at once, one line for a mistake, the exit codes of the README."""

import subprocess
import sys

import pytest

from flan_jax import main
from flan_jax.core import errors


def run(capsys, *argv):
    code = main.main(argv)
    return code, capsys.readouterr()


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for command in main.COMMANDS:
        assert command in text
    assert "75 preempted" in " ".join(text.split())


@pytest.mark.parametrize("command", main.COMMANDS)
def test_help_of_each_command(capsys, command):
    with pytest.raises(SystemExit) as exit_:
        main.main([command, "--help"])
    assert exit_.value.code == 0
    assert f"flan-jax {command}" in capsys.readouterr().out


def test_help_of_no_command_loads_the_heavy_libraries():
    code = (
        "import sys\nfrom flan_jax import main\n"
        "for command in main.COMMANDS:\n"
        "    main.build_parser(command).format_help()\n"
        "heavy = {'jax', 'tensorflow', 'flax', 'grain', 'seqio', 'orbax', 'matplotlib', 'gin'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'"),
        ([], "the following arguments are required: COMMAND"),
        (["train", "--recipee", "mini"], "unknown argument '--recipee'; did you mean --recipe?"),
        (["train"], "no configuration; give --recipe NAME"),
        (["train", "--recipe", "minni"], "unknown recipe 'minni'; did you mean 'mini'"),
        (["train", "--gin_file", "nowhere.gin"], "no Gin file 'nowhere.gin'"),
        (["train", "--recipe", "mini"], "--gin.MODEL_DIR="),
        (["train", "--recipe", "mini", "--gin.TRAIN_STEP=1"], "did you mean 'TRAIN_STEPS'"),
        (["quickstart", "--gin.SEED=1"], "takes no Gin bindings"),
        (["report", "no/such/folder"], "no finished sweep"),
        (["build", "--mixture", "mini_all"], "out, vocabulary, feature_lengths not given"),
        (["inspect", "mini_al"], "did you mean 'mini_all'"),
        (["inspect", "--module_import", "no.such.module"], "no module 'no'"),
        (
            ["infer", "--recipe", "mini", "--input", "no.txt", "--output", "o.jsonl"],
            "no prompts file 'no.txt'",
        ),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(capsys, argv, message):
    code, captured = run(capsys, *argv)
    assert code == errors.EXIT_USAGE
    assert captured.err.startswith("flan-jax: error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_failures_of_the_system_are_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code, captured = run(capsys, "report", str(tmp_path / "file"))
    assert code != 0
    assert "Traceback" not in captured.err


def test_inspect_shows_mixtures_tasks_and_prompts(capsys):
    code, captured = run(capsys, "inspect")
    assert code == 0 and "mini_all" in captured.out
    code, captured = run(capsys, "inspect", "mini_4")
    assert code == 0 and "mini_4: 4 tasks" in captured.out
    task = next(w for w in captured.out.split() if w.startswith("mini."))
    vocabulary = "package:tasks/mini/vocabulary/sentencepiece.model"
    code, captured = run(capsys, "inspect", task, "--num", "2", "--vocabulary", vocabulary)
    assert code == 0
    assert captured.out.count("[inputs, ") == captured.out.count("[targets, ") == 2
    assert "as the model reads it" not in captured.out  # this vocabulary loses nothing
