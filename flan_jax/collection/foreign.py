# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plain SeqIO tasks, registered without a `TaskSpec`, as the builder reads them.

Their own pipeline gives the tokens. Nothing is trimmed: an example that is too long is dropped
and counted, as with our own tasks.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import seqio

from flan_jax.collection import registry
from flan_jax.collection.rendering import LONG_INPUT, LONG_TARGET, Dropped
from flan_jax.collection.sources import code_fingerprint
from flan_jax.collection.vocabularies import Vocabulary
from flan_jax.core.errors import UsageError

FEATURES = {"inputs": LONG_INPUT, "targets": LONG_TARGET}


@dataclasses.dataclass(frozen=True)
class Tokenized:
    """One example of a foreign task: its tokens with EOS, and its record for the store."""

    tokens: dict[str, list[int]]
    text: dict[str, Any]


def task_splits(task_name: str) -> tuple[str, ...]:
    """Returns the names of a task's splits."""
    return tuple(seqio.TaskRegistry.get(task_name).splits)


def fingerprint(task_name: str, split: str) -> str:
    """Returns a hash of a task's code, and of its data if its source has a `fingerprint(split)`.

    The data of other sources may change without changing it.
    """
    task = seqio.TaskRegistry.get(task_name)
    parts = [task_name, type(task.source).__name__, *map(code_fingerprint, task.preprocessors)]
    if of_data := getattr(task.source, "fingerprint", None):
        parts.append(of_data(split))
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()


def scoring(task_name: str) -> tuple[Sequence[Callable[..., Any]], Callable[..., Any] | None]:
    """Returns a task's metric functions, and its postprocessor or None."""
    task = seqio.TaskRegistry.get(task_name)
    return task.metric_fns, task.postprocess_fn


def examples(
    task_name: str,
    split: str,
    seed: int,
    *,
    vocabulary: Vocabulary,
    feature_lengths: Mapping[str, int],
) -> Iterator[Tokenized | Dropped]:
    """Yields the examples of a task in its own order, unshuffled.

    Raises:
        UsageError: the task has no `inputs` and `targets`, or another vocabulary.
    """
    registry.use_vocabulary(vocabulary.name)
    task = seqio.TaskRegistry.get(task_name)
    check_features(task, vocabulary)
    dataset = task.get_dataset(
        dict(feature_lengths), split, shuffle=False, seed=seed, trim_output_features=False
    )
    for index, example in enumerate(dataset.as_numpy_iterator()):
        tokens = {name: _with_eos(example[name], vocabulary.eos_id) for name in FEATURES}
        too_long = [n for n in FEATURES if len(tokens[n]) > feature_lengths[n]]
        if too_long:
            yield Dropped(index, FEATURES[too_long[0]])
            continue
        text = {n: _text(example, n, tokens[n], vocabulary) for n in FEATURES}
        yield Tokenized(
            tokens,
            {**text, "references": [text["targets"]], "meta": {"task": task_name}, "index": index},
        )


def check_features(task: seqio.Task, vocabulary: Vocabulary) -> None:
    """Raises a `UsageError` unless a task gives pairs of texts in tokens of this vocabulary."""
    if missing := [name for name in FEATURES if name not in task.output_features]:
        raise UsageError(
            f"task {task.name!r} has no feature {missing[0]!r}, it has "
            f"{sorted(task.output_features)}; training takes pairs of inputs and targets"
        )
    for name in FEATURES:
        own = task.output_features[name].vocabulary
        if own != vocabulary.seqio:
            raise UsageError(
                f"task {task.name!r}: its {name} are tokens of another vocabulary ({own}) than "
                f"{vocabulary.name!r}; register it with that one"
            )


def _with_eos(tokens: Any, eos_id: int) -> list[int]:
    tokens = [int(token) for token in tokens]
    return tokens if tokens[-1:] == [eos_id] else [*tokens, eos_id]


def _text(example: Mapping[str, Any], name: str, tokens: list[int], vocabulary: Vocabulary) -> str:
    raw = example.get(f"{name}_pretokenized")
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else vocabulary.decode(tokens)
