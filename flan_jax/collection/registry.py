# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tasks and mixtures in SeqIO's own registries.

`add_task` and `add_mixture` open no file. Every task is a `seqio.Task` in `seqio.TaskRegistry`,
every mixture a `seqio.Mixture` in `seqio.MixtureRegistry`; tasks and mixtures registered with
plain SeqIO may be members. All tasks share one vocabulary, chosen for the process with
`use_vocabulary` (the builder and training name theirs and do not look at this one).
"""

import collections
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.collection import seqio_source, vocabularies
from flan_jax.collection.spec import TRAIN, TaskSpec
from flan_jax.core.errors import DataError, UsageError, unknown_name

Rate = float | Callable[[Any], float]

VOCABULARY_VARIABLE = "FLAN_JAX_VOCABULARY"

# What is known by name but cannot be used on this machine, and the remedy.
_unavailable: dict[str, str] = {}


class CurrentVocabulary(seqio.Vocabulary):
    """The process's vocabulary, looked up when first used and after each `use_vocabulary`."""

    def __init__(self):
        super().__init__()
        self.name = os.environ.get(VOCABULARY_VARIABLE) or vocabularies.T5_VOCABULARY

    @property
    def current(self) -> seqio.Vocabulary:
        """The SeqIO vocabulary in use."""
        return vocabularies.load_vocabulary(self.name).seqio

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "name":
            raise AttributeError(name)
        return getattr(self.current, name)

    def __eq__(self, other: Any) -> bool:
        return other is self or self.current == getattr(other, "current", other)

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return f"CurrentVocabulary({self.name})"

    bos_id = property(lambda self: self.current.bos_id)
    eos_id = property(lambda self: self.current.eos_id)
    unk_id = property(lambda self: self.current.unk_id)
    extra_ids = property(lambda self: self.current.extra_ids)
    vocab_size = property(lambda self: self.current.vocab_size)
    _base_vocab_size = property(lambda self: self.current._base_vocab_size)

    def _encode(self, s):
        return self.current._encode(s)

    def _decode(self, ids):
        return self.current._decode(ids)

    def _encode_tf(self, s):
        # Not TensorFlow's own tokenizer: its SentencePiece is of another version, and where two
        # segmentations score the same it may choose the other one ("--", "-" for "-", "--").
        def encode(text):
            return np.asarray(self.current.encode(text.decode()), np.int32)

        ids = tf.numpy_function(encode, [s], tf.int32, stateful=False)
        ids.set_shape([None])
        return ids

    def _decode_tf(self, ids):
        return self.current._decode_tf(ids)


VOCABULARY = CurrentVocabulary()
OUTPUT_FEATURES = {
    name: seqio.Feature(vocabulary=VOCABULARY, add_eos=True) for name in ("inputs", "targets")
}


def use_vocabulary(name: str) -> None:
    """Sets the vocabulary that SeqIO readers of our tasks get from now on.

    Args:
        name: as for `vocabularies.load_vocabulary`; it is loaded when first used. The default is
            the environment variable FLAN_JAX_VOCABULARY, else T5's.
    """
    VOCABULARY.name = name


class RenderedMixture(seqio.Mixture):
    """A `seqio.Mixture` whose sub-mixtures may have a rate that is a function.

    Its rates take time in proportion to its tasks, SeqIO's to their square.
    """

    def _get_all_mixing_rates(self, tasks: Sequence[seqio.Task]) -> list[float]:
        rates = task_rates(self)
        return [rates[task.name] for task in tasks]

    def _get_submixture_rate(self, mix: seqio.Mixture) -> float:
        rate = self.rate_per_task_name[mix.name]
        return float(rate(mix) if callable(rate) else rate)


def add_task(spec: TaskSpec) -> seqio.Task:
    """Registers a task with SeqIO and returns it; it opens nothing.

    The same spec again changes nothing.

    Raises:
        UsageError: another task or mixture has the name.
    """
    if spec.name in seqio.TaskRegistry.names():
        if get_spec(spec.name) == spec:
            return seqio.TaskRegistry.get(spec.name)
        raise _taken("task", spec.name)
    if spec.name in seqio.MixtureRegistry.names():
        raise _taken("mixture", spec.name)
    post = spec.postprocessor or seqio_source.whole_text
    return seqio.TaskRegistry.add(
        spec.name,
        source=seqio_source.RenderedSource(spec),
        preprocessors=[
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio_source.drop_too_long,
            seqio.preprocessors.append_eos,
        ],
        postprocess_fn=functools.partial(seqio_source.postprocess, post),
        metric_fns=list(spec.metrics),
        output_features=OUTPUT_FEATURES,
        task_cls=seqio_source.RenderedTask,
    )


def add_mixture(
    name: str, tasks: Sequence[str | tuple[str, Rate]], *, default_rate: Rate | None = None
) -> seqio.Mixture | None:
    """Registers a mixture of tasks and mixtures with SeqIO and returns it; it opens nothing.

    Args:
        name: the mixture's name.
        tasks: names, or pairs of a name and its rate.
        default_rate: the rate where none is given: `capped_size` if None.

    Returns:
        The mixture, or None if a member is unavailable: then so is the mixture.

    Raises:
        UsageError: a member is unknown or named twice, or something else has the name.
    """
    pairs = [(t, default_rate or capped_size) if isinstance(t, str) else tuple(t) for t in tasks]
    members = [member for member, _ in pairs]
    if repeated := [m for m, num in collections.Counter(members).items() if num > 1]:
        raise UsageError(f"mixture {name!r}: {min(repeated)!r} is named twice; name it once")
    if not members:
        raise UsageError(f"mixture {name!r} has no member; name at least one task")
    for member, rate in pairs:
        if not callable(rate) and not rate > 0:
            raise UsageError(
                f"mixture {name!r}: rate must be > 0, got {rate!r} for {member!r}; give another "
                "rate or leave it out"
            )
        if member in _unavailable:
            add_unavailable(name, _unavailable[member])
            return None
        if not _exists(member):
            raise unknown_name(f"member of mixture {name!r}:", member, known_names())
    if name in seqio.TaskRegistry.names():
        raise _taken("task", name)
    if name in seqio.MixtureRegistry.names():
        mixture = seqio.MixtureRegistry.get(name)
        if dict(mixture.rate_per_task_name) == dict(pairs):
            return mixture
        raise _taken("mixture", name)
    _unavailable.pop(name, None)
    return seqio.MixtureRegistry.add(name, pairs, mixture_cls=RenderedMixture)


def add_unavailable(name: str, remedy: str) -> None:
    """Makes a task or mixture known that cannot be used here; `remedy` says what to do."""
    if not _exists(name):
        _unavailable[name] = remedy


def unavailable_reason(name: str) -> str | None:
    """Returns why a known name cannot be used here and the remedy; None if it can be."""
    return None if _exists(name) else _unavailable.get(name)


def capped_size(provider: seqio.Task | seqio.Mixture) -> float:
    """Returns the default rate: min(rows, cap) of the train split, summed over a mixture.

    A task without a train split counts the rows of its first one; one whose data is not there
    counts nothing (and cannot be read: `mixture_members` and SeqIO's readers say so).
    """
    if isinstance(provider, seqio.Mixture):
        return sum(capped_size(task) for task in provider.tasks)
    split = TRAIN if TRAIN in provider.splits else sorted(provider.splits)[0]
    spec = get_spec(provider.name)
    if spec is not None and spec.source.missing():
        return 0.0
    num = provider.num_input_examples(split)
    if num is None:
        raise UsageError(
            f"task {provider.name!r}: its size is unknown; give the mixture a rate for it"
        )
    return float(num if spec is None or spec.cap is None else min(num, spec.cap))


def get_spec(task_name: str) -> TaskSpec | None:
    """Returns the spec of a registered task; None for a plain SeqIO task."""
    if task_name not in seqio.TaskRegistry.names():
        raise unknown_name("task", task_name, known_names())
    source = seqio.TaskRegistry.get(task_name).source
    return source.spec if isinstance(source, seqio_source.RenderedSource) else None


def mixture_members(name: str, *, skip_missing: bool = False) -> dict[str, float]:
    """Returns {task: rate} of a mixture or a task, rates summing to 1, names sorted.

    Args:
        name: a mixture or a task.
        skip_missing: leave out tasks whose data is not there, instead of raising.

    Raises:
        UsageError: the name is unknown; or known, but its data is not there: with the remedy.
        DataError: a file cannot be read, or no member has a row.
    """
    if reason := unavailable_reason(name):
        raise UsageError(f"{name!r} is not available: {reason}")
    if not _exists(name):
        raise unknown_name("mixture or task", name, known_names())
    provider = seqio.get_mixture_or_task(name)
    tasks = [provider] if isinstance(provider, seqio.Task) else provider.tasks
    reasons = {task.name: _missing(task.name) for task in tasks}
    gone = {task: reason for task, reason in reasons.items() if reason}
    if gone and (len(gone) == len(tasks) or not skip_missing):
        raise UsageError(_unreadable(name, len(tasks), gone))
    if isinstance(provider, seqio.Task):
        return {name: 1.0}
    rates = {task: r for task, r in task_rates(provider).items() if task not in gone}
    total = sum(rates.values())
    if not total > 0:
        raise DataError(
            f"mixture {name!r}: every member is empty (its rates sum to {total:g}); inspect them"
        )
    return {task: rate / total for task, rate in sorted(rates.items())}


def task_names(name: str) -> list[str]:
    """Returns the names of the tasks of a registered mixture, or of the task itself, sorted."""
    provider = seqio.get_mixture_or_task(name)
    tasks = [provider] if isinstance(provider, seqio.Task) else provider.tasks
    return sorted(task.name for task in tasks)


def is_readable(task_name: str) -> bool:
    """Whether the data of a registered task is here; a plain SeqIO task's is taken to be."""
    return _missing(task_name) is None


def task_rates(mixture: seqio.Mixture) -> dict[str, float]:
    """Returns {task: rate} as `seqio.Mixture.get_rate` gives them, 0 for an empty sub-mixture's."""
    rates: dict[str, float] = {}
    for member, given in mixture.rate_per_task_name.items():
        provider = seqio.get_mixture_or_task(member)
        rate = float(given(provider) if callable(given) else given)
        if isinstance(provider, seqio.Task):
            rates[member] = rates.get(member, 0.0) + rate
            continue
        inner = task_rates(provider)
        total = sum(inner.values())
        for task, share in inner.items():
            rates[task] = rates.get(task, 0.0) + (rate * share / total if total else 0.0)
    return rates


def declared_shares(name: str) -> dict[str, tuple[float, list[str]]]:
    """Returns {member: (share, its tasks)} of a mixture of mixtures in fixed proportions, or {}."""
    if name not in seqio.MixtureRegistry.names():
        return {}
    rates = dict(seqio.MixtureRegistry.get(name).rate_per_task_name)
    if any(callable(r) or m not in seqio.MixtureRegistry.names() for m, r in rates.items()):
        return {}
    total = sum(rates.values())
    return {
        member: (rate / total, [task.name for task in seqio.MixtureRegistry.get(member).tasks])
        for member, rate in rates.items()
    }


def _unreadable(name: str, num_tasks: int, reasons: Mapping[str, str]) -> str:
    """Returns what is said of a mixture whose tasks cannot be read: all of them, by reason."""
    by_reason: dict[str, list[str]] = {}
    for task, reason in reasons.items():
        by_reason.setdefault(reason, []).append(task)
    if len(by_reason) == 1:
        listed = f": {', '.join(sorted(reasons))}: {next(iter(by_reason))}"
    else:
        lines = [f"\n  {', '.join(sorted(tasks))}: {r}" for r, tasks in by_reason.items()]
        listed = f", for {len(by_reason)} reasons:{''.join(lines)}"
    remedy = ""
    if len(reasons) < num_tasks:
        remedy = "\nto go on without them, which is recorded: --skip_unavailable"
    return f"{len(reasons)} of the {num_tasks} tasks of {name!r} cannot be read{listed}{remedy}"


def _missing(task_name: str) -> str | None:
    spec = get_spec(task_name)
    return spec.source.missing() if spec else None


def known_names() -> list[str]:
    """Returns the names of all tasks and mixtures, those that are unavailable included."""
    names = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names(), *_unavailable}
    return sorted(names)


def _exists(name: str) -> bool:
    return name in seqio.TaskRegistry.names() or name in seqio.MixtureRegistry.names()


def _taken(kind: str, name: str) -> UsageError:
    return UsageError(f"{name!r} is registered already, as a {kind} with other content; rename one")
