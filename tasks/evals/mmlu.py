# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""MMLU (Hendrycks et al. 2021): multiple choice questions of 57 subjects.

A direct prompt has the layout of hendrycks/test, cells as they are in the files: white space around
them, several lines, and options such as `None` or `NA` stay. (That repository's own code writes two
spaces before the subject, which are one to T5; harnesses write one, and so do we.)

    The following are multiple choice questions (with answers) about SUBJECT.

    QUESTION
    A. OPTION
    ..
    Answer: B

A prompt with chains of thought begins with the exemplars that Flan's authors released, stored as
one text a subject and used as it is: three subjects have four exemplars, and the first of
abstract_algebra is cut wrongly. The question follows in their layout, without white space around
its cells, as 256 of the 285 development questions stand there (241 would with it):

    Q: QUESTION
    (A) OPTION (B) OPTION (C) OPTION (D) OPTION
    A: Let's think step by step.

The paper does not say how it asks without exemplars: here the description and the question remain.

Ranking compares ` A` to ` D` after `Answer:`. hendrycks/test compares the letters' tokens in the
first step of an answer, which comes to the same wherever a letter is one token. The cloze form,
which the cards of small models report, shows no options and ranks their texts, in the layout of
SmolLM2's evaluation.

The mean is over subjects, unweighted, and not over questions: a subject has 100 to 1,534 in `test`.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flan_jax.core.errors import DataError
from flan_jax.evals import benchmark, public_files
from flan_jax.evals.benchmark import Benchmark, Question, Subtask
from flan_jax.evals.measures import Extracted, Ranked, Voted
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.self_consistency import SELF_CONSISTENCY

FOLDER = "mmlu"
LETTERS = "ABCD"
NUM_SHOTS = 5
THINK = "Let's think step by step."

# (Hendrycks et al. 2021; `categories.py` of hendrycks/test.) The names of the categories are ours.
CATEGORIES: Mapping[str, Mapping[str, str]] = {
    "stem": {
        "physics": "astronomy college_physics conceptual_physics high_school_physics",
        "chemistry": "college_chemistry high_school_chemistry",
        "biology": "college_biology high_school_biology",
        "computer science": (
            "college_computer_science computer_security high_school_computer_science "
            "machine_learning"
        ),
        "math": (
            "abstract_algebra college_mathematics elementary_mathematics high_school_mathematics "
            "high_school_statistics"
        ),
        "engineering": "electrical_engineering",
    },
    "humanities": {
        "history": (
            "high_school_european_history high_school_us_history high_school_world_history "
            "prehistory"
        ),
        "philosophy": (
            "formal_logic logical_fallacies moral_disputes moral_scenarios philosophy "
            "world_religions"
        ),
        "law": "international_law jurisprudence professional_law",
    },
    "social_sciences": {
        "politics": (
            "high_school_government_and_politics public_relations security_studies "
            "us_foreign_policy"
        ),
        "culture": "human_sexuality sociology",
        "economics": "econometrics high_school_macroeconomics high_school_microeconomics",
        "geography": "high_school_geography",
        "psychology": "high_school_psychology professional_psychology",
    },
    "other": {
        "other": "global_facts miscellaneous professional_accounting",
        "business": "business_ethics management marketing",
        "health": (
            "anatomy clinical_knowledge college_medicine human_aging medical_genetics nutrition "
            "professional_medicine virology"
        ),
    },
}

# Subject -> (category, subcategory), in the order of the names as hendrycks/test takes them.
SUBJECTS: Mapping[str, tuple[str, str]] = dict(
    sorted(
        (subject, (category, subcategory))
        for category, subcategories in CATEGORIES.items()
        for subcategory, subjects in subcategories.items()
        for subject in subjects.split()
    )
)

_ROWS = "from dev, val and test of hendrycks/test, which is its data.tar"
_STORED = (
    "the prompts with chains of thought of jasonwei20/flan-2, which an installed lm-eval has too"
)
FILES = f"such as dev/anatomy_dev.csv, {_ROWS}; for mmlu_cot also mmlu-cot.json, {_STORED}"
_COT_FILES = ("mmlu-cot.json", "cot_prompts.json", "_cot_prompts.json")
_COT_INSTALLED = "tasks/mmlu/flan_cot_fewshot/_cot_prompts.json"

_PARTS = {benchmark.VALIDATION: "val", benchmark.TEST: "test"}
_HEADER = "The following are multiple choice questions (with answers) about {}.\n\n"
_CLOZE_HEADER = "The following are questions about {}.\n"


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A question as its file has it."""

    question: str
    options: tuple[str, ...]
    letter: str


def load_direct(folder: Path, split: str, *, num_shots: int) -> tuple[Subtask, ...]:
    """Returns the subjects, asked for a letter."""
    subtasks = _load(folder, split, _HEADER, _letters)
    return tuple(
        dataclasses.replace(subtask, exemplars=_exemplars(folder, subtask.name, num_shots))
        for subtask in subtasks
    )


def load_cot(folder: Path, split: str) -> tuple[Subtask, ...]:
    """Returns the subjects, asked for a chain of thought as the stored exemplars show it."""
    stored = read_cot_prompts(folder)
    return tuple(
        dataclasses.replace(subtask, description=description, exemplars=exemplars)
        for subtask in load_zero_shot_cot(folder, split)
        for description, exemplars in [stored[subtask.name]]
    )


def load_zero_shot_cot(folder: Path, split: str) -> tuple[Subtask, ...]:
    """Returns the subjects, asked to think step by step."""
    return _load(folder, split, _HEADER, _chain_of_thought)


def load_cloze(folder: Path, split: str) -> tuple[Subtask, ...]:
    """Returns the subjects, whose options are the choices and are not shown."""
    return _load(folder, split, _CLOZE_HEADER, _cloze)


def read_rows(folder: Path, part: str, subject: str) -> list[Row]:
    """Returns the rows of a subject's file; `part` is 'dev', 'val' or 'test'.

    Raises:
        UsageError: it is not there.
        DataError: it has another number of columns, or an answer that is no letter.
    """
    name = f"{part}/{subject}_{part}.csv"
    path = public_files.find(folder, name, f"data/{name}", what=_ROWS)
    rows = []
    for where, (question, *options, letter) in public_files.read_csv(path, 2 + len(LETTERS)):
        if len(letter) != 1 or letter not in LETTERS:
            raise DataError(
                f"{where}: the answer {letter!r} is none of {', '.join(LETTERS)}; take the file of "
                "hendrycks/test, which has no header"
            )
        rows.append(Row(question, tuple(options), letter))
    return rows


def read_cot_prompts(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Returns description and exemplars of each subject's stored prompt.

    Raises:
        UsageError: the file is not there, and no lm-eval is installed, which has it too.
        DataError: a subject is missing, or its text has no exemplar.
    """
    installed = public_files.installed("lm_eval", _COT_INSTALLED)
    names = [*_COT_FILES, str(installed)] if installed else _COT_FILES
    path = public_files.find(folder, *names, what=_STORED)
    prompts = public_files.read_json(path)
    return {
        subject: split_cot_prompt(public_files.text_of(prompts, subject, str(path)), subject, path)
        for subject in SUBJECTS
    }


def split_cot_prompt(prompt: str, subject: str, path: Path) -> tuple[str, tuple[str, ...]]:
    """Returns description and exemplars, which are the stored text when joined.

    Only the line breaks at the end may differ: one blank line follows the last exemplar too.

    Raises:
        DataError: it is not made of exemplars.
    """
    description, *exemplars = re.split(r"^(?=Q: )", f"{prompt.rstrip()}\n\n", flags=re.MULTILINE)
    if not exemplars or any(f"\nA: {THINK}" not in exemplar for exemplar in exemplars):
        raise DataError(
            f"{path}: the prompt of {subject!r} is not made of 'Q: ..' and 'A: {THINK} ..'; "
            "take the file as published"
        )
    return description, tuple(exemplars)


def _load(
    folder: Path, split: str, header: str, build: Callable[[Row], dict[str, Any]]
) -> tuple[Subtask, ...]:
    """Returns the subjects without exemplars; `build` gives what a form's question has."""
    return tuple(
        Subtask(
            name=subject,
            questions=tuple(
                Question(
                    id=str(index),
                    references=(row.letter,),
                    options=row.options,
                    meta={"subcategory": subcategory},
                    **build(row),
                )
                for index, row in enumerate(read_rows(folder, _PARTS[split], subject))
            ),
            description=header.format(subject.replace("_", " ")),
            baseline=100 / len(LETTERS),
            groups=(category,),
        )
        for subject, (category, subcategory) in SUBJECTS.items()
    )


def _exemplars(folder: Path, subject: str, num_shots: int) -> tuple[str, ...]:
    if not num_shots:
        return ()
    rows = read_rows(folder, "dev", subject)[:num_shots]
    if len(rows) < num_shots:
        raise DataError(
            f"{folder}: the dev file of {subject} has {len(rows)} rows, need {num_shots}; take it "
            "as published"
        )
    return tuple(f"{_direct(row)} {row.letter}\n\n" for row in rows)


def _direct(row: Row) -> str:
    options = [f"{letter}. {o}\n" for letter, o in zip(LETTERS, row.options, strict=True)]
    return f"{row.question}\n{''.join(options)}Answer:"


def _letters(row: Row) -> dict[str, Any]:
    return {
        "text": _direct(row),
        "target": f" {row.letter}",
        "choices": tuple(f" {letter}" for letter in LETTERS),
        "labels": tuple(LETTERS),
    }


def _chain_of_thought(row: Row) -> dict[str, Any]:
    options = [f"({x}) {o.strip()}" for x, o in zip(LETTERS, row.options, strict=True)]
    return {
        "text": f"Q: {row.question.strip()}\n{' '.join(options)}\nA: {THINK}",
        "target": f" The answer is ({row.letter}).",
    }


def _cloze(row: Row) -> dict[str, Any]:
    return {
        "text": f"Question: {row.question}\nAnswer:",
        "target": f" {row.options[LETTERS.index(row.letter)]}",
        "choices": tuple(f" {option}" for option in row.options),
        "labels": tuple(LETTERS),
    }


_FLEXIBLE = Extracted("option_letter", label="flexible")
_LETTER = (Extracted("mmlu_letter"), _FLEXIBLE, Ranked())
_COT_LETTER = (Extracted("mmlu_cot_letter"), _FLEXIBLE)

# A blank line ends an answer, as it ends an exemplar. A rationale may have several paragraphs, so
# the next question ends it; the longest one stored has 580 tokens of T5's vocabulary.
_SHORT = DecodeConfig(max_length=32, stop=("\n\n",))
_LONG = DecodeConfig(max_length=640, stop=("Q:",))
_SAMPLES = dataclasses.replace(SELF_CONSISTENCY, max_length=_LONG.max_length, stop=_LONG.stop)


def register() -> None:
    """Registers the forms of MMLU."""
    few_shot = functools.partial(load_direct, num_shots=NUM_SHOTS)
    zero_shot = functools.partial(load_direct, num_shots=0)
    voted = f"5-shot CoT, {_SAMPLES.num_samples} samples"
    forms = (
        ("mmlu", "5-shot direct", few_shot, _SHORT, _LETTER),
        ("mmlu_cot", "5-shot CoT", load_cot, _LONG, _COT_LETTER),
        ("mmlu_cot_self_consistency", voted, load_cot, _SAMPLES, (Voted("mmlu_cot_letter"),)),
        ("mmlu_zero_shot", "0-shot direct", zero_shot, _SHORT, _LETTER),
        ("mmlu_zero_shot_cot", "0-shot CoT", load_zero_shot_cot, _LONG, _COT_LETTER),
        ("mmlu_cloze", "0-shot cloze", load_cloze, _SHORT, (Ranked(),)),
    )
    for name, protocol, read, decoding, measures in forms:
        benchmark.add(
            Benchmark(
                name=name, version=1, protocol=protocol, folder=FOLDER, files=FILES, load=read,
                decoding=decoding, measures=measures, splits=tuple(_PARTS),
                subtasks=tuple(SUBJECTS), paper_column=name if name in ("mmlu", "mmlu_cot") else "",
            )
        )  # fmt: skip


register()
