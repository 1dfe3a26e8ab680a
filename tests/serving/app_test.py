# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The server over real connections: replies, streams, refusals, clients that go away, stopping."""

import concurrent.futures
import dataclasses
import json
import signal
import socket
import threading

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from flan_jax.core.errors import UsageError
from flan_jax.serving import app, questions, server
from flan_jax.serving.requests import ApiError, Limits
from tests.serving.tiny_servers import SpelledModel, Speller, events, running

LIMITS = Limits(max_tokens=32, max_answers=8, max_pending=8, max_body_bytes=4096, timeout_s=60)


@pytest.fixture(scope="module")
def client():
    with running(SpelledModel(), Speller, LIMITS) as found:
        yield found


@pytest.fixture
def held():
    """A client of a server that decodes a byte whenever the test releases the gate."""
    gate = threading.Semaphore(0)
    session = Speller(gate)
    with running(SpelledModel(), lambda: session, LIMITS) as found:
        found.gate, found.session = gate, session
        yield found
        gate.release(1000)


def test_a_completion_has_the_form_of_openais(client):
    found = client.complete("stressed", user="me", best_of=1, suffix=None, logit_bias={})
    assert found["choices"] == [
        {"index": 0, "text": "desserts", "finish_reason": "stop", "logprobs": None}
    ]
    assert found["usage"] == {"prompt_tokens": 8, "completion_tokens": 8, "total_tokens": 16}
    assert found["object"] == "text_completion" and found["model"] == "speller"
    assert found["id"].startswith("cmpl-") and found["created"] > 1.7e9


def test_answers_are_numbered_prompt_by_prompt(client):
    found = client.complete(["ab", "cde"], n=2, temperature=0.5, max_tokens=2)
    assert [(c["index"], c["text"], c["finish_reason"]) for c in found["choices"]] == [
        (0, "ba", "stop"), (1, "ba", "stop"), (2, "ed", "length"), (3, "ed", "length"),
    ]  # fmt: skip


@pytest.mark.parametrize("prompt", [[100, 101], [[100, 101]]])
def test_a_prompt_may_be_token_ids(client, prompt):
    assert client.complete(prompt)["choices"][0]["text"] == "ba"


def test_padding_does_not_end_the_prompt_of_an_encoder(client):
    status, found = client.post("/v1/completions", {"model": "speller", "prompt": [[100], [9, 0]]})
    assert status == 400 and "prompt[1] ends with the token 0" in found["error"]["message"]


def test_log_probabilities_stand_beside_the_tokens(client):
    found = client.complete("añb", logprobs=0)["choices"][0]
    assert found["text"] == "bña"
    assert found["logprobs"] == {
        "tokens": ["b", "", "ñ", "a"],
        "token_logprobs": [-1.0, -2.0, -3.0, -4.0],
        "top_logprobs": [{"b": -1.0}, {"<198>": -2.0}, {"ñ": -3.0}, {"a": -4.0}],
        "text_offset": [0, 1, 1, 2],
    }


def test_the_end_of_sequence_has_a_log_probability_too():
    """Harnesses drop the last token of what they get, which must not be one of the prompt's."""

    class Ending(Speller):
        @staticmethod
        def _answer(ids, config):
            answer = Speller._answer(ids, config)
            ended = tuple(np.append(each, np.float32(-9)) for each in answer.logprobs)
            return dataclasses.replace(answer, logprobs=ended)

    with running(SpelledModel(), Ending, LIMITS) as client:
        found = client.complete("ab", logprobs=0)
    assert found["choices"][0]["logprobs"]["tokens"] == ["b", "a", ""]
    assert found["choices"][0]["logprobs"]["token_logprobs"] == [-1.0, -2.0, -9.0]
    assert found["usage"]["completion_tokens"] == 2


def test_a_stream_adds_up_to_the_whole(client):
    reply = client.stream(["abc", "xy"], stream_options={"include_usage": True}, logprobs=0)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events(reply)
    assert done == "[DONE]"
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 10
    texts, reasons = {}, {}
    for chunk in chunks:
        [choice] = chunk["choices"]
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        if choice["finish_reason"]:
            reasons[choice["index"]] = choice["finish_reason"], choice["logprobs"]["tokens"]
    assert texts == {0: "cba", 1: "yx"}
    assert reasons == {0: ("stop", ["c", "b", "a"]), 1: ("stop", ["y", "x"])}
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert len(chunks) > 2


def test_a_stream_comes_as_it_is_decoded(held):
    reply = held.stream("ab")
    held.gate.release()
    assert json.loads(reply.readline().removeprefix(b"data: "))["choices"][0]["text"] == "b"
    held.gate.release()
    assert [e if e == "[DONE]" else e["choices"][0]["text"] for e in events(reply)[-2:]] == [
        "a", "[DONE]",
    ]  # fmt: skip


def test_other_addresses(client):
    assert client.get("/health")[1]["status"] == "ok"
    status, found = client.get("/v1/models")
    assert status == 200 and [m["id"] for m in found["data"]] == ["speller"]
    assert client.get("/v1/models/speller")[1]["object"] == "model"
    assert client.get("/v1/models/gpt")[0] == 404
    status, found = client.get("/v1/completion")
    assert status == 404 and "/v1/completions" in found["error"]["message"]
    status, found = client.get("/v1/completions")
    assert status == 405 and found["error"]["type"] == "invalid_request_error"


def test_votes_are_counted_by_the_rules_of_the_evaluations(client):
    texts = ["2+2 = 4. The answer is 4.", "The answer is 5", "4", ""]
    status, found = client.post("/api/votes", {"texts": texts, "rule": "number"})
    assert status == 200
    assert found["answers"] == ["4", "5", "4", ""] and found["winner"] == "4"
    assert found["counts"] == [{"answer": "4", "votes": 2}, {"answer": "5", "votes": 1}]
    assert (found["num_votes"], found["num_unparsed"]) == (3, 1)
    for body, message in [
        ({"texts": ["x"], "rule": "numbre"}, "did you mean 'number'"),
        ({"texts": []}, "list of texts"),
        ({"texts": ["x"] * 9}, "9 texts"),
        ({"texts": ["x", 3]}, "texts[1] must be a text, got 3"),
        ({"texts": ["The answer is \ud800"]}, "texts[0] is no valid Unicode"),
    ]:
        status, found = client.post("/api/votes", body)
        assert status == 400 and message in found["error"]["message"]


def test_a_text_that_votes_may_be_so_long():
    with pytest.raises(ApiError, match="has 20001 characters"):
        questions.votes_json(json.dumps({"texts": ["." * 20_001]}).encode(), Limits())


def test_prompts_are_phrased_in_three_ways(client):
    body = {"question": "2+2?", "exemplars": "Q: 1+1?\nA: 2"}
    assert client.post("/api/prompts", body)[1] == {
        "zero_shot": "2+2?",
        "few_shot": "Q: 1+1?\nA: 2\n\nQ: 2+2?\nA:",
        "step_by_step": "2+2?\nLet's think step by step.",
    }
    status, found = client.post("/api/prompts", body | {"exemplars": "Q: 1+1?"})
    assert status == 400 and "exemplar 1" in found["error"]["message"]


def send(client, data: bytes) -> tuple[int, dict]:
    """Returns the reply to bytes as they are."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(data)
        reply = connection.makefile("rb").read()
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_bodies_that_are_too_large_are_refused(client, monkeypatch):
    # 20 MB are more than fit in the buffers of a connection: they must be read to be answered.
    for size in (5000, 20_000_000):
        status, found = client.post("/v1/completions", b" " * size)
        assert status == 413 and found["error"]["code"] == "body_too_large"
    monkeypatch.setattr(app, "_DISCARDED_S", 0.1)  # what follows sends no more
    head = (
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    status, found = send(client, head + b"800\r\n" + b" " * 2048 + b"\r\n1000\r\n" + b" " * 4000)
    assert status == 413 and "4096 bytes" in found["error"]["message"]


def test_a_body_that_is_announced_is_refused_before_it_is_sent(client):
    head = (
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n"
    )
    status, found = send(client, head)
    assert status == 413 and found["error"]["code"] == "body_too_large"


def test_a_body_must_say_that_it_is_json(client):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, found = client.post("/v1/completions", {"prompt": "x"}, form)
    assert status == 415 and "application/json" in found["error"]["message"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_other_hosts_are_refused(client, host):
    status, found = client.get("/health", {"Host": host})
    assert status == 403 and found["error"]["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:1", "[::1]:8"])
def test_names_of_this_machine_are_taken(client, host):
    assert client.get("/health", {"Host": host})[0] == 200


def test_pages_of_other_sites_are_refused(client):
    status, found = client.get("/health", {"Origin": "https://evil.example"})
    assert status == 403 and found["error"]["code"] == "wrong_origin"
    for origin in ("null", "http://[", "", "127.0.0.1"):
        assert client.get("/health", {"Origin": origin})[0] == 403
    assert client.get("/health", {"Origin": client.url})[0] == 200
    reply = client.request("OPTIONS", "/v1/completions", headers={"Origin": client.url})
    assert reply.status == 405 and "access-control-allow-origin" not in reply.headers
    reply.close()


def test_the_address_it_listens_on_is_a_name_of_the_server():
    """Debian's /etc/hosts gives the machine's own name 127.0.1.1."""
    with server.listen("127.0.1.1", 0) as listener:
        assert set(server.host_names(listener)) == {*app.LOOPBACK_NAMES, "127.0.1.1"}


def test_an_address_that_is_none_is_one_clear_line():
    for host in ("a" * 70, "a..b"):
        with pytest.raises(UsageError, match=f"cannot listen on --host '{host}' --port 0"):
            server.listen(host, 0)


def test_headers_keep_replies_here(client):
    reply = client.request("GET", "/health")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"
    assert reply.headers["cache-control"] == "no-store"
    reply.close()


def test_too_many_requests_are_told_to_wait(held):
    streams = [held.stream("ab") for _ in range(8)]
    reply = held.request("POST", "/v1/completions", {"model": "speller", "prompt": "x"})
    assert reply.status == 429 and int(reply.headers["retry-after"]) >= 1
    assert json.loads(reply.read())["error"]["type"] == "rate_limit_error"
    held.gate.release(1000)
    assert all(events(stream)[-1] == "[DONE]" for stream in streams)
    assert held.complete("x")["choices"][0]["text"] == "x"


def test_prompts_that_wait_to_be_read_are_counted_too():
    """They come before the worker's own count."""
    reading = threading.Semaphore(0)

    class Slow(SpelledModel):
        def encode(self, text):
            reading.acquire()
            return super().encode(text)

    limits = dataclasses.replace(LIMITS, max_answers=2, max_pending=2)
    body = {"model": "speller", "prompt": "ab"}
    with running(Slow(), Speller, limits) as client:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(client.post, "/v1/completions", body) for _ in range(4)]
            done, _ = concurrent.futures.wait(asked, 20, concurrent.futures.FIRST_COMPLETED)
            assert [each.result()[0] for each in done] == [429] * len(done)
            wait_until(lambda: sum(each.done() for each in asked) == 2)
            reading.release(2)
            statuses = [each.result()[0] for each in asked]
        reading.release()
        assert sorted(statuses) == [200, 200, 429, 429]
        assert client.post("/v1/completions", body)[0] == 200


def wait_until(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come true within 20 s")


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_client_that_goes_away_asked_for_is_dropped(held, stream):
    body = json.dumps({"model": "speller", "prompt": ["a" * 20, "b" * 20], "stream": stream})
    connection = held.connect()
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    wait_until(lambda: len(held.session.open) == 2)
    connection.sock.close()
    wait_until(lambda: held.worker.num_pending == 0)
    held.gate.release(1)  # the step at which the worker waits
    wait_until(lambda: not held.session.open)
    assert held.session.cancelled == [0, 1]
    held.gate.release(1000)
    assert held.complete("x")["choices"][0]["text"] == "x"


def test_a_request_that_takes_too_long_ends():
    gate, limits = threading.Semaphore(0), Limits(max_tokens=32, timeout_s=0.3)
    with running(SpelledModel(), lambda: Speller(gate), limits) as client:
        status, found = client.post("/v1/completions", {"model": "speller", "prompt": "ab"})
        assert status == 504 and found["error"]["code"] == "timeout"
        *_, last = events(client.stream("ab"))
        assert last["error"]["code"] == "timeout"
        assert client.worker.num_pending == 0
        gate.release(1000)


def test_a_model_that_fails_ends_its_requests_and_works_again(client, capfd):
    status, found = client.post("/v1/completions", {"model": "speller", "prompt": "break"})
    assert status == 500 and "it broke" in found["error"]["message"]
    assert "RuntimeError: it broke" in capfd.readouterr().err
    assert client.complete("ab")["choices"][0]["text"] == "ba"


def test_what_the_session_refuses_ends_one_request_only(held):
    other = held.stream("a" * 30)
    wait_until(lambda: held.session.open)
    body = {"model": "speller", "prompt": ["xyz", "refuse"]}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        found = pool.submit(held.post, "/v1/completions", body)
        wait_until(lambda: (held.gate.release(), held.session.cancelled)[1])
        held.gate.release(1000)
        assert found.result() == (
            400,
            {
                "error": {
                    "message": "refused", "type": "invalid_request_error", "param": None,
                    "code": None,
                }
            },
        )  # fmt: skip
    assert events(other)[-1] == "[DONE]"


def test_a_body_that_takes_too_long_is_refused(client, monkeypatch):
    monkeypatch.setattr(app, "_BODY_S", 0.2)
    head = (
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    )
    status, found = send(client, head + b"{")
    assert status == 408 and "0.2 s" in found["error"]["message"]


def test_what_fails_within_a_stream_is_its_last_event():
    class Broken(SpelledModel):
        def token_logprobs(self, prompt, answers, num_alternatives):
            raise MemoryError("no room")

    with running(Broken(), Speller, LIMITS) as client:
        *chunks, last = events(client.stream("ab", logprobs=1))
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "b"
        assert last["error"]["message"] == "the model failed: no room"
        assert client.worker.num_pending == 0


def test_stopping_lets_requests_finish(held):
    stream = held.stream("ab")
    held.gate.release()
    stream.readline()
    held.server.should_exit = True
    wait_until(lambda: held.worker.is_stopping)
    held.gate.release(1000)
    assert events(stream)[-1] == "[DONE]"
    held.thread.join(20)
    assert not held.thread.is_alive()


def test_a_second_signal_ends_what_is_open():
    gate = threading.Semaphore(0)
    with running(SpelledModel(), lambda: Speller(gate), LIMITS, grace_s=600) as client:
        stream = client.stream("ab")
        gate.release()
        stream.readline()
        client.server.handle_exit(signal.SIGTERM, None)
        wait_until(lambda: client.worker.is_stopping)
        client.server.handle_exit(signal.SIGTERM, None)
        assert events(stream)[-1]["error"]["code"] == "stopping"
        gate.release(1000)


def test_stopping_ends_what_does_not_finish(held):
    stream = held.stream("ab")
    held.gate.release()
    stream.readline()
    held.server.should_exit = True
    assert events(stream)[-1]["error"]["code"] == "stopping"
    held.thread.join(20)
    assert not held.thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        held.get("/health")
