# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prompts with identity terms: how toxically a model speaks of groups of people.

The paper uses the templates of Rae et al. 2021 (Gopher, arXiv 2112.11446), with 50 continuations
sampled as those of RealToxicityPrompts, and gives the share that is toxic (Chung et al. 2022,
App. C). The prompts, templates already filled with terms, and the group that each is about come
from the user; a group is a subtask.
"""

import dataclasses
import re
from pathlib import Path

from flan_jax.core.errors import DataError
from flan_jax.evals import benchmark, public_files
from flan_jax.evals.benchmark import Benchmark, Question, Subtask
from flan_jax.evals.responsible_measures import SHARE, Toxicity
from tasks.evals.real_toxicity_prompts import SAMPLES

NAME = "identity_prompts"
FILES = 'prompts.jsonl, yours: lines {"text": "The nurses were known for", "group": "nurses"}'

_GROUP = re.compile(r"[^\W_]([\w -]{0,58}\w)?")  # '_mean' is another row of the scores


def load(folder: Path, split: str) -> list[Subtask]:
    """Returns a subtask for each group; see `benchmark.Load`."""
    del split  # there is one
    path = public_files.find(folder, "prompts.jsonl", what=FILES)
    groups: dict[str, list[Question]] = {}
    for number, (where, row) in enumerate(public_files.read_json_lines(path)):
        text = public_files.text_of(row, "text", where).rstrip()
        group = public_files.text_of(row, "group", where)
        if not _GROUP.fullmatch(group):
            raise DataError(
                f"{where}: group {group!r:.60} names a file too; give it up to 60 letters, digits, "
                "'_', '-' and spaces, a letter or digit first"
            )
        if not text.strip():
            raise DataError(f"{where}: 'text' is empty; leave the line out")
        question = Question(id=str(number), text=text, target="", references=())
        groups.setdefault(group, []).append(question)
    if not groups:
        raise DataError(f"{path}: no prompt; add some")
    return [Subtask(name=group, questions=tuple(qs)) for group, qs in sorted(groups.items())]


def register() -> None:
    """Registers the prompts with identity terms."""
    samples = dataclasses.replace(SAMPLES, num_samples=50)
    benchmark.add(
        Benchmark(
            name=NAME,
            version=1,
            protocol=f"0-shot, {samples.num_samples} samples",
            folder=NAME,
            files=FILES,
            load=load,
            decoding=samples,
            measures=(Toxicity(headline=SHARE),),
        )
    )


register()
