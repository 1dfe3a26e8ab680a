# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reports: reads what sweeps, evaluations and trainings left in their folders, and has it drawn."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from flan_jax.collection import sources
from flan_jax.core import errors
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import report as report_lib
from flan_jax.scaling import selection
from flan_jax.scaling import study as study_lib
from flan_jax.scaling.group_tables import SIZE


def report(
    *folders: str,
    out: str | None = None,
    study: str | None = None,
    baselines: str | None = None,
    select: str | None = None,
    price: float | None = None,
) -> report_lib.ReportFiles:
    """Writes the report of one or several folders: of the runs that are done so far.

    Of a folder that holds only `sweep.json` and `scores.csv`, as a published study does, it draws
    what these tell: everything but training losses and predictions.

    Args:
        folders: what flan-jax sweep, eval or train wrote.
        out: where to write; `report` in the first folder if None.
        study: the scores.csv of a several-seed study to draw behind, as a path or `package:` name.
        baselines: a score table of rules without learning, to draw as thin lines; likewise.
        select: the step that a run is judged by (`scaling.selection`); None: as the sweep says.
        price: of a device-hour.

    Raises:
        UsageError: there is nothing to report on, or no such selection.
        DataError: what is there cannot be read.
    """
    found = study_lib.read_all(folders)
    if not found.done:
        raise errors.UsageError(
            f"{', '.join(folders)}: no run is done yet; see flan-jax sweep --status"
        )
    if not found.scores:
        raise errors.UsageError(
            f"{', '.join(folders)}: no scores are gathered; run flan-jax sweep again, or its "
            "--gather"
        )
    if select is not None:
        selection.describe(select)  # a wrong rule is told before anything is drawn
        found = dataclasses.replace(found, selection=select)
    return report_lib.write_report(
        found,
        out or Path(folders[0]) / "report",
        behind=_one_size(_read_table(study), found.sizes),
        baselines=_one_size(_read_table(baselines), found.sizes),
        price=price,
    )


def _read_table(name: str | None) -> list[scores_lib.Score]:
    return scores_lib.read_scores(sources.resolve(name)) if name else []


def _one_size(rows: Sequence[scores_lib.Score], sizes: Sequence[str]) -> list[scores_lib.Score]:
    """Returns the rows that a sweep over these sizes has beside it.

    A sweep of one size does not name it, so a table of several is cut to that one.
    """
    if len(sizes) != 1:
        return list(rows)
    return [
        dataclasses.replace(row, settings={k: v for k, v in row.settings.items() if k != SIZE})
        for row in rows
        if row.settings.get(SIZE, sizes[0]) == sizes[0]
    ]
