# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gin, kept small and loud: finding files, parsing, and refusing what would be ignored.

The library knows nothing of Gin; the table below names what may be configured. T5X's macros and
flags keep their names. Three things that Gin lets pass are errors here: a required macro left unset
(all of them are listed at once), a binding that nothing uses, and a macro no file defines.
"""

import dataclasses
import functools
import importlib
import inspect
import logging
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax.core import errors

# Everything Gin may configure, by the name used in Gin files. Keyword-only constructors only.
CONFIGURABLES = {
    "build": "flan_jax.jobs:build",
    "TrainInput": "flan_jax.data.loader:TrainInput",
    "T5": "flan_jax.models.t5:T5",
    "T5Config": "flan_jax.models.t5:T5Config",
    "MeshShape": "flan_jax.parallel.mesh:MeshShape",
    "Adafactor": "flan_jax.training.optimizers:Adafactor",
    "AdamW": "flan_jax.training.optimizers:AdamW",
    "Constant": "flan_jax.training.schedules:Constant",
    "RSqrt": "flan_jax.training.schedules:RSqrt",
    "LinearDecay": "flan_jax.training.schedules:LinearDecay",
    "Cosine": "flan_jax.training.schedules:Cosine",
    "LossConfig": "flan_jax.training.losses:LossConfig",
    "TrainConfig": "flan_jax.training.loop:TrainConfig",
    "train": "flan_jax.jobs:train",
    "evaluate": "flan_jax.jobs:evaluate",
    "infer": "flan_jax.jobs:infer",
    "EvalConfig": "flan_jax.evals.runner:EvalConfig",
    "Sweep": "flan_jax.jobs:Sweep",
}

# What commands call; a binding that none of them reaches is never used.
ROOTS = ("build", "train", "evaluate", "infer", "Sweep")


@dataclasses.dataclass(frozen=True)
class Macro:
    """A macro that recipes share: what it means and an example, shown when it is left unset."""

    meaning: str
    example: str
    is_string: bool = False


MACROS = {
    "MIXTURE_OR_TASK_NAME": Macro("SeqIO mixture or task to finetune on", "mini_all", True),
    "MIXTURE_OR_TASK_MODULE": Macro("module that registers it", "tasks.mini.mixtures", True),
    "TASK_FEATURE_LENGTHS": Macro("tokens per packed row", "{'inputs': 2048, 'targets': 512}"),
    "TRAIN_STEPS": Macro("optimizer steps of this run", "38000"),
    "MODEL_DIR": Macro("folder for checkpoints, metrics and predictions", "runs/xl", True),
    "INITIAL_CHECKPOINT_PATH": Macro("checkpoint to start from; '' for none", "runs/base", True),
    "CHECKPOINT_PATH": Macro("checkpoint to evaluate: a MODEL_DIR or one step", "runs/xl", True),
    "DROPOUT_RATE": Macro("dropout of every layer", "0.05"),
    "BATCH_SIZE": Macro("packed rows per step, over all devices", "64"),
    "LEARNING_RATE": Macro("peak learning rate", "5e-4"),
    "LOSS_NORMALIZING_FACTOR": Macro("what the summed loss is divided by", "233472"),
    "SEED": Macro("seed of initialization, data order and dropout", "0"),
    "VOCABULARY": Macro("'bytes', a sentencepiece.model, or package:NAME/PATH", "bytes", True),
    "STORE_DIR": Macro("built token store; made by the run if absent", "stores/mini", True),
    "EVAL_PERIOD": Macro("steps between evaluations", "1000"),
    "CHECKPOINT_PERIOD": Macro("steps between checkpoints", "1000"),
    "EVAL_GROUPS": Macro("name -> mixture whose tasks are evaluated", "{'held_out': 'cot'}"),
}


def gin_root() -> Path:
    """Returns the folder of the shipped Gin files: the installed copy, else the checkout's."""
    package = Path(flan_jax.__file__).resolve().parent
    installed = package / "gin_files"
    return installed if installed.is_dir() else package.parent / "gin"


def recipes() -> list[str]:
    """Returns the names that `--recipe` accepts."""
    return sorted(path.stem for path in (gin_root() / "recipes").glob("*.gin"))


def recipe_file(name: str) -> str:
    """Returns the Gin file of a recipe."""
    if name not in recipes():
        raise errors.unknown_name("recipe", name, recipes(), f"(they are in {gin_root()}/recipes)")
    return str(gin_root() / "recipes" / f"{name}.gin")


@functools.cache
def _register_all() -> None:
    """Makes every constructor of the table known to Gin; imports jax."""
    import gin

    for name in CONFIGURABLES:
        gin.external_configurable(_target(name), name=name, module="flan_jax")


def _target(name: str) -> Callable[..., Any]:
    module, attribute = CONFIGURABLES[name].split(":")
    return getattr(importlib.import_module(module), attribute)


_GIN_ERRORS = (
    SyntaxError, tokenize.TokenError, ValueError, OSError, KeyError, AttributeError, TypeError,
)  # fmt: skip


def parse(
    files: Sequence[str],
    bindings: Sequence[str] = (),
    search_paths: Sequence[str] = (),
    roots: Sequence[str] = (),
) -> None:
    """Parses Gin files, then bindings (`NAME=value`), replacing the current configuration.

    Args:
        files: paths, absolute or relative to the working folder, `search_paths` or gin/.
        bindings: `MACRO=value` or `configurable.parameter=value`; text for a string macro may be
            given without quotes.
        search_paths: more folders to look in, before gin/.
        roots: the configurables that will be called; the macros they use must be set. None: all.

    Raises:
        UsageError: a file is missing or malformed, a name is unknown, a binding is never used, or
            required macros are unset.
    """
    import gin

    _register_all()
    folders = ["", *search_paths, str(gin_root())]
    found = [_find(file, folders) for file in files]
    gin.clear_config()
    for folder in folders[1:]:
        gin.add_config_file_search_path(folder)
    logging.disable(logging.ERROR)  # Gin logs each folder where an included file is not
    try:
        # Not gin.finalize: it would also require the macros of commands that are not run.
        gin.parse_config_files_and_bindings(found, [], finalize_config=False)
        _check_command_line(bindings)
        gin.parse_config([_quote(binding) for binding in bindings])
    except _GIN_ERRORS as error:
        raise errors.UsageError(_first_lines(error)) from None
    except ImportError as error:
        raise errors.UsageError(f"a Gin file imports what is not there: {error}") from None
    finally:
        logging.disable(logging.NOTSET)
    _check_unused()
    _check_required(roots or ROOTS)


def configured(name: str) -> Callable[..., Any]:
    """Returns the configurable `name`; calling it fills in its bound parameters.

    Raises:
        UsageError: when called while a parameter without a default is neither bound nor given.
    """
    import gin

    call = gin.get_configurable(name)
    parameters = inspect.signature(_target(name)).parameters.values()
    needed = {p.name for p in parameters if p.default is p.empty and p.kind is p.KEYWORD_ONLY}

    def run(**kwargs: Any) -> Any:
        bound = _parsed().get(("", f"flan_jax.{name}"), {})
        unset = sorted(needed - set(bound) - set(kwargs))
        if unset:
            raise errors.UsageError(
                f"{name}: no value for {', '.join(unset)}; bind {name}.{unset[0]} in the Gin file"
            )
        try:
            return call(**kwargs)
        except errors.FlanError as error:
            # Gin adds a line for each configurable the error passed through.
            message = re.split(r"\s*In call to configurable ", str(error))[0]
            kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
            raise next(c for c in type(error).__mro__ if c in kinds)(message) from error

    return run


def bindings(name: str) -> dict[str, Any]:
    """Returns the bound parameters of a configurable, with macros replaced by their values."""
    import gin

    return dict(gin.get_bindings(name))


def text() -> str:
    """Returns the parsed configuration as Gin text."""
    import gin

    return gin.config_str(max_line_length=100)


def operative() -> str:
    """Returns the configuration in use so far, defaults included, as Gin text."""
    import gin

    return gin.operative_config_str(max_line_length=100)


def _find(file: str, roots: Iterable[str]) -> str:
    tried = [str(Path(root) / file) for root in roots]
    for path in tried:
        if Path(path).is_file():
            return path
    known = [str(p.relative_to(gin_root())) for p in gin_root().rglob("*.gin")]
    near = errors.closest(file, known)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise errors.UsageError(
        f"no Gin file {file!r}; looked for {', '.join(dict.fromkeys(tried))}{hint}"
    )


def _quote(binding: str) -> str:
    name, _, value = binding.partition("=")
    name, value = name.strip(), value.strip()
    known = MACROS.get(name)
    current = _parsed().get((name, "gin.macro"), {}).get("value")
    is_string = isinstance(current, str) or (known is not None and known.is_string)
    if is_string and not value.startswith(("'", '"', "%", "@")):
        value = repr(value)
    return f"{name} = {value}"


def _check_command_line(bindings: Sequence[str]) -> None:
    """Checks that each bound macro is one that the files define."""
    defined = {scope for scope, selector in _parsed() if selector == "gin.macro"}
    for binding in bindings:
        name, equals, _ = binding.partition("=")
        if not equals:
            raise errors.UsageError(f"binding {binding!r} has no value; write NAME=value")
        name = name.strip()
        if "." not in name and name not in defined:
            raise errors.unknown_name("macro", name, defined, "(set by --gin." + name + ")")


def _check_required(roots: Sequence[str]) -> None:
    """Lists every macro that `roots` use and nobody set, with its meaning and an example."""
    config = _parsed()
    used = _reached(roots)
    missing = sorted(
        scope
        for (scope, selector), parameters in config.items()
        if selector == "gin.macro" and (scope, selector) in used
        if repr(parameters.get("value")) == "%gin.REQUIRED"
    )
    if not missing:
        return
    lines = []
    for name in missing:
        known = MACROS.get(name, Macro("required by the Gin file", "..."))
        lines.append(f"  --gin.{name}={known.example}   {known.meaning}")
    raise errors.UsageError(f"{len(missing)} required macro(s) not set; add:\n" + "\n".join(lines))


def _check_unused() -> None:
    """Fails on bindings that no root reaches, naming each."""
    config = _parsed()
    names = []
    for scope, selector in sorted(set(config) - _reached(ROOTS)):
        if selector == "gin.macro":
            names.append(f"macro {scope}")
        else:
            path = f"{scope}/" if scope else ""
            for parameter in config[(scope, selector)]:
                names.append(f"{path}{selector.removeprefix('flan_jax.')}.{parameter}")
    if names:
        raise errors.UsageError(
            f"binding(s) that nothing uses: {', '.join(names)}; remove them, or bind the parameter "
            "that should use them"
        )


def _parsed() -> dict[tuple[str, str], dict[str, Any]]:
    """Returns Gin's parsed bindings: (scope, selector) -> parameter -> value."""
    import gin

    return gin.config._CONFIG


def _reached(roots: Iterable[str]) -> set[tuple[str, str]]:
    """Returns the keys of bindings that calling `roots` would use."""
    config = _parsed()
    reached: set[tuple[str, str]] = set()
    queue: list[tuple[str, str]] = [("", f"flan_jax.{root}") for root in roots]
    while queue:
        for key in _scopes(*queue.pop()):
            if key not in reached:
                reached.add(key)
                for value in config.get(key, {}).values():
                    queue.extend(_references(value))
    return reached


def _scopes(scope: str, selector: str) -> list[tuple[str, str]]:
    """Returns the keys whose bindings apply to `scope/selector`: itself and outer scopes."""
    if selector == "gin.macro":
        return [(scope, selector)]
    parts = scope.split("/") if scope else []
    return [("/".join(parts[:i]), selector) for i in range(len(parts) + 1)]


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """Yields (scope, selector) of each reference inside a parsed value."""
    if isinstance(value, dict):
        for item in [*value.keys(), *value.values()]:
            yield from _references(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _references(item)
    elif hasattr(value, "scoped_selector") and hasattr(value, "configurable"):
        scope = "/".join(value.scopes)
        yield scope, value.configurable.selector


def _first_lines(error: BaseException) -> str:
    """Returns a library's message as one line, without Gin's call-trace prose."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return text[:600] or type(error).__name__
