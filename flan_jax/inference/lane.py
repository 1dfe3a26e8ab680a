# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of one compiled program on the host's side: which prompt each holds, and what it asks for.

A lane is filled with requests of one kind, as many members each; it makes room for longer prompts
and answers as they come, each size a compilation, so sizes are few: `shapes.bucket`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_jax.core import errors
from flan_jax.core.tree import PyTree
from flan_jax.inference import decode, processors, sampling, shapes
from flan_jax.inference.beam import Beam
from flan_jax.inference.decode_config import DecodeConfig, RowSettings
from flan_jax.inference.strategy import Answers, Strategy
from flan_jax.models.model import Model
from flan_jax.parallel import arrays

FIRST_SLOTS = 128  # of answers: twice as many whenever they are full, each a compilation


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """A prompt and how it is answered, or one of its answers; compared by identity."""

    prompt: np.ndarray  # int32 tokens, not empty; without the prefix that a lane has
    config: DecodeConfig
    key: np.ndarray  # of the whole prompt, from `sampling.row_key`
    first_member: int = 0  # among the answers to the prompt
    name: str = "the prompt"  # in messages


def strategy_of(
    configs: Sequence[DecodeConfig], num_members: int, *, eos_id: int, with_logprobs: bool
) -> Strategy:
    """Returns how the tokens of these requests, alike in their beams, are chosen."""
    if configs[0].num_beams > 1:
        features = processors.Features.of(configs)
        return Beam(
            num_beams=configs[0].num_beams, eos_id=eos_id, features=features,
            with_logprobs=with_logprobs,
        )  # fmt: skip
    chosen = sampling.strategy(configs, eos_id=eos_id, with_logprobs=with_logprobs)
    return dataclasses.replace(chosen, num_members=num_members)


class Lane:
    """Rows that are decoded together."""

    def __init__(
        self,
        model: Model,
        params: PyTree,
        *,
        eos_id: int,
        batch_size: int,
        num_members: int,
        num_beams: int,
        buckets: Sequence[int],
        with_logprobs: bool,
        unit: int = 1,
        configs: Sequence[DecodeConfig] = (),
        prefix: PyTree = (),
    ):
        """Makes an empty lane.

        Args:
            model: from `Model.for_decoding`, with `params`.
            params: its parameters.
            eos_id: the token that ends an answer.
            batch_size: number of rows, a multiple of `unit`.
            num_members: of a row: its samples or beams.
            num_beams: of every request; 1: none.
            buckets: lengths that prompts are padded to, sorted.
            with_logprobs: whether log-probabilities are kept.
            unit: over how many parts of the mesh rows are laid out.
            configs: of all requests to come, so that one program serves them; empty: as they come.
            prefix: what all prompts begin with, from `Model.prefix_cache`; requests leave it out.
        """
        self._model, self._params, self._prefix = model, params, prefix
        self._eos_id, self._num_members, self._num_beams = eos_id, num_members, num_beams
        self._buckets, self._with_logprobs = tuple(buckets), with_logprobs
        self._configs = tuple(dict.fromkeys(configs))
        self._most_rows, self._unit = batch_size, unit
        self._empty()

    def _empty(self) -> None:
        self._state: decode.State | None = None
        self._width = 0
        self.requests: list[Request | None] = []
        self._stopped = np.zeros((0, self._num_members), bool)

    @property
    def refill(self) -> int:
        """Prompts that are admitted together."""
        return max(self._unit, len(self.requests) // 4 // self._unit * self._unit)

    @property
    def num_active(self) -> int:
        """Rows that are at work."""
        return sum(request is not None for request in self.requests)

    @property
    def num_free(self) -> int:
        """Rows that wait for a prompt."""
        return self._most_rows - self.num_active

    def admit(self, requests: Sequence[Request]) -> None:
        """Gives free rows to requests, of which there are at most as many."""
        self._make_rows(self.num_active + len(requests))
        free = [row for row, request in enumerate(self.requests) if request is None]
        rows = dict(zip(requests, free, strict=False))
        for row in rows.values():
            self._stopped[row] = False
        for start in range(0, len(requests), self.refill):
            chunk = list(requests[start : start + self.refill])
            # Of a chunk that is not full the last prompt is put in its row more than once.
            chunk += chunk[-1:] * (self.refill - len(chunk))
            width = shapes.bucket(max(len(request.prompt) for request in chunk), self._buckets)
            prompts = np.zeros((len(chunk), width), np.int32)
            for i, request in enumerate(chunk):
                prompts[i, : len(request.prompt)] = request.prompt
                self.requests[rows[request]] = request
            self._make_room(width)
            self._state = decode.admit(
                self._model, self._strategy, self._params, self._state, self._prefix,
                prompts, np.array([len(request.prompt) for request in chunk], np.int32),
                np.array([rows[request] for request in chunk], np.int32),
            )  # fmt: skip

    def run(self, num_steps: int, least_active: int = 1) -> list[int]:
        """Decodes positions until fewer than `least_active` rows are at work; returns rows done.

        What they hold is still theirs until `release`.

        Raises:
            FlanError: the model gave logits that are no numbers; names the prompt.
        """
        self._state = decode.run(
            self._model, self._strategy, self._params, self._state, self._prefix,
            self._settings(), self._stopped, np.int32(num_steps), np.int32(least_active),
        )  # fmt: skip
        state = self._state
        ended, position, broken = arrays.fetched((state.ended, state.position, state.broken))
        for row, request in enumerate(self.requests):
            if request and broken[row]:
                raise errors.FlanError(
                    f"the logits for token {position[row]} of the answer to {request.name} are NaN "
                    "or infinite; see whether the parameters hold NaN"
                )
        done = [r for r, request in enumerate(self.requests) if request and ended[r].all()]
        going = [r for r, request in enumerate(self.requests) if request and r not in done]
        num_slots = state.num_slots
        if any(position[row] >= num_slots for row in going):
            more = self._useful_slots(2 * num_slots)
            self._state = decode.grown(self._strategy, state, more)
        return done

    def answers(self) -> Answers:
        """Returns the answers of all rows, of those done if they are beams, as numpy arrays."""
        return arrays.fetched(decode.answers(self._strategy, self._state, self._settings()))

    def so_far(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns tokens `[rows, members, slots]`, how many by row, and which answers ended."""
        state = self._state
        tokens, position, ended = arrays.fetched((state.tokens, state.position, state.ended))
        return tokens, position, np.logical_or(ended, self._stopped)

    def stop(self, row: int, member: int) -> None:
        """Ends an answer."""
        self._stopped[row, member] = True

    def release(self, row: int) -> None:
        """Frees a row, whatever it does."""
        self.requests[row] = None
        self._stopped[row] = True
        if not self.num_active:
            self._empty()  # the next prompts may be few and short again

    @property
    def _strategy(self) -> Strategy:
        configs = [request.config for request in self.requests if request]
        return strategy_of(
            self._configs or configs,
            self._num_members,
            eos_id=self._eos_id,
            with_logprobs=self._with_logprobs,
        )

    def _make_rows(self, num: int) -> None:
        """Makes sure that there are `num` rows: all there may be, or if requests come and go few.

        Every row is computed, at work or not; four times as many each, as each is a compilation.
        """
        size = self._most_rows if self._configs else self._unit
        while size < num:
            size = min(4 * size, self._most_rows)
        more = size - len(self.requests)
        if more <= 0:
            return
        self.requests += [None] * more
        self._stopped = np.pad(self._stopped, ((0, more), (0, 0)))
        if self._state is not None:
            self._state = decode.enlarged(self._state, size)

    def _make_room(self, width: int) -> None:
        """Makes or widens the state, so that it takes prompts of `width` tokens."""
        if self._state is None:
            self._state, self._width = (
                decode.start(
                    self._model, self._strategy, self._params,
                    batch_size=len(self.requests), width=width,
                    num_slots=self._useful_slots(FIRST_SLOTS), with_logprobs=self._with_logprobs,
                    reorders=self._num_beams > 1,
                ),
                width,
            )  # fmt: skip
        elif width > self._width:
            self._state, self._width = decode.widened(self._state, width), width

    def _useful_slots(self, num: int) -> int:
        """Returns `num` slots for answers, or fewer where no request to come has use for them."""
        if not self._configs:  # another number is another compilation
            return num
        return min(num, max(config.max_length for config in self._configs))

    def _settings(self) -> RowSettings:
        """Returns what the rows ask for; of free rows anything."""
        filled = [request for request in self.requests if request]
        return row_settings([request or filled[0] for request in self.requests])


def row_settings(requests: Sequence[Request]) -> RowSettings:
    """Returns what requests ask for, row by row, as numpy arrays."""
    configs = [request.config for request in requests]
    num_forced = max(len(config.forced_prefix) for config in configs)
    # Few widths, as each is a compilation.
    width = shapes.power_of_two(num_forced) if num_forced else 0
    forced = np.zeros((len(configs), width), np.int32)
    for row, config in zip(forced, configs, strict=True):
        row[: len(config.forced_prefix)] = config.forced_prefix

    def numbers(name: str, dtype: type) -> np.ndarray:
        return np.array([getattr(config, name) for config in configs], dtype)

    return RowSettings(
        key=np.stack([request.key for request in requests]),
        first_member=np.array([request.first_member for request in requests], np.int32),
        temperature=numbers("temperature", np.float32),
        top_k=numbers("top_k", np.int32),
        top_p=numbers("top_p", np.float32),
        min_length=numbers("min_length", np.int32),
        max_length=numbers("max_length", np.int32),
        length_penalty=numbers("length_penalty", np.float32),
        repetition_penalty=numbers("repetition_penalty", np.float32),
        no_repeat_ngram=numbers("no_repeat_ngram", np.int32),
        forced=forced,
        num_forced=np.array([len(config.forced_prefix) for config in configs], np.int32),
    )
