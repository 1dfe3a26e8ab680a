# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All that a browser of the collection shows, as plain values that JSON can hold.

Tasks whose data is not here are described all the same, with the reason and the remedy; a task
that fails is described with its fault and stops no other. Nothing is written here.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import seqio

from flan_jax.collection import anatomy, registry, rendering
from flan_jax.collection.counts import INVERTED
from flan_jax.collection.prompts import Template
from flan_jax.collection.spec import TaskSpec
from flan_jax.collection.vocabularies import Vocabulary
from flan_jax.core.errors import FlanError, in_words

TOKENS, CHARACTERS = "tokens", "characters"
PERCENTILES = (5, 25, 50, 75, 95, 99)
# Most characters of one piece of text; how many more there are is said.
MAX_SHOWN = 6_000
# What stands for the family of a task that is declared with plain SeqIO.
FOREIGN = "seqio"

_NUM_BINS = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """How much of each task to look at."""

    # Rendered examples shown.
    num_examples: int = 3
    # Examples whose lengths are measured, from the first on.
    num_lengths: int = 100
    seed: int = 0
    # Counts tokens, and shows a prompt as the model reads it; None: characters are counted.
    vocabulary: Vocabulary | None = None


def collect(
    title: str,
    specs: Mapping[str, TaskSpec | None],
    mixtures: Sequence[str],
    look: Look,
    *,
    advance: Callable[[str], None] = lambda task: None,
) -> dict[str, Any]:
    """Returns a page's data: mixtures, tasks, template groups, and the reasons for what is missing.

    Args:
        title: what the page is about, such as the name of a mixture.
        specs: the tasks by name; None for one that is declared with plain SeqIO.
        mixtures: registered mixtures to describe; their tasks are among the tasks.
        look: how much to render.
        advance: called with each task's name when it is done.
    """
    numbers = {name: number for number, name in enumerate(specs)}
    groups = _Numbers()
    reasons = _Numbers()
    tasks = []
    for name, spec in specs.items():
        tasks.append(_task(name, spec, look, groups, reasons))
        advance(name)
    return {
        "title": title,
        "tasks": tasks,
        "mixtures": [_mixture(name, numbers, tasks) for name in mixtures],
        "groups": [[describe_template(t) for t in group] for group in groups.values],
        "reasons": reasons.values,
        "unit": TOKENS if look.vocabulary else CHARACTERS,
        "vocabulary": look.vocabulary.name if look.vocabulary else None,
        "seed": look.seed,
    }


def submixtures(name: str) -> list[str]:
    """Returns a registered mixture and all mixtures inside it, each once, itself first."""
    found = {name: None}
    for member in seqio.MixtureRegistry.get(name).rate_per_task_name:
        if member in seqio.MixtureRegistry.names():
            found |= dict.fromkeys(submixtures(member))
    return list(found)


def is_readable(task: Mapping[str, Any]) -> bool:
    """Whether the rows of a task, as `collect` describes it, are here and none made it fail."""
    return "num_rows" in task and "fault" not in task


def by_licence(mixture: str) -> dict[str, list[str]]:
    """Returns {licence: names of its tasks}, the licence of most tasks first, none stated last."""
    found: dict[str, list[str]] = {}
    for name in registry.task_names(mixture):
        spec = registry.get_spec(name)
        found.setdefault(spec.licence if spec else "", []).append(name)
    return dict(sorted(found.items(), key=lambda item: (not item[0], -len(item[1]), item[0])))


def measure(
    examples: Iterable[rendering.Rendered | rendering.Dropped], look: Look
) -> dict[str, Any]:
    """Returns how long inputs and targets are, in the unit of `look`; the EOS is not counted."""
    texts = [(e.inputs, e.targets) for e in examples if isinstance(e, rendering.Rendered)]
    inputs = _lengths([text for text, _ in texts], look.vocabulary)
    targets = _lengths([text for _, text in texts], look.vocabulary)
    unit = TOKENS if look.vocabulary else CHARACTERS
    return {"unit": unit, "num": len(texts)} | {
        side: _summary(lengths) for side, lengths in (("inputs", inputs), ("targets", targets))
    }


def describe_template(template: Template) -> dict[str, Any]:
    """Returns a template with its patterns as lists of [is a slot, text]."""

    def pieces(pattern):
        return [[int(is_slot), text] for is_slot, text in pattern.pieces]

    return {
        "id": template.id,
        "kind": template.kind,
        "options": template.options,
        "direction": template.direction,
        "head": pieces(template.head) if template.head else [],
        "input": pieces(template.input),
        "target": pieces(template.target),
        "input_prefix": template.input_prefix,
        "target_prefix": template.target_prefix,
        "shots": template.shots,
        "embedded_shots": template.embedded_shots,
    }


class _Numbers:
    """Numbers values in the order in which they come, each once."""

    def __init__(self):
        self._numbers: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    @property
    def values(self) -> list[Any]:
        return list(self._numbers)


def _task(
    name: str, spec: TaskSpec | None, look: Look, groups: _Numbers, reasons: _Numbers
) -> dict[str, Any]:
    if spec is None:
        splits = sorted(seqio.TaskRegistry.get(name).splits)
        foreign = "declared with plain SeqIO: flan_jax does not render it; look at it with SeqIO"
        return {"name": name, "family": FOREIGN, "splits": splits, "missing": reasons(foreign)}
    task = {
        "name": name,
        "family": spec.family,
        "category": spec.category,
        "licence": spec.licence,
        "version": spec.version,
        "settings": [[setting, weight] for setting, weight in spec.settings if weight > 0],
        "cap": spec.cap,
        "splits": list(spec.splits),
        "metrics": [metric.__name__ for metric in spec.metrics],
        "trim_field": spec.trim_field,
        "few_shot": {
            "shots": [spec.few_shot.min_shots, spec.few_shot.max_shots],
            "policy": spec.few_shot.policy,
        },
        "twin": name.endswith(INVERTED),
    }
    try:
        task["group"] = groups(spec.templates.load())
        missing = spec.source.missing()
        if missing:
            task["missing"] = reasons(missing)
        else:
            task["num_rows"] = {s: spec.source.num_rows(s) for s in spec.splits}
            task |= _rendered(spec, look)
    except FlanError as error:
        task["fault"] = str(error)
    except Exception as error:  # a user's source or field mapping may raise anything
        task["fault"] = in_words(error)
    return task


def _rendered(spec: TaskSpec, look: Look) -> dict[str, Any]:
    """Returns shown examples, lengths, and the reasons for which rows on the way gave none."""
    split = spec.splits[0]
    limit = max(look.num_examples, look.num_lengths)
    rendered = list(rendering.render_task(spec, split, look.seed, limit=limit))
    shown = anatomy.dissect(spec, split, look.seed, rendered, look.num_examples)
    dropped: dict[str, int] = {}
    for example in rendered:
        if isinstance(example, rendering.Dropped):
            dropped[example.reason] = dropped.get(example.reason, 0) + 1
    return {
        "split": split,
        "examples": [_example(example, look.vocabulary) for example in shown],
        "lengths": measure(rendered, look),
        "dropped": dropped,
    }


def _example(example: anatomy.Example, vocabulary: Vocabulary | None) -> dict[str, Any]:
    rendered = example.rendered
    described = {
        "row": rendered.index,
        "parts": [
            [part.kind, [[p.slot, int(p.answer), *_shorten(p.text)] for p in part.pieces]]
            for part in example.parts
        ],
        "targets": _shorten(rendered.targets),
        "references": [_shorten(text) for text in rendered.references[1:]],
        "meta": {k: v for k, v in rendered.meta.items() if v not in (None, "", []) and k != "task"},
    }
    if vocabulary is not None:
        for side, text in (("inputs", rendered.inputs), ("targets", rendered.targets)):
            ids = vocabulary.encode(text)
            read = vocabulary.decode(ids)
            described[f"{side}_tokens"] = len(ids)
            described[f"{side}_read"] = None if read == text else _shorten(read)
    return described


def _shorten(text: str) -> list[Any]:
    """Returns the text's start and the number of characters that are left out."""
    return [text[:MAX_SHOWN], max(0, len(text) - MAX_SHOWN)]


def _lengths(texts: Sequence[str], vocabulary: Vocabulary | None) -> list[int]:
    if vocabulary is None:
        return sorted(map(len, texts))
    return sorted(map(len, vocabulary.encode_batch(texts)))


def _summary(lengths: Sequence[int]) -> dict[str, Any] | None:
    """Returns percentiles, mean, greatest, and the counts of bins of equal width from 0."""
    if not lengths:
        return None
    width = -(-(lengths[-1] + 1) // _NUM_BINS)
    bins = [0] * (lengths[-1] // width + 1)
    for length in lengths:
        bins[length // width] += 1
    return {
        # The smallest length that at least so many in a hundred do not exceed.
        "percentiles": {str(p): lengths[-(-p * len(lengths) // 100) - 1] for p in PERCENTILES},
        "mean": round(sum(lengths) / len(lengths), 1),
        "max": lengths[-1],
        "width": width,
        "bins": bins,
    }


def _mixture(name: str, numbers: Mapping[str, int], tasks: Sequence[dict]) -> dict[str, Any]:
    names = registry.task_names(name)
    described: dict[str, Any] = {
        "name": name,
        "tasks": [numbers[task] for task in names],
        "num_twins": sum(task.endswith(INVERTED) for task in names),
        "num_readable": sum(is_readable(tasks[numbers[task]]) for task in names),
        "rates": None,
        "parts": [
            [member, _rounded(share)]
            for member, (share, _) in registry.declared_shares(name).items()
        ],
    }
    try:
        rates = registry.task_rates(seqio.MixtureRegistry.get(name))
    except FlanError as error:
        return described | {"fault": str(error)}
    total = sum(rates.values())
    if total > 0:
        described["rates"] = [_rounded(rates[task] / total) for task in names]
    return described


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
