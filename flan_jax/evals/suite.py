# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks prepared for a model, and what its answers make of them: outcomes, scores, files.

    OUT/predictions/<benchmark>/<split>.<way>/<subtask>.jsonl    one line a question

Nothing here asks a model. No prompt is cut: exemplars that do not fit are dropped from the left and
counted; a question that does not fit alone is not asked, counts as wrong, and is counted.
"""

import collections
import dataclasses
import hashlib
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import errors, files, ranges
from flan_jax.core.progress import say
from flan_jax.evals import benchmark as benchmarks
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.benchmark import GENERATE, RANK, Benchmark, Outcome, Question, Subtask
from flan_jax.evals.prompting import Encode, Prompt, fit
from flan_jax.evals.scores import Score
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import LENGTH

PREDICTIONS = "predictions"
BOTH = "both"
_NAME = re.compile(r"[^\W_][^/\\\x00-\x1f]{0,49}")  # of a subtask; '_mean' is none


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """Which benchmarks are asked, and how."""

    benchmarks: Sequence[str]  # names of benchmarks or suites
    data: str  # the folder of all benchmarks' files
    # Modules that register benchmarks.
    module_imports: Sequence[str] = ("tasks.evals.benchmarks",)
    # Benchmark -> split, where it is not to be the benchmark's first.
    splits: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: types.MappingProxyType({})
    )
    ways: str = ""  # 'generate', 'rank' or 'both'; '': the benchmark's first
    num_examples: int | None = None  # of each subtask, evenly spread over it; None: all
    seed: int = 0  # of sampling
    model_name: str = "model"  # of the score rows

    def __post_init__(self):
        ranges.check("SuiteConfig", "[1, inf)", num_examples=self.num_examples)
        ranges.check("SuiteConfig", "[0, inf)", seed=self.seed)
        if self.ways not in ("", BOTH, *benchmarks.WAYS):
            raise errors.unknown_name("way of asking", self.ways, (BOTH, *benchmarks.WAYS))
        if isinstance(self.benchmarks, str) or not self.benchmarks:
            raise errors.UsageError(
                f"SuiteConfig.benchmarks is {self.benchmarks!r}; give a list of names"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A benchmark asked in one way: a row of the report."""

    benchmark: Benchmark
    split: str
    way: str
    subtasks: tuple[Subtask, ...]  # with the questions that are asked

    @property
    def name(self) -> str:
        """Names its folder below that of the benchmark."""
        return f"{self.split}.{self.way}"

    @property
    def protocol(self) -> str:
        """Says in a score row how it is asked."""
        return f"{self.benchmark.protocol}; {self.split}; {self.way}"

    def questions(self) -> Iterator[tuple[Subtask, Question]]:
        """Yields all questions with their subtasks, in order."""
        for subtask in self.subtasks:
            for question in subtask.questions:
                yield subtask, question


def read(config: SuiteConfig) -> list[Part]:
    """Reads the benchmarks of a configuration; their modules must be imported.

    Raises:
        UsageError: an unknown benchmark, split or way, a missing file, or a measure that cannot
            work here.
        DataError: a file is malformed.
    """
    chosen = benchmarks.choose(config.benchmarks)
    for name in config.splits:
        if name not in {benchmark.name for benchmark in chosen}:
            known = [benchmark.name for benchmark in chosen]
            raise errors.unknown_name("benchmark of a split", name, known)
    parts = []
    for benchmark in chosen:
        split = config.splits.get(benchmark.name, benchmark.splits[0])
        if split not in benchmark.splits:
            raise errors.unknown_name(f"split of {benchmark.name}", split, benchmark.splits)
        ways = _ways(benchmark, config.ways)
        for way in ways:
            for measure in _measures(benchmark, way):
                measure.check()
        loaded = benchmark.load(Path(config.data, benchmark.folder), split)
        _check_names(benchmark, loaded)
        subtasks = tuple(
            dataclasses.replace(subtask, questions=_spread(subtask.questions, config.num_examples))
            for subtask in loaded
        )
        if config.ways == RANK not in ways:
            say(f"eval: {benchmark.name} has no choices to rank; its answers are generated")
        for way in ways:
            kept = tuple(s for s in subtasks if way != RANK or _has_choices(s))
            left_out = [s.name for s in subtasks if s not in kept]
            if left_out and kept:
                say(f"eval: {benchmark.name}, {way}: no choices, left out: {', '.join(left_out)}")
            if not kept:
                raise errors.UsageError(
                    f"benchmark {benchmark.name!r} has no question to ask by {way!r}"
                )
            parts.append(Part(benchmark=benchmark, split=split, way=way, subtasks=kept))
    return parts


def prompts(part: Part, encode: Encode, max_input_length: int) -> list[Prompt]:
    """Returns the prompts of a part's questions, in order."""
    return [fit(subtask, question, encode, max_input_length) for subtask, question in
            part.questions()]  # fmt: skip


def decoding(part: Part, seed: int) -> list[DecodeConfig]:
    """Returns how each question of a part is answered, in order."""
    of_part = dataclasses.replace(part.benchmark.decoding, seed=seed)
    return [
        dataclasses.replace(of_part, stop=(*of_part.stop, *subtask.stop))
        for subtask in part.subtasks
        for _ in subtask.questions
    ]


def digest(part: Part, asked: Sequence[Prompt]) -> str:
    """Returns a hash of all that is asked, and of what would be right."""
    found = hashlib.sha256()
    for (subtask, question), prompt in zip(part.questions(), asked, strict=True):
        right = [question.references, question.labels, question.example()]
        line = [subtask.name, subtask.stop, question.id, prompt.text, question.choices, right]
        found.update(files.dumps(line).encode() + b"\n")
    return found.hexdigest()


def outcome(question: Question, prompt: Prompt, way: str, found: Any) -> Outcome:
    """Returns what came of a question.

    Args:
        question: the question.
        prompt: as it was asked.
        way: how.
        found: what `asking.answers` or `asking.scores` gave; None where it was not asked.
    """
    facts: dict[str, Any] = {"num_dropped": prompt.num_dropped, "too_long": prompt.too_long}
    if found is not None and way == GENERATE:
        facts["texts"] = tuple(found["predictions"])
        facts["logprobs"] = tuple(found["scores"])
        facts["finish_reasons"] = tuple(found["finish_reasons"])
    elif found is not None:
        facts["choice_logprobs"] = tuple(sum(of_choice) for of_choice in found)
        facts["choice_means"] = tuple(sum(each) / len(each) for each in found)
    return Outcome(question=question, **facts)


def write_predictions(
    out: Path, part: Part, asked: Sequence[Prompt], outcomes: Sequence[Outcome]
) -> None:
    """Writes a line for each question of a part, a file for each subtask."""
    folder = out / PREDICTIONS / part.benchmark.name / part.name
    pairs = iter(zip(asked, outcomes, strict=True))
    for subtask in part.subtasks:
        with files.atomic_open(folder / f"{subtask.name}.jsonl") as file:
            for _ in subtask.questions:
                line = _line(part, subtask, *next(pairs))
                file.write(files.dumps(line) + "\n")


def score(part: Part, outcomes: Sequence[Outcome], model_name: str, step: int) -> list[Score]:
    """Returns the score rows of a part: of its subtasks, of its groups' means and its mean.

    Raises:
        DataError: a subtask cannot be measured; the last is told, which knows what all lack.
    """
    rows = []
    left = iter(outcomes)
    problem = None
    for subtask in part.subtasks:
        of_subtask = [next(left) for _ in subtask.questions]
        for measure in _measures(part.benchmark, part.way):
            try:
                values = measure.values(of_subtask)
            except errors.DataError as error:
                problem, values = error, ()
            for value in values:
                rows.append(
                    Score(
                        model=model_name, step=step, benchmark=part.benchmark.name,
                        protocol=part.protocol, subtask=subtask.name, metric=value.metric,
                        value=value.value, n=value.n, stderr=value.stderr,
                    )
                )  # fmt: skip
    if problem:
        raise problem
    groups = {
        group: [s.name for s in part.subtasks if group in s.groups]
        for group in dict.fromkeys(group for s in part.subtasks for group in s.groups)
    }
    means = [*scores_lib.macro_means(rows), *scores_lib.group_means(rows, groups)]
    return [*rows, *(_with_error_of_questions(mean, rows, groups) for mean in means)]


def _with_error_of_questions(
    mean: Score, rows: Sequence[Score], groups: Mapping[str, Sequence[str]]
) -> Score:
    """Returns a mean with the standard error that comes of its questions.

    The subtasks of a benchmark are no sample of subtasks, all are there: what varies is which
    questions each has.
    """
    group = scores_lib.group_of(mean.subtask)
    errors_of = [
        row.stderr
        for row in rows
        if row.metric == mean.metric and (not group or row.subtask in groups[group])
    ]
    return dataclasses.replace(mean, stderr=scores_lib.error_of_mean(errors_of))


def baselines(part: Part) -> dict[tuple[str, str], float]:
    """Returns (benchmark, subtask) -> what guessing scores."""
    return {(part.benchmark.name, s.name): s.baseline for s in part.subtasks}


def counts(asked: Sequence[Prompt], outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Returns how many prompts there were, what did not fit, and how many answers were cut."""
    dropped = collections.Counter(prompt.num_dropped for prompt in asked if prompt.num_dropped)
    return {
        "prompts": len(asked),
        "dropped": sum(dropped.values()),
        "dropped_exemplars": sum(num * times for num, times in dropped.items()),
        "too_long": sum(prompt.too_long for prompt in asked),
        "cut": sum(outcome.finish_reasons.count(LENGTH) for outcome in outcomes),
    }


def headline(rows: Sequence[Score]) -> Score:
    """Returns the mean of a part, of whose rows the first is of its first measure's headline."""
    means = {row.metric: row for row in rows if row.subtask == scores_lib.MEAN}
    return means[rows[0].metric]


def _ways(benchmark: Benchmark, asked: str) -> tuple[str, ...]:
    if asked == "":
        return benchmark.ways()[:1]
    if asked == BOTH:
        return benchmark.ways()
    # A benchmark that has no such way is asked as it can be.
    return (asked,) if asked in benchmark.ways() else benchmark.ways()[:1]


def _measures(benchmark: Benchmark, way: str) -> list[benchmarks.Measure]:
    return [measure for measure in benchmark.measures if measure.way == way]


def _check_names(benchmark: Benchmark, subtasks: Sequence[Subtask]) -> None:
    """Checks that there are questions in each subtask, and names that tell all apart.

    Some names of subtasks are from the user's data, and files are named so.
    """
    _check_apart(f"{benchmark.name}: subtasks", [subtask.name for subtask in subtasks])
    for subtask in subtasks:
        where = f"{benchmark.name}: subtask {subtask.name!r}"
        if not _NAME.fullmatch(subtask.name):
            raise errors.DataError(
                f"{where}: a file is to be named so; begin with a letter or digit, and have no "
                "slash and at most 50 characters"
            )
        _check_apart(f"{where}: questions", [question.id for question in subtask.questions])


def _check_apart(what: str, names: Sequence[str]) -> None:
    if not names:
        raise errors.DataError(f"{what}: none; take the benchmark's files as published")
    [(name, times)] = collections.Counter(names).most_common(1)
    if times > 1:
        raise errors.DataError(f"{what}: {times} are called {name!r}; give each a name of its own")


def _has_choices(subtask: Subtask) -> bool:
    return all(question.choices for question in subtask.questions)


def _spread(questions: Sequence[Question], num: int | None) -> tuple[Question, ...]:
    """Returns `num` questions, evenly spread: files often have like questions together."""
    if num is None or num >= len(questions):
        return tuple(questions)
    return tuple(questions[i * len(questions) // num] for i in range(num))


def _line(part: Part, subtask: Subtask, prompt: Prompt, outcome: Outcome) -> dict[str, Any]:
    judged: dict[str, Any] = {}
    for measure in _measures(part.benchmark, part.way):
        judged |= measure.judge(outcome)
    line = {
        "benchmark": part.benchmark.name,
        "subtask": subtask.name,
        "id": outcome.question.id,
        "inputs": prompt.text,
        "prompt_sha256": hashlib.sha256(prompt.text.encode()).hexdigest(),
        "num_dropped": outcome.num_dropped,
        "too_long": outcome.too_long,
        "references": list(outcome.question.references),
        "predictions": list(outcome.texts),
        "finish_reasons": list(outcome.finish_reasons),
        **judged,
        "meta": dict(outcome.question.meta),
    }
    if len(outcome.texts) > 1:
        line["logprobs"] = list(outcome.logprobs)
    return line
