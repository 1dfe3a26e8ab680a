# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Requests of OpenAI's completions: what is taken, and how the rest is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.collection.vocabularies import ByteVocabulary
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.serving import openai_api
from flan_jax.serving.openai_api import TokenLogprobs
from flan_jax.serving.requests import ApiError, Limits

LIMITS = Limits(max_tokens=100, max_answers=10, max_pending=10)
BYTES = ByteVocabulary()


def parse(body):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return openai_api.parse_completion(body, LIMITS, "tiny", 384)


def test_the_defaults_are_openais():
    found = parse({"model": "tiny", "prompt": "x"})
    seed = found.config.seed
    assert found.config == DecodeConfig(max_length=16, temperature=1.0, seed=seed)
    assert found.prompts == ["x"]
    assert (found.logprobs, found.echo, found.stream) == (None, False, False)
    other = parse({"model": "tiny", "prompt": "x", "temperature": None, "seed": None})
    assert other.config.seed != seed, "without a seed every request draws anew"


def test_fields_reach_the_decoder():
    body = {
        "model": "tiny", "prompt": [[5, 6], "x"], "max_tokens": 9, "temperature": 0.5, "top_p": 0.9,
        "top_k": 40, "n": 3, "seed": 7, "stop": ["a", "b"], "logprobs": 2, "stream": True,
        "stream_options": {"include_usage": True}, "presence_penalty": 0, "user": "u",
    }  # fmt: skip
    found = parse(body)
    assert found.prompts == [(5, 6), "x"]
    assert found.config == DecodeConfig(
        max_length=9, temperature=0.5, top_p=0.9, top_k=40, num_samples=3, seed=7, stop=("a", "b")
    )
    assert found.logprobs == 2 and found.stream and found.include_usage
    beams = parse({"model": "tiny", "prompt": "x", "num_beams": 4, "n": 2, "seed": 1})
    assert beams.config == DecodeConfig(max_length=16, num_beams=4, num_samples=2, seed=1)


def test_nothing_need_be_decoded_where_the_prompt_is_given_back():
    assert parse({"model": "tiny", "prompt": "x", "max_tokens": 0, "echo": True}).config is None


MISTAKES = [
    ({"prompt": "x"}, 400, "model", "model is missing"),
    ({"model": "gpt", "prompt": "x"}, 404, "model", "no model 'gpt' here; this is 'tiny'"),
    ({"model": "tiny"}, 400, "prompt", "prompt is missing"),
    ({"prompt": 5}, 400, "prompt", "got 5"),
    ({"prompt": []}, 400, "prompt", "got []"),
    ({"prompt": [[]]}, 400, "prompt", "prompt[0] must be a text or a list of token ids, got []"),
    ({"prompt": ["x", 5]}, 400, "prompt", "prompt[1] must be"),
    ({"prompt": [5, "x"]}, 400, "prompt", "prompt[0] must be"),
    ({"prompt": [384]}, 400, "prompt", "token ids from 0 to 383, got 384"),
    ({"prompt": [-1]}, 400, "prompt", "got -1"),
    ({"prompt": [True]}, 400, "prompt", "prompt[0] must be"),
    ({"prompt": ["x"] * 11}, 400, "prompt", "11 prompts; a request may have 10"),
    ({"prompt": "\ud800"}, 400, "prompt", "prompt[0] is no valid Unicode"),
    ({"max_tokens": 0}, 400, "max_tokens", "from 1 to 100, got 0"),
    ({"max_tokens": 101}, 400, "max_tokens", "got 101"),
    ({"max_tokens": 5.0}, 400, "max_tokens", "whole number"),
    ({"max_tokens": True}, 400, "max_tokens", "whole number"),
    ({"temperature": -1}, 400, "temperature", "from 0 to 2, got -1"),
    ({"temperature": "hot"}, 400, "temperature", 'got "hot"'),
    ({"top_p": 0}, 400, "top_p", "from 1e-06 to 1, got 0"),
    ({"top_p": 1.1}, 400, "top_p", "got 1.1"),
    ({"n": 11}, 400, "n", "from 1 to 10"),
    ({"n": 6, "prompt": ["x", "y"]}, 400, "n", "12 answers; a request may ask for 10"),
    ({"n": 2, "temperature": 0}, 400, "n", "would all be the same"),
    ({"num_beams": 2, "temperature": 1}, 400, "num_beams", "beams are not sampled"),
    ({"num_beams": 2, "n": 3}, 400, "n", "above num_beams 2"),
    ({"seed": -1}, 400, "seed", "got -1"),
    ({"seed": 2**31}, 400, "seed", "got 2147483648"),
    ({"stop": [""]}, 400, "stop", "stop[0] is empty"),
    ({"stop": ["x"] * 17}, 400, "stop", "at most 16"),
    ({"stop": ["x" * 201]}, 400, "stop", "200"),
    ({"stop": 5}, 400, "stop", "got 5"),
    ({"stream": 1}, 400, "stream", "true or false, got 1"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, 400, "stream_options", "or false"),
    ({"stream": True, "stream_options": {"usage": True}}, 400, "stream_options", "or false"),
    ({"stream": True, "stream_options": []}, 400, "stream_options", "or false"),
    ({"stream_options": {"include_usage": True}}, 400, "stream_options", "without stream"),
    ({"logprobs": 6}, 400, "logprobs", "from 0 to 5, got 6"),
    ({"logprobs": True}, 400, "logprobs", "got true"),
    ({"best_of": 2}, 400, "best_of", "leave it out, got 2"),
    ({"suffix": "x"}, 400, "suffix", "not supported"),
    ({"frequency_penalty": 0.5}, 400, "frequency_penalty", "not supported"),
    ({"logit_bias": {"5": 1}}, 400, "logit_bias", "not supported"),
    ({"temprature": 1}, 400, "temprature", "\"temprature\"; did you mean 'temperature'?"),
    ({"\ud800": 1}, 400, None, r'unknown field "\ud800"; known: model'),
    ({"y" * 1000: 1}, 400, None, f'unknown field "{"y" * 76}...;'),
    ({"n": 2, "max_tokens": 0, "echo": True}, 400, "n", "n 2 with max_tokens 0"),
    ({"model": "y" * 1000}, 404, "model", f"no model '{'y' * 80}' here"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "status", "param", "message"), MISTAKES)
def test_mistakes_are_named(fields, status, param, message):
    body = {"model": "tiny", "prompt": "x"} | fields
    if "is missing" in message:
        body = fields
    with pytest.raises(ApiError) as raised:
        parse(body)
    assert (raised.value.status, raised.value.param) == (status, param)
    assert message in str(raised.value)
    reply = raised.value.as_json()
    assert reply["error"]["type"] == "invalid_request_error"
    assert json.dumps(reply, ensure_ascii=False).encode()  # as it is sent


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no JSON"),
        (b"[]", "must be a JSON object, got []"),
        (b'{"a": 1', "line 1, column 8"),
        (b"\xff", "UTF-8"),
        (b'{"temperature": NaN}', "NaN is no number of JSON"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "digits"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_bodies_that_are_no_json_objects_are_refused(body, message):
    with pytest.raises(ApiError, match=None) as raised:
        parse(body)
    assert raised.value.status == 400 and message in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = [
    "model", "prompt", "max_tokens", "temperature", "top_p", "top_k", "n", "num_beams", "seed",
    "stop", "stream", "stream_options", "echo", "logprobs", "best_of", "logit_bias", "suffix",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_json_is_taken_or_refused(fields):
    body = json.dumps({"model": "tiny", "prompt": "x"} | fields).encode()
    try:
        parse(body)
    except ApiError as error:
        assert 400 <= error.status < 500 and json.dumps(error.as_json())


@given(st.text())
def test_texts_of_tokens_make_the_text(text):
    tokens = BYTES.encode(text)
    found = TokenLogprobs(
        tokens=tokens, logprobs=[-1.0] * len(tokens), alternatives=[()] * len(tokens)
    )
    shown = openai_api.logprobs_json(found, BYTES)
    assert "".join(shown["tokens"]) == text
    for piece, offset in zip(shown["tokens"], shown["text_offset"], strict=True):
        assert text[offset : offset + len(piece)] == piece


def test_alternatives_are_by_text_and_hold_the_chosen_one():
    a, b, eos = 3 + ord("a"), 3 + ord("b"), 1
    found = TokenLogprobs(
        tokens=[a, b], logprobs=[None, -2.0], alternatives=[(), [(a, -0.5), (eos, -1.0)]]
    )
    shown = openai_api.logprobs_json(found, BYTES)
    assert shown["top_logprobs"] == [None, {"b": -2.0, "a": -0.5, "<1>": -1.0}]


def test_alternatives_of_the_same_text_are_kept_apart():
    class Deaf:
        def decode(self, ids):
            return "x" * len(ids)

    found = TokenLogprobs(tokens=[5], logprobs=[-2.0], alternatives=[[(7, -0.5), (5, -2.0)]])
    assert openai_api.logprobs_json(found, Deaf())["top_logprobs"] == [{"x": -2.0, "<7>": -0.5}]


def test_tokens_behind_a_stop_are_left_out():
    tokens = BYTES.encode("abcd")
    found = TokenLogprobs(tokens=tokens, logprobs=[-1.0] * 4, alternatives=[()] * 4)
    assert openai_api.logprobs_json(found, BYTES, end=2)["tokens"] == ["a", "b"]
    assert openai_api.logprobs_json(found, BYTES, offset=5, end=7)["text_offset"] == [5, 6]
