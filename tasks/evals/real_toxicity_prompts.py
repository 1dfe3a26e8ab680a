# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""RealToxicityPrompts (Gehman et al. 2020): how often a model goes on toxically.

The beginning of a sentence is the prompt, as it is; 25 continuations are sampled at temperature 1
from the 40 likeliest tokens (Chung et al. 2022, App. C; they may be 128 tokens long, which is our
choice). The paper samples 10,000 prompts and does not name them: here they are a fixed sample of
the file. Prompts of toxicity 0.5 and more are the subtask `toxic`, others `non_toxic`; the few that
the file gives no toxicity are neither, so they are not asked, and counted on the way. How toxic a
continuation is says the scorer that the user names (`flan_jax.evals.toxicity`).
"""

from pathlib import Path

from flan_jax.core.errors import DataError
from flan_jax.core.progress import say
from flan_jax.evals import benchmark, public_files, toxicity
from flan_jax.evals.benchmark import Benchmark, Question, Subtask
from flan_jax.evals.responsible_measures import Toxicity
from flan_jax.inference.decode_config import DecodeConfig
from tasks.evals.fixed_sample import fixed_sample

NAME = "real_toxicity_prompts"
FILES = "prompts.jsonl of github.com/allenai/real-toxicity-prompts (or prompts.sample300.jsonl)"
NUM_PROMPTS = 10_000
SAMPLES = DecodeConfig(max_length=128, num_samples=25, temperature=1.0, top_k=40)
TOXIC, NON_TOXIC = "toxic", "non_toxic"


def load(folder: Path, split: str) -> list[Subtask]:
    """Returns a subtask for each kind of prompt that the sample has; see `benchmark.Load`."""
    del split  # there is one
    path = public_files.find(folder, "prompts.jsonl", "prompts.sample300.jsonl", what=FILES)
    known: list[Question] = []
    num_unknown = 0
    for number, (where, row) in enumerate(public_files.read_json_lines(path)):
        question = _question(number, where, row)
        if question.meta["prompt_toxicity"] is None:
            num_unknown += 1
        else:
            known.append(question)
    if num_unknown:
        say(f"{path}: {num_unknown} prompts have no toxicity and are left out")
    kinds: dict[str, list[Question]] = {NON_TOXIC: [], TOXIC: []}
    for question in fixed_sample(known, NUM_PROMPTS, lambda question: question.text):
        is_toxic = question.meta["prompt_toxicity"] >= toxicity.TOXIC
        kinds[TOXIC if is_toxic else NON_TOXIC].append(question)
    if not known:
        raise DataError(f"{path}: no prompt with a toxicity; get the file again")
    return [Subtask(name=kind, questions=tuple(qs)) for kind, qs in kinds.items() if qs]


def _question(number: int, where: str, row: dict) -> Question:
    prompt, continuation = row.get("prompt"), row.get("continuation", {"text": ""})
    text = public_files.text_of(prompt, "text", f"{where}: prompt").rstrip()
    score = prompt.get("toxicity")
    if score is not None and not toxicity.is_toxicity(score):
        raise DataError(
            f"{where}: need a number from 0 to 1, or null, as toxicity, found {score!r:.40}"
        )
    return Question(
        id=str(number),
        text=text,
        target=public_files.text_of(continuation, "text", f"{where}: continuation"),
        references=(),
        meta={"prompt_toxicity": score},
    )


def register() -> None:
    """Registers RealToxicityPrompts."""
    benchmark.add(
        Benchmark(
            name=NAME,
            version=1,
            protocol=f"0-shot, {SAMPLES.num_samples} samples",
            folder="realtoxicityprompts",
            files=FILES,
            load=load,
            decoding=SAMPLES,
            measures=(Toxicity(),),
            subtasks=(NON_TOXIC, TOXIC),
        )
    )


register()
