# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax score`: the log-probability of each choice, by the model's own full forward pass."""

import functools
import json
import re

import jax
import numpy as np
import pytest

from flan_jax import main
from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.core.tree import unflatten
from flan_jax.models.t5 import T5
from tests import host_processes, tiny_checkpoints

QUESTION, CHOICES = "Is it?", ["yes", "no, it is not", "three"]  # best per token and best
LIMITS = ("--max_input_length", "32")

pytestmark = pytest.mark.slow  # models are compiled: some seconds each


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoints.ours(tmp_path_factory.mktemp("ours"))


def by_forward_pass(question, choice):
    """Returns the log-probability of each token of a choice, the end of sequence included."""
    words = load_vocabulary(tiny_checkpoints.VOCABULARY)
    inputs, targets = (np.array([[*words.encode(t), words.eos_id]]) for t in (question, choice))
    batch = {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
    }
    params = unflatten(tiny_checkpoints.drawn(tiny_checkpoints.T5_CONFIG))
    apply = functools.partial(T5(tiny_checkpoints.T5_CONFIG).apply, train=False)
    logits = jax.jit(apply)(params, batch)[0]
    return np.asarray(jax.nn.log_softmax(logits))[np.arange(targets.shape[1]), targets[0]]


@pytest.fixture
def score(checkpoint, capsys):
    def run(*argv, code=0):
        capsys.readouterr()
        got = main.main(["score", *map(str, argv), "--checkpoint", checkpoint, *LIMITS])
        captured = capsys.readouterr()
        assert got == code, captured.err
        return captured

    return run


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ROWS = [
    {"inputs": QUESTION, "choices": CHOICES, "id": 7},
    {"inputs": "a " * 60, "choices": ["yes"]},
    {"inputs": "Two cats.", "targets": "three"},
]


def test_choices_of_a_file_are_scored(score, tmp_path):
    source, output = write(tmp_path / "a.jsonl", ROWS), tmp_path / "out.jsonl"
    said = score("--input", source, "--output", output, "--tokens").err
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    wanted = [by_forward_pass(QUESTION, choice) for choice in CHOICES]
    sums, means = [float(w.sum()) for w in wanted], [float(w.mean()) for w in wanted]
    np.testing.assert_allclose(rows[0]["logprobs"], sums, rtol=1e-5)
    np.testing.assert_allclose(rows[0]["mean_logprobs"], means, rtol=1e-5)
    assert rows[0]["best"] == int(np.argmax(sums)) and rows[0]["id"] == 7
    for choice, tokens, each in zip(CHOICES, rows[0]["tokens"], wanted, strict=True):
        assert "".join(piece for piece, _ in tokens) == choice and tokens[-1][0] == ""
        np.testing.assert_allclose([value for _, value in tokens], each, rtol=1e-5)
    assert rows[1] == ROWS[1] | {"too_long": True}
    assert len(rows[2]["logprobs"]) == 1 and rows[2]["choices"] == ["three"]
    every = np.concatenate([*wanted, by_forward_pass("Two cats.", "three")])
    found = re.search(r"3 prompts, 1 too long; perplexity (\S+) over 4 texts of (\d+) tokens", said)
    np.testing.assert_allclose(float(found[1]), np.exp(-every.mean()), rtol=1e-3)
    assert int(found[2]) == len(every)


def test_an_output_can_be_scored_again(score, tmp_path):
    stale = [row | {"too_long": True, "best": 9, "tokens": []} for row in ROWS]
    found = []
    for rows in (ROWS, stale):
        source, output = write(tmp_path / "a.jsonl", rows), tmp_path / "b.jsonl"
        score("--input", source, "--output", output)
        found.append([json.loads(line) for line in output.read_text().splitlines()])
    assert found[0] == found[1]


def test_one_prompt_is_scored_and_printed(score):
    choices = [word for choice in CHOICES for word in ("--choice", choice)]
    sums = [by_forward_pass(QUESTION, choice).sum() for choice in CHOICES]
    lines = score(QUESTION, *choices).out.splitlines()
    for line, choice, value in zip(lines, CHOICES, sums, strict=True):
        assert choice in line
        np.testing.assert_allclose(float(line.split()[0]), value, rtol=1e-5)
        assert line.endswith("best") == (value == max(sums))
    means = [by_forward_pass(QUESTION, choice).mean() for choice in CHOICES]
    lines = score(QUESTION, *choices, "--rank_by", "mean").out.splitlines()
    assert [line.endswith("best") for line in lines] == [mean == max(means) for mean in means]
    assert np.argmax(means) != np.argmax(sums)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"inputs": "a"}, 'prompt 1: need "choices"'),
        ({"inputs": "a", "choices": []}, 'prompt 1: need "choices"'),
        ({"inputs": "a", "choices": ["b", 3]}, 'prompt 1: need "choices"'),
        ({"inputs": "a", "targets": 3}, 'prompt 1: need "choices"'),
    ],
)
def test_a_row_without_choices_is_named(score, tmp_path, row, message):
    source = write(tmp_path / "a.jsonl", [row])
    assert message in score("--input", source, "--output", tmp_path / "b.jsonl", code=1).err


@pytest.mark.parametrize(
    ("argv", "place"),
    [(("\udcff", "--choice", "a"), "the prompt"), (("a", "--choice", "\udcff"), "--choice")],
)
def test_bytes_that_are_no_text_are_one_line(score, argv, place):
    assert f"error: {place}: '\\udcff' is no character" in score(*argv, code=1).err


@pytest.mark.large  # two Python processes that import jax
def test_two_processes_score_as_one(score, checkpoint, tmp_path):
    source = write(tmp_path / "a.jsonl", ROWS)
    score("--input", source, "--output", tmp_path / "alone.jsonl")
    words = [
        "score", "--input", str(source), "--output", str(tmp_path / "out.jsonl"),
        "--checkpoint", checkpoint, *LIMITS,
    ]  # fmt: skip
    host_processes.run(["flan_jax", *words], 2, tmp_path / "log")
    alone, together = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("alone.jsonl", "out.jsonl")
    )
    for row, wanted in zip(together, alone, strict=True):  # sums of another batch round otherwise
        for name in ("logprobs", "mean_logprobs"):
            np.testing.assert_allclose(row.pop(name, 0), wanted.pop(name, 0), rtol=1e-5)
        assert row == wanted
