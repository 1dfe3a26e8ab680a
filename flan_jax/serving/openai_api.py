# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""OpenAI's completions: requests checked, replies and the chunks of a stream put together.

Two fields more than OpenAI's: `top_k` and `num_beams`. Nothing here knows of HTTP or of a model.
https://platform.openai.com/docs/api-reference/completions
"""

import dataclasses
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, Protocol

from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.serving.requests import ApiError, Fields, Limits, prompts_of

# OpenAI's default and ends of ranges, but for the stops: it takes 4.
DEFAULT_MAX_TOKENS = 16
MAX_TEMPERATURE = 2.0
MAX_LOGPROBS = 5
MAX_TOP_K = 1000
MAX_STOPS = 16
MAX_STOP_LENGTH = 200  # characters
MIN_TOP_P = 1e-6
MAX_SEED = 2**31 - 1

# A token's text may depend on those before it: a space, the bytes of a character.
_CONTEXT = 8

DONE = b"data: [DONE]\n\n"

Json = dict[str, Any]


class Decodes(Protocol):
    """What of a vocabulary is needed here."""

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Completion:
    """A request that was checked."""

    prompts: Sequence[str | tuple[int, ...]]
    config: DecodeConfig | None  # None: nothing is decoded
    logprobs: int | None  # so many alternatives beside each token; None: no log-probabilities
    echo: bool  # begin each answer with its prompt
    stream: bool
    include_usage: bool  # at the end of a stream


def parse_completion(body: bytes, limits: Limits, model: str, vocab_size: int) -> Completion:
    """Returns the request in a body.

    Raises:
        ApiError: the body is malformed, names another model or asks for more than is allowed.
    """
    fields = Fields(body)
    check_model(fields, model)
    prompts = prompts_of(fields, limits, vocab_size)
    echo, stream = fields.flag("echo"), fields.flag("stream")
    config = _decode_config(fields, limits, echo)
    logprobs = fields.integer("logprobs", None, 0, MAX_LOGPROBS)
    include_usage = _include_usage(fields, stream)
    num_answers = config.num_samples if config else 1
    fields.only("best_of", (num_answers,), "choosing the best of more answers than n")
    fields.only("suffix", ("",), "text after the answer")
    fields.only("presence_penalty", (0,), "a presence penalty")
    fields.only("frequency_penalty", (0,), "a frequency penalty")
    fields.only("logit_bias", ({},), "a bias of logits")
    fields.ignore("user")
    fields.finish()
    num_in_all = len(prompts) * max(num_answers, config.num_beams if config else 1)
    if num_in_all > limits.max_answers:
        raise ApiError(
            400, f"{len(prompts)} prompts times n or num_beams are {num_in_all} answers; a request "
            f"may ask for {limits.max_answers}", param="n",
        )  # fmt: skip
    return Completion(
        prompts=prompts, config=config, logprobs=logprobs, echo=echo, stream=stream,
        include_usage=include_usage,
    )  # fmt: skip


def check_model(fields: Fields, model: str) -> None:
    """Raises an `ApiError` unless the request names the model that is served."""
    check_name(fields.text("model"), model)


def check_name(name: str, model: str) -> None:
    """Raises an `ApiError` unless `name` is that of the model."""
    if name != model:
        raise ApiError(
            404, f"no model {name[:80]!r} here; this is {model!r}", param="model",
            code="model_not_found",
        )  # fmt: skip


def _decode_config(fields: Fields, limits: Limits, echo: bool) -> DecodeConfig | None:
    max_tokens = fields.integer(
        "max_tokens", min(DEFAULT_MAX_TOKENS, limits.max_tokens), 0 if echo else 1,
        limits.max_tokens,
    )  # fmt: skip
    num_beams = fields.integer("num_beams", 1, 1, limits.max_answers)
    num_samples = fields.integer("n", 1, 1, limits.max_answers)
    temperature = fields.number("temperature", 1.0 if num_beams == 1 else 0.0, 0.0, MAX_TEMPERATURE)
    top_p = fields.number("top_p", 1.0, MIN_TOP_P, 1.0)
    top_k = fields.integer("top_k", 0, 0, MAX_TOP_K)
    seed = fields.integer("seed", secrets.randbelow(MAX_SEED), 0, MAX_SEED)
    stop = fields.texts("stop", MAX_STOPS)
    if any(len(text) > MAX_STOP_LENGTH for text in stop):
        raise ApiError(
            400, f"stop has a text of more than {MAX_STOP_LENGTH} characters", param="stop"
        )
    if num_beams > 1 and temperature > 0:
        raise ApiError(
            400, f"num_beams {num_beams} with temperature {temperature:g}: beams are not sampled; "
            "leave one of them out", param="num_beams",
        )  # fmt: skip
    if num_beams > 1 and num_samples > num_beams:
        raise ApiError(
            400, f"n {num_samples} is above num_beams {num_beams}, the answers there will be",
            param="n",
        )  # fmt: skip
    if num_beams == 1 and num_samples > 1 and temperature == 0:
        raise ApiError(
            400, f"n {num_samples} at temperature 0: the answers would all be the same; set a "
            "temperature", param="n",
        )  # fmt: skip
    if max_tokens == 0:
        if num_samples > 1:
            raise ApiError(
                400, f"n {num_samples} with max_tokens 0, which makes no answer; leave one out",
                param="n",
            )  # fmt: skip
        return None
    return DecodeConfig(
        max_length=max_tokens, num_samples=num_samples, num_beams=num_beams,
        temperature=temperature, top_p=top_p, top_k=top_k, seed=seed, stop=stop,
    )  # fmt: skip


def _include_usage(fields: Fields, stream: bool) -> bool:
    options = fields.take("stream_options")
    if options is None:
        return False
    if not stream:
        raise ApiError(
            400, "stream_options without stream say nothing; leave them out, or set stream to true",
            param="stream_options",
        )  # fmt: skip
    known = isinstance(options, dict) and options.keys() <= {"include_usage"}
    if not known or type(options.get("include_usage", False)) is not bool:
        raise ApiError(
            400, 'stream_options must be {"include_usage": true} or false',
            param="stream_options",
        )  # fmt: skip
    return options.get("include_usage", False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenLogprobs:
    """Tokens of a text with their log-probabilities, in the order of the text."""

    tokens: Sequence[int]
    logprobs: Sequence[float | None]  # None: nothing comes before the token
    # The likeliest tokens at each place, the best first, with their log-probabilities.
    alternatives: Sequence[Sequence[tuple[int, float]]]


def logprobs_json(
    found: TokenLogprobs, vocabulary: Decodes, *, offset: int = 0, end: int | None = None
) -> Json:
    """Returns the field `logprobs` of an answer.

    Args:
        found: of its tokens.
        vocabulary: gives the tokens' texts.
        offset: characters before the first token.
        end: characters of the whole text where that ends before its tokens do, at a stop: tokens
            behind are left out.
    """
    out: Json = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for i, (token, logprob) in enumerate(zip(found.tokens, found.logprobs, strict=True)):
        if end is not None and offset >= end:
            break
        before = found.tokens[:i]
        text = token_text(before, token, vocabulary)
        top = None
        if logprob is not None:
            top = {text or f"<{token}>": logprob}
            for other, value in found.alternatives[i]:
                if other != token:
                    name = token_text(before, other, vocabulary)
                    top[name if name and name not in top else f"<{other}>"] = value
        out["tokens"].append(text if end is None else text[: end - offset])
        out["token_logprobs"].append(logprob)
        out["top_logprobs"].append(top)
        out["text_offset"].append(offset)
        offset += len(text)
    return out


def token_text(before: Sequence[int], token: int, vocabulary: Decodes) -> str:
    """Returns what a token adds to the text of those before it.

    That is nothing where it is a byte within a character; the last one adds the character.
    """
    before = before[-_CONTEXT:]
    start = vocabulary.decode(before)
    text = vocabulary.decode([*before, token])
    return text[len(start) :] if text.startswith(start) else vocabulary.decode([token])


def head(model: str) -> Json:
    """Returns what a reply begins with, the same in all chunks of a stream."""
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
    }


def reply(head: Json, choices: Sequence[Json], usage: Json | None = None) -> Json:
    """Returns a whole reply, or what one chunk of a stream says."""
    found = head | {"choices": list(choices)}
    return found if usage is None else found | {"usage": usage}


def choice(
    index: int, text: str, finish_reason: str | None = None, logprobs: Json | None = None
) -> Json:
    """Returns an answer, or what a chunk adds to it."""
    return {"index": index, "text": text, "finish_reason": finish_reason, "logprobs": logprobs}


def usage(num_prompt_tokens: int, num_answer_tokens: int) -> Json:
    """Returns how much was read and written."""
    return {
        "prompt_tokens": num_prompt_tokens,
        "completion_tokens": num_answer_tokens,
        "total_tokens": num_prompt_tokens + num_answer_tokens,
    }


def event(data: Json) -> bytes:
    """Returns a server-sent event."""
    return f"data: {json.dumps(data)}\n\n".encode()


def models(name: str, created: int) -> Json:
    """Returns the list of the one model."""
    return {"object": "list", "data": [model(name, created)]}


def model(name: str, created: int) -> Json:
    """Returns what is said of a model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "flan_jax"}
