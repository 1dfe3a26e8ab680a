# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scoring: how likely a model holds given texts after given prompts, without decoding.

For rank classification (the likeliest of some choices is the answer) and perplexity. A prompt is
read once for all its choices. Prompts are sorted by length and batched in a few shapes, each one
compiled program; neither batch nor padding changes a score beyond rounding.

Logits are the largest arrays here too (`training/losses.py`), so some positions are scored at a
time.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from flan_jax.core import errors, ranges
from flan_jax.core.progress import Progress
from flan_jax.core.tree import PyTree
from flan_jax.inference import shapes
from flan_jax.models.model import Model
from flan_jax.parallel import arrays

Tokens = Sequence[int] | np.ndarray
_Row = tuple[np.ndarray, Sequence[np.ndarray]]  # a prompt and its choices

MIN_LENGTH = 8  # choices are padded to this at least: fewer programs, and it costs little
# Positions of all rows that are computed at a time. In float32, attention of 4,096 over 1,024
# tokens of a prompt takes 16 MiB a head, and the logits of 512 over 32,128 pieces 63 MiB.
POSITIONS_AT_ONCE = 4096
LOGITS_AT_ONCE = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """How likely a text is after its prompt."""

    token_logprobs: np.ndarray  # [num_tokens] float32, of each token given all before it
    is_greedy: bool | None = None  # whether each token is the likeliest there; None: not known

    @property
    def num_tokens(self) -> int:
        """Tokens of the text, as given: with the end of sequence if that was given."""
        return len(self.token_logprobs)

    @property
    def logprob(self) -> float:
        """Log-probability of the text, in nats."""
        return math.fsum(self.token_logprobs.tolist())

    @property
    def mean(self) -> float:
        """Log-probability per token, in nats: normalized by length."""
        return self.logprob / self.num_tokens

    @property
    def perplexity(self) -> float:
        """One over the geometric mean of the tokens' probabilities."""
        return _exp(-self.mean)


NORMALIZED: dict[str, Callable[[Score], float]] = {
    "sum": lambda score: score.logprob,  # favors short choices
    "mean": lambda score: score.mean,
}
"""What `rank` can compare, by name."""


def rank(scores: Sequence[Score], normalized: str = "sum") -> int:
    """Returns which of a prompt's choices is the likeliest, the first among equals.

    Args:
        scores: of the choices.
        normalized: 'sum' compares the choices' probabilities, 'mean' those per token.
    """
    if normalized not in NORMALIZED:
        raise errors.unknown_name("normalization", normalized, NORMALIZED)
    if not scores:
        raise errors.UsageError("rank: there are no scores; score one choice at least")
    values = [NORMALIZED[normalized](score) for score in scores]
    return values.index(max(values))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perplexity:
    """The perplexity of a corpus."""

    value: float
    num_tokens: int
    num_texts: int


def perplexity(scores: Iterable[Score]) -> Perplexity:
    """Returns exp(-L / n) of texts with log-probability L and n tokens, all of them together."""
    scores = list(scores)
    num_tokens = sum(score.num_tokens for score in scores)
    if not num_tokens:
        raise errors.UsageError("perplexity: there are no texts; score one at least")
    value = _exp(-math.fsum(score.logprob for score in scores) / num_tokens)
    return Perplexity(value=value, num_tokens=num_tokens, num_texts=len(scores))


class Scorer:
    """Scores choices with one model.

    Under `jax.set_mesh` with sharded parameters all processes of a job call it alike, and each gets
    all scores.
    """

    def __init__(
        self,
        model: Model,
        params: PyTree,
        *,
        max_input_length: int,
        num_rows: int = 16,
        length_buckets: Sequence[int] = (),
    ):
        """Prepares a model.

        Args:
            model: the model.
            params: its parameters.
            max_input_length: tokens of a prompt at most.
            num_rows: prompts that are scored together.
            length_buckets: lengths that prompts are padded to besides `max_input_length`; empty:
                those of `shapes.buckets`.
        """
        ranges.check("Scorer", "[1, inf)", max_input_length=max_input_length, num_rows=num_rows)
        ranges.check("Scorer", "[1, inf)", length_buckets=min(length_buckets, default=None))
        self._length_buckets = shapes.buckets(max_input_length, length_buckets)
        self.max_input_length = max_input_length
        self.num_rows, self._vocab_size = num_rows, model.config.vocab_size
        self._has_encoder = model.LAYOUT == "encoder_decoder"
        self._model, self._params = model.for_decoding(params)

    def score(
        self,
        prompts: Sequence[Tokens],
        choices: Sequence[Sequence[Tokens]],
        *,
        progress: str | None = None,
    ) -> list[list[Score]]:
        """Returns the score of each choice of each prompt, in the order given.

        Args:
            prompts: their tokens, as the model was trained to see them: for an encoder-decoder with
                the end of sequence.
            choices: for each prompt the tokens of one choice or more. They are scored as they are,
                so the end of sequence counts if it is among them.
            progress: name to show progress under; None shows none.

        Raises:
            UsageError: not as many prompts, no choice or an empty one, or a token that the model
                does not have.
            DataError: a prompt is longer than `max_input_length`, or, where there is an encoder,
                empty or with padding at the end.
        """
        if len(prompts) != len(choices):
            raise errors.UsageError(
                f"score: {len(prompts)} prompts but choices for {len(choices)}; pass a list of "
                "choices for each prompt"
            )
        rows = [
            (_tokens(prompt), [_tokens(choice) for choice in of_prompt])
            for prompt, of_prompt in zip(prompts, choices, strict=True)
        ]
        for i, row in enumerate(rows):
            self._check(i, *row)
        results: list[list[Score]] = [[] for _ in rows]
        with Progress(progress, len(rows), "prompt") if progress else nullcontext() as bar:
            for i, scores in self._scored(rows):
                results[i] = scores
                if bar is not None:
                    bar.advance()
        return results

    def _check(self, i: int, prompt: np.ndarray, choices: Sequence[np.ndarray]) -> None:
        if len(prompt) > self.max_input_length:
            raise errors.DataError(
                f"prompt {i} has {len(prompt)} tokens, max_input_length is "
                f"{self.max_input_length}; raise it, or leave the prompt out"
            )
        if self._has_encoder and not len(prompt):
            raise errors.DataError(
                f"prompt {i} is empty; an encoder needs a token, such as the end of sequence"
            )
        if self._has_encoder and prompt[-1] == 0:
            raise errors.DataError(
                f"prompt {i} ends with the token 0, which is padding; leave that token out"
            )
        if not choices:
            raise errors.UsageError(f"prompt {i} has no choices; give it one at least")
        for j, choice in enumerate(choices):
            if not len(choice):
                raise errors.UsageError(
                    f"choice {j} of prompt {i} is empty; give it a token, such as the end of "
                    "sequence"
                )
        ids = np.concatenate([prompt, *choices])
        if not 0 <= ids.min() <= ids.max() < self._vocab_size:
            raise errors.UsageError(
                f"prompt {i} and its choices have token ids from {ids.min()} to {ids.max()}, the "
                f"model's are 0 to {self._vocab_size - 1}; use the model's vocabulary"
            )

    def _scored(self, rows: Sequence[_Row]) -> Iterator[tuple[int, list[Score]]]:
        """Yields the index and the scores of each row, in the order of batches."""
        waiting: tuple[list[int], jax.Array] | None = None
        for indices, *batch in self._batches(rows):
            started = token_logprobs(self._model, self._params, *batch)
            if waiting:  # fetched while the next batch is computed
                yield from _fetched(*waiting, rows)
            waiting = indices, started
        if waiting:
            yield from _fetched(*waiting, rows)

    def _batches(self, rows: Sequence[_Row]) -> Iterator[tuple[Any, ...]]:
        """Yields rows of like shape, the largest first: their indices, and what `_padded` gives."""
        if not rows:
            return
        num_rows = shapes.num_rows(len(rows), self.num_rows, self._model.rules)
        order = sorted(range(len(rows)), key=lambda i: self._shape([rows[i]]), reverse=True)
        for start in range(0, len(order), num_rows):
            indices = order[start : start + num_rows]
            yield indices, *self._padded([rows[i] for i in indices], num_rows)

    def _shape(self, rows: Sequence[_Row]) -> tuple[int, int, int]:
        """Returns the length of prompts, that of choices and how many choices rows have, padded."""
        longest = max(len(prompt) for prompt, _ in rows)
        bucket = shapes.bucket(longest, self._length_buckets)
        length = shapes.power_of_two(max(len(choice) for _, choices in rows for choice in choices))
        num_choices = shapes.power_of_two(max(len(choices) for _, choices in rows))
        return bucket, max(MIN_LENGTH, length), num_choices

    def _padded(self, rows: Sequence[_Row], num_rows: int) -> tuple[np.ndarray, ...]:
        """Returns prompts `[num_rows, length]`, choices `[num_rows, members, length]`, and lengths.

        These are of the prompts, `[num_rows]`.
        """
        bucket, length, num_choices = self._shape(rows)
        prompts = np.zeros((num_rows, bucket), np.int32)
        choices = np.zeros((num_rows, num_choices, length), np.int32)
        num_tokens = np.zeros(num_rows, np.int32)
        for i, (prompt, of_prompt) in enumerate(rows):
            prompts[i, : len(prompt)], num_tokens[i] = prompt, len(prompt)
            for j, choice in enumerate(of_prompt):
                choices[i, j, : len(choice)] = choice
        return prompts, choices, num_tokens


def _tokens(ids: Tokens) -> np.ndarray:
    """Returns ids as an array of integers, of which none is checked."""
    return np.asarray(ids) if len(ids) else np.zeros(0, np.int32)


def _fetched(
    indices: Sequence[int], logprobs: jax.Array, rows: Sequence[_Row]
) -> Iterator[tuple[int, list[Score]]]:
    """Yields the index and the scores of each row of a batch, padding cut off."""
    fetched = arrays.fetched(logprobs)[: len(indices)]
    for i, of_row in zip(indices, fetched, strict=True):
        # Copies, as a view would keep the whole batch.
        scores = [
            Score(found[:, 0].copy(), bool((found[:, 0] >= found[:, 1]).all()))
            for found in (c[: len(t)] for c, t in zip(of_row, rows[i][1], strict=False))
        ]
        for j, score in enumerate(scores):
            if np.isnan(score.token_logprobs).any():
                raise errors.FlanError(
                    f"the score of choice {j} of prompt {i} is not a number; see whether the "
                    "parameters hold NaN"
                )
        yield i, scores


@functools.partial(jax.jit, static_argnames=("model", "positions_at_once", "logits_at_once"))
def token_logprobs(
    model: Model,
    params: PyTree,
    prompts: jax.Array,
    choices: jax.Array,
    num_tokens: jax.Array | None = None,
    *,
    positions_at_once: int = POSITIONS_AT_ONCE,
    logits_at_once: int = LOGITS_AT_ONCE,
) -> jax.Array:
    """Returns the log-probability of each token, given the prompt and the tokens before it.

    Args:
        model: as `Model.for_decoding` returns it, `params` too.
        params: its parameters.
        prompts: `[rows, prompt length]` int32, 0 after a prompt's last token.
        choices: `[rows, members, length]` int32, followed by anything.
        num_tokens: `[rows]` int32, as of `Model.prompt_cache`.
        positions_at_once: of all rows, how many the model computes at a time; whole choices.
        logits_at_once: of these, for how many it computes logits at a time; one of each row at
            least.

    Returns:
        `[rows, members, length, 2]` float32: that of the token, and of the likeliest one there.
    """
    rows, _, length = choices.shape
    cache = model.prompt_cache(params, prompts, num_tokens=num_tokens)

    def of_positions(features: jax.Array, targets: jax.Array) -> jax.Array:
        logits = model.logits(params, features)
        # A comparison, as in the loss: a vocabulary split over devices needs no gather.
        pieces = jax.lax.broadcasted_iota(targets.dtype, logits.shape, logits.ndim - 1)
        chosen = jnp.sum(jnp.where(pieces == targets[..., None], logits, 0.0), axis=-1)
        found = jnp.stack([chosen, jnp.max(logits, axis=-1)], axis=-1)
        return found - jax.nn.logsumexp(logits, axis=-1)[..., None]

    def of_members(tokens: jax.Array) -> jax.Array:
        features = model.follow(params, cache, tokens)
        joined = features.reshape(rows, -1, features.shape[-1]), tokens.reshape(rows, -1)
        logprobs = _some_at_a_time(of_positions, joined, logits_at_once // rows)
        return logprobs.reshape(*tokens.shape, 2)

    result = _some_at_a_time(of_members, (choices,), positions_at_once // (rows * length))
    if not jax.sharding.get_abstract_mesh().empty:  # whole on each process, which reads it
        result = jax.lax.with_sharding_constraint(result, PartitionSpec())
    return result


def _some_at_a_time(
    function: Callable[..., jax.Array], inputs: Sequence[jax.Array], size: int
) -> jax.Array:
    """Returns `function(*inputs)`, computed for up to `size` of axis 1 at a time.

    Each part has all rows (axis 0), so that no device waits where rows are split over devices.
    """
    rows, num = inputs[0].shape[:2]
    num_parts = -(-num // max(1, size))
    if num_parts == 1:
        return function(*inputs)
    part = -(-num // num_parts)

    def cut(x: jax.Array) -> jax.Array:
        rest = x.shape[2:]
        x = jnp.pad(x, ((0, 0), (0, num_parts * part - num), *((0, 0) for _ in rest)))
        return jnp.swapaxes(x.reshape(rows, num_parts, part, *rest), 0, 1)

    parts = jax.lax.map(lambda of_part: function(*of_part), tuple(map(cut, inputs)))
    return jnp.swapaxes(parts, 0, 1).reshape(rows, num_parts * part, *parts.shape[3:])[:, :num]


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf  # where float ends
