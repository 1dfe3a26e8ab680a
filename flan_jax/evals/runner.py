# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: prompts of a token store -> a model's texts -> answers -> scores.

    OUT/predictions/<task>.jsonl    one line an example: prompt, prediction, answer, scores
    OUT/scores.csv                  one row a task and metric, and a mean row a group and metric

The model is a function from prompt tokens to texts (`greedy` makes one), so anything that answers
prompts can be evaluated. Prompts of all tasks are decoded together. No prompt is cut: one that is
too long for the model gets an empty prediction, and is counted.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from flan_jax.collection.store import Store
from flan_jax.collection.vocabularies import Vocabulary
from flan_jax.core import errors, files, ranges
from flan_jax.core.progress import say
from flan_jax.core.tree import PyTree
from flan_jax.evals import grouping, metrics
from flan_jax.evals import scores as scores_lib
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Engine
from flan_jax.models.model import Model
from flan_jax.parallel import preemption

# From prompts, int32 tokens each, to what the model says.
Generate = Callable[[Sequence[np.ndarray]], Sequence[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """What is evaluated, and how."""

    # None: one group a category; or group -> mixture, category or task names (grouping module).
    groups: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None
    split: str = "validation"
    num_examples: int | None = None  # of each task, its first ones; None: all
    batch_size: int = 64
    # Lengths that prompts are padded to; empty: as `Engine` chooses.
    length_buckets: Sequence[int] = ()
    max_input_length: int | None = None  # what the model takes; None: the store's length
    model_name: str = "model"  # of the score rows
    protocol: str = "greedy"  # of the score rows

    def __post_init__(self):
        ranges.check(
            "EvalConfig", "[1, inf)", num_examples=self.num_examples, batch_size=self.batch_size,
            max_input_length=self.max_input_length,
            length_buckets=min(self.length_buckets, default=None),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation gave."""

    scores: tuple[scores_lib.Score, ...]  # tasks, then the means of the groups
    num_examples: int
    num_too_long: int

    def summary(self) -> dict[str, float]:
        """Returns the means of the groups as `<group>/<metric>`: value."""
        return {
            f"{score.benchmark}/{score.metric}": score.value
            for score in self.scores
            if score.subtask == scores_lib.MEAN
        }


def greedy(
    model: Model,
    params: PyTree,
    vocabulary: Vocabulary,
    config: EvalConfig,
    *,
    max_input_length: int,
    max_length: int,
) -> Generate:
    """Returns the function that continues prompts with the likeliest token each time."""
    engine = Engine(
        model, params, vocabulary, max_input_length=max_input_length, num_rows=config.batch_size,
        length_buckets=config.length_buckets, with_logprobs=False,
    )  # fmt: skip

    def generate(prompts: Sequence[np.ndarray]) -> list[str]:
        decoding = DecodeConfig(max_length=max_length)
        texts = [""] * len(prompts)
        for position, answer in engine.stream(prompts, decoding, progress="eval"):
            texts[position] = answer.texts[0]
            preemption.stop_if_asked()
        return texts

    return generate


def evaluate(
    *,
    generate: Generate,
    vocabulary: Vocabulary,
    store: Store,
    config: EvalConfig,
    out: str | Path,
    step: int,
) -> Evaluation:
    """Evaluates a model on a store's tasks; writes predictions and scores below `out`.

    Args:
        generate: the model.
        vocabulary: the model's; must be the one the store was built with.
        store: a built mixture.
        config: tasks, examples and batches.
        out: folder to write to; files of the same names are replaced.
        step: of the model, for the score rows.

    Raises:
        UsageError: another vocabulary, unknown groups, or no task that names a metric.
    """
    if vocabulary.fingerprint != store.vocabulary["fingerprint"]:
        raise errors.UsageError(
            f"the vocabulary given is not the one that the store {store.path} was built with "
            f"({store.vocabulary['name']!r}); evaluate with that one"
        )
    groups = grouping.choose_groups(store, config.split, config.groups)
    plans = _plans(store, config.split, groups)
    prompts = {
        (task, index): store.task(task, config.split).example(index)[0]
        for task in plans
        for index in range(_num_examples(store, config, task))
    }
    longest = config.max_input_length or store.feature_lengths["inputs"]
    fitting = [(key, tokens) for key, tokens in prompts.items() if len(tokens) <= longest]
    too_long = len(prompts) - len(fitting)
    if too_long:
        say(
            f"eval: {too_long} of {len(prompts)} prompts are longer than {longest} tokens: not "
            "cut, scored as if answered with nothing"
        )
    texts = generate([tokens for _, tokens in fitting])
    outputs = dict(zip((key for key, _ in fitting), texts, strict=True))
    by_task = {}
    for task, plan in plans.items():
        texts = [outputs.get((task, index)) for index in range(_num_examples(store, config, task))]
        by_task[task] = _score_task(store, config.split, plan, texts, Path(out))
    rows = [
        scores_lib.Score(
            model=config.model_name, step=step, benchmark=group, protocol=config.protocol,
            subtask=task, metric=name, value=value, n=n, stderr=stderr,
        )
        for group, tasks in groups.items()
        for task in tasks
        for name, value, n, stderr in by_task.get(task, ())
    ]  # fmt: skip
    rows += scores_lib.macro_means(rows)
    scores_lib.write_scores(Path(out) / "scores.csv", rows)
    return Evaluation(scores=tuple(rows), num_examples=len(prompts), num_too_long=too_long)


def _plans(store: Store, split: str, groups: grouping.Groups) -> dict[str, grouping.TaskScoring]:
    tasks = sorted({task for members in groups.values() for task in members})
    plans = {task: grouping.scoring(store, split, task) for task in tasks}
    unscored = [task for task, plan in plans.items() if plan is None]
    if len(unscored) == len(plans):
        raise errors.UsageError(
            f"none of the {len(plans)} tasks names a metric in the store {store.path}; give the "
            "tasks metrics and build again"
        )
    if unscored:
        shown = ", ".join(unscored[:5]) + (", ..." if len(unscored) > 5 else "")
        say(f"eval: {len(unscored)} tasks name no metric and are left out: {shown}")
    return {task: plan for task, plan in plans.items() if plan is not None}


def _score_task(
    store: Store,
    split: str,
    plan: grouping.TaskScoring,
    texts: Sequence[str | None],
    out: Path,
) -> list[tuple[str, float, int, float | None]]:
    """Writes a task's predictions; returns (metric, value, examples, standard error) rows."""
    records = list(itertools.islice(store.task(plan.task, split).texts(), len(texts)))
    predictions, targets, lines = [], [], []
    for index, (record, text) in enumerate(zip(records, texts, strict=True)):
        example = {**record.get("meta", {}), **record}
        references = [
            plan.postprocessor(reference, example=example, is_target=True)
            for reference in record.get("references") or [record["targets"]]
        ]
        answer = plan.postprocessor(text or "", example=example, is_target=False)
        # One reference goes to a metric as it is, as SeqIO passes it; several as a list.
        target = references[0] if len(references) == 1 else references
        each = {m.name: m.per_example(target, answer) for m in plan.metrics if m.per_example}
        predictions.append(answer)
        targets.append(target)
        lines.append(
            {
                "task": plan.task,
                "id": index,
                "inputs": record["inputs"],
                "targets": record["targets"],
                "prediction": text or "",
                "answer": answer,
                "references": references,
                "metrics": each,
                "too_long": text is None,
                "prompt_sha256": hashlib.sha256(record["inputs"].encode()).hexdigest(),
                "meta": record.get("meta", {}),
            }
        )
    with files.atomic_open(out / "predictions" / f"{plan.task}.jsonl") as file:
        file.writelines(files.dumps(line) + "\n" for line in lines)
    return _rows(plan, targets, predictions, [line["metrics"] for line in lines])


def _rows(
    plan: grouping.TaskScoring, targets: list, predictions: list, each: list[dict[str, float]]
) -> list[tuple[str, float, int, float | None]]:
    if not predictions:
        say(f"eval: task {plan.task} has no example and gives no score")
        return []
    rows = []
    for metric in plan.metrics:
        if metric.per_example:
            value, stderr = metrics.mean_and_stderr([scores[metric.name] for scores in each])
            rows.append((metric.name, value, len(each), stderr))
        else:
            for name, value in metric.over_all(targets, predictions).items():
                rows.append((name, float(value), len(each), None))
    return rows


def _num_examples(store: Store, config: EvalConfig, task: str) -> int:
    num = store.task(task, config.split).num_examples
    return num if config.num_examples is None else min(num, config.num_examples)
