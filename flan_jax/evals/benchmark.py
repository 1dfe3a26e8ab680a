# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""A benchmark as data: its questions, how they are asked, and how the answers are measured.

A prompt is the description of a subtask, its exemplars, and a question, one after the other with
nothing between:

    description                  "The following are multiple choice questions ...\n\n"
    exemplar exemplar ...        "Q: ...\nA: ... The answer is (B).\n\n" each
    question                     "Q: ...\nA:"

Exemplars that do not fit are dropped from the left (`prompting`). Reading a benchmark opens the
user's copies of its public files; declaring one opens nothing. Modules register theirs with `add`
when imported; a suite is a name for several.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from flan_jax.core import errors
from flan_jax.inference.decode_config import DecodeConfig

GENERATE, RANK = "generate", "rank"
WAYS = (GENERATE, RANK)
"""How a model is asked: it writes an answer, or its choices are compared by their probability."""

TEST, VALIDATION = "test", "validation"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """One question of a subtask."""

    id: str  # its own within the subtask, the same in every run
    text: str  # the last part of the prompt, which ends where the answer begins
    target: str  # what a model that is right in the way of the exemplars goes on with
    references: tuple[str, ...]  # the answers that are right, as filters give answers
    choices: tuple[str, ...] = ()  # what may follow the prompt, for `RANK`
    labels: tuple[str, ...] = ()  # the answer that each choice stands for; empty: the choices
    options: tuple[str, ...] = ()  # texts of the options, for filters that find options by text
    # Of JSON, kept with the prediction.
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.labels and len(self.labels) != len(self.choices):
            raise ValueError(
                f"question {self.id!r}: {len(self.choices)} choices, {len(self.labels)} labels"
            )

    def label(self, choice: int) -> str:
        """Returns the answer that a choice stands for."""
        return (self.labels or self.choices)[choice]

    def example(self) -> dict[str, Any]:
        """Returns what a postprocessor is told of the question."""
        return {**self.meta, "options": list(self.options)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subtask:
    """Questions that have description and exemplars in common, and a score of their own."""

    name: str
    questions: tuple[Question, ...]
    description: str = ""
    exemplars: tuple[str, ...] = ()
    baseline: float = 0.0  # what guessing at random scores, from 0 to 100
    groups: tuple[str, ...] = ()  # names of parts of the benchmark with a mean of their own
    stop: tuple[str, ...] = ()  # texts that end an answer, besides those of the benchmark

    def prompt(self, question: Question, num_dropped: int = 0) -> str:
        """Returns a prompt, without the first `num_dropped` exemplars."""
        return "".join([self.description, *self.exemplars[num_dropped:], question.text])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a model said to a question."""

    question: Question
    texts: tuple[str, ...] = ()  # answers, the samples of a question in order; none if not asked so
    logprobs: tuple[float, ...] = ()  # of each text, the sum over its tokens; none if not known
    finish_reasons: tuple[str, ...] = ()  # of each text, 'stop' or 'length'; none if not known
    choice_logprobs: tuple[float, ...] = ()  # of each choice; none if not asked so
    choice_means: tuple[float, ...] = ()  # the same per token
    num_dropped: int = 0  # exemplars that did not fit
    too_long: bool = False  # the question alone did not fit, so the model was not asked


@dataclasses.dataclass(frozen=True)
class Value:
    """One number of a subtask."""

    metric: str
    value: float
    n: int  # examples
    stderr: float | None = None  # None where unknown


class Measure(Protocol):
    """How the answers to a subtask are measured (`measures`)."""

    way: str  # one of WAYS: what it looks at

    def check(self) -> None:
        """Raises a `UsageError` if it cannot work here; called before a model is asked."""

    def judge(self, outcome: Outcome) -> dict[str, Any]:
        """Returns, as JSON, what is said of one answer in the file of predictions."""

    def values(self, outcomes: Sequence[Outcome]) -> list[Value]:
        """Returns the numbers of a subtask, the headline first."""


# From the folder of a benchmark's files and a split to its subtasks. Raises `UsageError` where a
# file is missing, and `DataError` with file and line where one cannot be read.
Load = Callable[[Path, str], Sequence[Subtask]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is asked and how; asked in another way it is another benchmark."""

    name: str
    version: int  # raised by whatever changes a prompt, an answer or a score
    protocol: str  # how it is asked, in the words of the paper: '5-shot CoT'
    folder: str  # of its files, below the folder of all benchmarks' files
    files: str  # which they are and where they come from, for people
    load: Load
    decoding: DecodeConfig  # of the answers; the stop texts of the subtask are added
    # The ways of the first are the default; the others' measures are taken when asked for.
    measures: tuple[Measure, ...]
    splits: tuple[str, ...] = (TEST,)  # the first is the paper's
    subtasks: tuple[str, ...] = ()  # names of those that `load` gives; empty: the files say
    paper_column: str = ""  # of the paper's tables, in `flan_jax.paper`; '': in none

    def ways(self) -> tuple[str, ...]:
        """Returns how it can be asked, the default first."""
        return tuple(dict.fromkeys(measure.way for measure in self.measures))


_benchmarks: dict[str, Benchmark] = {}
_suites: dict[str, tuple[str, ...]] = {}


def add(benchmark: Benchmark) -> Benchmark:
    """Registers a benchmark and returns it.

    Raises:
        UsageError: another benchmark, or a suite, has the name.
    """
    name = benchmark.name
    if name in _suites or _benchmarks.get(name, benchmark) != benchmark:
        raise errors.UsageError(f"the name {name!r} is taken by another benchmark; choose another")
    return _benchmarks.setdefault(name, benchmark)


def add_suite(name: str, members: Sequence[str]) -> None:
    """Names several benchmarks, which need not be registered yet.

    Raises:
        UsageError: a benchmark, or another suite, has the name.
    """
    members = tuple(members)
    if name in _benchmarks or _suites.get(name, members) != members:
        raise errors.UsageError(f"the name {name!r} is taken by another suite; choose another")
    _suites[name] = members


def registered() -> Mapping[str, Benchmark]:
    """Returns all benchmarks by name."""
    return types.MappingProxyType(_benchmarks)


def suites() -> Mapping[str, tuple[str, ...]]:
    """Returns the names of each suite's benchmarks."""
    return types.MappingProxyType(_suites)


def choose(names: Sequence[str]) -> tuple[Benchmark, ...]:
    """Returns the benchmarks that names of benchmarks or suites stand for, each once, in order.

    Raises:
        UsageError: nothing has one of the names.
    """
    chosen: dict[str, None] = {}
    for name in names:
        for member in _suites.get(name, (name,)):
            if member not in _benchmarks:
                raise errors.unknown_name("benchmark", member, [*_benchmarks, *_suites])
            chosen[member] = None
    return tuple(_benchmarks[name] for name in chosen)
