# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a checked request to the parts of its reply; whole replies are parts put together."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from flan_jax.serving import openai_api
from flan_jax.serving.model import ServedModel
from flan_jax.serving.openai_api import Completion, Json, TokenLogprobs
from flan_jax.serving.worker import Answer, Worker

Tokens = Sequence[int]


class Answering:
    """A completion that is being made; to be closed, however it ends.

    Args:
        model: the model.
        worker: the thread that works with it.
        completion: what is asked for.
        prompts: the tokens of its prompts.

    Raises:
        ApiError: there is no room for the request.
    """

    def __init__(
        self,
        model: ServedModel,
        worker: Worker,
        completion: Completion,
        prompts: Sequence[Tokens],
    ):
        self._model, self._worker = model, worker
        self._completion, self._prompts = completion, prompts
        config = completion.config
        self._num_answers = config.num_samples if config else 1  # to each prompt
        self._ticket = worker.admit(prompts, config)
        self._num_tokens = 0

    def close(self) -> None:
        """Drops what is not decoded yet."""
        self._ticket.close()

    def usage(self) -> Json:
        """Returns how many tokens were read and written."""
        return openai_api.usage(sum(map(len, self._prompts)), self._num_tokens)

    async def parts(self) -> AsyncIterator[Json]:
        """Yields what is new of the answers, each as a choice; the last of each has its reason."""
        config, num_answers = self._completion.config, self._num_answers
        if self._completion.echo:
            for i in range(len(self._prompts)):
                for member in range(num_answers):
                    yield openai_api.choice(i * num_answers + member, self._echoed(i))
        if config is None:
            for i in range(len(self._prompts)):
                logprobs = await self._logprobs(i, None)
                yield openai_api.choice(i, "", "length", logprobs[0])
            return
        told: dict[int, int] = {}  # characters of each answer
        async for i, update in self._ticket:
            if update.answer is None:
                # Beams change places until they are done.
                index = i * num_answers + update.member
                new = update.text[told.get(index, 0) :]
                if new and config.num_beams == 1:
                    told[index] = len(update.text)
                    yield openai_api.choice(index, new)
                continue
            answer = update.answer
            self._num_tokens += sum(map(len, answer.tokens))
            logprobs = await self._logprobs(i, answer)
            for member, (text, reason) in enumerate(
                zip(answer.texts, answer.finish_reasons, strict=True)
            ):
                index = i * num_answers + member
                new = text[told.get(index, 0) :]
                yield openai_api.choice(index, new, reason, logprobs[member])

    async def whole(self) -> list[Json]:
        """Returns the answers."""
        found: dict[int, Json] = {}
        async for part in self.parts():
            before = found.get(part["index"], {"text": ""})
            found[part["index"]] = part | {"text": before["text"] + part["text"]}
        return [found[index] for index in sorted(found)]

    def _echoed(self, i: int) -> str:
        prompt = self._completion.prompts[i]
        return prompt if isinstance(prompt, str) else self._model.vocabulary.decode(prompt)

    async def _logprobs(self, i: int, answer: Answer | None) -> list[Json | None]:
        """Returns the field `logprobs` of each answer to a prompt."""
        wanted = self._completion.logprobs
        if wanted is None:
            return [None] * self._num_answers
        prompt, vocabulary = self._prompts[i], self._model.vocabulary
        tokens = _ended_tokens(answer, vocabulary.eos_id) if answer else [[]]
        before: Tokens = ()
        if self._completion.echo:
            before = prompt
            found = await self._worker.call(
                lambda: self._model.prompt_logprobs(prompt, tokens, wanted)
            )
        elif wanted:
            found = await self._worker.call(
                lambda: self._model.token_logprobs(prompt, tokens, wanted)
            )
        else:
            found = [
                TokenLogprobs(
                    tokens=ids,
                    logprobs=list(map(float, logprobs)),
                    alternatives=[()] * len(ids),
                )
                for ids, logprobs in zip(tokens, answer.logprobs, strict=True)
            ]

        def fields() -> list[Json | None]:
            out = []
            for j, of_answer in enumerate(found):
                # A stop ends the text before its tokens.
                stopped = answer and answer.texts[j] != vocabulary.decode(tokens[j])
                end = len(vocabulary.decode(before)) + len(answer.texts[j]) if stopped else None
                out.append(openai_api.logprobs_json(of_answer, vocabulary, end=end))
            return out

        # All those texts take seconds, in which other clients should not wait.
        return await asyncio.to_thread(fields)


def _ended_tokens(answer: Answer, eos_id: int) -> list[list[int]]:
    """Returns the tokens of each answer, with the end of sequence where it came."""
    return [
        [*map(int, tokens), *[eos_id] * (len(logprobs) - len(tokens))]
        for tokens, logprobs in zip(answer.tokens, answer.logprobs, strict=True)
    ]
