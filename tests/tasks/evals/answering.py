# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks answered without a model: by who knows the answers, or says always the same."""

from collections.abc import Callable
from pathlib import Path

from flan_jax.evals.benchmark import GENERATE, Benchmark, Outcome, Question, Subtask

Say = Callable[[Question], str]


def oracle(question: Question) -> str:
    """Says what a model says that is right."""
    return question.target


def outcomes(subtask: Subtask, say: Say) -> list[Outcome]:
    """Returns what comes of asking for answers; `say` gives one."""
    return [Outcome(question=q, texts=(say(q),)) for q in subtask.questions]


def ranked(subtask: Subtask, say: Say) -> list[Outcome]:
    """Returns what comes of ranking choices; `say` gives the label of the likeliest."""
    return [
        Outcome(question=q, choice_logprobs=logprobs, choice_means=logprobs)
        for q in subtask.questions
        for logprobs in [tuple(-1.0 - (q.label(n) != say(q)) for n in range(len(q.choices)))]
    ]


def headlines(
    benchmark: Benchmark, folder: Path, split: str, say: Say, way: str = GENERATE
) -> dict[str, float]:
    """Returns the first number of each subtask that can be asked in this way."""
    measure = next(m for m in benchmark.measures if m.way == way)
    ask = outcomes if way == GENERATE else ranked
    return {
        subtask.name: measure.values(ask(subtask, say))[0].value
        for subtask in benchmark.load(folder, split)
        if way == GENERATE or all(question.choices for question in subtask.questions)
    }
