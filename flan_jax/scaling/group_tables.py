# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A study's scores as tables: groups of tasks, or tasks, down the side; what varies across.

Across stand the numbers of finetuning tasks, or what else the study varies (its mixtures, ways of
asking, learning rates). Sizes, and any further setting that varies, are named down the side; seeds
are averaged over.
"""

import collections
import statistics
from collections.abc import Iterable, Mapping, Sequence

from flan_jax.evals import metrics
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.scores import Score
from flan_jax.scaling import curves
from flan_jax.scaling.tables import Cell, Table

SEED, SIZE, NUM_TASKS, MIXTURE = "seed", "size", "num_tasks", "mixture"
_ACROSS = {
    NUM_TASKS: "number of finetuning tasks",
    MIXTURE: "finetuning mixture",
    SIZE: "model size",
}
_HEADINGS = {SIZE: "Size", NUM_TASKS: "Tasks", MIXTURE: "Mixture"}

Order = Mapping[str, Sequence[str]]  # setting -> its values, in the order in which they stand


def order_of(settings: Iterable[Mapping[str, str]], sizes: Sequence[str] = ()) -> dict[str, list]:
    """Returns each setting's values in the order of the runs; numbers by value, sizes as given."""
    found: dict[str, dict[str, None]] = {}
    for own in settings:
        for name, value in own.items():
            found.setdefault(name, {})[value] = None
    order = {name: list(values) for name, values in found.items()}
    for values in order.values():
        if all(_is_number(value) for value in values):
            values.sort(key=float)
    if SIZE in order:
        known = [size for size in sizes if size in order[SIZE]]
        order[SIZE] = known + [size for size in order[SIZE] if size not in known]
    return order


def across(order: Order) -> str:
    """Returns the setting whose values stand across; '' if nothing varies.

    Mixtures, where a sweep names them; else numbers of tasks; else the first other setting that
    varies; else the sizes.
    """
    varied = [name for name, values in order.items() if len(values) > 1 and name != SEED]
    for name in (MIXTURE, NUM_TASKS):
        if name in varied:
            return name
    others = [name for name in varied if name != SIZE]
    return (others or varied or [name for name in (NUM_TASKS, SIZE) if name in order] or [""])[0]


def group_table(rows: Iterable[Score], metric: str, order: Order) -> Table:
    """Returns the macro means: one row for each group and size, one column for each value across.

    With several seeds a cell is the mean over them ± its standard error over seeds, and in brackets
    the standard error over the group's tasks, each task's score being its mean over the seeds. With
    one seed it is the mean ± its own standard error.

    Args:
        rows: one step of each run.
        metric: which to show.
        order: of the settings' values, from `order_of`.
    """
    rows = [row for row in rows if row.metric == metric]
    layout = _Layout([row for row in rows if row.subtask == scores_lib.MEAN], order)
    means = collections.defaultdict(list)
    for row in layout.placed:
        means[layout.place(row)].append(row)
    counts = sorted({len(seeds) for seeds in means.values()})
    several = counts[-1] > 1 if counts else False
    over_tasks = _errors_over_tasks(rows, layout) if several else {}
    cells = {}
    for place, seeds in means.items():
        value, error = metrics.mean_and_stderr([row.value for row in seeds])
        cells[place] = Cell(
            value=value,
            error=error if several else seeds[0].stderr,
            task_error=over_tasks.get(place),
        )
    num_seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    has_benchmarks = any(scores_lib.how_asked(row.protocol)[2] for row in layout.placed)
    return Table(
        title=f"{curves.metric_title(metric)}, %{layout.by}",
        names=layout.headings("Tasks evaluated"),
        columns=layout.columns,
        rows=layout.rows(cells),
        note=f"Unweighted mean over the group's tasks and {num_seeds} seeds; ± standard error over "
        "seeds; in brackets the standard error over tasks."
        if several
        else "Unweighted mean over the group's tasks; ± standard error over tasks"
        + (" (of a benchmark, over its questions)." if has_benchmarks else "."),
    )


def task_table(rows: Iterable[Score], order: Order) -> Table:
    """Returns every task's score; the mean over seeds."""
    tasks = [row for row in rows if not scores_lib.is_mean(row.subtask)]
    layout = _Layout(tasks, order)
    values = collections.defaultdict(list)
    for row in tasks:
        names, column = layout.place(row)
        key = (names[0], row.subtask, curves.metric_title(row.metric), *names[1:])
        values[key, column].append(row.value)
    cells = {place: Cell(value=statistics.fmean(seeds)) for place, seeds in values.items()}
    group, *others = layout.headings("Group")
    return Table(
        title=f"Every task, %{layout.by}",
        names=(group, "Task", "Metric", *others),
        columns=layout.columns,
        rows=layout.rows(cells),
    )


class _Layout:
    """Where a row's number stands: the names at its left, and its column."""

    def __init__(self, placed: Sequence[Score], order: Order):
        self.placed = list(placed)
        self.order = order
        self.across = across(order)
        self.others = [
            name
            for name, values in order.items()
            if len(values) > 1 and name not in (SEED, SIZE, self.across) and not self._follows(name)
        ]
        self.others += [SIZE] if len(order.get(SIZE, ())) > 1 and self.across != SIZE else []
        protocols = collections.defaultdict(set)
        for row in self.placed:
            protocols[row.benchmark].add(row.protocol)
        self.several_ways = {name for name, found in protocols.items() if len(found) > 1}
        found = {row.settings.get(self.across, "") for row in self.placed}
        self.values = [value for value in order.get(self.across, [""]) if value in found]

    def _follows(self, name: str) -> bool:
        """Whether a setting says again what stands across: the number of tasks of a mixture."""
        return self.across == MIXTURE and name == NUM_TASKS

    @property
    def by(self) -> str:
        """', by ...' for a title."""
        if len(self.values) < 2 and self.across not in _ACROSS:
            return ""
        return f", by {_ACROSS.get(self.across, self.across.replace('_', ' '))}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The headings of the numbers."""
        shown = [f"{int(v):,}" if v.isdigit() else v.replace("_", " ") for v in self.values]
        return tuple(value or "Score" for value in shown)

    def headings(self, first: str) -> tuple[str, ...]:
        """The headings of the names."""
        return (first, *(_HEADINGS.get(n, n.replace("_", " ").capitalize()) for n in self.others))

    def place(self, row: Score) -> tuple[tuple[str, ...], str]:
        """Returns (names, column)."""
        title = curves.benchmark_title(row.benchmark)
        if row.benchmark in self.several_ways:
            title += f" ({row.protocol})"
        names = (title, *(row.settings.get(name, "") for name in self.others))
        return names, row.settings.get(self.across, "")

    def rows(self, cells: Mapping[tuple, Cell]) -> tuple:
        """Returns the rows of a table, held-in groups first, sizes from small to large."""
        first = {}  # a group's title -> its place among them
        for row in self.placed:
            first.setdefault(self.place(row)[0][0], curves.benchmark_order(row.benchmark))
        between = len(next(iter(cells))[0]) - 1 - len(self.others) if cells else 0

        def key(names: tuple[str, ...]) -> tuple:
            settings = names[1 + between :]
            places = [
                self.order[name].index(value) if value in self.order[name] else -1
                for name, value in zip(self.others, settings, strict=True)
            ]
            return (first[names[0]], names[0], names[1 : 1 + between], places)

        every = sorted({names for names, _ in cells}, key=key)
        return tuple(
            (names, tuple(cells.get((names, value)) for value in self.values)) for names in every
        )


def _errors_over_tasks(rows: Iterable[Score], layout: _Layout) -> dict[tuple, float | None]:
    """Returns place -> standard error over tasks of their means over the seeds."""
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in rows:
        if not scores_lib.is_mean(row.subtask):
            values[layout.place(row)][row.subtask].append(row.value)
    return {
        place: metrics.mean_and_stderr([statistics.fmean(seeds) for seeds in by_task.values()])[1]
        for place, by_task in values.items()
    }


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
