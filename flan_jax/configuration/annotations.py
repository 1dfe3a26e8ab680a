# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether a Gin value suits a parameter, by the parameter's annotation.

As Gin text is written, a list may stand for a tuple, a whole number for a float, and a dict for a
tuple of pairs. What cannot be told without building something counts as suitable.
"""

import collections.abc
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

from gin.config import ConfigurableReference

UNKNOWN = object()  # a value that is known only once it is built
_PLAIN = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    type(None): "None",
}


@functools.cache
def hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Returns the annotations of a function's or constructor's parameters, as far as they resolve.

    The annotation of what a function returns is under "return".
    """
    annotated = target
    if inspect.isclass(target) and not dataclasses.is_dataclass(target):
        annotated = target.__init__
    try:
        return typing.get_type_hints(annotated)
    except (NameError, TypeError, AttributeError):  # names that only type checkers see
        return {}


def suits(value: Any, hint: Any) -> bool:
    """Returns whether a value, its macros replaced, may be given where `hint` is annotated.

    Example:
        >>> suits({"inputs": 8}, dict[str, int]), suits([1], tuple[int, ...]), suits(1.5, int)
        (True, True, False)
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(suits(value, part) for part in arguments)
    if value is UNKNOWN or hint is Any or not (origin or inspect.isclass(hint) or hint is Callable):
        return True
    if origin is typing.Literal:
        return value in arguments
    if isinstance(value, ConfigurableReference):
        return _reference_suits(value, origin or hint)
    if hint in (int, float):
        allowed = int if hint is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    if hint in _PLAIN or origin is None and not _is_container(hint):
        return not _is_protocol(hint) and isinstance(value, hint)
    return _container_suits(value, origin or hint, arguments)


def describe(hint: Any, known: Iterable[type] = ()) -> str:
    """Returns in words what suits an annotation.

    Args:
        hint: the annotation.
        known: classes that may be configured; those that suit are named.

    Example:
        >>> describe(int | None), describe(tuple[str, ...]), describe(dict[str, int])
        ('a whole number or None', 'a list of text', 'a dict of text to a whole number')
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(part, known) for part in arguments))
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if _is_callable(origin or hint):
        return "a function, written @NAME"
    if _is_container(origin or hint):
        kind = "dict" if issubclass(origin or hint, collections.abc.Mapping) else "list"
        parts = dict.fromkeys(describe(part, known) for part in arguments if part is not ...)
        return f"a {kind} of {' to '.join(parts)}" if parts else f"a {kind}"
    names = sorted(f"@{c.__name__}()" for c in known if _class_suits(c, hint))
    return " or ".join(names) or f"a configurable {getattr(hint, '__name__', hint)}"


def _container_suits(value: Any, container: type, arguments: tuple[Any, ...]) -> bool:
    if not _is_container(container):
        return False
    if issubclass(container, collections.abc.Mapping):
        if not isinstance(value, dict):
            return False
        key, item = arguments or (Any, Any)
        return all(suits(k, key) and suits(v, item) for k, v in value.items())
    if isinstance(value, dict) and arguments and typing.get_origin(arguments[0]) is tuple:
        value = list(value.items())
    if not isinstance(value, list | tuple):
        return False
    if container is tuple and arguments and arguments[-1] is not ...:
        return len(value) == len(arguments) and all(map(suits, value, arguments))
    return all(suits(item, arguments[0] if arguments else Any) for item in value)


def _reference_suits(reference: ConfigurableReference, hint: Any) -> bool:
    target = reference.configurable.wrapped
    if not reference.evaluate:  # the class or function itself
        if _is_callable(hint) or hint is type:
            return True
        return _is_protocol(hint) and not inspect.isclass(target) and _members(hint) == {"__call__"}
    made = target if inspect.isclass(target) else hints(target).get("return")
    return not inspect.isclass(made) or _class_suits(made, hint)


def _class_suits(made: type, hint: Any) -> bool:
    """Returns whether an instance of the class `made` is what `hint` stands for."""
    own = {name for c in made.__mro__ if c is not object for name in _names(c)}
    if _is_callable(hint):
        return "__call__" in own
    if _is_protocol(hint):
        return _members(hint) <= own
    return inspect.isclass(hint) and issubclass(made, hint)


def _members(protocol: type) -> set[str]:
    names = {name for c in protocol.__mro__ for name in _names(c)}
    names -= {*vars(typing.Protocol), *vars(typing.Generic), *vars(object)}
    return {name for name in names if name == "__call__" or not name.startswith("_")}


def _names(owner: type) -> set[str]:
    return {*vars(owner), *inspect.get_annotations(owner)}


def _is_protocol(hint: Any) -> bool:
    return bool(getattr(hint, "_is_protocol", False))


def _is_callable(hint: Any) -> bool:
    return hint in (Callable, typing.Callable)


def _is_container(hint: Any) -> bool:
    containers = (collections.abc.Mapping, collections.abc.Collection)
    return inspect.isclass(hint) and hint is not str and issubclass(hint, containers)
