# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax generate`: one prompt, from the command or standard input, its answers printed."""

import io
import json
import sys

import pytest

from flan_jax import main
from tests import tiny_checkpoints

QUESTION = "Anna has two cats."
LIMITS = ("--max_input_length", "32", "--max_length", "6")

pytestmark = pytest.mark.slow  # models are compiled: some seconds each


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoints.ours(tmp_path_factory.mktemp("ours"))


@pytest.fixture
def generate(checkpoint, capsys):
    def run(*argv, code=0):
        capsys.readouterr()
        got = main.main(["generate", *argv, "--checkpoint", checkpoint, *LIMITS])
        captured = capsys.readouterr()
        assert got == code, captured.err
        return captured.out if code == 0 else captured.err

    return run


def test_an_answer_is_printed(generate, monkeypatch):
    said = generate(QUESTION)
    assert said.endswith("\n") and len(said) > 3
    monkeypatch.setattr("sys.stdin", io.StringIO(QUESTION + "\n"))
    assert generate() == said
    monkeypatch.setattr("sys.stdin", io.StringIO(QUESTION))
    assert generate("-") == said


def test_a_terminal_gets_it_as_it_comes(generate, monkeypatch):
    said = generate(QUESTION)
    writes = []
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    write = sys.stdout.write
    monkeypatch.setattr(sys.stdout, "write", lambda text: (writes.append(text), write(text))[1])
    assert generate(QUESTION) == said
    assert len([text for text in writes if text.strip()]) > 1


def test_several_answers_are_numbered(generate):
    sampling = ("--num_samples", "3", "--temperature", "2.0")
    lines = generate(QUESTION, *sampling)
    rows = json.loads(generate(QUESTION, "--json", *sampling))
    assert rows["inputs"] == QUESTION and len(set(rows["predictions"])) == 3
    assert lines == "".join(f"{i + 1}. {text}\n" for i, text in enumerate(rows["predictions"]))
    assert len(rows["scores"]) == len(rows["finish_reasons"]) == 3


def test_what_cannot_be_answered_is_one_line(generate, monkeypatch):
    said = generate("a " * 60, code=1)
    assert said.splitlines()[-1].startswith("flan-jax: error: the prompt has")
    assert "the model takes 32; shorten it" in said
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert "the prompt is empty" in generate(code=2)
