# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What one run of a sweep does: trains, unless it is not to, and evaluates what came of it.

OUT/<run>/scores.csv, predictions/               tasks of the token store
OUT/<run>/benchmarks/scores.csv, predictions/    benchmarks, asked once: where training asked them
                                                 at its last step, those answers are moved here
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax

from flan_jax import benchmark_jobs, config
from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.core.tree import PyTree
from flan_jax.evals.runner import EvalConfig
from flan_jax.evals.suite import PREDICTIONS
from flan_jax.models.model import Model
from flan_jax.scaling import compute, sweep
from flan_jax.scaling.compute import RunCompute
from flan_jax.sweep_points import BENCHMARKS, TASKS, Point
from flan_jax.training.state import num_params
from flan_jax.training.writers import METRICS_FILE


def carry_out(point: Point, folder: Path) -> dict[str, Any]:
    """Does a point's run in its folder; returns facts of it.

    Raises:
        FlanError: it failed.
        PreemptedError: asked to stop; the same call goes on.
    """
    point.configure(point.store or "", str(folder))
    evaluated = point.declared.evaluations
    params, step = None, None  # None: those of CHECKPOINT_PATH
    if point.trains:
        trained = config.configured("train")(operative_config=config.operative)
        params, step = trained.params, trained.step
    elif point.begins_at_random:
        params, step = initial_params(_model(point)), 0
    if TASKS in evaluated:
        config.configured("evaluate")(params=params, step=step, out=str(folder))
    out = folder / sweep.BENCHMARKS_FOLDER
    if BENCHMARKS in evaluated and not _is_asked(point, out):
        _ask_benchmarks(out, params if point.begins_at_random else None)
    return settle(point, folder)


def settle(point: Point, folder: Path, *, is_elsewhere: bool = False) -> dict[str, Any]:
    """Puts in its place what a run that is done left, and returns facts of it.

    Its configuration must be the current one. What was done elsewhere says nothing of its devices.
    """
    keep_last_asked(folder / sweep.BENCHMARKS_FOLDER, point.steps.stop)
    shapes = jax.eval_shape(_model(point).init, jax.random.key(0))
    computed = _compute(point, folder) if point.trains else None
    if computed is not None and is_elsewhere:
        computed = dataclasses.replace(computed, num_devices=None, device_kind="")
    return {
        "num_parameters": num_params(shapes),
        "compute": None if computed is None else computed.as_json(),
    }


def _compute(point: Point, folder: Path) -> RunCompute:
    """Returns what training computed."""
    model, data, training = (config.bound("train", name) for name in ("model", "data", "config"))
    return compute.of_run(model, data, training, folder / METRICS_FILE, num_steps=len(point.steps))


def _model(point: Point) -> Model:
    return config.bound("evaluate" if TASKS in point.declared.evaluations else "infer", "model")


def initial_params(model: Model) -> PyTree:
    """Returns the parameters that training would begin with, as SEED initializes them."""
    seed = config.bound("TrainConfig", "seed") or 0
    key, _ = jax.random.split(jax.random.key(seed))
    return jax.jit(model.init)(key)


def _is_asked(point: Point, out: Path) -> bool:
    """Returns whether the benchmarks were asked, by an earlier start or at training's last step."""
    return keep_last_asked(out, point.steps.stop) or (out / benchmark_jobs.SCORES).is_file()


def _ask_benchmarks(out: Path, params: PyTree | None) -> None:
    """Asks the benchmarks.

    Args:
        out: where to keep them.
        params: the model's, before any step; None for those of CHECKPOINT_PATH.
    """
    suite = config.bound("train", "benchmarks")
    if params is None:
        benchmark_jobs.evaluate(config.configured("infer")(), suite, str(out))
        return
    ask = benchmark_jobs.InTraining(
        config.bound("infer", "model"),
        load_vocabulary(config.bound("infer", "vocabulary")),
        suite,
        out,
        max_input_length=config.bound("infer", "feature_lengths")["inputs"],
        batch_size=EvalConfig().batch_size,
    )
    ask(params, 0)


def keep_last_asked(out: Path, step: int) -> bool:
    """Makes what was asked at a step the benchmarks of the run; returns whether there was any."""
    asked = out / f"step_{step}"
    if not (asked / benchmark_jobs.SCORES).is_file():
        return False
    if (asked / PREDICTIONS).is_dir():
        os.replace(asked / PREDICTIONS, out / PREDICTIONS)
    os.replace(asked / benchmark_jobs.SCORES, out / benchmark_jobs.SCORES)  # last: then all is
    asked.rmdir()
    return True
