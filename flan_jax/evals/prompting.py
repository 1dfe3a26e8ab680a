# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prompts that fit a model: exemplars are dropped from the left, whole; nothing else is cut."""

import dataclasses
from collections.abc import Callable, Sequence

from flan_jax.evals.benchmark import Question, Subtask

Encode = Callable[[str], Sequence[int]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question as it is asked."""

    text: str
    tokens: Sequence[int]
    num_dropped: int  # exemplars
    too_long: bool  # even without exemplars; `text` is then the whole prompt


def fit(subtask: Subtask, question: Question, encode: Encode, max_input_length: int) -> Prompt:
    """Returns the prompt with as many of the last exemplars as a model takes."""
    for num_dropped in range(len(subtask.exemplars) + 1):
        text = subtask.prompt(question, num_dropped)
        tokens = encode(text)
        if len(tokens) <= max_input_length:
            return Prompt(text=text, tokens=tokens, num_dropped=num_dropped, too_long=False)
    whole = subtask.prompt(question)
    return Prompt(text=whole, tokens=encode(whole), num_dropped=0, too_long=True)
