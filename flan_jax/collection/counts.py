# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How many tasks the mixtures have, beside what was published of them.

The module that registers a collection says what to compare with; nothing is left out or added to
make a number fit, and a difference is shown with what is known of it.
"""

import dataclasses
from collections.abc import Mapping

import seqio

from flan_jax.collection import registry
from flan_jax.collection.spec import INVERTED
from flan_jax.core.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Published:
    """What was published of a mixture: source -> number of tasks, such as `paper` -> 80."""

    counts: Mapping[str, int]
    # What is known of a difference.
    note: str = ""


_published: dict[str, Published] = {}


def publish(mixture: str, counts: Mapping[str, int], note: str = "") -> None:
    """Says how many tasks a registered mixture has elsewhere, in the order of a table's rows."""
    _published[mixture] = Published(dict(counts), note)


@dataclasses.dataclass(frozen=True)
class Count:
    """The tasks of a mixture."""

    mixture: str
    # Inverted twins apart.
    num_tasks: int
    num_twins: int
    # Tasks and twins whose data is here.
    num_readable: int
    published: Mapping[str, int]
    note: str


def count() -> list[Count]:
    """Returns a row for each mixture that something was published of, and their sum.

    Raises:
        UsageError: nothing was published of any mixture.
    """
    if not _published:
        raise UsageError(
            "no published counts are known to compare with; import the module of the Flan "
            "collection: --module_import tasks.mixtures"
        )
    rows = [_row(mixture, published) for mixture, published in _published.items()]
    sources = {source: None for row in rows for source in row.published}
    total = Count(
        "all",
        sum(row.num_tasks for row in rows),
        sum(row.num_twins for row in rows),
        sum(row.num_readable for row in rows),
        {source: sum(row.published.get(source, 0) for row in rows) for source in sources},
        "",
    )
    return [*rows, total]


def _row(mixture: str, published: Published) -> Count:
    names = [task.name for task in seqio.MixtureRegistry.get(mixture).tasks]
    num_twins = sum(name.endswith(INVERTED) for name in names)
    num_readable = sum(registry.is_readable(name) for name in names)
    return Count(
        mixture, len(names) - num_twins, num_twins, num_readable, published.counts, published.note
    )
