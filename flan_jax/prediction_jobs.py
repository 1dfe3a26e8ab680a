# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of prompts answered, or scored, by a loaded model.

Of several processes each calls these with the same files. Where the model is on a mesh all of them
do the same on it together; otherwise each takes its share of the prompts, a round at a time, and
what came of it goes to the first, which writes.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax import asking
from flan_jax.core import errors, files, settings
from flan_jax.core.progress import Progress
from flan_jax.evals.answers import POSTPROCESSORS, Postprocessor
from flan_jax.inference import journal, scoring
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.scoring import Score
from flan_jax.inference.self_consistency import vote
from flan_jax.parallel import hosts
from flan_jax.predicting import Predictor

Row = Mapping[str, Any]  # of a .jsonl file
# What is written of a prompt; what its object has by these names is left out.
ANSWERED = ("prediction", "too_long", "predictions", "scores", "finish_reasons", "vote")
SCORED = ("too_long", "logprobs", "mean_logprobs", "best", "tokens")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """How many prompts a job had."""

    num_prompts: int
    num_too_long: int
    num_done_before: int  # by an earlier start of the same job


def postprocessor(name: str) -> Postprocessor:
    """Returns the filter of that name, which finds the answer in a text."""
    if name not in POSTPROCESSORS:
        raise errors.unknown_name("postprocessor", name, POSTPROCESSORS)
    return POSTPROCESSORS[name]


def infer(
    predictor: Predictor,
    prompts: Sequence[Row],
    decoding: DecodeConfig,
    output: str,
    *,
    find_answer: Postprocessor | None = None,
) -> Counts:
    """Answers prompts and writes one JSON line each; goes on where an earlier start was stopped.

    Args:
        predictor: the model.
        prompts: objects with `inputs`, from `prompt_files.read_rows`.
        decoding: how they are answered.
        output: the JSON-lines file to write, whole or not at all.
        find_answer: finds the answer in a text, for a vote among the answers to a prompt; None: no
            vote.

    Raises:
        UsageError: an earlier start had other settings.
        PreemptedError: asked to stop; answers so far are kept.
    """
    encoded = _encode(predictor, [prompt["inputs"] for prompt in prompts])
    fitting = [i for i, ids in enumerate(encoded) if len(ids) <= predictor.max_input_length]
    engine = predictor.new_engine(with_logprobs=decoding.num_samples > 1)
    digest = hashlib.sha256(files.dumps(list(prompts)).encode()).hexdigest()
    deciding = predictor.deciding() | {"decoding": decoding, "prompts": digest}
    with contextlib.ExitStack() as stack:
        kept = journal.Journal({}, None)
        with hosts.all_or_none():
            check_same(digest, "--input")
            if hosts.is_first():
                kept = stack.enter_context(journal.opened(output, settings.describe(deciding)))
        is_done = hosts.shared(np.array([i in kept.done for i in range(len(prompts))]))
        waiting = [i for i in fitting if not is_done[i]]
        bar = stack.enter_context(Progress("infer", total=len(fitting), unit="prompt"))
        bar.advance(len(fitting) - len(waiting))
        stack.enter_context(predictor.on_mesh())
        answers = asking.answers(
            engine,
            {i: encoded[i] for i in waiting},
            dict.fromkeys(waiting, decoding),
            by_shares=_has_shares(predictor),
        )
        for i, found in answers:
            if hosts.is_first():
                kept.add(i, found)
            bar.advance()
        if hosts.is_first():
            with files.atomic_open(output) as file:
                for i, prompt in enumerate(prompts):
                    line = {n: value for n, value in prompt.items() if n not in ANSWERED}
                    line |= _line(prompt, kept.done.get(i), find_answer)
                    file.write(files.dumps(line) + "\n")
    return Counts(
        num_prompts=len(prompts),
        num_too_long=len(prompts) - len(fitting),
        num_done_before=len(fitting) - len(waiting),
    )


def _encode(predictor: Predictor, prompts: Sequence[str]) -> list[list[int]]:
    """Returns the tokens of prompts; refuses one without any."""
    encoded = [predictor.encode(prompt) for prompt in prompts]
    if [] in encoded:
        raise errors.DataError(f"prompt {encoded.index([]) + 1} is empty; leave it out")
    return encoded


def _has_shares(predictor: Predictor) -> bool:
    return predictor.mesh is None and hosts.is_shared()


def vote_in_json(
    predictions: Sequence[str], find_answer: Postprocessor, example: Row
) -> dict[str, Any]:
    """Returns what the answers to a prompt vote for, as JSON."""
    return dataclasses.asdict(vote(find_answer(text, example=example) for text in predictions))


def _line(
    prompt: Row, found: Mapping[str, list[Any]] | None, find_answer: Postprocessor | None
) -> dict[str, Any]:
    """Returns what a line of the output adds to its prompt."""
    if found is None:
        return {"prediction": "", "too_long": True}
    line: dict[str, Any] = {"prediction": found["predictions"][0]}
    if len(found["predictions"]) > 1:
        line |= found
    if find_answer is not None:
        line["vote"] = vote_in_json(found["predictions"], find_answer, prompt)
    return line


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredPrompt:
    """A prompt's choices and how likely each is; no scores for a prompt that is too long."""

    choices: Sequence[str]
    scores: Sequence[Score]


def choices_of(row: Row, place: str) -> list[str]:
    """Returns what is scored of a row: its `choices`, or the one text `targets`."""
    choices = row.get("choices", [row["targets"]] if "targets" in row else None)
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) for c in choices):
        raise errors.DataError(
            f'{place}: need "choices", a list of strings, or "targets", a string, beside "inputs"'
        )
    return choices


def score(
    predictor: Predictor, prompts: Sequence[str], choices: Sequence[Sequence[str]]
) -> list[ScoredPrompt]:
    """Returns how likely each choice is after its prompt, as a whole answer: its EOS counts."""
    encoded = _encode(predictor, prompts)
    fitting = [i for i, ids in enumerate(encoded) if len(ids) <= predictor.max_input_length]
    with predictor.on_mesh(), Progress("score", total=len(fitting), unit="prompt") as bar:
        found = {}
        scores = asking.scores(
            predictor.scorer,
            {i: encoded[i] for i in fitting},
            {i: [predictor.encode_answer(choice) for choice in choices[i]] for i in fitting},
            by_shares=_has_shares(predictor),
        )
        for i, logprobs in scores:
            found[i] = [Score(np.array(each, np.float32)) for each in logprobs]
            bar.advance()
    return [
        ScoredPrompt(choices=of_prompt, scores=found.get(i, ()))
        for i, of_prompt in enumerate(choices)
    ]


def perplexity(scored: Sequence[ScoredPrompt]) -> scoring.Perplexity:
    """Returns the perplexity of all choices together."""
    return scoring.perplexity(score for of_prompt in scored for score in of_prompt.scores)


def scored_in_json(
    predictor: Predictor, scored: ScoredPrompt, *, normalized: str, with_tokens: bool
) -> dict[str, Any]:
    """Returns what a line of `flan-jax score` adds to its prompt."""
    if not scored.scores:
        return {"too_long": True}
    line: dict[str, Any] = {
        "logprobs": [round(s.logprob, 6) for s in scored.scores],
        "mean_logprobs": [round(s.mean, 6) for s in scored.scores],
        "best": scoring.rank(scored.scores, normalized),
    }
    if with_tokens:
        line["tokens"] = [
            _tokens(predictor, choice, s)
            for choice, s in zip(scored.choices, scored.scores, strict=True)
        ]
    return line


def _tokens(predictor: Predictor, choice: str, score: Score) -> list[list[Any]]:
    """Returns text and log-probability of each token of a choice; '' is the end of sequence."""
    ids = predictor.encode_answer(choice)
    logprobs = score.token_logprobs.tolist()
    texts = [predictor.vocabulary.decode(ids[: i + 1]) for i in range(len(ids))]
    pieces = [text[len(before) :] for before, text in zip(["", *texts], texts, strict=False)]
    return [[piece, round(value, 6)] for piece, value in zip(pieces, logprobs, strict=True)]


def check_same(digest: str, what: str) -> None:
    """Raises a `UsageError` if the first process has another digest; each must call this."""
    mine = int(digest[:7], 16)
    if hosts.agreed(mine) != mine:
        raise errors.UsageError(f"{what} differs from that of process 0; give each the same")
