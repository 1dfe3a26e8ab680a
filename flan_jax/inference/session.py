# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers while they are made: requests come and go, and each step tells what is new.

Requests of all settings share the rows of one program (continuous batching); one for several
samples takes as many rows. A beam search has a lane of its own while it lasts, as nothing of it can
be shown before its end.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Sequence

import numpy as np

from flan_jax.core import errors
from flan_jax.inference import sampling, stopping
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Answer, Engine
from flan_jax.inference.lane import Request


@dataclasses.dataclass(frozen=True, kw_only=True)
class Update:
    """What is new of an answer."""

    id: int  # of the request
    member: int  # which of its answers
    text: str  # all of it so far that will stay
    done: bool
    answer: Answer | None = None  # when all answers of the request are done, the whole


@dataclasses.dataclass(kw_only=True)
class _Open:
    """A request that is not done."""

    config: DecodeConfig
    requests: list[Request]  # one for each sample
    done: dict[int, Answer] = dataclasses.field(default_factory=dict)
    shown: dict[int, str] = dataclasses.field(default_factory=dict)


class Session:
    """Requests that an engine answers side by side; for one thread."""

    def __init__(self, engine: Engine, *, max_length: int, num_steps: int = 4):
        """Makes a session with nothing to do.

        Args:
            engine: the engine.
            max_length: most tokens of an answer.
            num_steps: positions that a step decodes: more are faster, and come in larger pieces.
        """
        self._engine, self._max_length, self._num_steps = engine, max_length, num_steps
        self._ids = itertools.count()
        self._open: dict[int, _Open] = {}
        self._waiting: deque[tuple[int, Request]] = deque()
        self._names: dict[Request, int] = {}
        self._lane = engine.lane(num_members=1)
        self._beams: deque[int] = deque()

    @property
    def num_active(self) -> int:
        """Answers that are being decoded."""
        return self._lane.num_active

    @property
    def num_waiting(self) -> int:
        """Answers that wait for a row."""
        return len(self._waiting) + len(self._beams)

    def add(self, prompt: Sequence[int], config: DecodeConfig) -> int:
        """Takes a request and returns its id.

        Raises:
            DataError: the prompt is one that `Engine.generate` does not take.
            UsageError: nor the settings, or more tokens are asked for than `max_length`.
        """
        self._engine.check_config(config)
        tokens = self._engine.checked(prompt, "the prompt")
        if config.max_length > self._max_length:
            raise errors.UsageError(
                f"max_length {config.max_length} is above the {self._max_length} that are taken; "
                "ask for fewer tokens"
            )
        id_ = next(self._ids)
        key = sampling.row_key(config.seed, tokens)
        num = 1 if config.num_beams > 1 else config.num_samples
        requests = [
            Request(prompt=tokens, config=config, key=key, first_member=i) for i in range(num)
        ]
        self._open[id_] = _Open(config=config, requests=requests)
        if config.num_beams > 1:
            self._beams.append(id_)
        else:
            self._waiting.extend((id_, request) for request in requests)
        return id_

    def cancel(self, id_: int) -> None:
        """Forgets a request and frees its rows; one that is done or unknown is none."""
        if self._open.pop(id_, None) is None:
            return
        self._waiting = deque(each for each in self._waiting if each[0] != id_)
        self._beams = deque(each for each in self._beams if each != id_)
        for row, request in enumerate(self._lane.requests):
            if request is not None and self._names[request] == id_:
                self._release(row)

    def step(self) -> list[Update]:
        """Decodes a few positions of all requests and returns what is new.

        Raises:
            FlanError: the model gives logits that are NaN or infinite.
        """
        updates = self._finish_a_beam()
        taken = [self._waiting.popleft() for _ in range(self._num_admitted())]
        self._names |= {request: id_ for id_, request in taken}
        if taken:
            self._lane.admit([request for _, request in taken])
        if not self._lane.num_active:
            return updates
        done = dict(self._engine.run(self._lane, num_steps=self._num_steps))
        tokens, position, _ = self._lane.so_far()
        for row, request in enumerate(self._lane.requests):
            if request is None:
                continue
            if row in done:
                updates.append(self._done(request, done[row]))
                self._release(row)
            elif new := self._news(request, tokens[row, 0, : position[row]]):
                updates.append(new)
        return updates

    def _num_admitted(self) -> int:
        return min(self._lane.num_free, len(self._waiting))

    def _news(self, request: Request, tokens: np.ndarray) -> Update | None:
        id_, member = self._names[request], request.first_member
        text = self._engine.vocabulary.decode(tokens.tolist())
        text = stopping.settled(text, request.config.stop)
        shown = self._open[id_].shown
        if len(text) <= len(shown.get(member, "")):
            return None
        shown[member] = text
        return Update(id=id_, member=member, text=text, done=False)

    def _done(self, request: Request, answer: Answer) -> Update:
        id_, member = self._names[request], request.first_member
        of = self._open[id_]
        of.done[member] = answer
        whole = None
        if len(of.done) == len(of.requests):
            parts = [of.done[i] for i in range(len(of.requests))]
            fields = [field.name for field in dataclasses.fields(Answer)]
            whole = Answer(**{name: sum((getattr(p, name) for p in parts), ()) for name in fields})
            del self._open[id_]
        return Update(id=id_, member=member, text=answer.texts[0], done=True, answer=whole)

    def _finish_a_beam(self) -> list[Update]:
        """Answers one request for beams, if there is one."""
        if not self._beams:
            return []
        id_ = self._beams.popleft()
        of = self._open.pop(id_)
        answer = self._engine.generate([of.requests[0].prompt], of.config)[0]
        last = len(answer.texts) - 1
        return [
            Update(id=id_, member=i, text=text, done=True, answer=answer if i == last else None)
            for i, text in enumerate(answer.texts)
        ]

    def _release(self, row: int) -> None:
        del self._names[self._lane.requests[row]]
        self._lane.release(row)
