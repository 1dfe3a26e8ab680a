# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Self-consistency: many sampled chains of thought, the answer of each, and the majority's answer.

Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language Models"
(arXiv 2203.11171). Nothing here decodes or reads text: `Engine.generate` gives the samples of a
prompt, a filter of `evals.answers` the answer of each:

    samples = engine.generate(prompts, SELF_CONSISTENCY)
    answers = [[number(text) for text in sampled.texts] for sampled in samples]
    votes = [vote(row) for row in answers]
    curve = accuracy_by_k(answers, targets, METRICS["exact_match"])
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from flan_jax.core import errors
from flan_jax.evals.metrics import mean_and_stderr
from flan_jax.inference.decode_config import DecodeConfig

Target = TypeVar("Target")

SELF_CONSISTENCY = DecodeConfig(num_samples=40, temperature=0.7, top_k=40)
"""How the cited paper samples from PaLM. Chung et al. 2022 give neither number nor temperature."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vote:
    """What the samples of one prompt voted for; `dataclasses.asdict` of it can be written as JSON.

    The winner's share of the votes goes with how often it is right, as the cited paper shows.
    """

    winner: str | None  # None: no sample had an answer
    counts: dict[str, int]  # answer -> votes, most first; among equals who came first
    num_votes: int  # samples with an answer
    num_unparsed: int  # samples without: they do not vote


def vote(answers: Iterable[str | None]) -> Vote:
    """Returns the vote of one prompt's answers, in the order of the samples.

    Answers are equal if their strings are. None and "" mean that a sample has no answer. Among
    answers of as many votes the one that occurs first wins.

    Example:
        >>> vote(["5", None, "7", "7", "5"])
        Vote(winner='5', counts={'5': 2, '7': 2}, num_votes=4, num_unparsed=1)
    """
    cast = list(answers)
    counts = dict(collections.Counter(filter(None, cast)).most_common())  # a stable sort
    num_votes = sum(counts.values())
    return Vote(
        winner=next(iter(counts), None),
        counts=counts,
        num_votes=num_votes,
        num_unparsed=len(cast) - num_votes,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtK:
    """The score of a benchmark with `k` samples a prompt."""

    k: int
    value: float  # mean over prompts, from 0 to 100
    stderr: float | None  # over prompts; None for a single one
    num_unanswered: int  # prompts with no parsed answer among their k samples, which score 0


def accuracy_by_k(
    answers: Sequence[Sequence[str | None]],
    targets: Sequence[Target],
    metric: Callable[[Target, str], float],
) -> list[AtK]:
    """Returns the score of the majority's answers with 1, 2, ... samples a prompt, from one run.

    With k samples the first k of each prompt vote. As a sample depends on the seed, its prompt and
    its number alone, each point is exactly what a run of k samples a prompt gives, and the last is
    the score of the whole run. (Means over many subsets of the samples would vary less at small k,
    but as ties go to the first answer the last point would not be the run's own score.) Points
    share samples, so their errors go together.

    Args:
        answers: of each prompt, in the order of the samples; as many for each.
        targets: one for each prompt.
        metric: (target, answer) -> 0 to 100, as in `evals.metrics.METRICS`.

    Raises:
        UsageError: no prompts, or not as many targets or answers.
    """
    if not answers or len(answers) != len(targets):
        raise errors.UsageError(
            f"accuracy_by_k: {len(answers)} prompts with answers but {len(targets)} targets; pass "
            "one target for each prompt, and at least one"
        )
    num_samples = len(answers[0])
    for i, row in enumerate(answers):
        if not row or len(row) != num_samples:
            raise errors.UsageError(
                f"accuracy_by_k: prompt {i} has {len(row)} answers, prompt 0 has {num_samples}; "
                "pass as many for each, None where a sample has none"
            )
    by_prompt = [_scores(row, target, metric) for row, target in zip(answers, targets, strict=True)]
    curve = []
    for k, scores in enumerate(zip(*by_prompt, strict=True), start=1):
        value, stderr = mean_and_stderr([score or 0.0 for score in scores])
        curve.append(AtK(k=k, value=value, stderr=stderr, num_unanswered=scores.count(None)))
    return curve


def _scores(
    row: Sequence[str | None], target: Target, metric: Callable[[Target, str], float]
) -> list[float | None]:
    """Returns the score of one prompt with 1, 2, ... samples; None while none has an answer."""
    winners = [vote(row[:k]).winner for k in range(1, len(row) + 1)]
    score_of = {winner: metric(target, winner) for winner in set(winners) if winner is not None}
    return [score_of.get(winner) for winner in winners]
