# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns the two finished sweeps of the mini study into the files that are kept in the repository.

    python docs/studies/mini/publish.py runs/mini_study runs/mini_rates

Writes beside itself `scores.csv`, `sweep.json`, `rates.csv`, the figures and the tables; and for
quickstart, which draws the study behind its own curve, tasks/mini/study.csv and baselines.csv.
"""

import itertools
import shutil
import sys
import tempfile
from pathlib import Path

from flan_jax import reporting
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import sweep
from tasks.mini import baselines, catalogue
from tasks.mini.mixtures import SIZES

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[2] / "tasks" / "mini"
METRIC = "exact_match"
NUM_TASKS = (*SIZES, catalogue.NUM_TRAIN)
KEPT = ("task_scaling.png", "task_scaling.svg", "losses.png", "losses.svg", "scores_table.md")


def summary(scores: list[scores_lib.Score]) -> list[scores_lib.Score]:
    """Returns the means over tasks, one row for each run and group."""
    return [s for s in scores if s.subtask == scores_lib.MEAN and s.metric == METRIC]


def baseline_scores() -> list[scores_lib.Score]:
    """Returns what each task's most frequent answer scores, in the layout of a sweep's table."""
    groups = {
        "held_out_combination": catalogue.heldout_combinations(),
        "held_out_skill": catalogue.heldout_skills(),
    }
    by_group = {(group, num): entries for group, entries in groups.items() for num in NUM_TASKS} | {
        ("held_in", num): catalogue.training()[:num] for num in NUM_TASKS
    }
    return [
        scores_lib.Score(
            model=baselines.MAJORITY, step=0, benchmark=group, protocol="rule",
            subtask=scores_lib.MEAN, metric=METRIC, n=len(entries), stderr=None,
            value=baselines.exact_match(entries)[baselines.MAJORITY],
            settings={"num_tasks": str(num)},
        )
        for (group, num), entries in by_group.items()
    ]  # fmt: skip


def coverage(num: int) -> tuple[int, int]:
    """Returns how much of the held-out combinations the first `num` training tasks show.

    Of how many the three attribute values (what to find, marks, frame) are all trained on, and of
    how many each two of them are even trained on together.
    """
    trained = [entry.skill.attributes for entry in catalogue.training()[:num]]
    values = {(side, a[side]) for a in trained for side in range(3)}
    pairs = {pair for a in trained for pair in itertools.combinations(enumerate(a), 2)}
    held_out = [tuple(enumerate(e.skill.attributes)) for e in catalogue.heldout_combinations()]
    return (
        sum(values.issuperset(a) for a in held_out),
        sum(pairs.issuperset(itertools.combinations(a, 2)) for a in held_out),
    )


def main(study: str, rates: str) -> None:
    """Writes all files."""
    for name in (sweep.SCORES_FILE, "sweep.json"):
        shutil.copyfile(Path(study) / name, HERE / name)
    scores = scores_lib.read_scores(HERE / sweep.SCORES_FILE)
    scores_lib.write_scores(PACKAGE / "study.csv", summary(scores))
    scores_lib.write_scores(PACKAGE / "baselines.csv", baseline_scores())
    tuned = scores_lib.read_scores(Path(rates) / sweep.SCORES_FILE)
    scores_lib.write_scores(HERE / "rates.csv", summary(tuned))
    with tempfile.TemporaryDirectory() as folder:
        reporting.report(study, out=folder, baselines=str(PACKAGE / "baselines.csv"))
        for name in KEPT:
            shutil.copyfile(Path(folder) / name, HERE / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
