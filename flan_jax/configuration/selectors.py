# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names in Gin text: what they stand for in Gin's registry, or a message with the closest ones.

What we need of Gin's internals beyond its parser is read here and in `reading`, and nowhere
else. A `place` is what a message begins with, such as `run.gin:3`.
"""

import inspect
from collections.abc import Callable
from typing import Any

from flan_jax.core import errors, imports
from gin import config as gin_config
from gin import config_parser

_GIN_MODULE = "gin."


def is_known(selector: str) -> bool:
    """Returns whether a selector stands for one thing in the file that is being read."""
    try:
        return gin_config._parse_context().get_configurable(selector) is not None
    except (KeyError, NameError, AttributeError):
        return False


def find_configurable(selector: str, place: object, sign: str = "") -> gin_config.Configurable:
    """Returns what a selector stands for in the file that is being read.

    Args:
        selector: the name as written, without scopes.
        place: where it is written.
        sign: `@` for a reference.

    Raises:
        UsageError: nothing, or more than one thing, goes by this name.
    """
    try:
        found = gin_config._parse_context().get_configurable(selector)
    except KeyError as error:  # ambiguous
        raise errors.UsageError(f"{place}: {first_line(error)}; write more of it") from None
    except (NameError, AttributeError):
        raise _not_imported(selector, place) from None
    if found is None:
        raise errors.unknown_name("configurable", sign + selector, _known(sign), place=place)
    return found


def _not_imported(selector: str, place: object) -> errors.UsageError:
    """Returns the error for a selector that a file with dynamic registration does not import."""
    owner, _, name = selector.rpartition(".")
    try:
        found = gin_config._parse_context()._resolve_selector(owner)[1][-1]
    except NameError:
        return errors.UsageError(
            f"{place}: {selector!r} is not imported; with dynamic_registration, import the module "
            "that defines it and write module.NAME"
        )
    except AttributeError:
        return _not_imported(owner, place)
    known = [attribute for attribute in dir(found) if not attribute.startswith("_")]
    return errors.unknown_name(f"name in {owner}:", name, known, place=place)


def check_parameter(configurable: gin_config.Configurable, name: str, place: object) -> None:
    """Checks that a configurable has a parameter of this name.

    Raises:
        UsageError: it has none.
    """
    parameters = inspect.signature(configurable.wrapped).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    if name not in parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
        kind = f"parameter of {configurable.name}:"
        raise errors.unknown_name(kind, name, parameters, place=place)


def import_statement(
    context: gin_config.ParseContext, statement: config_parser.ImportStatement, place: object
) -> None:
    """Carries out an import statement of the file that is being read.

    Raises:
        UsageError: the module is not there or does not import.
    """
    if not statement.module.startswith("__gin__."):
        imports.import_module(statement.module, str(place))
    try:
        context.process_import(statement)
    except (SyntaxError, ValueError) as error:
        raise errors.UsageError(f"{place}: {first_line(error)}") from None


def wrapped(selector: str) -> Any:
    """Returns the function or class behind a complete selector, without Gin's wrapper."""
    return gin_config._REGISTRY[selector].wrapped


def short(selector: str) -> str:
    """Returns as much of a complete selector, from its end, as stands for it alone."""
    return gin_config._REGISTRY.minimal_selector(selector)


def needed(target: Callable[..., Any]) -> list[str]:
    """Returns the parameters of a function or class that have no default."""
    parameters = inspect.signature(target).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]


def first_line(error: Exception) -> str:
    """Returns what an error of Gin says, without its account of where."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return (text.splitlines() or [type(error).__name__])[0].rstrip(".")


def _known(sign: str) -> list[str]:
    selectors = [name for name, _ in gin_config._REGISTRY.items()]
    ours = [name for name in selectors if not name.startswith(_GIN_MODULE)]
    return [sign + name.rsplit(".", 1)[-1] for name in ours]
