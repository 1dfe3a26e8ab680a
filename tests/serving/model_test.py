# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tiny real models behind the server: its answers and numbers are those of the model itself."""

import concurrent.futures
import math

import jax
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from flan_jax.inference import decode
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.serving.requests import Limits
from tests.serving.tiny_servers import BYTES, events, real_model, running

# Each kind of request compiles its programs.
pytestmark = pytest.mark.slow

LIMITS = Limits(max_tokens=32, max_answers=16, max_pending=64)


@pytest.fixture(scope="module", params=["t5", "decoder"])
def client(request):
    model = real_model(request.param)
    with running(model, model.new_session, LIMITS) as found:
        yield found


@pytest.fixture(scope="module")
def decoder():
    model = real_model("decoder")
    with running(model, model.new_session, LIMITS) as found:
        yield found


_apply = jax.jit(
    lambda model, params, batch: model.apply(params, batch, train=False), static_argnums=0
)


def full_logprobs(model, prompt, answer):
    """Returns log-probabilities `[length, vocab]` at each token of an answer, without a cache."""
    decoded = [*prompt, *answer] if model.continues_prompts else answer
    tokens = np.zeros((1, 32), np.int32)  # one shape for all: what comes after does not matter
    tokens[0, : len(decoded)] = decoded
    shifted = np.pad(tokens, ((0, 0), (1, 0)))[:, :-1]
    batch = {"decoder_input_tokens": shifted, "decoder_target_tokens": tokens}
    if not model.continues_prompts:
        batch["encoder_input_tokens"] = np.zeros((1, 16), np.int32)
        batch["encoder_input_tokens"][0, : len(prompt)] = prompt
    logits = _apply(model._engine.model, model._engine.params, batch)[0]
    found = np.asarray(jax.nn.log_softmax(logits))
    return found[len(decoded) - len(answer) : len(decoded)]


def test_answers_are_those_of_the_engine(client):
    model = client.model
    prompts = ["one", "three two", "?"]
    for fields, config in [
        (dict(temperature=0), DecodeConfig(max_length=9)),
        (
            dict(temperature=0.7, top_k=40, n=2, seed=5),
            DecodeConfig(max_length=9, temperature=0.7, top_k=40, num_samples=2, seed=5),
        ),
        (dict(num_beams=3, n=2), DecodeConfig(max_length=9, num_beams=3, num_samples=2)),
    ]:
        wanted = model._engine.generate([model.encode(p) for p in prompts], config)
        found = client.complete(prompts, max_tokens=9, logprobs=0, **fields)["choices"]
        assert [c["text"] for c in found] == [text for a in wanted for text in a.texts]
        assert [c["finish_reason"] for c in found] == [
            reason for a in wanted for reason in a.finish_reasons
        ]


def test_tokens_have_the_models_probabilities(client):
    model = client.model
    found = client.complete("count", max_tokens=6, temperature=0, logprobs=5)["choices"][0]
    plain = client.complete("count", max_tokens=6, temperature=0, logprobs=0)["choices"][0]
    prompt = model.encode("count")
    [answer] = model._engine.generate([prompt], DecodeConfig(max_length=6))
    tokens = answer.tokens[0].tolist()
    whole = full_logprobs(model, prompt, tokens)
    chosen = [row[token] for row, token in zip(whole, tokens, strict=True)]
    for reply in (found, plain):
        np.testing.assert_allclose(reply["logprobs"]["token_logprobs"], chosen, atol=1e-4)
    for row, top in zip(whole, found["logprobs"]["top_logprobs"], strict=True):
        assert max(top.values()) == pytest.approx(row.max(), abs=1e-4)
        # Bytes that are no character by themselves are shown by their number, so five are there.
        best = np.sort(row)[::-1][:5]
        np.testing.assert_allclose(sorted(top.values(), reverse=True), best, atol=1e-4)


def test_the_prompt_of_a_decoder_may_end_with_any_token(decoder):
    """Id 0 is padding behind a prompt, and a token at its end."""
    request = dict(max_tokens=4, temperature=0)
    prompt = [*BYTES.encode("count"), 0]
    found = [
        decoder.complete(prompt, logprobs=num, **request)["choices"][0]["logprobs"]
        for num in (0, 1)
    ]
    decoded, read_again = [each["token_logprobs"] for each in found]
    np.testing.assert_allclose(decoded, read_again, atol=1e-4)


def test_choices_have_the_models_probabilities(client):
    model = client.model
    body = {"model": "tiny", "prompt": "is it?", "choices": ["yes", "no", "perhaps"]}
    status, found = client.post("/api/score", body)
    assert status == 200, found
    prompt, sums = model.encode("is it?"), []
    for choice, text in zip(found["choices"], body["choices"], strict=True):
        tokens = [*BYTES.encode(text), BYTES.eos_id]
        whole = full_logprobs(model, prompt, tokens)
        sums.append(sum(row[token] for row, token in zip(whole, tokens, strict=True)))
        assert choice["logprob"] == pytest.approx(sums[-1], abs=1e-3)
        assert "".join(choice["tokens"]) == choice["text"] == text
    assert found["best"] == int(np.argmax(sums))
    total = sum(math.exp(x - max(sums)) for x in sums)
    assert found["choices"][0]["share"] == pytest.approx(
        math.exp(sums[0] - max(sums)) / total, abs=1e-3
    )


def test_samples_in_all_rows_wait_for_no_compiler_once_it_is_warm(decoder):
    decoder.model.warm_up()
    before = decode.run._cache_size(), decode.admit._cache_size()
    decoder.complete("x", temperature=1.0, n=4, max_tokens=3)
    decoder.complete("x", temperature=1.0, max_tokens=3)
    decoder.complete("x", temperature=0.0, max_tokens=3)
    assert (decode.run._cache_size(), decode.admit._cache_size()) == before


def test_an_encoder_does_not_echo(client):
    if client.model.continues_prompts:
        return
    body = {"model": "tiny", "prompt": "x", "echo": True, "max_tokens": 0, "logprobs": 1}
    status, found = client.post("/v1/completions", body)
    assert status == 400 and found["error"]["param"] == "echo"
    assert "/api/score" in found["error"]["message"]


def test_prompts_too_long_are_refused(client):
    status, found = client.post("/v1/completions", {"model": "tiny", "prompt": ["x", "y" * 70]})
    assert status == 400 and found["error"]["code"] == "context_length_exceeded"
    assert "prompt[1] has 7" in found["error"]["message"]


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_a_decoder_gives_the_probabilities_of_prompts(decoder, max_tokens):
    """As evaluation harnesses ask for them."""
    prompt = BYTES.encode("a prompt")
    reply = decoder.complete(
        [prompt], echo=True, logprobs=1, max_tokens=max_tokens, temperature=0, seed=1234
    )
    [found] = reply["choices"]
    logprobs = found["logprobs"]
    assert found["text"].startswith("a prompt") and "".join(logprobs["tokens"]) == found["text"]
    assert logprobs["token_logprobs"][0] is None and logprobs["top_logprobs"][0] is None
    whole = full_logprobs(decoder.model, prompt[:1], prompt[1:])
    chosen = [row[token] for row, token in zip(whole, prompt[1:], strict=True)]
    np.testing.assert_allclose(logprobs["token_logprobs"][1:8], chosen, atol=1e-4)
    for row, top in zip(whole, logprobs["top_logprobs"][1:8], strict=True):
        assert max(top.values()) == pytest.approx(row.max(), abs=1e-4)
    assert reply["usage"]["completion_tokens"] <= max_tokens


def test_many_clients_at_once_get_what_one_alone_gets(client):
    """Prompts and answers of mixed lengths; some streams are left after their first event."""
    cases = [("x" * (1 + 7 * i % 50), (3, 9, 30)[i % 3]) for i in range(24)]
    alone = [
        client.complete(prompt, max_tokens=num, temperature=0)["choices"][0]["text"]
        for prompt, num in cases
    ]

    def ask(i):
        prompt, num = cases[i]
        if i % 4 == 3:
            reply = client.stream(prompt, max_tokens=num, temperature=0)
            reply.readline()
            return reply.close()
        if i % 4 == 2:
            *chunks, _ = events(client.stream(prompt, max_tokens=num, temperature=0))
            return "".join(chunk["choices"][0]["text"] for chunk in chunks)
        return client.complete(prompt, max_tokens=num, temperature=0)["choices"][0]["text"]

    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        found = list(pool.map(ask, range(len(cases))))
    for i, (text, wanted) in enumerate(zip(found, alone, strict=True)):
        assert text == (None if i % 4 == 3 else wanted)
    assert client.complete("x", max_tokens=2)["usage"]["completion_tokens"] <= 2


def test_the_client_of_openai(client):
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    with openai.OpenAI(base_url=f"{client.url}/v1", api_key="none", max_retries=0) as api:
        assert [model.id for model in api.models.list()] == ["tiny"]
        fields = dict(model="tiny", prompt="tell", max_tokens=8, temperature=0.0, logprobs=2)
        whole = api.completions.create(**fields)
        [choice] = whole.choices
        assert whole.usage.completion_tokens <= len(choice.logprobs.tokens)
        stream = api.completions.create(**fields, stream=True)
        chunks = list(stream)
        assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text
        assert chunks[-1].choices[0].finish_reason == choice.finish_reason
        assert chunks[-1].choices[0].logprobs == choice.logprobs
        samples = api.completions.create(
            model="tiny", prompt="tell", n=3, seed=1, max_tokens=4, extra_body={"top_k": 5}
        )
        assert len(samples.choices) == 3
        with pytest.raises(openai.NotFoundError, match="this is 'tiny'"):
            api.completions.create(model="gpt", prompt="x")
        with pytest.raises(openai.BadRequestError, match="max_tokens"):
            api.completions.create(model="tiny", prompt="x", max_tokens=10**6)
        left = api.completions.create(**fields, stream=True)
        next(iter(left))
        left.close()
        assert api.completions.create(**fields).choices[0].text == choice.text
