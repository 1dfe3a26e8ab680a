# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What answers score that end where those of a real model would: at the first stop text."""

import dataclasses

from flan_jax.evals.benchmark import Benchmark, Subtask, Value
from tests.tasks.evals import answering

NUM_SAMPLES = 3


def values(form: Benchmark, subtask: Subtask, say: answering.Say) -> dict[str, Value]:
    """Returns the numbers of all measures by name; where samples vote, they all say the same."""
    num_samples = NUM_SAMPLES if form.decoding.num_samples > 1 else 1
    outcomes = []
    for outcome in answering.outcomes(subtask, say):
        (text,) = outcome.texts
        for stop in (*form.decoding.stop, *subtask.stop):
            text = text.split(stop)[0]
        outcomes.append(dataclasses.replace(outcome, texts=(text,) * num_samples))
    return {value.metric: value for m in form.measures for value in m.values(outcomes)}


def headline(form: Benchmark, subtask: Subtask, say: answering.Say) -> float:
    """Returns the first number of the first measure."""
    return next(iter(values(form, subtask, say).values())).value


def constant(answer: str) -> answering.Say:
    """Returns what always says the same."""
    return lambda question: answer
