# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gin, kept small and loud: finding files, parsing, and refusing what would be ignored.

The library knows nothing of Gin; the table below names what may be configured. T5X's macros and
flags keep their names. What Gin lets pass in silence is an error here: bindings that conflict
(`configuration/reading.py`); a required macro left unset, a binding that nothing uses, a macro that
no file defines, a value of a wrong type (`configuration/checks.py`).
"""

import copy
import dataclasses
import functools
import importlib
import inspect
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flan_jax
import gin
from flan_jax.configuration import checks, reading, selectors
from flan_jax.core import errors

# Everything Gin may configure, by the name used in Gin files. Keyword-only constructors only.
CONFIGURABLES = {
    "build": "flan_jax.jobs:build",
    "TrainInput": "flan_jax.data.loader:TrainInput",
    "SeqioInput": "flan_jax.data.seqio_loader:SeqioInput",
    "T5": "flan_jax.models.t5:T5",
    "T5Config": "flan_jax.models.t5:T5Config",
    "DecoderLM": "flan_jax.models.decoder:DecoderLM",
    "DecoderConfig": "flan_jax.models.decoder_network:DecoderConfig",
    "MeshShape": "flan_jax.parallel.mesh:MeshShape",
    "Adafactor": "flan_jax.training.optimizers:Adafactor",
    "AdamW": "flan_jax.training.optimizers:AdamW",
    "Constant": "flan_jax.training.schedules:Constant",
    "RSqrt": "flan_jax.training.schedules:RSqrt",
    "LinearDecay": "flan_jax.training.schedules:LinearDecay",
    "Cosine": "flan_jax.training.schedules:Cosine",
    "LossConfig": "flan_jax.training.losses:LossConfig",
    "TrainConfig": "flan_jax.training.train_config:TrainConfig",
    "train": "flan_jax.jobs:train",
    "evaluate": "flan_jax.jobs:evaluate",
    "infer": "flan_jax.predicting:load",
    "DecodeConfig": "flan_jax.inference.decode_config:DecodeConfig",
    "EvalConfig": "flan_jax.evals.runner:EvalConfig",
    "SuiteConfig": "flan_jax.evals.suite:SuiteConfig",
    "Sweep": "flan_jax.jobs:Sweep",
}

# What commands call; a binding that none of them reaches is never used.
ROOTS = ("build", "train", "evaluate", "infer", "DecodeConfig", "Sweep")


@dataclasses.dataclass(frozen=True)
class Macro:
    """A macro that recipes share: what it means and an example, shown when it is left unset."""

    meaning: str
    example: str
    is_string: bool = False


MACROS = {
    "MODEL": Macro("model; the files of gin/models bind it", "@T5()"),
    "MIXTURE_OR_TASK_NAME": Macro("SeqIO mixture or task to finetune on", "mini_all", True),
    "MIXTURE_OR_TASK_MODULE": Macro("module that registers it", "tasks.mini.mixtures", True),
    "TASK_FEATURE_LENGTHS": Macro("tokens per packed row", "{'inputs': 2048, 'targets': 512}"),
    "TRAIN_STEPS": Macro("optimizer steps of this run", "38000"),
    "MODEL_DIR": Macro("folder for checkpoints, metrics and predictions", "runs/xl", True),
    "INITIAL_CHECKPOINT_PATH": Macro(
        "checkpoint to start from, ours or T5X's; '' for none", "runs/base", True
    ),
    "CHECKPOINT_PATH": Macro(
        "checkpoint to evaluate or to ask: a MODEL_DIR, one step, or hf:FOLDER", "runs/xl", True
    ),
    "DROPOUT_RATE": Macro("dropout of every layer", "0.05"),
    "BATCH_SIZE": Macro("packed rows per step, over all devices", "64"),
    "LEARNING_RATE": Macro("peak learning rate", "5e-4"),
    "OPTIMIZER": Macro("optimizer; runs/adafactor.gin and its like bind it", "@Adafactor()"),
    "VOCAB_SIZE": Macro("embedding rows: the vocabulary's ids, rounded up to 128s", "32128"),
    "LOSS_NORMALIZING_FACTOR": Macro("what the summed loss is divided by", "233472"),
    "USE_CACHED_TASKS": Macro("read SeqIO's offline cache (runs/finetune_seqio.gin)", "True"),
    "SEED": Macro("seed of initialization, data order and dropout", "0"),
    "VOCABULARY": Macro("'bytes', a sentencepiece.model, or package:NAME/PATH", "bytes", True),
    "STORE_DIR": Macro("built token store; made by the run if absent", "stores/mini", True),
    "EVAL_PERIOD": Macro("steps between evaluations", "1000"),
    "CHECKPOINT_PERIOD": Macro("steps between checkpoints", "1000"),
    "EVAL_GROUPS": Macro("name -> mixture whose tasks are evaluated", "{'held_out': 'cot'}"),
    "BENCHMARKS": Macro("benchmarks or suites to ask (runs/benchmarks.gin)", "('mmlu', 'bbh')"),
    "BENCHMARKS_DATA": Macro("folder of their public files", "benchmark_files", True),
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
    for name in CONFIGURABLES:
        gin.external_configurable(_target(name), name=name, module="flan_jax")


def _target(name: str) -> Callable[..., Any]:
    module, attribute = CONFIGURABLES[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def parse(
    files: Sequence[str],
    bindings: Sequence[str] = (),
    search_paths: Sequence[str] = (),
    roots: Sequence[str] = (),
    origin: str = "the command line",
    unneeded: Sequence[str] = (),
) -> None:
    """Parses Gin files, then bindings (`NAME=value`), replacing the current configuration.

    A later file overrides an earlier one, a file what it includes above, a binding any file; other
    repetitions with another value are refused (`configuration/reading.py`).

    Args:
        files: paths, absolute or relative to the working folder, `search_paths` or gin/.
        bindings: `MACRO=value` or `configurable.parameter=value`; text for a macro that holds text
            may be given without quotes.
        search_paths: more folders to look in, before gin/.
        roots: the configurables that will be called; the macros they use must be set. None: all.
        origin: what messages call the source of the bindings.
        unneeded: macros of text that may be left unset though they are required.

    Raises:
        UsageError: a file is missing or malformed, a name is unknown, bindings conflict, a binding
            is never used, required macros are unset, or a value is of a wrong type.
    """
    _register_all()
    gin.clear_config()
    command = reading.Command(["", *search_paths, str(gin_root())])
    for file in files:
        command.add_file(file)
    for binding in bindings:
        command.add_binding(_statement(binding, command.bound, origin), origin)
    unset = {binding.macro for binding in command.bound.values() if binding.is_required}
    for macro in unset & set(unneeded):
        command.add_binding(f"{macro} = ''", origin)
    command.check()
    bound = command.bound
    checks.check_macros(bound)
    known = [target for target in map(_target, CONFIGURABLES) if inspect.isclass(target)]
    checks.check_types(bound, known, {name: macro.example for name, macro in MACROS.items()})
    checks.check_used(bound, command.replaced, ROOTS)
    checks.check_required(bound, roots or ROOTS, _how_to_set)
    checks.check_complete(bound, roots or ROOTS)
    for binding in bound.values():
        try:
            gin.bind_parameter(binding.key, binding.value)
        except ValueError as error:  # such as a parameter that its author does not let Gin set
            raise errors.UsageError(f"{binding.place}: {error}") from None


def configured(name: str) -> Callable[..., Any]:
    """Returns the configurable `name`; calling it fills in its bound parameters.

    Raises:
        UsageError: when called while a parameter without a default is neither bound nor given.
    """
    call = gin.get_configurable(name)
    needed = selectors.needed(_target(name))

    def run(**kwargs: Any) -> Any:
        bound = gin.get_bindings(name, resolve_references=False)
        unset = [n for n in needed if n not in bound and n not in kwargs]
        if unset:
            raise errors.UsageError(
                f"{name}: no value for {', '.join(unset)}; bind {name}.{unset[0]} in the Gin file"
            )
        try:
            return call(**kwargs)
        except Exception as error:  # raised again, as it was before Gin added to it
            found = _without_proxies(error)
            if isinstance(found, TypeError) and _raised_in(found) == gin.config.__file__:
                # Gin called something that a job got as a function, without all it needs.
                raise errors.UsageError(f"{found}; bind it in the Gin file") from found
            raise found from found.__cause__

    return run


def _without_proxies(error: BaseException) -> BaseException:
    """Returns the error that Gin re-raised, with a line for each configurable that it passed.

    Each time Gin derives a class from the error's own, under the same name.
    """
    inner = error.__context__
    while type(error).__bases__ == (type(inner),) and type(error).__name__ == type(inner).__name__:
        error, inner = inner, inner.__context__
    return error


def _raised_in(error: BaseException) -> str:
    return traceback.extract_tb(error.__traceback__)[-1].filename


def bindings(name: str) -> dict[str, Any]:
    """Returns the bound parameters of a configurable, with macros replaced by their values."""
    return dict(gin.get_bindings(name))


def bound(name: str, parameter: str) -> Any:
    """Returns the value bound to one parameter of a configurable, built; None if there is none."""
    value = gin.get_bindings(name, resolve_references=False).get(parameter)
    try:
        return copy.deepcopy(value)  # a copy of a reference is what it refers to: Gin's own way
    except Exception as error:  # as in `configured`
        found = _without_proxies(error)
        raise found from found.__cause__


def text() -> str:
    """Returns the parsed configuration as Gin text."""
    return gin.config_str(max_line_length=100)


def operative() -> str:
    """Returns the configuration in use so far, defaults included, as Gin text."""
    return gin.operative_config_str(max_line_length=100)


def _statement(binding: str, bound: checks.Bound, origin: str) -> str:
    """Returns a binding of the command as Gin writes it: text that lacks quotes gets them."""
    name, equals, value = (part.strip() for part in binding.partition("="))
    if not (name and equals and value):  # not even text: an unset shell variable gives nothing
        lacks = "value" if name else "name"
        raise errors.UsageError(
            f"{origin}: binding {binding!r} has no {lacks}; write NAME=value, or NAME=\"''\" for "
            "empty text"
        )
    macros = [known.macro for known in bound.values() if known.macro]
    if "." not in name and name not in macros:
        raise errors.unknown_name("macro", name, macros, place=origin)
    is_string = name in MACROS and MACROS[name].is_string
    if value[:1] not in ("'", '"', "%", "@") and (
        is_string or name in checks.text_macros(bound) and not reading.is_value(value)
    ):
        value = repr(value)
    return f"{name} = {value}"


def _how_to_set(macro: str) -> str:
    known = MACROS.get(macro, Macro("required by the Gin file", "..."))
    return f"--gin.{macro}={known.example}   {known.meaning}"
