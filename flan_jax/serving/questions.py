# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Requests beside OpenAI's: how likely given answers are, and what many texts vote for."""

import dataclasses
import math
import re
from collections.abc import Sequence

from flan_jax.core import errors
from flan_jax.evals.answers import POSTPROCESSORS
from flan_jax.inference.conversation import Exchange, Phrase, step_by_step
from flan_jax.inference.scoring import NORMALIZED, Score, rank
from flan_jax.inference.self_consistency import vote
from flan_jax.serving.openai_api import Decodes, Json, check_model, token_text
from flan_jax.serving.requests import ApiError, Fields, Limits, checked_text

MAX_TEXT_LENGTH = 20_000  # characters of a text that votes: finding its answer takes time
_QUESTION, _ANSWER = (re.compile(rf"^[ \t]*{sign}:", re.MULTILINE) for sign in "QA")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scoring:
    """A checked request to score choices."""

    prompt: str
    choices: Sequence[str]
    normalized: str  # a name of `scoring.NORMALIZED`


def parse_score(body: bytes, limits: Limits, model: str) -> Scoring:
    """Returns the request in a body, or raises an `ApiError`."""
    fields = Fields(body)
    check_model(fields, model)
    prompt = fields.text("prompt")
    choices = fields.texts("choices", limits.max_answers)
    normalized = _named(fields, "normalized", "sum", NORMALIZED)
    fields.finish()
    if not choices:
        raise ApiError(400, "choices is missing; give a list of texts", param="choices")
    return Scoring(prompt=prompt, choices=choices, normalized=normalized)


def check_choices(choices: Sequence[Sequence[int]], limits: Limits) -> None:
    """Raises an `ApiError` for a choice of too many tokens."""
    for i, tokens in enumerate(choices):
        if len(tokens) > limits.max_tokens:
            raise ApiError(
                400, f"choices[{i}] has {len(tokens)} tokens; there may be {limits.max_tokens}",
                param="choices",
            )  # fmt: skip


def score_json(
    asked: Scoring, choices: Sequence[Sequence[int]], scores: Sequence[Score], vocabulary: Decodes
) -> Json:
    """Returns the reply: the choices in their order, and the number of the likeliest.

    A choice's `share` is its probability among the choices.
    """
    values = [NORMALIZED[asked.normalized](score) for score in scores]
    top = max(values)
    total = sum(math.exp(value - top) for value in values)
    return {
        "best": rank(scores, asked.normalized),
        "choices": [
            {
                "text": text,
                "logprob": score.logprob,
                "mean_logprob": score.mean,
                "share": math.exp(value - top) / total,
                "tokens": [
                    token_text(tokens[:i], token, vocabulary) for i, token in enumerate(tokens)
                ],
                "token_logprobs": score.token_logprobs.tolist(),
            }
            for text, tokens, score, value in zip(
                asked.choices, choices, scores, values, strict=True
            )
        ],
    }


def prompts_json(body: bytes, phrase: Phrase) -> Json:
    """Returns the reply to a question to be phrased as the model wants it, each way.

    Without exemplars there is no `few_shot`.
    """
    fields = Fields(body)
    question, exemplars = fields.text("question"), fields.text("exemplars", "")
    fields.finish()
    shots = parse_exemplars(exemplars)
    return {
        "zero_shot": phrase([], question),
        "few_shot": phrase(shots, question) if shots else None,
        "step_by_step": phrase([], step_by_step(question)),
    }


def parse_exemplars(text: str) -> list[Exchange]:
    r"""Returns the exemplars of a text in which `Q:` begins a question and `A:` its answer.

    Example:
        >>> parse_exemplars("Q: 1+1?\nA: 2\n\nQ: 2+2?\nA: 4")
        [Exchange(question='1+1?', answer='2'), Exchange(question='2+2?', answer='4')]
    """
    before, *blocks = _QUESTION.split(text)
    found = []
    for i, block in enumerate(blocks, start=1):
        parts = [part.strip() for part in _ANSWER.split(block)]
        if len(parts) != 2 or not all(parts):
            raise ApiError(
                400, f"exemplar {i} is not a question and one answer; write Q: and A: each at the "
                "beginning of a line", param="exemplars",
            )  # fmt: skip
        found.append(Exchange(*parts))
    if before.strip():
        raise ApiError(
            400, "exemplars must begin with Q:, and an A: for each, at the beginning of lines",
            param="exemplars",
        )  # fmt: skip
    return found


def votes_json(body: bytes, limits: Limits) -> Json:
    """Returns the reply to texts that vote, or raises an `ApiError`."""
    fields = Fields(body)
    texts = fields.take("texts", [])
    if not isinstance(texts, list) or not texts:
        raise ApiError(400, "texts must be a list of texts", param="texts")
    if len(texts) > limits.max_answers:
        raise ApiError(
            400, f"texts has {len(texts)} texts; there may be {limits.max_answers}", param="texts"
        )
    for i, text in enumerate(texts):
        if len(checked_text(f"texts[{i}]", text)) > MAX_TEXT_LENGTH:
            raise ApiError(
                400, f"texts[{i}] has {len(text)} characters; there may be {MAX_TEXT_LENGTH}",
                param="texts",
            )  # fmt: skip
    rule = _named(fields, "rule", "cot_answer", POSTPROCESSORS)
    fields.finish()
    answers = [POSTPROCESSORS[rule](text) for text in texts]
    found = vote(answers)
    return {
        "answers": answers,
        "winner": found.winner,
        # Pairs, as JavaScript sorts keys that are numbers.
        "counts": [{"answer": answer, "votes": votes} for answer, votes in found.counts.items()],
        "num_votes": found.num_votes,
        "num_unparsed": found.num_unparsed,
    }


def _named(fields: Fields, name: str, default: str, known: Sequence[str]) -> str:
    value = fields.text(name, default)
    if value not in known:
        raise ApiError(400, str(errors.unknown_name(name, value[:80], known)), param=name)
    return value
