# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The points of a declared sweep: how each run is configured, called, and which store it reads.

A point is a recipe with one combination of the grid's values; Gin is parsed anew for each. What a
run does is in `sweep_runs.py`, what becomes of all runs in `sweeps.py`.

OUT/store/           the token store of all runs, or
OUT/stores/<hash>/   where their builds differ, one for each
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax import config, jobs
from flan_jax.collection import spec
from flan_jax.collection.store import MANIFEST, Store
from flan_jax.core import errors, files, modules, settings
from flan_jax.evals import grouping
from flan_jax.evals.runner import EvalConfig
from flan_jax.scaling import selection, sweep

RECIPE = "RECIPE"  # the grid's own macro: which recipe a run uses
MIXTURE = "MIXTURE_OR_TASK_NAME"
SEED = "SEED"
STORE = "STORE_DIR"
UNTRAINED = ""  # the value of MIXTURE that stands for no finetuning
TASKS, BENCHMARKS = "tasks", "benchmarks"  # what a sweep may evaluate
_NO_MIXTURE = "none"  # what columns show for UNTRAINED
# Arguments of a build that do not change its store.
_NOT_IN_STORE = ("out", "num_workers", "beam_runner", "beam_options")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One combination of a grid: how its run is configured."""

    declared: jobs.Sweep
    macros: Mapping[str, Any]  # the grid's, with RECIPE
    config: str = ""  # all that decides its results, apart from folders: Gin text, code version
    store: str | None = None  # path of the token store it reads; None: it needs none
    is_own_store: bool = True  # the sweep's, not one that the user named
    steps: range = range(0)  # total steps that it trains, from the first to the last
    # Whether there is neither a training nor a checkpoint: the model as it is initialized.
    begins_at_random: bool = False
    evaluation: EvalConfig | None = None  # of tasks; None: they are not evaluated

    @property
    def recipe(self) -> str:
        """The name of its recipe."""
        return self.macros[RECIPE]

    @property
    def trains(self) -> bool:
        """Whether its run trains before it evaluates."""
        return self.declared.train and self.macros.get(MIXTURE) != UNTRAINED

    @property
    def needs_store(self) -> bool:
        """Whether its run reads a token store."""
        return self.trains or TASKS in self.declared.evaluations

    @property
    def gin_files(self) -> list[str]:
        """The Gin files it reads, in order."""
        return [config.recipe_file(self.recipe), *self.declared.gin_files]

    @property
    def given(self) -> dict[str, Any]:
        """What the sweep binds over the files: macro -> value.

        Without finetuning the mixture stays the recipe's own, whose tasks may be evaluated.
        """
        own = {name: value for name, value in self.macros.items() if name != RECIPE}
        if own.get(MIXTURE) == UNTRAINED:
            del own[MIXTURE]
        return {**self.declared.recipe_bindings.get(self.recipe, {}), **own}

    def bindings(self, store: str, folder: str) -> list[str]:
        """Returns all that is bound over the files, as `NAME=value` in Gin.

        Args:
            store: path of the token store.
            folder: of the run.
        """
        bound = {STORE: repr(store), "MODEL_DIR": repr(folder)}
        if self.trains:
            bound["CHECKPOINT_PATH"] = repr(folder)
        elif self.declared.train:
            bound["CHECKPOINT_PATH"] = "%INITIAL_CHECKPOINT_PATH"
        bound |= {name: repr(value) for name, value in self.given.items()}
        return [f"{name}={value}" for name, value in bound.items()]

    def configure(self, store: str, folder: str) -> None:
        """Makes its configuration the current one.

        Raises:
            UsageError: it is wrong.
        """
        evaluated = self.declared.evaluations
        called = {
            "build": self.needs_store,
            "train": self.trains,
            "evaluate": TASKS in evaluated,
            "infer": BENCHMARKS in evaluated,
        }
        own = self.declared.recipe_bindings.get(self.recipe)
        config.parse(
            self.gin_files,
            self.bindings(store, folder),
            roots=[name for name, is_called in called.items() if is_called],
            origin="Sweep.grid, recipe_bindings" if own else "Sweep.grid",
        )


def declared(gin_file: str) -> jobs.Sweep:
    """Reads what a Gin file says of a sweep.

    Raises:
        UsageError: it is wrong.
    """
    config.parse([gin_file], roots=("Sweep",))
    found = config.configured("Sweep")()
    for recipe in found.recipes:
        config.recipe_file(recipe)
    for wrong in _mistakes(found):
        raise errors.UsageError(f"{gin_file}: {wrong}")
    return found


def _mistakes(found: jobs.Sweep) -> Iterator[str]:
    """Yields what is wrong in a sweep, each in a sentence that begins with where."""
    if not found.evaluations:
        yield f"Sweep.evaluations is empty; name {TASKS!r}, {BENCHMARKS!r} or both"
    for name in found.evaluations:
        yield from _unknown("Sweep.evaluations", "evaluation", name, (TASKS, BENCHMARKS))
    try:
        selection.describe(found.selection)
    except errors.UsageError as error:
        yield f"Sweep.selection: {error}"
    for recipe, bound in found.recipe_bindings.items():
        # Of more recipes than are swept: a table of all sizes serves for some of them.
        yield from _unknown("Sweep.recipe_bindings", "recipe", recipe, config.recipes())
        for macro in {*bound} & {*found.grid}:
            yield f"Sweep.grid and Sweep.recipe_bindings of {recipe!r} both bind {macro}; keep one"
    for macro in (*found.grid, *(m for bound in found.recipe_bindings.values() for m in bound)):
        if macro == "MODEL_DIR":
            yield f"Sweep binds {macro}, but each run has a folder of its own; leave it out"
        if macro == "CHECKPOINT_PATH" and found.train:
            yield (
                f"Sweep binds {macro}, but its runs evaluate what they trained; bind "
                "INITIAL_CHECKPOINT_PATH, or set Sweep.train = False to evaluate alone"
            )
    for macro, labels in found.labels.items():
        yield from _unknown("Sweep.labels", "macro of Sweep.grid", macro, found.grid)
        for value in labels:
            values = [str(each) for each in found.grid[macro]]
            yield from _unknown("Sweep.labels", f"value of {macro} in Sweep.grid", value, values)


def _unknown(place: str, kind: str, name: Any, known: Sequence[str]) -> Iterator[str]:
    if str(name) not in known:
        yield str(errors.unknown_name(kind, str(name), known, place=place))


def points(found: jobs.Sweep, out: str) -> list[Point]:
    """Returns the points of a sweep, in the grid's order, each with its configuration and store.

    Raises:
        UsageError: a recipe is misconfigured.
    """
    made, keys = [], []
    for macros in sweep.combinations(_grid(found)):
        point = Point(declared=found, macros=macros)
        point.configure("OUT/store", "OUT/RUN")
        if BENCHMARKS in found.evaluations and config.bound("train", "benchmarks") is None:
            raise errors.UsageError(
                f"Sweep.evaluations names {BENCHMARKS!r}, but recipe {point.recipe!r} binds no "
                "train.benchmarks; add Sweep.gin_files = ['runs/benchmarks.gin']"
            )
        made.append(dataclasses.replace(point, **_facts(point)))
        keys.append(_store_key() if point.needs_store else "")
    own = {
        key for point, key in zip(made, keys, strict=True) if key and STORE not in point.given
    }  # of the stores that the sweep builds for itself

    def with_store(point: Point, key: str) -> Point:
        if not key:
            return point
        if STORE in point.given:
            return dataclasses.replace(point, store=point.given[STORE], is_own_store=False)
        folder = Path("store") if len(own) == 1 else Path("stores", key)
        return dataclasses.replace(point, store=str(Path(out) / folder))

    return [with_store(point, key) for point, key in zip(made, keys, strict=True)]


def build_stores(made: Sequence[Point]) -> None:
    """Builds every store that points need and that is not there.

    Raises:
        UsageError: a mixture of the grid will not be in it, or it is there with other settings.
    """
    by_store: dict[str, list[Point]] = {}
    for point in made:
        if point.store is not None:
            by_store.setdefault(point.store, []).append(point)
    for store, readers in by_store.items():
        mixtures = list(dict.fromkeys(_mixture(point) for point in readers))
        for point in readers if not readers[0].is_own_store else readers[:1]:
            point.configure(store, store)
            build = config.configured("build")
            if not _is_built(store):
                _check_mixtures([name for name in mixtures if name], config.bindings("build"))
            if point.is_own_store:
                build()
            else:
                jobs.open_store(store, _mixture(point), build)


def check_groups(made: Sequence[Point]) -> None:
    """Checks, before anything is trained, that the stores have the tasks that are evaluated.

    Raises:
        UsageError: a group names what is not there.
    """
    stores: dict[str, Store] = {}
    for point in made:
        if point.evaluation is not None:
            if point.store not in stores:
                stores[point.store] = Store.open(point.store)
            grouping.choose_groups(
                stores[point.store], point.evaluation.split, point.evaluation.groups
            )


def are_built(made: Sequence[Point]) -> bool:
    """Returns whether all stores are there."""
    return all(point.store is None or _is_built(point.store) for point in made)


def runs(made: Sequence[Point]) -> tuple[sweep.Run, ...]:
    """Returns the runs of all points, in their order.

    They are called after what differs between them. Until all stores are there it is not known how
    many tasks a mixture has, and the mixture's name stands in its place.

    Raises:
        UsageError: two have the same name.
    """
    found, counts = made[0].declared, {}
    if found.train and MIXTURE in found.grid and are_built(made):
        stores = {point.store: Store.open(point.store) for point in made if point.store}
        counts = {repr(point.macros): _num_tasks(point, stores) for point in made}
    shown = {repr(p.macros): _settings(p, counts.get(repr(p.macros))) for p in made}
    texts = {repr(point.macros): point.config for point in made}
    return sweep.expand(
        _grid(found),
        lambda macros: shown[repr(macros)],
        lambda macros: texts[repr(macros)],
    )


def _grid(found: jobs.Sweep) -> dict[str, Sequence[Any]]:
    return {RECIPE: list(found.recipes), **found.grid}


def _mixture(point: Point) -> str | None:
    """Returns the mixture that the grid gives a point; None if none."""
    return point.macros.get(MIXTURE) or None


def _facts(point: Point) -> dict[str, Any]:
    """Returns what the current configuration, a point's, tells of it."""
    facts: dict[str, Any] = {"config": _config_text(point)}
    if TASKS in point.declared.evaluations:
        facts["evaluation"] = config.bound("evaluate", "config")
    if point.trains:
        first = config.bound("TrainConfig", "step_offset") or 0
        facts["steps"] = range(first, first + config.bound("TrainConfig", "train_steps"))
    elif point.declared.train:
        start = config.bound("TrainConfig", "initial_checkpoint_path")
        facts["begins_at_random"] = not start
    return facts


def _config_text(point: Point) -> str:
    """Returns the text that decides the result of one run, apart from its folders."""
    text = f"# flan_jax {flan_jax.__version__}, recipe {point.recipe}\n{config.text()}"
    if tuple(point.declared.evaluations) != (TASKS,):
        text += f"\n# Evaluated: {', '.join(point.declared.evaluations)}.\n"
    return text if point.declared.train else f"{text}\n# Nothing is trained.\n"


def _store_key() -> str:
    """Returns a hash of what is built by the current configuration."""
    bound = config.bindings("build")
    described = settings.describe({k: v for k, v in bound.items() if k not in _NOT_IN_STORE})
    return hashlib.sha256(files.dumps(described).encode()).hexdigest()[:12]


def _settings(point: Point, num_tasks: int | None) -> dict[str, Any]:
    """Returns the columns that describe a point: number of tasks, size, and what else differs."""
    found, macros = point.declared, dict(point.macros)
    shown: dict[str, Any] = {}
    recipe = macros.pop(RECIPE)
    if MIXTURE in macros:
        mixture = macros.pop(MIXTURE)
        if num_tasks is not None:
            shown["num_tasks"] = num_tasks
        if num_tasks is None or MIXTURE in found.labels:
            shown["mixture"] = _label(found, MIXTURE, mixture) or _NO_MIXTURE
    if len(found.recipes) > 1:
        shown["size"] = recipe
    for name, value in macros.items():
        if name == SEED or len(found.grid[name]) > 1 or name in found.labels:
            shown[name.lower()] = _label(found, name, value)
    return shown or {"size": recipe}


def _label(found: jobs.Sweep, macro: str, value: Any) -> str:
    labels = {str(key): label for key, label in found.labels.get(macro, {}).items()}
    return labels.get(str(value), str(value))


def _num_tasks(point: Point, stores: Mapping[str, Store]) -> int:
    """Returns how many tasks a point is trained on, as the paper counts: without inverted twins."""
    if not point.trains:
        return 0
    names = stores[point.store].mixture_rates(_mixture(point))
    return sum(spec.INVERTED not in name for name in names)  # a variant's name goes on after it


def _check_mixtures(names: Sequence[str], bound: Mapping[str, Any]) -> None:
    """Refuses, before the store is built, a mixture or task of the grid that it will not know."""
    for module in bound["module_imports"]:
        modules.import_tasks(module, "build.module_imports")
    from flan_jax.collection import registry, subsets

    mixtures = [bound["mixture"], *bound.get("submixtures", ())]
    for name in mixtures:
        subsets.ensure(name)  # it may be a variant, such as mini_all_zero_shot
        registry.mixture_members(name, skip_missing=True)  # an unknown one is told here
    known = {*mixtures, *(task for name in mixtures for task in registry.task_names(name))}
    for name in names:
        if name not in known:
            raise errors.unknown_name(
                "mixture or task", name, known, "(of Sweep.grid; the recipes build these)"
            )


def _is_built(store: str) -> bool:
    return (Path(store) / MANIFEST).is_file()
