# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of a whole Gin configuration, before anything is built from it.

Gin itself notices none of these before it is too late, or never: a macro that nobody defines, a
binding that nothing uses, a required macro left unset, a constructor that lacks a value, a value of
a type that its parameter does not take. What a value may be within its type is the constructor's
business.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gin.config import ConfigurableReference

from flan_jax.configuration import annotations, selectors
from flan_jax.configuration.reading import MACRO, Binding, Key, references
from flan_jax.core import errors

Bound = Mapping[Key, Binding]
Target = tuple[str, str]  # scope, complete selector

_CONSTANT = "gin.constant"


def check_macros(bound: Bound) -> None:
    """Checks that every macro in use is defined, and not by itself."""
    defined = {binding.macro: binding for binding in bound.values() if binding.macro}
    for binding in bound.values():
        for name in _macros(binding.value):
            if name not in defined:
                remedy = f"(used by {binding.name}; define it with {name} = value)"
                raise errors.unknown_name("macro", name, defined, remedy, place=binding.place)
    for binding in defined.values():
        seen, names = {binding.macro}, [*_macros(binding.value)]
        while names:
            name = names.pop()
            if name == binding.macro:
                raise errors.UsageError(
                    f"{binding.place}: macro {name} = {binding.shown} is defined by itself; give "
                    "it a value"
                )
            if name not in seen:
                seen.add(name)
                names += _macros(defined[name].value)


def check_used(bound: Bound, replaced: Iterable[Binding], roots: Iterable[str]) -> None:
    """Checks that calling the configurables `roots` would use every value that is bound.

    A macro that only asks for a value may go unused.

    Args:
        bound: the configuration.
        replaced: bindings that others took the place of: they tell why a macro lost its use.
        roots: names of configurables.
    """
    used, _ = _reached(bound, roots)
    lines = [
        f"{'macro ' if binding.macro else ''}{binding.name} ({binding.place})"
        + _why_unused(bound, binding, replaced)
        for key, binding in sorted(bound.items())
        if key[:2] not in used and not (binding.macro and binding.is_required)
    ]
    if len(lines) == 1:
        raise errors.UsageError(f"nothing uses {lines[0]}")
    if lines:
        listed = "\n".join(f"  {line}" for line in lines)
        raise errors.UsageError(f"{len(lines)} bindings that nothing uses:\n{listed}")


def _why_unused(bound: Bound, unused: Binding, replaced: Iterable[Binding]) -> str:
    """Returns what took the place of a macro's use, if anything did, and the remedy."""
    for before in replaced:
        if unused.macro in _macros(before.value):
            now = bound[before.key]
            return f", since {now.name} = {now.shown} ({now.place}); set {unused.macro} instead"
    return "; remove it, or bind the parameter that should use it"


def check_required(bound: Bound, roots: Iterable[str], describe: Callable[[str], str]) -> None:
    """Lists all that `roots` use, that is required and that nobody set.

    Args:
        bound: the configuration.
        roots: names of configurables.
        describe: from the name of a macro to a line that says how to set it.
    """
    used, _ = _reached(bound, roots)
    unset = [b for key, b in sorted(bound.items()) if b.is_required and key[:2] in used]
    if macros := [binding.macro for binding in unset if binding.macro]:
        lines = "\n".join(f"  {describe(name)}" for name in macros)
        raise errors.UsageError(f"{len(macros)} required macro(s) not set; add:\n{lines}")
    if unset:
        raise errors.UsageError(
            f"{unset[0].place}: {unset[0].name} = {unset[0].shown}, but nobody set it; bind it"
        )


def check_complete(bound: Bound, roots: Iterable[str]) -> None:
    """Checks that whatever Gin calls by itself has all its values."""
    _, called = _reached(bound, roots)
    for target, user in called.items():
        if target[1] in (MACRO, _CONSTANT):
            continue
        given = {key[2] for key in bound if key[:2] in _outer(*target)}
        needed = selectors.needed(selectors.wrapped(target[1]))
        if unset := [name for name in needed if name not in given]:
            name = selectors.short(target[1])
            raise errors.UsageError(
                f"{user.place}: {name} has no value for {', '.join(unset)} (used by {user.name}); "
                f"bind {name}.{unset[0]} in the Gin file"
            )


def check_types(bound: Bound, known: Iterable[type], examples: Mapping[str, str]) -> None:
    """Checks that every value suits the annotation of its parameter.

    Args:
        bound: the configuration.
        known: classes that may be configured, to name those that suit.
        examples: macro -> an example of its value.
    """
    for binding in bound.values():
        hint = _hint(binding)
        if hint is None:
            continue
        if not annotations.suits(_resolved(bound, binding.value), hint):
            given = _given(bound, binding)
            example = f", such as {examples[given.name]}" if given.name in examples else ""
            taker = "it" if given is binding else binding.name
            raise errors.UsageError(
                f"{given.place}: {given.name} = {given.shown}, but {taker} takes "
                f"{annotations.describe(hint, known)}{example}"
            )


def text_macros(bound: Bound) -> set[str]:
    """Returns the macros whose value is text."""
    macros = (binding for binding in bound.values() if binding.macro)
    return {b.macro for b in macros if isinstance(_given(bound, b).value, str)}


def _macros(value: Any) -> list[str]:
    return [scope for scope, selector in map(_target, references(value)) if selector == MACRO]


def _target(reference: ConfigurableReference) -> Target:
    return "/".join(reference.scopes), reference.configurable.selector


def _hint(binding: Binding) -> Any:
    """Returns the annotation of a binding's parameter; None if there is none."""
    if binding.macro:
        return None
    return annotations.hints(selectors.wrapped(binding.key[1])).get(binding.key[2])


def _given(bound: Bound, binding: Binding) -> Binding:
    """Returns the binding whose value a binding has: itself, or the macro that it names."""
    seen = []
    while isinstance(binding.value, ConfigurableReference) and binding not in seen:
        seen.append(binding)
        binding = bound.get((*_target(binding.value), "value"), binding)
    return binding


def _resolved(bound: Bound, value: Any) -> Any:
    """Returns a value with its macros replaced, which `check_macros` has found sound."""
    if isinstance(value, dict):
        return {_resolved(bound, k): _resolved(bound, v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_resolved(bound, item) for item in value)
    if isinstance(value, ConfigurableReference):
        target = _target(value)
        if target[1] == MACRO:
            return _resolved(bound, bound[(*target, "value")].value)
        if target[1] == _CONSTANT:
            return annotations.UNKNOWN
    return value


def _reached(bound: Bound, roots: Iterable[str]) -> tuple[set[Target], dict[Target, Binding]]:
    """Returns the targets whose bindings calling `roots` would use, and those that Gin calls.

    Each of the latter comes with a binding that calls it. What is passed on as a function is not
    among them: its caller may give values.
    """
    by_target: dict[Target, list[Binding]] = {}
    for key, binding in bound.items():
        by_target.setdefault(key[:2], []).append(binding)
    used: set[Target] = set()
    called: dict[Target, Binding] = {}
    queue: list[Target] = [("", f"flan_jax.{root}") for root in roots]
    done: set[Target] = set()
    while queue:
        target = queue.pop()
        if target in done:
            continue
        done.add(target)
        for outer in _outer(*target):
            used.add(outer)
            for binding in by_target.get(outer, ()):
                for reference in references(binding.value):
                    scope, selector = _target(reference)
                    # What is called inside a scope, without one of its own, keeps that scope.
                    inner = (scope or target[0], selector)
                    queue.append(inner)
                    if reference.evaluate:
                        called.setdefault(inner, binding)
    return used, called


def _outer(scope: str, selector: str) -> Iterator[Target]:
    """Yields whose bindings apply to `scope/selector`: itself and the same in outer scopes."""
    if selector == MACRO:
        yield scope, selector
        return
    parts = scope.split("/") if scope else []
    for end in range(len(parts) + 1):
        yield "/".join(parts[:end]), selector
