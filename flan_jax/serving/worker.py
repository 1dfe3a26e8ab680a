# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The one thread that works with the model, and the tickets by which an event loop asks of it.

All requests share one decoding session (continuous batching); what else is asked of the model runs
between two of its steps.
"""

import asyncio
import collections
import contextlib
import functools
import queue
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, TypeVar

from flan_jax.core import errors
from flan_jax.core.progress import say
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.serving.requests import ApiError

T = TypeVar("T")


class Answer(Protocol):
    """The answers to one prompt, as `inference.engine.Answer`."""

    texts: Sequence[str]
    tokens: Sequence[Sequence[int]]
    logprobs: Sequence[Sequence[float]]
    finish_reasons: Sequence[str]


class Update(Protocol):
    """News of one request, as `inference.engine.Update`."""

    id: int
    member: int
    text: str
    answer: Answer | None


class Session(Protocol):
    """Continuous batching, as `inference.engine.Session`."""

    def add(self, prompt: Sequence[int], config: DecodeConfig) -> int:
        """Takes a request in and returns its id."""
        ...

    def step(self) -> Sequence[Update]:
        """Decodes a few positions of all requests."""
        ...

    def cancel(self, id: int) -> None:
        """Drops a request and frees its row."""
        ...


class Ticket:
    """A request's place with the worker; to be closed, however it ends.

    Iterating gives `(prompt number, update)` until every prompt has its answer. It raises a
    `FlanError` if the session refuses a prompt, or if the worker fails or is stopped.
    """

    def __init__(
        self, worker: "Worker", prompts: Sequence[Sequence[int]], config: DecodeConfig | None
    ):
        self.prompts, self.config = prompts, config
        each = max(config.num_samples, config.num_beams) if config else 1
        self.num_answers = len(prompts) * each
        self.ids: list[int] = []  # the worker thread's, as long as the ticket is open
        self.is_open = True
        self._worker, self._loop = worker, asyncio.get_running_loop()
        self._news: asyncio.Queue[tuple[int, Update] | errors.FlanError] = asyncio.Queue()
        self._since = time.monotonic()

    async def __aiter__(self) -> AsyncIterator[tuple[int, Update]]:
        num_left = len(self.prompts)
        while num_left:
            news = await self._news.get()
            if isinstance(news, errors.FlanError):
                raise news
            num_left -= news[1].answer is not None
            yield news

    def tell(self, news: tuple[int, Update] | errors.FlanError) -> None:
        """Passes news on; from any thread."""
        _post(self._loop, self._news.put_nowait, news)

    def close(self) -> None:
        """Gives the place back; what is not decoded yet never will be."""
        if self.is_open:
            self.is_open = False
            self._worker.closed(self, time.monotonic() - self._since)


class Worker:
    """Owns the model from `start` to `stop`.

    Args:
        new_session: gives a decoding session; called in the worker's thread.
        max_pending: answers in work or waiting at most.
        context: entered in that thread, such as a mesh.
    """

    def __init__(
        self,
        new_session: Callable[[], Session],
        *,
        max_pending: int,
        context: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    ):
        self._new_session, self._max_pending = new_session, max_pending
        self._context = context
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        # What the thread is to do, in order; None ends it.
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._open: set[Ticket] = set()
        self._calls: set[asyncio.Future] = set()
        self._stopping = False
        self._recent_s: collections.deque[float] = collections.deque(maxlen=16)
        # The thread's own.
        self._session: Session | None = None
        self._tickets: dict[int, tuple[Ticket, int]] = {}  # by the session's ids
        self._running: set[Ticket] = set()

    @property
    def num_pending(self) -> int:
        """Answers in work or waiting."""
        return sum(ticket.num_answers for ticket in self._open)

    @property
    def is_stopping(self) -> bool:
        """Whether no more requests are taken."""
        return self._stopping

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def drain(self) -> None:
        """Takes no more requests; those that are open go on."""
        self._stopping = True

    def end_all(self) -> None:
        """Ends all open requests with an error."""
        self.drain()
        for ticket in self._open:
            ticket.tell(_stopped())
        for future in self._calls:
            _post(future.get_loop(), _settle, future, None, _stopped())

    def stop(self, timeout_s: float | None = None) -> None:
        """Ends the thread after the step it is at, and waits for it; called from any thread.

        A process must not end before: a compiler that is at work then aborts it.
        """
        self._inbox.put(None)
        self._thread.join(timeout_s)

    def admit(self, prompts: Sequence[Sequence[int]], config: DecodeConfig | None = None) -> Ticket:
        """Returns the ticket of a request; without `config` it holds a place and decodes nothing.

        Raises:
            ApiError: there is no room for it.
        """
        ticket = Ticket(self, prompts, config)
        self._check_room(ticket.num_answers)
        self._open.add(ticket)
        if config:
            self._inbox.put(functools.partial(self._add, ticket))
        return ticket

    async def call(self, function: Callable[[], T]) -> T:
        """Returns what a function gives that runs in the worker's thread.

        Raises:
            FlanError: the function does; an `ApiError` if it fails in another way or the worker is
                told to end all.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            if future.done():
                return
            try:
                found = function()
            except errors.FlanError as error:
                _post(loop, _settle, future, None, error)
            except Exception as error:  # the thread goes on, whatever it is
                traceback.print_exc()
                _post(loop, _settle, future, None, _failed(error))
            else:
                _post(loop, _settle, future, found, None)

        self._inbox.put(run)
        self._calls.add(future)
        try:
            return await future
        finally:
            self._calls.discard(future)

    def closed(self, ticket: Ticket, duration_s: float) -> None:
        """Takes notice that a ticket was closed."""
        self._open.discard(ticket)
        self._recent_s.append(duration_s)
        self._inbox.put(functools.partial(self._drop, ticket))

    def _check_room(self, num_answers: int) -> None:
        if self._stopping:
            raise _stopped()
        num_pending = self.num_pending
        if num_pending + num_answers > self._max_pending:
            recent = sorted(self._recent_s)
            typical_s = recent[len(recent) // 2] if recent else 1.0
            raise ApiError(
                429,
                f"{num_pending} answers are in work or waiting and {num_answers} more would be "
                f"above {self._max_pending}; try again soon",
                code="too_many_requests",
                retry_after_s=min(60, max(1, round(typical_s))),
            )

    # From here on: the thread.

    def _run(self) -> None:
        with self._context():
            going = True
            while going:
                try:
                    going = self._work()
                except Exception as error:
                    # Whatever went wrong, nobody may be left waiting, and the next one may do.
                    if not isinstance(error, errors.FlanError):
                        traceback.print_exc()
                    say(f"serve: the model failed ({error}); its requests end, the server goes on")
                    self._fail(error)

    def _work(self) -> bool:
        """Does what came in, then one step; returns whether to go on."""
        while True:
            try:
                # Wait for something only where there is nothing to decode.
                task = self._inbox.get(block=not self._tickets)
            except queue.Empty:
                break
            if task is None:
                return False
            task()
        for update in self._session.step():
            ticket, number = self._tickets[update.id]
            if update.answer is not None:
                del self._tickets[update.id]
            ticket.tell((number, update))
        return True

    def _add(self, ticket: Ticket) -> None:
        if not ticket.is_open:
            return
        self._running.add(ticket)
        if self._session is None:
            self._session = self._new_session()
        for number, prompt in enumerate(ticket.prompts):
            try:
                id_ = self._session.add(prompt, ticket.config)
            except errors.FlanError as error:
                self._drop(ticket)
                return ticket.tell(error)
            self._tickets[id_] = ticket, number
            ticket.ids.append(id_)

    def _drop(self, ticket: Ticket) -> None:
        self._running.discard(ticket)
        for id_ in ticket.ids:
            if self._tickets.pop(id_, None) is not None:
                self._session.cancel(id_)
        ticket.ids.clear()

    def _fail(self, error: Exception) -> None:
        for ticket in self._running:
            ticket.ids.clear()
            ticket.tell(_failed(error))
        self._running.clear()
        self._tickets.clear()
        self._session = None


def _failed(error: Exception) -> ApiError:
    return ApiError(500, f"the model failed: {error}", code="model_failed")


def _stopped() -> ApiError:
    return ApiError(503, "the server is being stopped", code="stopping")


def _post(loop: asyncio.AbstractEventLoop, function: Callable, *args: Any) -> None:
    with contextlib.suppress(RuntimeError):  # a closed loop: nobody waits any more
        loop.call_soon_threadsafe(function, *args)


def _settle(future: asyncio.Future, found: Any, error: Exception | None) -> None:
    if future.done():  # its client is gone, or all was ended
        return
    if error is None:
        future.set_result(found)
    else:
        future.set_exception(error)
