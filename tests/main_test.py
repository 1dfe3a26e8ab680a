# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: help at once, the exit codes of the README. Mistakes are in mistakes_test."""

import subprocess
import sys

import jax
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


def test_failures_of_the_system_are_one_line(capsys):
    code, captured = run(capsys, "report", "a" * 300)  # longer than a file's name may be
    assert code in (errors.EXIT_FAILED, errors.EXIT_USAGE)
    assert captured.err.startswith("flan-jax: error: ")
    assert len(captured.err.splitlines()) == 1


def test_out_of_memory_is_one_line(capsys, monkeypatch):
    def fails(message):
        def fail(argv):
            raise jax.errors.JaxRuntimeError(message)

        monkeypatch.setattr(main, "run", fail)

    fails("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nand much more\n")
    code, captured = run(capsys, "infer")
    assert code == errors.EXIT_DOES_NOT_FIT and len(captured.err.splitlines()) == 1
    assert "no memory left on the device (RESOURCE_EXHAUSTED: Out of memory" in captured.err
    assert "take a smaller batch" in captured.err
    for message in ("INTERNAL: RESOURCE_EXHAUSTED", ""):  # a defect of ours: its trace is shown
        fails(message)
        with pytest.raises(jax.errors.JaxRuntimeError):
            main.main(["infer"])


def test_a_tpu_in_use_is_one_line(capsys, monkeypatch):
    def fail(argv):
        raise RuntimeError("ABORTED: The TPU is already in use by process with pid 4242.\nmore")

    monkeypatch.setattr(main, "run", fail)
    code, captured = run(capsys, "train")
    assert code == errors.EXIT_FAILED and len(captured.err.splitlines()) == 1
    assert captured.err.startswith("flan-jax: error: the TPU of this host is in use")


def test_vocab_says_when_the_text_has_fewer_pieces_than_asked(capsys, tmp_path):
    out = str(tmp_path / "v.model")
    code, captured = run(
        capsys, "vocab", "--mixture", "mini_4", "--out", out, "--size", "9999", "--examples", "9"
    )
    assert code == 0
    assert "pieces, not 9999: the text has no more; give more --examples" in captured.err


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
