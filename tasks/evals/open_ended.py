# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Open-ended prompts whose answers people compare (Chung et al. 2022, section 6).

As many as in the paper: 100 zero-shot prompts in five categories, 60 of them once more with the
phrase that asks for steps, and 30 few-shot prompts. The prompts are not the paper's: they were
written for this repository. A user's file takes their place, `prompts.jsonl` with lines

    {"id": "planning_01", "category": "planning", "inputs": "Plan three days in ..."}

Prompts are asked as they are. Those of the categories `STEP_BY_STEP` are asked twice, so the file
has only the plain ones. The answer to a few-shot prompt ends at the first empty line, which is what
stands between exemplars; other answers end where the model ends them, or after `MAX_LENGTH` tokens.
"""

import re
from pathlib import Path

from flan_jax.core.errors import DataError
from flan_jax.evals import benchmark, public_files
from flan_jax.evals.benchmark import Benchmark, Question, Subtask
from flan_jax.evals.open_ended import NAME, Chosen
from flan_jax.inference.decode_config import DecodeConfig

OURS = Path(__file__).parent / "data" / "open_ended.jsonl"
THEIRS = "prompts.jsonl"
FILES = (
    f'{THEIRS}, yours, with lines {{"id": ..., "category": ..., "inputs": ...}}; without this '
    "folder, the 190 of this repository"
)
FEW_SHOT = "few_shot"
# Chung et al. 2022, section 6: the categories of the 60 prompts with a trigger, and its words.
STEP_BY_STEP = ("complex_reasoning", "planning", "explanation")
TRIGGER = "\nLet's think step-by-step."
SUFFIX = "_step_by_step"  # of the categories and ids of prompts with it
MAX_LENGTH = 512  # tokens; ours

# Chung et al. 2022, section 6: five samples at temperature 0.7.
SAMPLES = DecodeConfig(num_samples=5, temperature=0.7, max_length=MAX_LENGTH)

_CATEGORY = re.compile("[a-z][a-z0-9_]*")  # files of predictions have its name


def load(folder: Path, split: str) -> list[Subtask]:
    """Returns a subtask for each category, then those with the trigger; see `benchmark.Load`."""
    del split  # there is one
    path = public_files.find(folder, THEIRS, what=FILES) if folder.exists() else OURS
    categories: dict[str, list[tuple[str, str]]] = {}
    ids = set()
    for where, row in public_files.read_json_lines(path):
        name, category, prompt = (
            public_files.text_of(row, key, where) for key in ("id", "category", "inputs")
        )
        if not _CATEGORY.fullmatch(category):
            raise DataError(
                f"{where}: 'category' must be lower-case letters, digits and _, got {category!r}"
            )
        if category.removesuffix(SUFFIX) in STEP_BY_STEP and category.endswith(SUFFIX):
            raise DataError(
                f"{where}: prompts of {category!r} are made from those of "
                f"{category.removesuffix(SUFFIX)!r}; leave them out"
            )
        if name in ids:
            raise DataError(f"{where}: the id {name!r} is there twice; give each prompt its own")
        if not prompt.strip():
            raise DataError(f"{where}: 'inputs' is empty; leave the line out")
        ids.add(name)
        categories.setdefault(category, []).append((name, prompt.rstrip()))
    if not categories:
        raise DataError(f"{path}: no prompt; add some")
    for category in STEP_BY_STEP:
        if category in categories:
            categories[category + SUFFIX] = [
                (name + SUFFIX, prompt + TRIGGER) for name, prompt in categories[category]
            ]
    return [
        Subtask(
            name=category,
            questions=tuple(
                Question(id=name, text=prompt, target="", references=()) for name, prompt in prompts
            ),
            stop=("\n\n",) if category == FEW_SHOT else (),
        )
        for category, prompts in categories.items()
    ]


def register() -> None:
    """Registers the open-ended prompts."""
    benchmark.add(
        Benchmark(
            name=NAME,
            version=1,
            protocol=f"{SAMPLES.num_samples} samples",
            folder=NAME,
            files=FILES,
            load=load,
            decoding=SAMPLES,
            measures=(Chosen(),),
        )
    )


register()
