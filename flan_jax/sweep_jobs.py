# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs of a sweep as jobs for other machines: their commands, and whether what they left is theirs.

The commands are those of `flan-jax train` and `flan-jax eval`, so a job may have several processes,
and nothing of the sweep needs to be where it runs: its Gin files, the token store and the folders,
under the names that they have here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flan_jax import benchmark_jobs, config
from flan_jax.collection.store import Store
from flan_jax.core import files, modules, settings
from flan_jax.evals import benchmark, grouping
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.suite import SuiteConfig
from flan_jax.parallel.rules import preset
from flan_jax.scaling import run_records, sweep
from flan_jax.sweep_points import BENCHMARKS, TASKS, Point
from flan_jax.training import run_folder

PROGRAM = "flan-jax"


def specs(
    gin_file: str, out: str, runs: Sequence[sweep.Run], points: Sequence[Point]
) -> list[dict[str, Any]]:
    """Returns what a job needs to know of every run that is not done, as JSON values."""
    made = []
    for run, point in zip(runs, points, strict=True):
        if run_records.status(out, run)["status"] != run_records.DONE:
            folder = str(Path(out) / run.name)
            made.append(
                {
                    "name": run.name,
                    "recipe": point.recipe,
                    "settings": dict(run.settings),
                    "folder": folder,
                    "config_hash": run_records.config_hash(run),
                    "commands": commands(point, folder)
                    or [[PROGRAM, "sweep", gin_file, "--out", out, "--only", run.name]],
                }
            )
    return made


def commands(point: Point, folder: str) -> list[list[str]]:
    """Returns the commands that do a point's run, one after the other; none if there are no such.

    A model that is neither trained nor in a checkpoint can be asked only where it is initialized.
    """
    point.configure(point.store or "", folder)
    if point.begins_at_random:
        return []
    gin = ["--recipe", point.recipe]
    for name in point.declared.gin_files:
        gin += ["--gin_file", name]
    gin += [f"--gin.{binding}" for binding in point.bindings(point.store or "", folder)]
    made = [[PROGRAM, "train", *gin]] if point.trains else []
    if TASKS in point.declared.evaluations:
        made.append([PROGRAM, "eval", *gin, "--out", folder])
    if BENCHMARKS in point.declared.evaluations and not _training_asks(point):
        suite: SuiteConfig = config.bound("train", "benchmarks")
        benchmarks = str(Path(folder) / sweep.BENCHMARKS_FOLDER)
        made.append([PROGRAM, "eval", *_asking(suite), *gin, "--out", benchmarks])
    return made


def unfinished(point: Point, folder: Path) -> str:
    """Returns "" if the run of a point is done in its folder by whatever means, else what is not.

    That it is this run's: training's own word on what decided it (settings.json); of the scores
    the step, the model's name, the tasks and how many examples of each.
    """
    point.configure(point.store or "", str(folder))
    return next(_faults(point, folder), "")


def _faults(point: Point, folder: Path) -> Iterator[str]:
    if point.trains:
        yield from _faults_of_training(point, folder)
    if TASKS in point.declared.evaluations:
        path = folder / sweep.SCORES_FILE
        if path.is_file():
            yield from _faults_of_tasks(point, path)
        else:
            yield f"there is no {path}"
    if BENCHMARKS in point.declared.evaluations:
        own = folder / sweep.BENCHMARKS_FOLDER
        asked = [own, own / f"step_{point.steps.stop}"] if point.trains else [own]
        tables = [path / benchmark_jobs.SCORES for path in asked]
        there = [path for path in tables if path.is_file()]
        if there:
            yield from _faults_of_benchmarks(point, there[0])
        else:
            yield f"there is no {tables[-1]}"


def _faults_of_training(point: Point, folder: Path) -> Iterator[str]:
    path = folder / run_folder.SETTINGS_FILE
    if not path.is_file():
        yield f"there is no {path}"
        return
    training = config.bound("train", "config")
    model = config.bound("train", "model")
    rules = model.rules or preset(training.rules)
    here = settings.describe(
        {
            "model": model,
            "data": config.bound("train", "data"),
            "config": training,
            "vocabulary": Store.open(point.store).vocabulary["fingerprint"],
        }
    )
    here["model"] |= {"rules": settings.describe(rules)} if "rules" in here["model"] else {}
    if found := list(settings.differences(files.read_json(path), here)):
        yield f"{folder} holds a run with other settings: {'; '.join(found[:5])}"


def _faults_of_tasks(point: Point, path: Path) -> Iterator[str]:
    wanted = point.evaluation
    rows = [r for r in scores_lib.read_scores(path) if not scores_lib.is_mean(r.subtask)]
    yield from _faults_of_rows(point, path, rows, wanted.model_name)
    store = Store.open(point.store)
    groups = grouping.choose_groups(store, wanted.split, wanted.groups)
    there = {(row.benchmark, row.subtask): row.n for row in rows}
    here = {
        (group, task): min(
            store.task(task, wanted.split).num_examples,
            wanted.num_examples or store.task(task, wanted.split).num_examples,
        )
        for group, tasks in groups.items()
        for task in tasks
        if grouping.scoring(store, wanted.split, task) is not None
    }
    here = {key: num for key, num in here.items() if num}
    for key in sorted({*there, *here}):
        if there.get(key) != here.get(key):
            yield (
                f"{path}: {there.get(key, 0)} examples of {'/'.join(key)} were evaluated, but "
                f"{here.get(key, 0)} are to be"
            )


def _faults_of_benchmarks(point: Point, path: Path) -> Iterator[str]:
    suite: SuiteConfig = config.bound("train", "benchmarks")
    for module in suite.module_imports:
        modules.import_tasks(module, "SuiteConfig.module_imports")
    rows = scores_lib.read_scores(path)
    yield from _faults_of_rows(point, path, rows, suite.model_name)
    there = {row.benchmark for row in rows}
    for each in benchmark.choose(suite.benchmarks):
        if each.name not in there:
            yield f"{path} has no row of {each.name}"


def _faults_of_rows(
    point: Point, path: Path, rows: Sequence[scores_lib.Score], model_name: str
) -> Iterator[str]:
    if names := sorted({row.model for row in rows} - {model_name}):
        yield f"{path} is of model {names[0]!r}, not of {model_name!r}"
    if point.trains and (steps := sorted({row.step for row in rows} - {point.steps.stop})):
        yield f"{path} is of step {steps[0]}, but the run ends at {point.steps.stop}"


def _training_asks(point: Point) -> bool:
    """Returns whether training asks the benchmarks at its last step."""
    return point.trains and config.bound("train", "config").eval_period > 0


def _asking(suite: SuiteConfig) -> list[str]:
    """Returns the arguments of flan-jax eval that ask what a configuration does."""
    given = ["--suite", ",".join(suite.benchmarks), "--data", suite.data]
    for name in suite.module_imports:
        given += ["--module_import", name]
    for name, split in suite.splits.items():
        given += ["--split", f"{name}={split}"]
    if suite.ways:
        given += ["--answer_by", suite.ways]
    if suite.num_examples is not None:
        given += ["--num_examples", str(suite.num_examples)]
    return [*given, "--seed", str(suite.seed), "--name", suite.model_name]
