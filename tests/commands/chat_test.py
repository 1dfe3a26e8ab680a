# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax chat`: what its commands do to a conversation, and whole conversations by script."""

import io
import json

import pytest

from flan_jax import main
from flan_jax.commands import chat, generate
from flan_jax.commands.chat import Chat
from flan_jax.core.errors import UsageError
from flan_jax.inference import conversation
from flan_jax.inference.conversation import Exchange
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Engine
from flan_jax.inference.session import Session
from tests import tiny_checkpoints

START = Chat(config=DecodeConfig(), turns=(Exchange("one?", "1"),))
LIMITS = ("--max_input_length", "64", "--max_length", "6")


class Parrot:
    """Stands for a model whose prompts are to be seen; a token is a character."""

    name, max_input_length, phrase = "parrot", 60, staticmethod(conversation.plain)

    def encode_as_is(self, prompt):
        return [ord(c) for c in prompt]


@pytest.fixture
def asked(monkeypatch):
    """The prompts that a `Parrot` is given; it answers `an answer`."""
    prompts = []

    def stream(predictor, ids, config):
        prompts.append("".join(map(chr, ids)))
        return " an answer\n"

    monkeypatch.setattr(generate, "stream", stream)
    return prompts


def follow(*lines, start=START):
    state = start
    for line in lines:
        state = chat.follow(Parrot(), state, line)
    return state


def test_what_was_said_is_in_the_next_prompt(asked):
    state = follow("two?", start=Chat(config=DecodeConfig()))
    assert asked == ["two?"] and state.turns == (Exchange("two?", "an answer"),)
    follow("three?", start=state)
    assert asked[1] == "Q: two?\nA: an answer\n\nQ: three?\nA:"


def test_the_oldest_is_left_out_and_that_is_said(asked, capsys):
    turns = (Exchange("one?", "1" * 20), Exchange("two?", "2" * 20))
    state = follow("three?", start=Chat(config=DecodeConfig(), turns=turns))
    assert "one?" not in asked[0] and "two?" in asked[0] and len(state.turns) == 3
    assert (
        "the first 1 of 2 exchanges are left out, as the model takes 60" in capsys.readouterr().err
    )
    with pytest.raises(UsageError, match="the question is 61 tokens"):
        follow("?" * 61)


def test_exemplars_come_first_and_outlive_a_reset(asked, tmp_path, capsys):
    path = tmp_path / "shots.jsonl"
    path.write_text('{"inputs": "a?", "targets": "A"}\n')
    state = follow(f"/shots {path}", "/shots add b? => B", "/reset", "c?")
    assert asked == ["Q: a?\nA: A\n\nQ: b?\nA: B\n\nQ: c?\nA:"]
    assert capsys.readouterr().out.startswith("1 exemplar(s)\n2 exemplar(s)\n")
    follow("/shots", start=state)
    assert "**Q:** b?\n\n**A:** B" in capsys.readouterr().out
    assert follow("/shots clear", start=state).shots == ()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), generate.Stopped(" \n")])
def test_a_question_stopped_before_its_answer_is_forgotten(monkeypatch, error):
    def stream(predictor, ids, config):
        raise error

    monkeypatch.setattr(generate, "stream", stream)
    assert follow("two?") == START


def test_a_chain_of_thought_is_asked_for(asked):
    start = Chat(config=DecodeConfig())
    follow(
        "/cot", "one?", "/cot", "/reset", "two?", "/cot on", "/reset", "/cot on", "x?", start=start
    )
    assert asked == ["one?\nLet's think step by step.", "two?", "x?\nLet's think step by step."]
    assert follow("/cot on", "/cot off").is_step_by_step is False


def test_how_it_decodes_is_changed():
    sampling = follow("/temperature 0.7").config
    assert (sampling.temperature, sampling.num_beams) == (0.7, 1)
    beams = follow("/temperature 0.7", "/beam 4").config
    assert (beams.temperature, beams.num_beams) == (0.0, 4)
    assert follow("/beam 4", "/temperature 0").config == DecodeConfig()


def test_what_was_said_is_saved(tmp_path, capsys):
    turns = (Exchange("one?", "1"), Exchange("t\nwo?", "2"))
    state = Chat(config=DecodeConfig(), turns=turns)
    follow(f"/save {tmp_path}/a.jsonl", f"/save {tmp_path}/a.md", start=state)
    assert follow(f"/shots {tmp_path}/a.jsonl").shots == turns
    assert (tmp_path / "a.md").read_text().startswith("**Q:** one?\n\n**A:** 1\n")
    assert "2 exchange(s) are in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/shot", "unknown command '/shot'; did you mean '/shots'"),
        ("/shots none.jsonl", "no prompts file 'none.jsonl'"),
        ("/shots add what", "write QUESTION => ANSWER"),
        ("/cot maybe", "/cot takes 'on' or 'off', got 'maybe'"),
        (
            "/temperature hot",
            "/temperature takes a number >= 0; 0 is the likeliest token, got 'hot'",
        ),
        ("/temperature -1", "temperature must be >= 0, got -1"),
        ("/beam 2.5", "/beam takes how many beams, >= 1, got '2.5'"),
        ("/beam 0", "num_beams must be within [1, 1024], got 0"),
        ("/save", "/save takes a file .jsonl or .md, got ''"),
        ("/save a.txt", "got 'a.txt'"),
        ("/reset all", "/reset takes nothing, got 'all'"),
        ("/quit now", "/quit takes nothing, got 'now'"),
    ],
)
def test_a_mistake_changes_nothing(line, message):
    with pytest.raises(UsageError) as error:
        follow(line)
    assert message in str(error.value)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoints.ours(tmp_path_factory.mktemp("ours"))


@pytest.fixture
def talk(checkpoint, capsys, monkeypatch):
    def run(*lines, argv=()):
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
        assert main.main(["chat", "--checkpoint", checkpoint, *LIMITS, *argv]) == 0
        return capsys.readouterr()

    return run


@pytest.mark.slow  # compiles
def test_a_conversation_by_script(talk, tmp_path):
    path = tmp_path / "said.jsonl"
    said = talk(
        "Anna has two cats.", "", "/nonsense", "And a dog?", "/beam 3", "Is it?", f"/save {path}",
        "/quit", "not asked",
    )  # fmt: skip
    assert "unknown command '/nonsense'" in said.err
    rows = [json.loads(row) for row in path.read_text().splitlines()]
    assert [row["inputs"] for row in rows] == ["Anna has two cats.", "And a dog?", "Is it?"]
    assert all(row["targets"] and row["targets"] in said.out for row in rows)
    assert "not asked" not in said.out and "/beam N" in talk("/help").out


@pytest.mark.slow  # compiles
def test_ctrl_c_stops_the_answer_alone(talk, tmp_path, monkeypatch):
    path, step, steps = tmp_path / "said.jsonl", Session.step, []

    def interrupted(self):
        steps.append(self)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Session, "step", interrupted)
    said = talk("Anna has two cats.", "Is it?", f"/save {path}")
    assert "chat: stopped" in said.err
    first, second = (json.loads(row)["targets"] for row in path.read_text().splitlines())
    monkeypatch.setattr(Session, "step", step)
    whole = talk("Anna has two cats.").out.strip()
    assert whole.startswith(first) and len(first) < len(whole) and second


@pytest.mark.slow  # compiles
def test_ctrl_c_during_a_beam_search_stops_that_alone(talk, tmp_path, monkeypatch):
    path, run, steps = tmp_path / "said.jsonl", Engine.generate, []

    def interrupted(self, prompts, config):
        steps.append(config.num_beams)
        if len(steps) == 1:
            raise KeyboardInterrupt
        return run(self, prompts, config)

    monkeypatch.setattr(Engine, "generate", interrupted)
    said = talk("Anna has two cats.", "Is it?", f"/save {path}", argv=("--num_beams", "2"))
    assert "chat: stopped" in said.err and steps == [2, 2]
    assert [json.loads(row)["inputs"] for row in path.read_text().splitlines()] == ["Is it?"]
