# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a harness asks of a model, in texts: how likely a text is after another, and what follows.

The harness itself is not needed here (`lm_eval_model`). Texts become tokens as it has them become
tokens for models of transformers, so that its tasks mean the same here. Where a prompt goes on with
its answer, the two are cut into tokens together, and spaces at the end of the prompt belong to the
answer; where a prompt is a text of its own, with its EOS (encoder-decoders, and all decoders that
are trained here), each is cut alone, and spaces before the answer say nothing.

A prompt that is too long loses its beginning, as the harness has it, and that is counted and said.
"""

import collections
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.core import errors
from flan_jax.core.progress import say
from flan_jax.inference import conversation
from flan_jax.inference.conversation import Message
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.predicting import Predictor

MAX_TEXTS = 16  # after one prompt, in one row: texts of a row are padded to the longest
MAX_LENGTH = 256  # tokens of an answer, where a task does not say: the harness's own default
# What a task may call the most tokens of an answer; the first that is given counts.
_MAX_LENGTH = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
# What it may say besides, and what that is here.
_SETTINGS = {
    "temperature": ("temperature", float),
    "top_k": ("top_k", int),
    "top_p": ("top_p", float),
    "repetition_penalty": ("repetition_penalty", float),
    "num_beams": ("num_beams", int),
    "length_penalty": ("length_penalty", float),
    "no_repeat_ngram_size": ("no_repeat_ngram", int),
}
_KNOWN = ("until", "do_sample", *_MAX_LENGTH, *_SETTINGS)

Tokens = Sequence[int]


class Answering:
    """One model that is asked by a harness.

    Args:
        predictor: the model.
        seed: of sampling; the n-th sample of a prompt gets this plus n - 1.
    """

    def __init__(self, predictor: Predictor, seed: int = 0):
        self._predictor, self._seed = predictor, seed
        self._engine = predictor.new_engine(with_logprobs=False)
        source, words = predictor.source, predictor.vocabulary
        # Stands before a text that nothing stands before.
        self._begin = words.eos_id if source.bos_id is None else source.bos_id
        self.num_prompts = self.num_shortened = 0  # asked so far, and of these

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """Returns the log-probability of each text after its prompt, and whether it is greedy.

        Args:
            pairs: prompts, which may be empty, and texts. That a text is greedy means that greedy
                decoding would begin with it. The EOS after it is not part of it.
        """
        encoded = [self.encode_pair(prompt, text) for prompt, text in pairs]
        return self._scores(encoded, "loglikelihood")

    def rolling_loglikelihoods(self, texts: Sequence[str]) -> list[float]:
        """Returns the log-probability of each whole text.

        A text that is too long is scored in windows, each after as many tokens as the model takes
        of what is before it.
        """
        windows, owners = [], []
        for i, text in enumerate(texts):
            for before, tokens in self.windows(self._predictor.vocabulary.encode(text)):
                windows.append(([*before, *self._end()], tokens))
                owners.append(i)
        totals = [0.0] * len(texts)
        for i, (logprob, _) in zip(owners, self._scores(windows, "rolling"), strict=True):
            totals[i] += logprob
        return totals

    def generate(self, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Returns the answer to each prompt.

        Args:
            requests: prompts, and how each is to be answered, as a task says it.

        Raises:
            UsageError: a task says something that is not known here.
        """
        prompts, configs = [], []
        seen: collections.Counter[tuple[str, str]] = collections.Counter()
        before = self.num_shortened
        for prompt, settings in requests:
            key = (prompt, json.dumps(settings, sort_keys=True, default=str))
            configs.append(decode_config(settings, self._seed + seen[key]))
            seen[key] += 1
            prompts.append(self._fitting(self._encoded(prompt)))
        self._say_shortened(before, len(requests))
        with self._predictor.on_mesh():
            found = self._engine.generate(prompts, configs, progress="generate_until")
        return [answer.texts[0] for answer in found]

    def render(self, messages: Sequence[Message], begins_answer: bool = True) -> str:
        """Returns what the checkpoint's chat template makes of messages.

        Args:
            messages: the system's, if any, then in turns the user's and the model's.
            begins_answer: whether an answer is to begin at the end; else the last message, the
                model's, is unfinished.

        Raises:
            UsageError: the checkpoint brings no template.
            DataError: the template fails.
        """
        source = self._predictor.source
        render = conversation.renderer(self.chat_template, source.path, source.special_tokens)
        prompt = render(messages, begins_answer)
        if begins_answer:
            return prompt
        last = messages[-1]["content"].strip()
        return prompt[: prompt.rindex(last) + len(last)] if last in prompt else prompt

    @property
    def chat_template(self) -> str:
        """The checkpoint's chat template; a `UsageError` if it brings none."""
        source = self._predictor.source
        if not source.chat_template:
            raise errors.UsageError(
                f"{source.path} brings no chat template; leave out --apply_chat_template"
            )
        return source.chat_template

    def encode_pair(self, prompt: str, text: str) -> tuple[list[int], list[int]]:
        """Returns the tokens of a prompt, and of the text after it."""
        encode = self._predictor.vocabulary.encode
        if self._predictor.ends_prompts:
            return self._encoded(prompt), encode(text.lstrip(" ") or text)
        stripped = prompt.rstrip()
        text, prompt = prompt[len(stripped) :] + text, stripped
        before = self._encoded(prompt)
        whole = self._encoded(prompt + text) if prompt else [*before, *encode(text)]
        # Where the two melt into one token, the text is cut alone.
        return before, whole[len(before) :] or encode(text)

    def windows(self, tokens: Tokens) -> Iterator[tuple[list[int], list[int]]]:
        """Yields (tokens before, tokens) such that each token is in one window, in order."""
        length = max(1, self._predictor.max_input_length - len(self._end()))
        first = [] if self._end() else [self._begin]
        for start in range(0, len(tokens), length):
            end = min(start + length, len(tokens))
            before = tokens[end - length - 1 : start] if start else first
            yield list(before), list(tokens[start:end])

    def _encoded(self, prompt: str) -> list[int]:
        return self._predictor.encode_as_is(prompt) or [self._begin]

    def _end(self) -> list[int]:
        return [self._predictor.vocabulary.eos_id] if self._predictor.ends_prompts else []

    def _fitting(self, prompt: list[int]) -> list[int]:
        """Returns a prompt without as much of its beginning as is too much; its BOS is kept."""
        self.num_prompts += 1
        most = self._predictor.max_input_length
        if len(prompt) <= most:
            return prompt
        self.num_shortened += 1
        has_bos = prompt[0] == self._predictor.source.bos_id and most > 1
        return [*prompt[:1], *prompt[1 - most :]] if has_bos else prompt[-most:]

    def _scores(
        self, encoded: Sequence[tuple[list[int], list[int]]], name: str
    ) -> list[tuple[float, bool]]:
        """Returns log-probabilities of texts after prompts, each prompt read once for all."""
        before, found = self.num_shortened, [(0.0, True)] * len(encoded)  # of a text of no tokens
        rows: list[tuple[tuple[int, ...], list[int]]] = []  # prompts, and places of their texts
        open_rows: dict[tuple[int, ...], list[int]] = {}
        for i, (prompt, tokens) in enumerate(encoded):
            key = tuple(self._fitting(prompt))
            if not tokens:
                continue
            if len(open_rows.get(key, ())) % MAX_TEXTS == 0:
                open_rows[key] = []
                rows.append((key, open_rows[key]))
            open_rows[key].append(i)
        self._say_shortened(before, len(encoded))
        with self._predictor.on_mesh():
            scores = self._predictor.scorer.score(
                [prompt for prompt, _ in rows],
                [[encoded[i][1] for i in places] for _, places in rows],
                progress=name,
            )
        for (_, places), of_row in zip(rows, scores, strict=True):
            for i, score in zip(places, of_row, strict=True):
                found[i] = (score.logprob, bool(score.is_greedy))
        return found

    def _say_shortened(self, before: int, num: int) -> None:
        if self.num_shortened > before:
            say(
                f"flan_jax: {self.num_shortened - before} of {num} prompts lost their beginning, "
                f"as they are above {self._predictor.max_input_length} tokens; raise "
                "max_input_length in --model_args, or take fewer exemplars (--num_fewshot)"
            )


def decode_config(settings: Mapping[str, Any], seed: int) -> DecodeConfig:
    """Returns how a prompt is answered, from what a task of the harness says.

    Without `do_sample` a temperature decides; with it, and without a temperature, that is 1.

    Raises:
        UsageError: something is not known here.
    """
    for name in settings:
        if name not in _KNOWN:
            raise errors.unknown_name("generation setting", name, _KNOWN)
    given = {name: value for name, value in settings.items() if value is not None}
    until = given.get("until", [])
    until = [until] if isinstance(until, str) else until
    lengths = [int(given[name]) for name in _MAX_LENGTH if name in given]
    values = {
        ours: kind(given[theirs]) for theirs, (ours, kind) in _SETTINGS.items() if theirs in given
    }
    if given.get("do_sample") is False:
        values["temperature"] = 0.0
    elif given.get("do_sample"):
        values.setdefault("temperature", 1.0)
    return DecodeConfig(
        max_length=(lengths or [MAX_LENGTH])[0],
        stop=tuple(text for text in until if text),
        seed=seed,
        **values,
    )
