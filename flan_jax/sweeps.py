# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sweeps of training runs: from a Gin file to runs, their scores, and the report.

OUT/store/          the token store that all runs read
OUT/<run>/          one run: checkpoints, metrics, predictions, scores.csv (scaling/sweep.py)
OUT/<run>/log.txt   what the run said, where it had a process of its own
OUT/scores.csv      scores of all runs that are done
OUT/sweep.json      what the report needs to know of the sweep
OUT/report/         figures, tables and page
"""

import functools
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax import config, jobs
from flan_jax.collection.store import MANIFEST, Store
from flan_jax.core import errors, files, modules
from flan_jax.core.progress import say
from flan_jax.core.tree import flatten
from flan_jax.scaling import processes, sweep

RECIPE = "RECIPE"  # the grid's own macro: which recipe a run uses
MIXTURE = "MIXTURE_OR_TASK_NAME"
SEED = "SEED"
INFO_FILE = "sweep.json"
_VERSIONS = ("jax", "flax", "optax", "numpy")


def run(gin_file: str, out: str, *, parallel: int = 1, cores: int | None = None) -> None:
    """Builds the store, carries out every run that is not done, and gathers the scores.

    Args:
        gin_file: binds `Sweep`.
        out: the sweep's folder.
        parallel: runs at a time. With 1 and no `cores`, runs go one after another in this process,
            on all its cores; else each is a process of its own.
        cores: processor cores for each run; None: an equal share of those there are. The number of
            cores changes the order of floating-point sums, and so the last digits of losses; with
            the same number the scores are the same bytes, however many runs go at a time.

    Raises:
        UsageError: the sweep or a recipe is misconfigured, or another sweep is in this folder.
        IncompleteError: some runs failed; the others are done.
        PreemptedError: asked to stop.
    """
    start = time.monotonic()
    declared = _declared(gin_file)
    shares = processes.core_shares(parallel, cores)
    own_process = parallel > 1 or cores is not None
    with files.locked(out, "sweep"):
        store = _build(declared, out)
        build_s = time.monotonic() - start
        runs = _runs(declared, store)
        info_path = Path(out) / INFO_FILE
        before = files.read_json(info_path) if info_path.is_file() else {}
        facts = {
            "title": declared.title,
            "metric": declared.metric,
            "sizes": list(declared.recipes),
            "build_s": before.get("build_s") or round(build_s, 1),
            "parallel": parallel,
            "cores_per_run": len(shares[0]) if own_process else os.cpu_count(),
            "config": "\n".join(
                {dict(r.macros)[RECIPE]: r.config for r in reversed(runs)}.values()
            ),
            "machine": _machine(),
            "versions": {"flan_jax": flan_jax.__version__, **_library_versions()},
        }

        def write_info(num_ended: int) -> None:
            wall_s = before.get("wall_s", 0.0) + (time.monotonic() - start if num_ended else 0.0)
            files.write_json(
                info_path,
                facts | {"wall_s": round(wall_s, 1), "runs": _described(out, runs)},
            )

        if own_process:
            execute = sweep.in_processes(
                functools.partial(_command_of, gin_file, out),
                num=parallel,
                cores=cores,
            )
        else:
            execute = sweep.in_turn(_run_one)
        sweep.run_sweep(runs=runs, out=out, execute=execute, on_change=write_info)


def run_only(gin_file: str, out: str, name: str) -> None:
    """Carries out one run of a sweep whose store is built, done or not, and records it.

    Raises:
        UsageError: no such run, or another process is at it.
        FlanError: it failed.
        PreemptedError: asked to stop.
    """
    declared = _declared(gin_file)
    if not _is_built(out):
        raise errors.UsageError(f"no store in {out}; run the whole sweep once, which builds it")
    runs = {run.name: run for run in _runs(declared, Store.open(_store_path(out)))}
    if name not in runs:
        raise errors.unknown_name("run", name, runs, f"(of {gin_file}; --dry_run lists them)")
    message = sweep.attempt(out, runs[name], _run_one)
    if message:
        raise errors.FlanError(message)
    say(f"sweep: {name} is done")


def status(gin_file: str, out: str) -> str:
    """Returns the table of a sweep's runs and how far each is; builds and runs nothing."""
    declared = _declared(gin_file)
    store = Store.open(_store_path(out)) if _is_built(out) else None
    if store is None:
        return "\n".join(f"{r.name}  pending" for r in _runs(declared, None))
    return sweep.status_table(out, _runs(declared, store))


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
        origin="Sweep.grid",
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
            if not _is_built(out):
                _check_mixtures(declared.grid[MIXTURE], bound)
            described, store = bound, config.configured("build")()
    return store


def _check_mixtures(names: Sequence[str], bound: Mapping[str, Any]) -> None:
    """Refuses, before the store is built, a mixture or task of the grid that it will not know."""
    for module in bound["module_imports"]:
        modules.import_tasks(module, "build.module_imports")
    from flan_jax.collection import registry

    mixtures = [bound["mixture"], *bound.get("submixtures", ())]
    for name in mixtures:
        registry.mixture_members(name, skip_missing=True)  # an unknown one is told here
    known = {*mixtures, *(task for name in mixtures for task in registry.task_names(name))}
    for name in names:
        if name not in known:
            raise errors.unknown_name(
                "mixture or task", name, known, "(of Sweep.grid; the recipes build these)"
            )


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
        others = {n: v for n, v in macros.items() if n == SEED or len(declared.grid.get(n, ())) > 1}
        others.pop(MIXTURE, None)
        return shown | {name.lower(): value for name, value in others.items()}

    grid = {RECIPE: list(declared.recipes), **declared.grid}
    return sweep.expand(grid, settings, _config_text)


def _config_text(macros: Mapping[str, Any]) -> str:
    """Returns the text that decides the result of one run, apart from its folders."""
    others = dict(macros)
    recipe = others.pop(RECIPE)
    _parse_recipe(recipe, others, out="OUT", model_dir="OUT/RUN")
    return f"# flan_jax {flan_jax.__version__}, recipe {recipe}\n{config.text()}"


def _run_one(run: sweep.Run, folder: Path) -> dict[str, Any]:
    macros = dict(run.macros)
    recipe = macros.pop(RECIPE)
    _parse_recipe(recipe, macros, out=str(folder.parent), model_dir=str(folder))
    trained = config.configured("train")(operative_config=config.operative)
    config.configured("evaluate")(params=trained.params, step=trained.step, out=str(folder))
    return {"num_parameters": sum(leaf.size for leaf in flatten(trained.params).values())}


def _command_of(gin_file: str, out: str, run: sweep.Run) -> list[str]:
    """Returns the command that carries out one run and ends with this process."""
    command = [sys.executable, "-P", "-m", "flan_jax", "sweep", gin_file, "--out", out]
    return [*command, "--only", run.name, "--stop_with_stdin"]


def _described(out: str, runs: Sequence[sweep.Run]) -> list[dict[str, Any]]:
    """Returns what the report needs to know of each run."""
    described = []
    for run in runs:
        state = sweep.status(out, run)
        described.append(
            {
                "name": run.name,
                "size": dict(run.macros)[RECIPE],
                "settings": dict(run.settings),
                "status": state["status"],
                "duration_s": state["duration_s"],
                "num_parameters": state["facts"].get("num_parameters"),
            }
        )
    return described


def _is_built(out: str) -> bool:
    return (Path(_store_path(out)) / MANIFEST).is_file()


def _library_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _VERSIONS}


def _machine() -> str:
    return f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}"
