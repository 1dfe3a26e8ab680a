# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks as SeqIO tasks, for `seqio.Evaluator` and whatever else reads SeqIO's registries.

`register` makes of each subtask a task, `eval.mmlu_cot.anatomy`, and of all of them a mixture,
`eval.mmlu_cot`; it opens nothing. Their files are read when a dataset is asked for, from the folder
that the environment variable `FLAN_JAX_EVAL_DATA` names. `inputs` are whole prompts, with as many
exemplars as the sequence length takes. A question that is too long without any is asked as an empty
prompt and counts as answered with nothing, so that a score is always over all questions; both are
said. Answers are found and scored as the benchmark's headline is: the same answers, the same score.

Rank classification is not here, nor are the samples of self-consistency: SeqIO asks for one answer.
"""

import copy
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import seqio
import tensorflow as tf

from flan_jax.collection import registry
from flan_jax.core import errors, files
from flan_jax.core.progress import say
from flan_jax.evals import answers, metrics, prompting
from flan_jax.evals.benchmark import Benchmark, Load, Subtask
from flan_jax.evals.measures import Extracted

FOLDER_VARIABLE = "FLAN_JAX_EVAL_DATA"
NO_LIMIT = 2**30

_TEXT = tf.TensorSpec((), tf.string)
_TEXTS = tf.TensorSpec((None,), tf.string)
SIGNATURE = {
    "inputs": _TEXT,
    "targets": _TEXT,
    "id": _TEXT,
    "references": _TEXTS,
    "example": _TEXT,  # what filters are told of the question, as JSON
    "stop": _TEXTS,
    "num_dropped": tf.TensorSpec((), tf.int32),  # exemplars that did not fit
    "too_long": tf.TensorSpec((), tf.bool),
}


class BenchmarkSource(seqio.DataSource):
    """A SeqIO source of one subtask's prompts. Making one opens nothing.

    Args:
        benchmark: the benchmark.
        subtask: a name of its `subtasks`.
        encode: gives the tokens of a prompt, its EOS included; None where there is no limit.
        max_input_length: most tokens of a prompt.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        subtask: str,
        *,
        encode: Callable[[str], Sequence[int]] | None = None,
        max_input_length: int = NO_LIMIT,
    ):
        super().__init__(splits=benchmark.splits, caching_permitted=False)
        self.benchmark, self.subtask = benchmark, subtask
        self._encode, self._max_input_length = encode or (lambda text: ()), max_input_length

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """False: SeqIO shards the examples itself."""
        return False

    def list_shards(self, split: str) -> Sequence[str]:
        """Returns the split's name: a subtask is one shard."""
        return [split]

    def num_input_examples(self, split: str) -> int | None:
        """Returns None: nothing is read to count."""
        return None

    def get_dataset(
        self,
        split: str = "test",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: Any,
    ) -> tf.data.Dataset:
        """Returns the prompts of a split in the order of the files; SeqIO shuffles afterwards.

        Raises:
            UsageError: the environment variable is not set, or a file is missing.
            DataError: a file cannot be read, or the subtask is not in it.
        """
        if shard_info and shard_info.num_shards > 1:
            raise ValueError("BenchmarkSource has one shard; use tf.data.Dataset.shard instead")
        generate = functools.partial(self._generate, self._read(split))
        return tf.data.Dataset.from_generator(generate, output_signature=SIGNATURE)

    def _read(self, split: str) -> Subtask:
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            raise errors.UsageError(
                f"task {task_name(self.benchmark, self.subtask)!r}: no {FOLDER_VARIABLE}; set this "
                f"environment variable to the folder that holds {self.benchmark.folder}/"
            )
        place = Path(folder, self.benchmark.folder)
        subtasks = _subtasks(self.benchmark.load, place, split)
        if self.subtask not in subtasks:
            raise errors.DataError(
                f"{place}: {self.benchmark.name} has no subtask {self.subtask!r} in split "
                f"{split!r}; complete the files, or leave that task out"
            )
        return subtasks[self.subtask]

    def _generate(self, subtask: Subtask) -> Iterator[dict[str, Any]]:
        stop = [*self.benchmark.decoding.stop, *subtask.stop]
        num_shortened = num_too_long = 0
        for question in subtask.questions:
            prompt = prompting.fit(subtask, question, self._encode, self._max_input_length)
            num_shortened += prompt.num_dropped > 0
            num_too_long += prompt.too_long
            yield {
                "inputs": "" if prompt.too_long else prompt.text,
                "targets": question.target,
                "id": question.id,
                "references": list(question.references),
                "example": files.dumps(question.example()),
                "stop": stop,
                "num_dropped": prompt.num_dropped,
                "too_long": prompt.too_long,
            }
        if num_shortened or num_too_long:
            say(
                f"{task_name(self.benchmark, self.subtask)}: of {len(subtask.questions)} prompts "
                f"{num_shortened} lost exemplars, {num_too_long} are too long without any and "
                f"count as answered with nothing (inputs: {self._max_input_length} tokens)"
            )


class BenchmarkTask(seqio.Task):
    """A `seqio.Task` that tells its source the sequence length of prompts."""

    def get_dataset(
        self, sequence_length: Mapping[str, int] | None = None, *args: Any, **kwargs: Any
    ) -> tf.data.Dataset:
        """See `seqio.Task.get_dataset`; raises what `BenchmarkSource.get_dataset` does."""
        feature = self.output_features["inputs"]
        task = copy.copy(self)
        task._source = BenchmarkSource(
            self.source.benchmark,
            self.source.subtask,
            encode=lambda text: [*feature.vocabulary.encode(text), feature.vocabulary.eos_id],
            max_input_length=(sequence_length or {}).get("inputs") or NO_LIMIT,
        )
        return seqio.Task.get_dataset(task, sequence_length, *args, **kwargs)


def task_name(benchmark: Benchmark, subtask: str = "") -> str:
    """Returns the name of a subtask's task, or of the mixture of all."""
    return ".".join(["eval", benchmark.name, *([subtask] if subtask else [])])


def headline(benchmark: Benchmark) -> Extracted | None:
    """Returns how a benchmark's one answer is measured; None where that is not what it measures."""
    first = benchmark.measures[0]
    is_one_answer = isinstance(first, Extracted) and benchmark.decoding.num_samples == 1
    return first if is_one_answer else None


def register(benchmark: Benchmark) -> seqio.Mixture | None:
    """Registers the tasks of a benchmark and their mixture; it opens nothing.

    The same benchmark again changes nothing.

    Returns:
        The mixture; None, and nothing is registered, where the headline is not of one answer or
        no subtask is named.

    Raises:
        UsageError: another task or mixture has one of the names.
    """
    measure = headline(benchmark)
    if measure is None or not benchmark.subtasks:
        return None
    tasks = [_add_task(benchmark, subtask, measure) for subtask in benchmark.subtasks]
    return registry.add_mixture(
        task_name(benchmark), [task.name for task in tasks], default_rate=1.0
    )


def postprocess(
    name: str, text: str, example: Mapping[str, Any] | None = None, is_target: bool = False
) -> Any:
    """Returns the answer that the filter called `name` finds; for a target, the references."""
    find = answers.POSTPROCESSORS[name]
    if example is None or "references" not in example:
        return find(text, is_target=is_target)
    if is_target:
        return [_text(reference) for reference in example["references"]]
    if example["too_long"]:
        return ""
    at = [text.find(_text(stop)) for stop in example["stop"]]
    end = min((i for i in at if i >= 0), default=len(text))
    return find(text[:end], example=json.loads(_text(example["example"])))


def _add_task(benchmark: Benchmark, subtask: str, measure: Extracted) -> seqio.Task:
    name = task_name(benchmark, subtask)
    if name in seqio.TaskRegistry.names():
        known = seqio.TaskRegistry.get(name)
        if getattr(known.source, "benchmark", None) == benchmark:
            return known
        raise errors.UsageError(f"{name!r} is registered already with other content; rename one")
    return seqio.TaskRegistry.add(
        name,
        source=BenchmarkSource(benchmark, subtask),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        postprocess_fn=functools.partial(postprocess, measure.filter),
        metric_fns=[metrics.SEQIO_METRICS[metric] for metric in measure.metrics],
        output_features=registry.OUTPUT_FEATURES,
        task_cls=BenchmarkTask,
    )


@functools.lru_cache(maxsize=2)  # the subtasks of a mixture are asked for one after the other
def _subtasks(load: Load, folder: Path, split: str) -> dict[str, Subtask]:
    return {subtask.name: subtask for subtask in load(folder, split)}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
