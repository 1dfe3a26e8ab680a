# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a server asks of its model besides decoding; all of it in the worker's thread.

Requests come one by one, so here a program has one row: a prompt and its answers.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.core.tree import PyTree
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.scoring import Score, Scorer
from flan_jax.inference.session import Session
from flan_jax.inference.top_k import top_k
from flan_jax.serving.openai_api import MAX_LOGPROBS, TokenLogprobs

Tokens = Sequence[int]

MIN_LENGTH = 16  # shorter prompts and answers are padded to this: fewer programs
# Positions whose logits are computed at a time.
LOGITS_AT_ONCE = 256


class ServedModel:
    """A loaded model with what clients need to know of it.

    Args:
        predictor: a `predicting.Predictor`.
        max_tokens: most tokens of an answer.
    """

    def __init__(self, predictor: Any, max_tokens: int):
        engine = predictor.engine
        self.name, self.vocabulary = predictor.name, predictor.vocabulary
        self.max_input_length, self._max_tokens = predictor.max_input_length, max_tokens
        self.vocab_size = engine.model.config.vocab_size
        # An encoder reads its prompt as a whole; a decoder's answer goes on where it ends.
        self.continues_prompts = engine.model.LAYOUT != "encoder_decoder"
        self.phrase, self.encode = predictor.phrase, predictor.encode_as_is
        self.encode_answer, self.on_mesh = predictor.encode_answer, predictor.on_mesh
        self._engine = engine
        self._scorer = Scorer(
            engine.model, engine.params, max_input_length=self.max_input_length, num_rows=1
        )

    def new_session(self) -> Session:
        """Returns a decoding session that shares its rows among all requests."""
        return Session(self._engine, max_length=self._max_tokens)

    def warm_up(self) -> None:
        """Compiles what the first requests need: one alone, and as many as there are rows."""
        prompt, session = self.encode("?"), self.new_session()
        for temperature, num in ((0.0, 1), (1.0, 1), (1.0, self._engine.num_rows)):
            config = DecodeConfig(max_length=2, temperature=temperature, num_samples=num)
            session.add(prompt, config)
            while session.num_active or session.num_waiting:
                session.step()
        self.token_logprobs(prompt, [self.encode("?")], 1)

    def score(self, prompt: Tokens, choices: Sequence[Tokens]) -> list[Score]:
        """Returns how likely each choice is after the prompt."""
        return self._scorer.score([prompt], [choices])[0]

    def token_logprobs(
        self, prompt: Tokens, answers: Sequence[Tokens], num_alternatives: int
    ) -> list[TokenLogprobs]:
        """Returns the log-probabilities of the tokens of each answer, and of the likeliest ones."""
        num_answers, longest = _padded(len(answers), 1), _padded(max(map(len, answers)))
        tokens = np.zeros((num_answers, longest), np.int32)
        for i, answer in enumerate(answers):
            tokens[i, : len(answer)] = answer
        prompts = np.zeros((1, _padded(len(prompt))), np.int32)
        prompts[0, : len(prompt)] = prompt
        found = _likeliest(
            self._engine.model, self._engine.params, prompts, np.array([len(prompt)], np.int32),
            tokens, MAX_LOGPROBS,
        )  # fmt: skip
        logprobs, ids, values = map(np.asarray, found)
        return [
            TokenLogprobs(
                tokens=list(answer),
                logprobs=logprobs[i, : len(answer)].tolist(),
                alternatives=[
                    _pairs(ids[i, j, :num_alternatives], values[i, j, :num_alternatives])
                    for j in range(len(answer))
                ],
            )
            for i, answer in enumerate(answers)
        ]

    def prompt_logprobs(
        self, prompt: Tokens, answers: Sequence[Tokens], num_alternatives: int
    ) -> list[TokenLogprobs]:
        """Returns the same for prompts with each answer after it; of a decoder.

        Nothing is said of the first token, before which there is nothing.
        """
        first, rest = list(prompt[:1]), list(prompt[1:])
        wholes = [rest + list(answer) for answer in answers]
        if not any(wholes):
            wholes_found = [TokenLogprobs(tokens=[], logprobs=[], alternatives=[])] * len(wholes)
        else:
            wholes_found = self.token_logprobs(first, wholes, num_alternatives)
        return [
            TokenLogprobs(
                tokens=first + list(found.tokens),
                logprobs=[None, *found.logprobs],
                alternatives=[(), *found.alternatives],
            )
            for found in wholes_found
        ]


@functools.partial(jax.jit, static_argnames=("model", "num"))
def _likeliest(
    model: Any,
    params: PyTree,
    prompts: jax.Array,
    num_tokens: jax.Array,
    answers: jax.Array,
    num: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns log-probabilities of the answers' tokens, and the likeliest tokens at each place.

    Args:
        model: as `Model.for_decoding` returns it, `params` too.
        params: its parameters.
        prompts: `[1, prompt length]` int32, 0 after its last token.
        num_tokens: `[1]` int32, tokens of it.
        answers: `[answers, length]` int32, followed by anything.
        num: how many of the likeliest.

    Returns:
        `[answers, length]` float32; `[answers, length, num]` int32, the likeliest first; the
        log-probabilities of these, float32.
    """
    cache = model.prompt_cache(params, prompts, num_tokens=num_tokens)

    def of_positions(features: jax.Array, tokens: jax.Array) -> tuple[jax.Array, ...]:
        logprobs = jax.nn.log_softmax(model.logits(params, features[None])[0])
        chosen = jnp.take_along_axis(logprobs, tokens[:, None], axis=-1)[:, 0]
        values, ids = top_k(logprobs, num)
        return chosen, ids, values

    def of_answer(tokens: jax.Array) -> tuple[jax.Array, ...]:
        features = model.follow(params, cache, tokens[None, None])[0, 0]
        step = min(LOGITS_AT_ONCE, len(tokens))  # both are powers of two
        parts = features.reshape(-1, step, features.shape[-1]), tokens.reshape(-1, step)
        found = jax.lax.map(lambda part: of_positions(*part), parts)
        return tuple(x.reshape(-1, *x.shape[2:]) for x in found)

    return jax.lax.map(of_answer, answers)


def _pairs(ids: np.ndarray, logprobs: np.ndarray) -> list[tuple[int, float]]:
    return list(zip(ids.tolist(), logprobs.tolist(), strict=True))


def _padded(num: int, least: int = MIN_LENGTH) -> int:
    """Returns the least power of two that is not below `num` and `least`."""
    return max(least, 1 << max(0, num - 1).bit_length())
