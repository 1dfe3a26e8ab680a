# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""BIG-Bench Hard (Suzgun et al. 2022): 23 tasks in 27 files, as two puzzles come in three sizes.

The files are those of suzgunmirac/BIG-Bench-Hard: `bbh/FILE.json` with the questions, and
`cot-prompts/FILE.txt` with a prompt of three exemplars, whose first two lines, canary and `-----`,
are no part of it:

    DESCRIPTION

    Q: INPUT
    A: Let's think step by step.
    RATIONALE So the answer is (B).

A direct prompt is the same with each rationale replaced by the bare answer, `A: (B)`: so upstream's
direct prompts are. The paper does not say how it asks without exemplars: here the description and
the question remain. An input holds its options; its answer is compared as an exact string.

Scores are means over files, not over the 23 tasks, also those of the groups: so the published means
of code-davinci-002 with chain of thought, 73.5 (nlp) and 73.9 (alg), follow from its files.

Ranking compares the marks of the options, or the two answers that a file has. The questions of the
four files with free text (`FREE_TEXT`) have no choices: those files can only be generated, and
means of ranking are over the other 23.
"""

import dataclasses
import functools
import re
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flan_jax.collection.sources import read_lines
from flan_jax.core.errors import DataError
from flan_jax.evals import benchmark, public_files
from flan_jax.evals.benchmark import Benchmark, Question, Subtask
from flan_jax.evals.measures import Extracted, Ranked, Voted
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.self_consistency import SELF_CONSISTENCY
from flan_jax.paper import parts

FOLDER = "bbh"
NUM_SHOTS = 3
THINK = "Let's think step by step."

LETTERS: tuple[str, ...] = ("letters",)
FREE_TEXT: tuple[str, ...] = ()

# The answers of each file: marks of the options in the input, free text, or one of these two.
ANSWERS: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "boolean_expressions": ("False", "True"),
        "causal_judgement": ("No", "Yes"),
        "date_understanding": LETTERS,
        "disambiguation_qa": LETTERS,
        "dyck_languages": FREE_TEXT,
        "formal_fallacies": ("invalid", "valid"),
        "geometric_shapes": LETTERS,
        "hyperbaton": LETTERS,
        "logical_deduction_five_objects": LETTERS,
        "logical_deduction_seven_objects": LETTERS,
        "logical_deduction_three_objects": LETTERS,
        "movie_recommendation": LETTERS,
        "multistep_arithmetic_two": FREE_TEXT,
        "navigate": ("No", "Yes"),
        "object_counting": FREE_TEXT,
        "penguins_in_a_table": LETTERS,
        "reasoning_about_colored_objects": LETTERS,
        "ruin_names": LETTERS,
        "salient_translation_error_detection": LETTERS,
        "snarks": LETTERS,
        "sports_understanding": ("no", "yes"),
        "temporal_sequences": LETTERS,
        "tracking_shuffled_objects_five_objects": LETTERS,
        "tracking_shuffled_objects_seven_objects": LETTERS,
        "tracking_shuffled_objects_three_objects": LETTERS,
        "web_of_lies": ("No", "Yes"),
        "word_sorting": FREE_TEXT,
    }
)

# What guessing scores by the options that the whole files have, in percent, where that is not 50
# (two answers) or 0 (free text). The paper's normalized average takes others (`paper.parts`).
GUESSING: Mapping[str, float] = types.MappingProxyType(
    {
        "date_understanding": 17.2,
        "disambiguation_qa": 33.2,
        "geometric_shapes": 9.8,
        "hyperbaton": 50.0,
        "logical_deduction_five_objects": 20.0,
        "logical_deduction_seven_objects": 14.3,
        "logical_deduction_three_objects": 33.3,
        "movie_recommendation": 24.6,
        "penguins_in_a_table": 20.0,
        "reasoning_about_colored_objects": 12.1,
        "ruin_names": 25.0,
        "salient_translation_error_detection": 16.7,
        "snarks": 50.0,
        "temporal_sequences": 25.0,
        "tracking_shuffled_objects_five_objects": 20.0,
        "tracking_shuffled_objects_seven_objects": 14.3,
        "tracking_shuffled_objects_three_objects": 33.3,
    }
)

# Question of a file -> what is wrong with it. They are asked and counted as they are, as upstream
# does. sports_understanding repeats inputs, too.
KNOWN_FAULTS: Mapping[tuple[str, int], str] = types.MappingProxyType(
    {
        ("causal_judgement", 104): "has the input of 36",
        ("movie_recommendation", 163): "the target is the text 'Monsters, Inc'",
        ("penguins_in_a_table", 59): "four options, the others have five",
        ("ruin_names", 51): "three options, the others have four",
        ("ruin_names", 99): "options cut at commas; the target is a text",
        ("ruin_names", 144): "options cut at commas; the target is a text",
        ("snarks", 86): "both options are the same",
        ("snarks", 88): "one option, which is cut",
    }
)

FILES = "bbh and cot-prompts of github.com/suzgunmirac/BIG-Bench-Hard, such as bbh/snarks.json"

_OPTION = re.compile(r"^\(([A-Z])\) ?(.*)$", re.MULTILINE)
_CANARY, _RULE = "canary GUID", "-----"


@dataclasses.dataclass(frozen=True, slots=True)
class Exemplar:
    """An exemplar of a stored prompt."""

    question: str  # 'Q: ..'
    rationale: str  # what follows the trigger, white space included, up to and with the answer
    answer: str


def load_direct(folder: Path, split: str, *, num_shots: int) -> tuple[Subtask, ...]:
    """Returns the files, asked for an answer."""
    del split
    return _load(folder, num_shots, lambda e: f"{e.question}\nA: {e.answer}\n\n", lambda q, _: q)


def load_cot(folder: Path, split: str, *, num_shots: int) -> tuple[Subtask, ...]:
    """Returns the files, asked for a chain of thought."""
    del split
    return _load(
        folder, num_shots, lambda e: f"{e.question}\nA: {THINK}{e.rationale}\n\n", _thinking
    )


def read_questions(folder: Path, file: str) -> tuple[Question, ...]:
    """Returns the questions of a file, asked for an answer.

    Raises:
        UsageError: the file is not there.
        DataError: it is not as published.
    """
    path = public_files.find(folder, f"bbh/{file}.json", f"{file}.json", what=FILES)
    held = public_files.read_json(path)
    examples = held.get("examples") if isinstance(held, dict) else None
    if not isinstance(examples, list) or not examples:
        raise DataError(f"{path}: need a list 'examples'; take the file as published")
    return tuple(
        _question(example, index, file, f"{path}[{index}]")
        for index, example in enumerate(examples)
    )


def read_prompt(folder: Path, file: str) -> tuple[str, tuple[Exemplar, ...]]:
    """Returns description and exemplars of a file's prompt.

    Raises:
        UsageError: the file is not there.
        DataError: it is not made of `NUM_SHOTS` exemplars.
    """
    path = public_files.find(folder, f"cot-prompts/{file}.txt", what=FILES)
    lines = list(read_lines(path))
    has_canary, has_rule = _CANARY in "".join(lines[:1]), lines[1:2] == [_RULE]
    if has_canary != has_rule:
        raise DataError(
            f"{path}:1: need a line with {_CANARY!r} and a line {_RULE!r} before the prompt, or "
            "neither; take the file as published"
        )
    text = "\n".join(lines[2:] if has_canary else lines)
    description, *blocks = re.split(r"\n\n(?=Q: )", text.rstrip())
    if len(blocks) != NUM_SHOTS:
        raise DataError(
            f"{path}: need {NUM_SHOTS} exemplars 'Q: ..', found {len(blocks)}; take the file as "
            "published"
        )
    return f"{description}\n\n", tuple(
        _exemplar(block, f"{path}: exemplar {number}") for number, block in enumerate(blocks, 1)
    )


def _load(
    folder: Path,
    num_shots: int,
    show: Callable[[Exemplar], str],
    ask: Callable[[Question, Exemplar], Question],
) -> tuple[Subtask, ...]:
    """Returns the files in a form.

    Args:
        folder: where they are.
        num_shots: how many of the exemplars are shown.
        show: an exemplar as a block of the prompt.
        ask: a question, from one asked for an answer, and an exemplar to be like.
    """
    subtasks = []
    for file in parts.bbh_files():
        description, exemplars = read_prompt(folder, file.file)
        questions = read_questions(folder, file.file)
        subtasks.append(
            Subtask(
                name=file.file,
                questions=tuple(ask(question, exemplars[0]) for question in questions),
                description=description,
                exemplars=tuple(show(exemplar) for exemplar in exemplars[:num_shots]),
                baseline=file.baseline,
                groups=(file.group,),
            )
        )
    return tuple(subtasks)


def _question(example: Any, index: int, file: str, where: str) -> Question:
    text, target = (public_files.text_of(example, key, where) for key in ("input", "target"))
    labels, options = ANSWERS[file], ()
    if labels == LETTERS:
        found = _OPTION.findall(text)
        if not found:
            raise DataError(f"{where}: no option '(A) ..' in the input; take the file as published")
        labels = tuple(f"({mark})" for mark, _ in found)
        options = tuple(option for _, option in found)
    elif labels and target not in labels:
        raise DataError(f"{where}: the target {target!r} is none of {', '.join(labels)}")
    return Question(
        id=str(index),
        text=f"Q: {text}\nA:",
        target=f" {target}",
        references=(target,),
        choices=tuple(f" {label}" for label in labels),
        labels=labels,
        options=options,
    )


def _thinking(question: Question, exemplar: Exemplar) -> Question:
    rationale = exemplar.rationale
    gap = rationale[: len(rationale) - len(rationale.lstrip())]
    return dataclasses.replace(
        question,
        text=f"{question.text} {THINK}",
        target=f"{gap}So the answer is{question.target}.",
        choices=(),
        labels=(),
    )


def _exemplar(block: str, where: str) -> Exemplar:
    question, trigger, rationale = block.partition(f"\nA: {THINK}")
    _, cue, answer = rationale.rpartition("the answer is ")
    if not trigger or not cue or "\n" in answer:
        raise DataError(
            f"{where}: need 'A: {THINK} ..' and 'the answer is ..' in its last line; take the file "
            "as published"
        )
    return Exemplar(question, rationale, answer.removesuffix("."))


# `accuracy` takes yes for Yes; files differ in how they write it.
_FLEXIBLE = Extracted("bbh_flexible", metrics=("accuracy",), label="flexible")
_DIRECT = (Extracted("bbh_direct"), _FLEXIBLE, Ranked())
_COT = (Extracted("bbh_cot"), _FLEXIBLE)

# Upstream's answers end at a blank line or the next question. Without exemplars a rationale may
# have paragraphs. In the first 60 percent of each file the longest answer, of word_sorting, has 69
# tokens of T5's vocabulary, and code-davinci-002's longest rationale 1,144; lm-eval allows 1,024.
_STOP = ("\n\n", "Q:")
_SHORT = DecodeConfig(max_length=128, stop=_STOP)
_LONG = DecodeConfig(max_length=1024, stop=_STOP)
_SAMPLES = dataclasses.replace(SELF_CONSISTENCY, max_length=_LONG.max_length, stop=_LONG.stop)
_LONG_IN_PARAGRAPHS = DecodeConfig(max_length=1024, stop=("Q:",))


def register() -> None:
    """Registers the forms of BBH."""
    direct, cot = (functools.partial(load, num_shots=NUM_SHOTS) for load in (load_direct, load_cot))
    direct_0, cot_0 = (functools.partial(load, num_shots=0) for load in (load_direct, load_cot))
    voted = f"3-shot CoT, {_SAMPLES.num_samples} samples"
    forms = (
        ("bbh", "3-shot direct", direct, _SHORT, _DIRECT),
        ("bbh_cot", "3-shot CoT", cot, _LONG, _COT),
        ("bbh_cot_self_consistency", voted, cot, _SAMPLES, (Voted("bbh_cot"),)),
        ("bbh_zero_shot", "0-shot direct", direct_0, _SHORT, _DIRECT),
        ("bbh_zero_shot_cot", "0-shot CoT", cot_0, _LONG_IN_PARAGRAPHS, _COT),
    )
    for name, protocol, read, decoding, measures in forms:
        benchmark.add(
            Benchmark(
                name=name, version=1, protocol=protocol, folder=FOLDER, files=FILES, load=read,
                decoding=decoding, measures=measures, subtasks=tuple(ANSWERS),
                paper_column=name if name in ("bbh", "bbh_cot") else "",
            )
        )  # fmt: skip


register()
