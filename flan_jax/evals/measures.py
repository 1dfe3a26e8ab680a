# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the answers to a benchmark's questions are measured: the usual ways.

A question that was too long to be asked counts as answered with nothing.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from flan_jax.evals import answers, metrics
from flan_jax.evals.benchmark import GENERATE, RANK, Outcome, Value
from flan_jax.inference.self_consistency import accuracy_by_k, vote


@dataclasses.dataclass(frozen=True)
class Extracted:
    """The first answer, found in the text by a filter, against the references.

    Args:
        filter: a name of `answers.POSTPROCESSORS`.
        metrics: names of `metrics.METRICS`, the headline first.
        label: told from other filters' numbers by this, after a '/' in the metric's name; '' for
            the benchmark's own.
    """

    filter: str
    metrics: tuple[str, ...] = ("exact_match",)
    label: str = ""
    way: str = dataclasses.field(default=GENERATE, init=False)

    def check(self) -> None:
        """Works everywhere."""

    def judge(self, outcome: Outcome) -> dict[str, Any]:
        """Returns the answer, whether there is one, and its scores."""
        answer = _answer(self.filter, outcome)
        scores = _scores(self.metrics, outcome, answer)
        return {
            _named("answer", self.label): answer,
            **{_named(name, self.label): score for name, score in scores.items()},
        }

    def values(self, outcomes: Sequence[Outcome]) -> list[Value]:
        """Returns the means of the metrics, and the percentage of texts without an answer."""
        found = [_answer(self.filter, outcome) for outcome in outcomes]
        each = [_scores(self.metrics, o, a) for o, a in zip(outcomes, found, strict=True)]
        values = [
            mean(_named(name, self.label), [scores[name] for scores in each])
            for name in self.metrics
        ]
        unparsed = [100.0 * (not answer) for answer in found]
        return [*values, mean(_named("unparsed", self.label), unparsed)]


@dataclasses.dataclass(frozen=True)
class Voted:
    """Self-consistency: the answer that most samples give (`inference.self_consistency`)."""

    filter: str
    metric: str = "exact_match"
    way: str = dataclasses.field(default=GENERATE, init=False)

    def check(self) -> None:
        """Works everywhere."""

    def judge(self, outcome: Outcome) -> dict[str, Any]:
        """Returns the answer voted for, its score and the vote."""
        cast = vote(_answers(self.filter, outcome))
        return {
            "answer": cast.winner or "",
            **_scores((self.metric,), outcome, cast.winner or ""),
            "vote": dataclasses.asdict(cast),
        }

    def values(self, outcomes: Sequence[Outcome]) -> list[Value]:
        """Returns the score of the majority, and of the majority of the first 1, 2, 4, ..."""
        most = max((len(outcome.texts) for outcome in outcomes), default=0) or 1
        rows = [_answers(self.filter, o) or [None] * most for o in outcomes]
        targets = [list(outcome.question.references) for outcome in outcomes]
        curve = accuracy_by_k(rows, targets, metrics.METRICS[self.metric])
        last = curve[-1]
        values = [Value(self.metric, last.value, len(outcomes), last.stderr)]
        values += [
            Value(f"{self.metric}/k={at.k}", at.value, len(outcomes), at.stderr)
            for at in curve[:-1]
            if at.k & (at.k - 1) == 0
        ]
        unparsed = 100.0 * last.num_unanswered / len(outcomes)
        return [*values, Value("unparsed", unparsed, len(outcomes))]


@dataclasses.dataclass(frozen=True)
class Ranked:
    """Rank classification: the choice that the model holds most likely, against the references.

    By the log-probability of the whole choice, as the harnesses do it; beside it per token, and per
    character of the text after its first space.
    """

    way: str = dataclasses.field(default=RANK, init=False)

    def check(self) -> None:
        """Works everywhere."""

    def judge(self, outcome: Outcome) -> dict[str, Any]:
        """Returns the choice, its score, and the log-probability of each."""
        chosen = _ranked(outcome, outcome.choice_logprobs)
        return {
            "ranked": chosen,
            "ranked_by_token": self._by_token(outcome),
            "ranked_by_character": self._by_character(outcome),
            "accuracy": _right(outcome, chosen),
            "choice_logprobs": [round(value, 6) for value in outcome.choice_logprobs],
        }

    def values(self, outcomes: Sequence[Outcome]) -> list[Value]:
        """Returns the accuracy, and those by log-probability per token and per character."""
        chosen = [_right(o, _ranked(o, o.choice_logprobs)) for o in outcomes]
        by_token = [_right(o, self._by_token(o)) for o in outcomes]
        by_character = [_right(o, self._by_character(o)) for o in outcomes]
        return [
            mean("accuracy", chosen),
            mean("accuracy/by_token", by_token),
            mean("accuracy/by_character", by_character),
        ]

    @staticmethod
    def _by_token(outcome: Outcome) -> str:
        return _ranked(outcome, outcome.choice_means)

    @staticmethod
    def _by_character(outcome: Outcome) -> str:
        logprobs = outcome.choice_logprobs
        choices = outcome.question.choices if logprobs else ()
        lengths = [max(len(choice.removeprefix(" ")), 1) for choice in choices]
        return _ranked(outcome, [v / n for v, n in zip(logprobs, lengths, strict=True)])


def mean(name: str, scores: Sequence[float]) -> Value:
    """Returns the mean of the examples' scores as a number of a subtask."""
    value, stderr = metrics.mean_and_stderr(scores)
    return Value(name, value, len(scores), stderr)


def _named(name: str, label: str) -> str:
    return f"{name}/{label}" if label else name


def _answers(name: str, outcome: Outcome) -> list[str]:
    example = outcome.question.example()
    return [answers.POSTPROCESSORS[name](text, example=example) for text in outcome.texts]


def _answer(name: str, outcome: Outcome) -> str:
    """Returns the answer in the first text; '' where there is none, or no text."""
    example = outcome.question.example()
    found = outcome.texts[:1] or ("",)
    return answers.POSTPROCESSORS[name](found[0], example=example)


def _scores(names: Sequence[str], outcome: Outcome, answer: str) -> dict[str, float]:
    references = list(outcome.question.references)
    return {
        name: 0.0 if outcome.too_long else metrics.METRICS[name](references, answer)
        for name in names
    }


def _ranked(outcome: Outcome, values: Sequence[float]) -> str:
    """Returns the label of the choice of the highest value, the first of equals; '' of none."""
    return outcome.question.label(values.index(max(values))) if values else ""


def _right(outcome: Outcome, label: str) -> float:
    return 100.0 * (not outcome.too_long and label in outcome.question.references)
