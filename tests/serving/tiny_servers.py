# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Servers on 127.0.0.1: of tiny real models, and of one that spells prompts backwards.

The speller is another implementation of `inference.session.Session`, whose every step a test may
hold back, so that tests of the protocol need neither a compiler nor luck.
"""

import contextlib
import dataclasses
import functools
import http.client
import itertools
import json
import threading
import types
from collections.abc import Sequence

import jax
import numpy as np

from flan_jax.collection.vocabularies import ByteVocabulary
from flan_jax.core import errors
from flan_jax.inference import conversation
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Answer, Engine
from flan_jax.inference.session import Update
from flan_jax.models.decoder import DecoderLM
from flan_jax.models.decoder_network import DecoderConfig
from flan_jax.models.presets import t5_config
from flan_jax.models.t5 import T5
from flan_jax.serving import app, server
from flan_jax.serving.model import ServedModel
from flan_jax.serving.openai_api import TokenLogprobs
from flan_jax.serving.requests import Limits
from flan_jax.serving.worker import Worker

BYTES = ByteVocabulary()
DECODER = DecoderConfig(
    vocab_size=384, emb_dim=32, num_heads=2, head_dim=16, num_layers=2, mlp_dim=64, dtype="float32"
)


class Speller:
    """Answers a prompt with its text backwards, one byte of every request a step."""

    def __init__(self, gate: threading.Semaphore | None = None):
        self.gate, self.open, self.cancelled = gate, {}, []
        self._ids = itertools.count()

    def add(self, prompt: Sequence[int], config: DecodeConfig) -> int:
        text = BYTES.decode(prompt)
        if text == "break":
            raise RuntimeError("it broke")
        if text == "refuse":
            raise errors.DataError("refused")
        id_ = next(self._ids)
        self.open[id_] = [BYTES.encode(text[::-1]), config, 0]
        return id_

    def cancel(self, id_: int) -> None:
        self.cancelled.append(id_)
        del self.open[id_]

    def step(self) -> list[Update]:
        if self.gate and self.open:
            self.gate.acquire()
        found = []
        for id_, state in list(self.open.items()):
            ids, config, _ = state
            state[2] += 1
            num = min(state[2], config.max_length)
            text, whole = BYTES.decode(ids[:num]), None
            if num >= min(len(ids), config.max_length):
                whole = self._answer(ids, config)
                del self.open[id_]
            for member in range(config.num_samples):
                last = member == config.num_samples - 1
                found.append(
                    Update(
                        id=id_, member=member, text=text, done=whole is not None,
                        answer=whole if last else None,
                    )
                )  # fmt: skip
        return found

    @staticmethod
    def _answer(ids: list[int], config: DecodeConfig) -> Answer:
        kept, num = np.array(ids[: config.max_length], np.int32), config.num_samples
        return Answer(
            texts=(BYTES.decode(kept),) * num,
            tokens=(kept,) * num,
            logprobs=(-np.arange(1.0, len(kept) + 1, dtype=np.float32),) * num,
            scores=(-1.0,) * num,
            finish_reasons=("stop" if len(ids) <= config.max_length else "length",) * num,
        )


@dataclasses.dataclass(frozen=True)
class SpelledModel:
    """What a `ServedModel` says of the speller."""

    name: str = "speller"
    max_input_length: int = 64
    vocab_size: int = 384
    continues_prompts: bool = False
    vocabulary: ByteVocabulary = BYTES

    def encode(self, text: str) -> list[int]:
        return BYTES.encode(text)

    def token_logprobs(self, prompt, answers, num_alternatives) -> list[TokenLogprobs]:
        return [
            TokenLogprobs(
                tokens=answer, logprobs=[-1.0] * len(answer), alternatives=[()] * len(answer)
            )
            for answer in answers
        ]

    encode_answer = encode
    phrase = staticmethod(conversation.plain)


def predictor(model, seed: int = 0) -> types.SimpleNamespace:
    """Returns what a `ServedModel` asks of a `predicting.Predictor`, freshly drawn."""
    params = model.init(jax.random.key(seed))
    # Sharper than freshly drawn ones, so that answers differ.
    params = jax.tree.map(lambda leaf: leaf * 3 if leaf.ndim > 1 else leaf, params)
    engine = Engine(model, params, BYTES, max_input_length=64, num_rows=4)
    has_encoder = model.LAYOUT == "encoder_decoder"
    end = [BYTES.eos_id] if has_encoder else []
    return types.SimpleNamespace(
        name="tiny", engine=engine, vocabulary=BYTES, max_input_length=64,
        phrase=conversation.plain, on_mesh=contextlib.nullcontext,
        encode_as_is=lambda text: [*BYTES.encode(text), *end],
        encode_answer=lambda text: [*BYTES.encode(text), BYTES.eos_id],
    )  # fmt: skip


@functools.cache
def real_model(kind: str, max_tokens: int = 32) -> ServedModel:
    """Returns a tiny model: 't5' or 'decoder'."""
    model = T5(t5_config("tiny", vocab_size=384)) if kind == "t5" else DecoderLM(DECODER)
    return ServedModel(predictor(model), max_tokens)


class Client:
    """A server on a free port, in a thread, and what tests ask of it."""

    def __init__(self, model, worker: Worker, limits: Limits, grace_s: float = 1.0):
        self.model, self.worker, self.limits = model, worker, limits
        self.listener = server.listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.url = server.url(self.listener)
        self.server = server.Server(
            app.make_app(model, worker, limits, app.LOOPBACK_NAMES), worker, grace_s
        )
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def request(self, method: str, path: str, body=None, headers=()) -> http.client.HTTPResponse:
        """Returns the reply, to be read."""
        connection = self.connect()
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        # So that the connection is closed with the reply.
        kind["Connection"] = "close"
        connection.request(method, path, body, kind | dict(headers))
        return connection.getresponse()

    def post(self, path: str, body, headers=()) -> tuple[int, dict]:
        """Returns status and JSON of the reply."""
        reply = self.request("POST", path, body, headers)
        return reply.status, json.loads(reply.read())

    def get(self, path: str, headers=()) -> tuple[int, dict]:
        reply = self.request("GET", path, headers=headers)
        return reply.status, json.loads(reply.read())

    def complete(self, prompt, **fields) -> dict:
        """Returns the reply to a completion that is answered."""
        body = {"model": self.model.name, "prompt": prompt, **fields}
        status, found = self.post("/v1/completions", body)
        assert status == 200, found
        return found

    def stream(self, prompt, **fields) -> http.client.HTTPResponse:
        """Returns the reply to a completion that is streamed."""
        body = {"model": self.model.name, "prompt": prompt, "stream": True, **fields}
        return self.request("POST", "/v1/completions", body)


def events(reply) -> list:
    """Returns the events of a stream: JSON, or '[DONE]'."""
    lines = [line for line in reply.read().decode().lstrip("\n").split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    texts = [line.removeprefix("data: ") for line in lines]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


@contextlib.contextmanager
def running(model, new_session, limits: Limits | None = None, grace_s: float = 1.0):
    """Gives a client of a server that runs, and ends it."""
    limits = limits or Limits(max_tokens=32)
    worker = Worker(new_session, max_pending=limits.max_pending)
    client = Client(model, worker, limits, grace_s)
    worker.start()
    client.thread.start()
    try:
        yield client
    finally:
        client.server.should_exit = True
        client.thread.join(30)
        worker.stop(10)
        assert not client.thread.is_alive()
