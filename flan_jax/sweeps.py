# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sweeps of training runs: from a Gin file to runs, their scores, and the report.

OUT/store/          the token store that all runs read
OUT/<run>/          one run: checkpoints, metrics, predictions, scores.csv (scaling/sweep.py)
OUT/scores.csv      all runs' scores
OUT/sweep.json      what the report needs to know of the sweep
OUT/report/         figures, tables and page
"""

import functools
import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax import config, jobs
from flan_jax.collection.store import Store
from flan_jax.core import errors, files
from flan_jax.core.progress import say
from flan_jax.core.tree import flatten
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import curves, sweep
from flan_jax.scaling import report as report_lib

RECIPE = "RECIPE"  # the grid's own macro: which recipe a run uses
MIXTURE = "MIXTURE_OR_TASK_NAME"
_INFO = "sweep.json"
_VERSIONS = ("jax", "flax", "optax", "numpy")


def run(gin_file: str, out: str) -> None:
    """Builds the store, carries out every run that is not done, and gathers the scores.

    Raises:
        UsageError: the sweep or a recipe is misconfigured.
        IncompleteError: some runs failed; the others are done.
    """
    start = time.monotonic()
    declared = _declared(gin_file)
    store = _build(declared, out)
    build_s = time.monotonic() - start
    runs = _runs(declared, store)
    shared = _shared_config(declared, out)
    counts: dict[str, int] = {}
    sweep.run_sweep(runs=runs, out=out, run_one=functools.partial(_run_one, counts), config=shared)
    info_path = Path(out) / _INFO
    before = files.read_json(info_path) if info_path.is_file() else {}
    files.write_json(
        info_path,
        {
            "title": declared.title,
            "metric": declared.metric,
            "sizes": list(declared.recipes),
            "num_parameters": {**before.get("num_parameters", {}), **counts},
            "runs": [{"name": r.name, "settings": dict(r.settings)} for r in runs],
            "build_s": before.get("build_s") or round(build_s, 1),
            "config": shared,
            "machine": _machine(),
        },
    )


def status(gin_file: str, out: str) -> str:
    """Returns the table of a sweep's runs and how far each is; builds and runs nothing."""
    declared = _declared(gin_file)
    store = Store.open(_store_path(out)) if Path(_store_path(out)).is_dir() else None
    if store is None:
        return "\n".join(f"{r.name}  pending" for r in _runs(declared, None))
    return sweep.status_table(out, _runs(declared, store), _shared_config(declared, out))


def report(
    folder: str, *, out: str | None = None, study: str | None = None
) -> report_lib.ReportFiles:
    """Writes the report of a finished sweep.

    Args:
        folder: the sweep's.
        out: where to write; `FOLDER/report` if None.
        study: the scores.csv of a several-seed study to draw behind.
    """
    info = _read_info(folder)
    folders = {r["name"]: Path(folder) / r["name"] for r in info["runs"]}
    scores = scores_lib.read_scores(Path(folder) / sweep.SCORES_FILE)
    last = info["runs"][-1]
    store = Store.open(_store_path(folder))
    groups = {
        group: sorted(
            {s.subtask for s in scores if s.benchmark == group} & set(store.manifest["tasks"])
        )
        for group in dict.fromkeys(s.benchmark for s in scores)
    }
    seconds = {n: files.read_json(p / sweep.RUN_FILE)["duration_s"] for n, p in folders.items()}
    parameters = ", ".join(f"{n / 1e6:.2f} M" for n in info["num_parameters"].values())
    seeds = sorted({r["settings"].get("seed", "0") for r in info["runs"]})
    return report_lib.write_report(
        report_lib.Report(
            title=info["title"],
            subtitle=f"embedded mini collection, T5 with {parameters} parameters, "
            f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}",
            scores=scores,
            metric=info["metric"],
            study=scores_lib.read_scores(study) if study else (),
            size_order=info["sizes"],
            losses={
                _label(r): curves.read_losses(folders[r["name"]] / "metrics.jsonl")
                for r in info["runs"]
            },
            examples=report_lib.pick_examples(
                folders[last["name"]] / "predictions", groups, metric=info["metric"]
            ),
            facts=[
                ("runs", str(len(folders))),
                ("parameters", parameters),
                ("machine", info["machine"]),
                ("flan_jax", flan_jax.__version__),
                *((name, importlib.metadata.version(name)) for name in _VERSIONS),
            ],
            timings=[("build", info["build_s"]), *seconds.items()],
            config=info["config"],
        ),
        out or Path(folder) / "report",
    )


def _declared(gin_file: str) -> jobs.Sweep:
    config.parse([gin_file], roots=("Sweep",))
    declared = config.configured("Sweep")()
    for recipe in declared.recipes:
        config.recipe_file(recipe)
    if MIXTURE not in declared.grid:
        raise errors.UsageError(
            f"{gin_file}: Sweep.grid has no {MIXTURE}, so there is no number of tasks to draw"
        )
    return declared


def _store_path(out: str) -> str:
    return str(Path(out) / "store")


def _parse_recipe(recipe: str, macros: Mapping[str, Any], out: str, model_dir: str) -> None:
    bindings = {
        "STORE_DIR": _store_path(out),
        "MODEL_DIR": model_dir,
        "CHECKPOINT_PATH": model_dir,
        **macros,
    }
    config.parse(
        [config.recipe_file(recipe)],
        [f"{name}={value!r}" for name, value in bindings.items()],
        roots=("build", "train", "evaluate"),
    )


def _build(declared: jobs.Sweep, out: str) -> Store:
    """Builds the one store of a sweep; every recipe must describe the same one."""
    first = {macro: values[0] for macro, values in declared.grid.items()}
    described, store = None, None
    for recipe in declared.recipes:
        _parse_recipe(recipe, first, out, model_dir=out)
        bound = config.bindings("build")
        if described is not None and bound != described:
            raise errors.UsageError(
                f"sweep: recipes {declared.recipes[0]!r} and {recipe!r} build different stores; "
                "give them the same build settings, or sweep them apart"
            )
        if described is None:
            described, store = bound, config.configured("build")()
    return store


def _runs(declared: jobs.Sweep, store: Store | None) -> tuple[sweep.Run, ...]:
    """Returns the runs, described by number of tasks (when the store is built), size and seed."""
    several = len(declared.recipes) > 1

    def settings(macros: Mapping[str, Any]) -> dict[str, Any]:
        mixture = macros[MIXTURE]
        shown: dict[str, Any] = {"mixture": mixture}
        if store is not None:
            shown = {"num_tasks": len(store.mixture_rates(mixture))}
        if several:
            shown["size"] = macros[RECIPE]
        others = {n: v for n, v in macros.items() if n not in (MIXTURE, RECIPE)}
        return shown | {name.lower(): value for name, value in others.items()}

    grid = {RECIPE: list(declared.recipes), **declared.grid}
    return sweep.expand(grid, settings)


def _shared_config(declared: jobs.Sweep, out: str) -> str:
    """Returns the text that decides the results, apart from a run's own macros and folders."""
    first = {macro: values[0] for macro, values in declared.grid.items()}
    parts = [f"# flan_jax {flan_jax.__version__}"]
    for recipe in declared.recipes:
        _parse_recipe(recipe, first, out="OUT", model_dir="OUT/RUN")
        parts.append(f"# recipe {recipe}\n{config.text()}")
    return "\n".join(parts)


def _run_one(counts: dict[str, int], run: sweep.Run, folder: Path) -> None:
    macros = dict(run.macros)
    recipe = macros.pop(RECIPE)
    _parse_recipe(recipe, macros, out=str(folder.parent), model_dir=str(folder))
    trained = config.configured("train")(operative_config=config.operative)
    counts[recipe] = sum(leaf.size for leaf in flatten(trained.params).values())
    result = config.configured("evaluate")(
        params=trained.params, step=trained.step, out=str(folder)
    )
    means = ", ".join(f"{name} {value:.1f}" for name, value in result.summary().items())
    say(f"sweep: {run.name}: {means}")


def _read_info(out: str) -> dict[str, Any]:
    path = Path(out) / _INFO
    if not path.is_file():
        raise errors.UsageError(
            f"{out}: no finished sweep (there is no {path}); run flan-jax sweep first"
        )
    return files.read_json(path)


def _label(run_info: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in run_info["settings"].items())


def _machine() -> str:
    return f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}"
