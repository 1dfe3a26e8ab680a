# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The HTTP side: who may ask, what is where, and what happens when a client goes away.

Every refusal is JSON. What a request asked of the model ends as soon as its client is gone.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar
from urllib import parse

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flan_jax.core import errors
from flan_jax.inference.decode import PAD_ID
from flan_jax.serving import openai_api, page, questions
from flan_jax.serving.answering import Answering
from flan_jax.serving.model import ServedModel, Tokens
from flan_jax.serving.openai_api import Completion, Json
from flan_jax.serving.requests import ApiError, Limits
from flan_jax.serving.worker import Worker

T = TypeVar("T")
Answer = Callable[[bytes], Coroutine[Any, Any, ASGIApp]]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

# For every reply: nothing here is for other sites, or to be kept.
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Nobody reads the reply to a client that is gone; the number is the usual one in logs.
_GONE = 499
# For a body to come in.
_BODY_S = 30.0
# Of one that is refused, what is read all the same, and for how long.
_DISCARDED_BYTES, _DISCARDED_S = 1 << 26, 2.0
# For a client that does not read to take in what is left.
_LAST_WORDS_S = 5.0


def make_app(
    model: ServedModel, worker: Worker, limits: Limits, host_names: Sequence[str] | None
) -> ASGIApp:
    """Returns the application.

    Args:
        model: the model that is served.
        worker: the thread that works with it, started and stopped by the caller.
        limits: what requests may ask for.
        host_names: the names by which the server may be addressed; None: any. On a loopback
            address this keeps pages of other sites from reaching it by a name of theirs that
            leads here.
    """
    server = _Server(model, worker, limits)
    app = Starlette(
        routes=[
            Route("/", server.page),
            Route("/health", server.health),
            Route("/v1/models", server.models),
            Route("/v1/models/{name:path}", server.model),
            Route("/v1/completions", server.post(server.complete), methods=["POST"]),
            Route("/api/score", server.post(server.score), methods=["POST"]),
            Route("/api/prompts", server.post(server.phrase), methods=["POST"]),
            Route("/api/votes", server.post(server.count_votes), methods=["POST"]),
        ],
        exception_handlers={
            HTTPException: _http_error,
            errors.FlanError: _flan_error,
            ClientDisconnect: _gone,
            Exception: _own_error,
        },
    )
    return _Guard(app, host_names)


class _Server:
    """What each address does."""

    def __init__(self, model: ServedModel, worker: Worker, limits: Limits):
        self._model, self._worker, self._limits = model, worker, limits
        self._created = int(time.time())
        self._num_posts = 0  # that are being read, put in tokens, or answered as a whole

    async def page(self, request: Request) -> Response:
        """The playground."""
        del request
        return page.response(self._model, self._limits)

    async def health(self, request: Request) -> Response:
        """Whether requests are taken, and how many answers are pending."""
        del request
        stopping = self._worker.is_stopping
        found = {
            "status": "stopping" if stopping else "ok",
            "model": self._model.name,
            "pending": self._worker.num_pending,
            "max_pending": self._limits.max_pending,
        }
        return JSONResponse(found, 503 if stopping else 200)

    async def models(self, request: Request) -> Response:
        """The list of the one model."""
        del request
        return JSONResponse(openai_api.models(self._model.name, self._created))

    async def model(self, request: Request) -> Response:
        """That model."""
        openai_api.check_name(request.path_params["name"], self._model.name)
        return JSONResponse(openai_api.model(self._model.name, self._created))

    async def complete(self, body: bytes) -> ASGIApp:
        """Continues prompts, or answers them."""
        completion = openai_api.parse_completion(
            body, self._limits, self._model.name, self._model.vocab_size
        )
        prompts = await self._tokens(completion)
        answering = Answering(self._model, self._worker, completion, prompts)
        head = openai_api.head(self._model.name)
        if completion.stream:
            events = _events(answering, completion, head)
            return _EventStream(events, answering.close, self._limits.timeout_s)
        with contextlib.closing(answering):
            choices = await answering.whole()
        return JSONResponse(openai_api.reply(head, choices, answering.usage()))

    async def _tokens(self, completion: Completion) -> list[Tokens]:
        """Returns the prompts' tokens, if the model takes them."""
        if completion.echo and not self._model.continues_prompts:
            raise ApiError(
                400, f"echo: {self._model.name!r} has an encoder, which reads a prompt as a whole: "
                "its answers do not go on from it, and its tokens have no probabilities; "
                "POST /api/score gives those of an answer", param="echo",
            )  # fmt: skip
        return await self._encoded(completion.prompts, "prompt")

    async def _encoded(self, prompts: Sequence[str | Tokens], field: str) -> list[Tokens]:
        def encoded() -> list[Tokens]:
            return [
                self._model.encode(prompt) if isinstance(prompt, str) else prompt
                for prompt in prompts
            ]

        tokens = await asyncio.to_thread(encoded)
        for i, ids in enumerate(tokens):
            if len(ids) > self._model.max_input_length:
                raise ApiError(
                    400,
                    f"{field}[{i}] has {len(ids)} tokens; the model takes "
                    f"{self._model.max_input_length}",
                    param=field, code="context_length_exceeded",
                )  # fmt: skip
            if not len(ids):
                raise ApiError(400, f"{field}[{i}] is empty; give it a text", param=field)
            if ids[-1] == PAD_ID and not self._model.continues_prompts:
                raise ApiError(
                    400, f"{field}[{i}] ends with the token {PAD_ID}, which is padding; leave it "
                    "out", param=field,
                )  # fmt: skip
        return tokens

    async def score(self, body: bytes) -> Response:
        """Says how likely given answers to a prompt are."""
        asked = questions.parse_score(body, self._limits, self._model.name)
        [prompt] = await self._encoded([asked.prompt], "prompt")
        choices = await asyncio.to_thread(
            lambda: list(map(self._model.encode_answer, asked.choices))
        )
        questions.check_choices(choices, self._limits)
        with contextlib.closing(self._worker.admit([prompt])):
            scores = await self._worker.call(lambda: self._model.score(prompt, choices))
        found = await asyncio.to_thread(
            questions.score_json, asked, choices, scores, self._model.vocabulary
        )
        return JSONResponse(found)

    async def phrase(self, body: bytes) -> Response:
        """Makes prompts of a question: alone, after exemplars, and asking for steps."""
        return JSONResponse(questions.prompts_json(body, self._model.phrase))

    async def count_votes(self, body: bytes) -> Response:
        """Finds the answer in each text, and what most of them say."""
        return JSONResponse(await asyncio.to_thread(questions.votes_json, body, self._limits))

    def post(self, answer: Answer) -> Callable[[Request], Awaitable[ASGIApp]]:
        """Returns an endpoint that reads a body and answers it in time, if the client waits."""

        async def endpoint(request: Request) -> ASGIApp:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise ApiError(415, f"Content-Type must be application/json, got {kind!r}")
            with self._counted():
                body = await self._body(request)
                try:
                    async with asyncio.timeout(self._limits.timeout_s):
                        return await _while_connected(request.receive, answer(body))
                except TimeoutError:
                    raise _too_slow(self._limits.timeout_s) from None

        return endpoint

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Counts a request, so that bodies and prompts do not pile up before the worker."""
        if self._num_posts >= self._limits.max_pending:
            raise ApiError(
                429, f"{self._num_posts} requests are in work; try again soon",
                code="too_many_requests", retry_after_s=1,
            )  # fmt: skip
        self._num_posts += 1
        try:
            yield
        finally:
            self._num_posts -= 1

    async def _body(self, request: Request) -> bytes:
        most, chunks = self._limits.max_body_bytes, request.stream()
        too_large = ApiError(413, f"the body is larger than {most} bytes", code="body_too_large")
        length = request.headers.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,18}", length) or int(length) > most:
            if "expect" not in request.headers:  # else the client asks before it sends
                await _discard(chunks)
            raise too_large
        try:
            async with asyncio.timeout(_BODY_S):
                body = bytearray()
                async for chunk in chunks:
                    body += chunk
                    if len(body) > most:
                        await _discard(chunks)
                        raise too_large
                return bytes(body)
        except TimeoutError:
            raise ApiError(408, f"the body has not come within {_BODY_S:g} s") from None


async def _discard(chunks: AsyncIterator[bytes]) -> None:
    """Reads on for a while: many clients read no reply before they have sent all."""
    num_left = _DISCARDED_BYTES
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_DISCARDED_S):
            async for chunk in chunks:
                num_left -= len(chunk)
                if num_left < 0:
                    return


async def _events(answering: Answering, completion: Completion, head: Json) -> AsyncIterator[bytes]:
    """Yields a completion as server-sent events."""
    async for part in answering.parts():
        yield openai_api.event(openai_api.reply(head, [part]))
    if completion.include_usage:
        yield openai_api.event(openai_api.reply(head, [], answering.usage()))


class _EventStream:
    """A reply of server-sent events; what stops it becomes its last event."""

    def __init__(self, events: AsyncIterator[bytes], close: Callable[[], None], timeout_s: float):
        self._events, self._close, self._timeout_s = events, close, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        try:
            with contextlib.suppress(ClientDisconnect):
                await _while_connected(receive, self._send(send))
        finally:
            self._close()

    async def _send(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        last = openai_api.DONE
        try:
            async with asyncio.timeout(self._timeout_s):
                async for event in self._events:
                    await send(_chunk(event))
                    # To send does not wait by itself; thus it is seen when a client is gone.
                    await asyncio.sleep(0)
        except TimeoutError:
            last = openai_api.event(_too_slow(self._timeout_s).as_json())
        except errors.FlanError as error:
            last = openai_api.event(_as_refusal(error).as_json())
        self._close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await send(_chunk(last))
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def _chunk(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Returns what `work` gives; ends it and raises when the client goes away."""

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, gone = asyncio.create_task(work), asyncio.create_task(disconnected())
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect()
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


class _Guard:
    """Refuses what is addressed to others or comes from pages of others; adds headers."""

    def __init__(self, app: ASGIApp, host_names: Sequence[str] | None):
        self._app, self._host_names = app, host_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(Headers(scope=scope))
        except ApiError as error:
            await _refusal(error)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _check(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._host_names is not None and _name_of(host) not in self._host_names:
            raise ApiError(
                403, f"no host {host!r} here; use {' or '.join(self._host_names)}",
                code="wrong_host",
            )  # fmt: skip
        origin = headers.get("origin")
        if origin is not None and not _is_from(origin, host):
            raise ApiError(
                403, f"requests of pages from {origin!r} are refused", code="wrong_origin"
            )


def _name_of(host: str) -> str | None:
    """Returns the name in a Host header, without a port; None where it is none."""
    try:
        return parse.urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_from(origin: str, host: str) -> bool:
    """Returns whether an Origin header names a page of a host."""
    try:
        return parse.urlsplit(origin).netloc == host
    except ValueError:
        return False


def _too_slow(timeout_s: float) -> ApiError:
    return ApiError(504, f"not done after {timeout_s:g} s; ask for less", code="timeout")


def _refusal(error: ApiError) -> Response:
    return JSONResponse(error.as_json(), error.status, headers=error.headers)


def _as_refusal(error: errors.FlanError) -> ApiError:
    if isinstance(error, ApiError):
        return error
    is_mistake = isinstance(error, errors.UsageError | errors.DataError)
    return ApiError(400 if is_mistake else 500, str(error))


async def _flan_error(request: Request, error: Exception) -> Response:
    """What we refuse, and what other parts of flan_jax do."""
    del request
    assert isinstance(error, errors.FlanError)
    return _refusal(_as_refusal(error))


async def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such address, not by this method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    known = [route.path for route in request.app.routes]
    if error.status_code == 404:
        near = errors.closest(path[:80], known, num=1)
        message = f"nothing at {path[:80]!r}" + (f"; did you mean {near[0]}?" if near else "")
    else:
        message = f"{request.method} {path}: {error.detail}"
    found = JSONResponse(ApiError(error.status_code, message).as_json(), error.status_code)
    found.headers.update(error.headers or {})
    return found


async def _gone(request: Request, error: Exception) -> Response:
    del request, error
    return Response(status_code=_GONE)


async def _own_error(request: Request, error: Exception) -> Response:
    """What went wrong here; the server prints its trace."""
    del request
    return _refusal(ApiError(500, f"the server failed: {type(error).__name__}: {error}"))
