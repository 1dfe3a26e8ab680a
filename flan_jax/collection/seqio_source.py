# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Our tasks for any SeqIO user: a data source over the rendering functions, and its task class.

The text comes from `rendering.render_task`, which the builder calls too, so both readers get the
same examples. Lengths are known to the renderer here as well: exemplars are dropped before
anything is too long, and SeqIO's own trimming finds nothing to cut.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import seqio
import tensorflow as tf

from flan_jax.collection import rendering
from flan_jax.collection.spec import TaskSpec
from flan_jax.core import files
from flan_jax.core.errors import UsageError

_TEXT = tf.TensorSpec((), tf.string)
_TEXT_META = ("task", "template", "direction", "setting", "option_style")
SIGNATURE = {
    "inputs": _TEXT,
    "targets": _TEXT,
    "references": tf.TensorSpec((None,), tf.string),
    "index": tf.TensorSpec((), tf.int64),
    # The whole metadata as JSON, and its most used entries.
    "meta": _TEXT,
    "num_shots": tf.TensorSpec((), tf.int32),
} | {name: _TEXT for name in _TEXT_META}


class RenderedSource(seqio.DataSource):
    """A SeqIO source of rendered text. Making one opens nothing.

    Args:
        spec: the task.
        feature_lengths: most tokens of each feature; None: no limit.
        count_tokens: tokens of a text without EOS, needed with lengths.
    """

    def __init__(
        self,
        spec: TaskSpec,
        *,
        feature_lengths: Mapping[str, int] | None = None,
        count_tokens: Callable[[str], int] | None = None,
    ):
        super().__init__(splits=spec.splits)
        self.spec = spec
        self._feature_lengths = feature_lengths
        self._count_tokens = count_tokens

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """False: SeqIO shards the examples itself."""
        return False

    def list_shards(self, split: str) -> Sequence[str]:
        """Returns the split's name: a task is one shard."""
        return [split]

    def num_input_examples(self, split: str) -> int | None:
        """Returns how many rows the split has; None if the data is not there."""
        if self.spec.source.missing():
            return None
        return self.spec.source.num_rows(split)

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: Any,
    ) -> tf.data.Dataset:
        """Returns the rendered text of a split in source order; SeqIO shuffles afterwards.

        `seed` (None counts as 0) decides the rendering, not the order.
        """
        if shard_info and shard_info.num_shards > 1:
            raise ValueError("RenderedSource has one shard; use tf.data.Dataset.shard instead")
        generate = functools.partial(self._generate, split, int(seed or 0))
        return tf.data.Dataset.from_generator(generate, output_signature=SIGNATURE)

    def _generate(self, split: str, seed: int) -> Iterator[dict[str, Any]]:
        for example in rendering.render_task(
            self.spec,
            split,
            seed,
            count_tokens=self._count_tokens,
            feature_lengths=self._feature_lengths,
        ):
            if isinstance(example, rendering.Rendered):
                yield {
                    "inputs": example.inputs,
                    "targets": example.targets,
                    "references": example.references,
                    "index": example.index,
                    "meta": files.dumps(example.meta),
                    "num_shots": example.meta["num_shots"],
                } | {name: example.meta[name] for name in _TEXT_META}


class RenderedTask(seqio.Task):
    """A `seqio.Task` that tells its source the sequence lengths."""

    def get_dataset(
        self, sequence_length: Mapping[str, int] | None = None, *args: Any, **kwargs: Any
    ) -> tf.data.Dataset:
        """See `seqio.Task.get_dataset`; a `UsageError` if the data is not there."""
        if reason := self.source.spec.source.missing():
            raise UsageError(f"task {self.name!r}: {reason}")
        vocabulary = self.output_features["inputs"].vocabulary
        task = copy.copy(self)
        task._source = RenderedSource(
            self.source.spec,
            feature_lengths=sequence_length,
            count_tokens=lambda text: len(vocabulary.encode(text)),
        )
        return seqio.Task.get_dataset(task, sequence_length, *args, **kwargs)


def drop_too_long(
    dataset: tf.data.Dataset,
    output_features: Mapping[str, seqio.Feature],
    sequence_length: Mapping[str, int] | None = None,
) -> tf.data.Dataset:
    """Leaves out tokenized examples that, with EOS, are longer than `sequence_length`.

    Only examples read from a SeqIO cache can be: the cache knows no lengths.
    """
    if not sequence_length:
        return dataset
    lengths = {k: n for k, n in sequence_length.items() if k in output_features}

    def fits(example):
        return tf.reduce_all([tf.size(example[k]) < n for k, n in lengths.items()])

    return dataset.filter(fits)


def postprocess(
    postprocessor: Callable[..., Any],
    text: str,
    example: Mapping[str, Any] | None = None,
    is_target: bool = False,
) -> Any:
    """Returns the answer in `text`; for a target, the list of answers of all its references."""
    references = example.get("references") if is_target and example else None
    if references is None:
        return postprocessor(text, example=example, is_target=is_target)
    texts = [r.decode() if isinstance(r, bytes) else str(r) for r in references]
    answers = [postprocessor(t, example=example, is_target=True) for t in texts]
    return list(dict.fromkeys(answers))


def whole_text(text: str, example: Any = None, is_target: bool = False) -> str:
    """Returns the text as it is: the postprocessor of a task that names none."""
    return text
