# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prompts of several exchanges: how they are phrased, what is left out, what is refused."""

import re

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.inference import conversation
from flan_jax.inference.conversation import Exchange

CHATML = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TURNS = [Exchange("one?", "1"), Exchange("two?", "2"), Exchange("three?", "3")]


def test_a_question_alone_is_the_prompt():
    assert conversation.plain([], "Is it?") == "Is it?"
    assert conversation.templated("", "here") is conversation.plain


def test_exchanges_come_before_the_question():
    expected = "Q: one?\nA: 1\n\nQ: two?\nA: 2\n\nQ: and?\nA:"
    assert conversation.plain(TURNS[:2], "and?") == expected


def test_a_template_phrases_each_turn():
    phrase = conversation.templated(CHATML, "here")
    assert phrase([], "hi") == "<user>hi</><assistant>"
    assert phrase(TURNS[:1], "hi") == "<user>one?</><assistant>1</><user>hi</><assistant>"


@pytest.mark.parametrize(
    "template",
    [
        "{% for %}",
        "{{ raise_exception('alternate the roles') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",  # reaches out of the sandbox
        "{{ 1 / messages }}",
        "{{ 1 / 0 }}",
        "{{ 2.0 ** 9999 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "(" * 9_999 + "{{ " + "(" * 9_999 + "1",
        "{{ range(10 ** 9) }}",
        "{{ '\\ud800' }}",
        "{% for %}" + "\n" * 9_999,
    ],
)
def test_a_template_that_fails_is_one_line(template):
    with pytest.raises(DataError, match="the chat template of here fails") as caught:
        conversation.templated(template, "here")([], "hi")
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 300


def test_a_template_may_name_the_tokens_of_its_checkpoint():
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    template = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token }}"
    assert conversation.templated(template, "here", tokens)([], "hi") == "<s>hi</s>"
    assert conversation.templated(template, "here")([], "hi") == "hi"


def test_the_oldest_turns_are_left_out():
    shots = [Exchange("zero?", "0")]
    asked = dict(shots=shots, turns=TURNS, question="four?")

    def fit(max_length):
        return conversation.fitting(conversation.plain, len, max_length, **asked)

    whole, dropped = fit(1000)
    assert dropped == 0 and [q in whole for q in ("zero", "one", "two", "three")] == [True] * 4
    prompt, dropped = fit(len(whole) - 1)
    assert dropped == 1 and "zero?" in prompt and "one?" not in prompt and "two?" in prompt
    least = conversation.plain(shots, "four?")
    assert fit(len(least)) == (least, 3)
    with pytest.raises(UsageError, match=f"1 exemplar.* are {len(least)} tokens, the model takes"):
        fit(len(least) - 1)


def test_exemplars_are_read_from_a_file(tmp_path):
    path = tmp_path / "shots.jsonl"
    path.write_text('{"inputs": "a", "targets": "b", "id": 1}\n\n{"inputs": "c", "targets": "d"}\n')
    assert conversation.read_exchanges(str(path)) == [Exchange("a", "b"), Exchange("c", "d")]


def test_a_file_without_answers_is_refused(tmp_path):
    path = tmp_path / "shots.jsonl"
    path.write_text('{"inputs": "a"}')
    message = ':1: need an object with a string "inputs" and a string "targets"'
    with pytest.raises(DataError, match=re.escape(f"{path}{message}")):
        conversation.read_exchanges(str(path))


def test_an_exemplar_is_written_with_an_arrow():
    assert conversation.parse_exchange(" 1+1? => 2 ") == Exchange("1+1?", "2")
    for text in ("1+1?", "=> 2", "1+1? =>"):
        with pytest.raises(UsageError, match="write QUESTION => ANSWER"):
            conversation.parse_exchange(text)


def test_a_chain_of_thought_is_asked_for():
    assert conversation.step_by_step("Why?") == "Why?\nLet's think step by step."
