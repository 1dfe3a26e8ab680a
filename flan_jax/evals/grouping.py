# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What to evaluate: groups of a store's tasks, and the functions that score each task.

A token store names the metrics and the postprocessor of each task, so evaluating needs neither
SeqIO nor the module that declared the task. A name is one of `metrics.METRICS` or
`answers.POSTPROCESSORS`, or `module:qualname` of a user's own function, which is then imported.
"""

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flan_jax.collection.store import Store
from flan_jax.core import errors
from flan_jax.evals import answers, metrics

Groups = Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of a task: ours scores each example, a user's own only all of them together."""

    name: str
    per_example: metrics.ExampleMetric | None
    over_all: metrics.SeqioMetric


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskScoring:
    """How one task is scored."""

    task: str
    metrics: tuple[Metric, ...]
    postprocessor: answers.Postprocessor


def choose_groups(
    store: Store, split: str, groups: Mapping[str, str | Sequence[str]] | Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    """Returns group -> names of its tasks that have this split, sorted.

    Args:
        store: a built mixture.
        split: the split to evaluate.
        groups: None for one group a category; or names, each a group of its own: a mixture that
            the store records, a category, or a task; or group -> one or more such names.

    Raises:
        UsageError: if a name is none of these, the split is unknown, there is no group, or one has
            no task with this split.
    """
    if not store.tasks(split):
        splits = {split for task in store.manifest["tasks"].values() for split in task}
        raise errors.unknown_name("split", split, splits, f"(in the store {store.path})")
    by_category: dict[str, list[str]] = {}
    for task in store.tasks(split):
        category = store.task(task, split).info.get("category") or "uncategorized"
        by_category.setdefault(category, []).append(task)
    if groups is None:
        groups = sorted(by_category)
    if not isinstance(groups, Mapping):
        groups = {name: name for name in groups}
    chosen = {}
    for group, names in groups.items():
        members: set[str] = set()
        for name in [names] if isinstance(names, str) else names:
            members |= set(by_category.get(name) or _mixture(store, name, group, by_category))
        chosen[group] = tuple(sorted(members & set(store.tasks(split))))
        if not chosen[group]:
            raise errors.UsageError(
                f"group {group!r} has no task with a split {split!r} in the store {store.path}; "
                "build the store with that split, or leave the group out"
            )
    if not chosen:
        raise errors.UsageError(
            "nothing to evaluate: the groups are empty; name one, or give None for one group a "
            "category"
        )
    return chosen


def _mixture(store: Store, name: str, group: str, categories: Iterable[str]) -> Iterable[str]:
    """Returns the tasks of a mixture that the store records, or the one task of this name."""
    known = [store.mixture, *store.manifest["mixtures"], *store.manifest["tasks"]]
    if name not in known:
        where = "" if name == group else f" of group {group!r}"
        raise errors.unknown_name(
            f"mixture, category or task{where}:", name, [*known, *categories],
            f"(in the store {store.path}; build it with that mixture or as a sub-mixture)",
        )  # fmt: skip
    return store.mixture_rates(name)


def scoring(store: Store, split: str, task: str) -> TaskScoring | None:
    """Returns how the store says that a task is scored; None if it names no metric."""
    info = store.task(task, split).info
    if not info.get("metrics"):
        return None
    return TaskScoring(
        task=task,
        metrics=tuple(resolve_metric(name) for name in info["metrics"]),
        postprocessor=resolve_postprocessor(info.get("postprocessor")),
    )


def resolve_metric(name: str) -> Metric:
    """Returns the metric of this name, or of `module:qualname`.

    Raises:
        UsageError: if there is none.
    """
    ours = name
    if ":" in name:
        function = _load("metric", name)
        ours = function.__name__
        if metrics.SEQIO_METRICS.get(ours) is not function:
            return Metric(name=ours, per_example=None, over_all=function)
    if ours not in metrics.METRICS:
        raise errors.unknown_name("metric", name, metrics.METRICS, _OWN)
    return Metric(
        name=ours, per_example=metrics.METRICS[ours], over_all=metrics.SEQIO_METRICS[ours]
    )


def resolve_postprocessor(name: str | None) -> answers.Postprocessor:
    """Returns the postprocessor of this name, or of `module:qualname`; none gives whole texts.

    Raises:
        UsageError: if there is none.
    """
    if not name:
        return answers.whole_text
    if ":" in name:
        return _load("postprocessor", name)
    if name not in answers.POSTPROCESSORS:
        raise errors.unknown_name("postprocessor", name, answers.POSTPROCESSORS, _OWN)
    return answers.POSTPROCESSORS[name]


_OWN = "(your own function is named as module:function)"


def _load(kind: str, name: str) -> Callable[..., Any]:
    module, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise errors.UsageError(
            f"{kind} {name!r} cannot be imported ({error}); it must be a function of a module on "
            "the Python path, not a lambda or an inner function"
        ) from error
    if not callable(found):
        raise errors.UsageError(f"{kind} {name!r} is not a function but {type(found).__name__}")
    return found
