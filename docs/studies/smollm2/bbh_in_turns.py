# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""BBH as the card of SmolLM2 was made, as far as it is known: registers `bbh_in_turns`.

    flan-jax eval --suite bbh_in_turns --raw --module_import bbh_in_turns ...

lighteval with a chat template makes each exemplar a turn of the user and one of the assistant, and
draws exemplars from the questions of the same file, with different answers where it has them; those
drawn are not asked here. SmolLM2's template is written out, so prompts are taken as they are.
"""

import dataclasses
import random
from pathlib import Path

from flan_jax.evals import benchmark
from flan_jax.evals.benchmark import Question, Subtask
from flan_jax.evals.measures import Extracted
from flan_jax.inference.decode_config import DecodeConfig
from tasks.evals import bbh

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
SEED = 0


def load(folder: Path, split: str) -> list[Subtask]:
    """Returns the files, with exemplars in turns."""
    return [_in_turns(subtask) for subtask in bbh.load_direct(folder, split, num_shots=0)]


def _in_turns(subtask: Subtask) -> Subtask:
    drawn = _drawn(subtask.questions)
    return dataclasses.replace(
        subtask,
        description=_turn("system", SYSTEM),
        exemplars=tuple(
            _asked(question) + _turn("assistant", question.references[0]) for question in drawn
        ),
        questions=tuple(
            dataclasses.replace(
                question,
                text=f"{_asked(question)}<|im_start|>assistant\n",
                target=f"{question.references[0]}<|im_end|>",
                choices=(),
                labels=(),
            )
            for question in subtask.questions
            if question not in drawn
        ),
    )


def _drawn(questions: tuple[Question, ...]) -> list[Question]:
    """Returns exemplars: as many answers as there are before any answer comes again."""
    shuffled = random.Random(SEED).sample(questions, len(questions))
    seen: dict[tuple[str, ...], int] = {}
    rounds = []
    for question in shuffled:
        rounds.append(seen.get(question.references, 0))
        seen[question.references] = rounds[-1] + 1
    order = sorted(range(len(shuffled)), key=rounds.__getitem__)
    return [shuffled[i] for i in order[: bbh.NUM_SHOTS]]


def _asked(question: Question) -> str:
    text = question.text.removeprefix("Q: ").removesuffix("\nA:")
    return _turn("user", f"Question: {text}\nAnswer:")


def _turn(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


benchmark.add(
    dataclasses.replace(
        benchmark.registered()["bbh"],
        name="bbh_in_turns",
        protocol="3-shot direct, in turns",
        load=load,
        decoding=DecodeConfig(max_length=128, stop=("Question:",)),
        measures=(Extracted("bbh_direct"),),
        paper_column="",
    )
)
