# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading Gin text: every binding with its place; bindings that conflict are refused.

Files are walked with Gin's own parser and parse contexts, so scopes, blocks, imports and includes
mean what they mean to Gin. Gin lets a repeated binding silently win; here a binding may replace
another one only where its author chose to:

* in the file that included the other, below the include (T5X's style: include first, override
  after). Above the include it would be undone in silence, so there it is a conflict;
* in a later file of the command, or among the command's own bindings.

Two values in one file, or in two files that a third includes without deciding between them, are a
conflict. `%gin.REQUIRED` asks for a value: any value may replace it.
"""

import dataclasses
import itertools
import os
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.configuration import selectors
from flan_jax.core import errors
from gin import config as gin_config
from gin import config_parser

MACRO = "gin.macro"  # the selector under which Gin keeps a macro, with its name as the scope
_REQUIRED = "%gin.REQUIRED"
_MAX_SHOWN = 60  # characters of a value in a message

_TWICE = "is bound twice: {first} and {second}; keep one"
_SIBLINGS = "is {first} and {second}, both included by {file}; bind it there, below the includes"
_UNDONE = "is {first}, which a later include undoes: {second}; move it below the include"
_UNSET = "is {first}, which a later file unsets: {second}; give that file first"

Key = tuple[str, str, str]  # scope, complete selector, parameter


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a statement stands; without a line, whoever gave it: "the command line"."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclasses.dataclass(frozen=True)
class Binding:
    """A parameter or macro, its value as Gin parsed it, and where it was bound."""

    key: Key
    value: Any
    place: Place

    @property
    def macro(self) -> str | None:
        """The macro's name; None for a parameter."""
        return self.key[0] if self.key[1] == MACRO else None

    @property
    def name(self) -> str:
        """The name as a Gin file writes it."""
        scope, selector, parameter = self.key
        path = f"{scope}/" if scope else ""
        return self.macro or f"{path}{selectors.short(selector)}.{parameter}"

    @property
    def shown(self) -> str:
        """The value as a Gin file writes it, shortened."""
        text = repr(self.value)
        return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."

    @property
    def is_required(self) -> bool:
        """Whether it asks for a value instead of giving one."""
        return repr(self.value) == _REQUIRED


class Command:
    """All that one command reads: files in order, then bindings. The later decides.

    Modules that the files import are imported; Gin's own bindings are left as they are.

    Args:
        folders: where files and includes are looked for, in this order; "" is the working folder,
            the last one holds the shipped files.
    """

    def __init__(self, folders: Sequence[str]):
        self._folders = tuple(folders)
        self._bound: dict[Key, Binding] = {}
        self._replaced: list[Binding] = []
        self._own = _Layer()
        self._undecided: dict[Key, _Conflict] = {}
        self._conflicts: list[_Conflict] = []

    @property
    def bound(self) -> Mapping[Key, Binding]:
        """The binding that holds, by key."""
        return self._bound

    @property
    def replaced(self) -> Sequence[Binding]:
        """The bindings that another one took the place of."""
        return self._replaced

    def add_file(self, name: str) -> None:
        """Reads a Gin file and all that it includes.

        Raises:
            UsageError: a file is missing or malformed, or a name is unknown.
        """
        layer = _read_file(_find(name, self._folders), self._folders, ())
        self._conflicts += layer.conflicts
        self._replaced += layer.replaced
        for key, binding in layer.bound.items():
            before = self._bound.get(key)
            self._set(binding)
            if binding.is_required and before is not None and _differ(before, binding):
                self._undecided[key] = _Conflict(_UNSET, before, binding)
        self._undecided |= layer.undecided

    def add_binding(self, text: str, origin: str) -> None:
        """Reads a text that is one binding, `NAME = value`; `origin` says who gave it.

        Raises:
            UsageError: it is malformed, or a name is unknown.
        """
        place = Place(origin)
        statements = list(itertools.islice(_statements(text, place), 2))
        if [type(statement) for statement, _ in statements] != [config_parser.BindingStatement]:
            raise errors.UsageError(f"{place}: {text!r} is not one binding; write NAME=value")
        binding = _binding(statements[0][0], place)
        self._own.bind(binding)
        self._set(binding)

    def _set(self, binding: Binding) -> None:
        self._undecided.pop(binding.key, None)
        if binding.key in self._bound:
            self._replaced.append(self._bound[binding.key])
        self._bound[binding.key] = binding

    def check(self) -> None:
        """Raises a UsageError that names every conflict left, with places and values."""
        found = [*self._conflicts, *self._own.conflicts, *self._undecided.values()]
        lines = list(dict.fromkeys(str(conflict) for conflict in found))
        if len(lines) == 1:
            raise errors.UsageError(lines[0])
        if lines:
            listed = "\n".join(f"  {line}" for line in lines)
            raise errors.UsageError(f"{len(lines)} conflicts between bindings:\n{listed}")


def is_value(text: str) -> bool:
    """Returns whether a text can be read as one Gin value."""
    try:
        parser = config_parser.ConfigParser(f"{text}\n", _Delegate())
        parser.parse_value()
        return parser.current_token.type in (tokenize.NEWLINE, tokenize.ENDMARKER)
    except (SyntaxError, tokenize.TokenError, ValueError, TypeError):
        return False


def references(value: Any) -> Iterator[gin_config.ConfigurableReference]:
    """Yields every reference inside a parsed value; a macro is one."""
    return (item for item in _leaves(value) if isinstance(item, gin_config.ConfigurableReference))


@dataclasses.dataclass(frozen=True)
class _Conflict:
    template: str
    first: Binding
    second: Binding
    file: str = ""

    def __str__(self) -> str:
        first, second = (f"{b.shown} ({b.place})" for b in (self.first, self.second))
        text = self.template.format(first=first, second=second, file=self.file)
        return f"{self.first.name} {text}"


def _differ(first: Binding, second: Binding) -> bool:
    """Returns whether `second` takes the place of another value."""
    # By repr: Gin's references compare equal across scopes, so any two macros do.
    return not first.is_required and repr(first.value) != repr(second.value)


class _Layer:
    """What one file binds, its includes among it, and what they leave undecided."""

    def __init__(self, path: str = ""):
        self.path = path
        self.bound: dict[Key, Binding] = {}
        self.undecided: dict[Key, _Conflict] = {}
        self.conflicts: list[_Conflict] = []
        self.replaced: list[Binding] = []
        self._own: dict[Key, Binding] = {}

    def bind(self, binding: Binding) -> None:
        """Takes a statement of the file itself: it decides over what was included above it."""
        before = self._own.get(binding.key)
        if before is not None and _differ(before, binding):
            self.conflicts.append(_Conflict(_TWICE, before, binding))
        self._own[binding.key] = binding
        self.undecided.pop(binding.key, None)
        self._set(binding)

    def include(self, other: "_Layer") -> None:
        """Takes all that an included file binds."""
        self.conflicts += other.conflicts
        self.replaced += other.replaced
        for key, conflict in other.undecided.items():
            self.undecided.setdefault(key, conflict)
        for key, binding in other.bound.items():
            before = self.bound.get(key)
            if before is not None and _differ(before, binding):
                template = _UNDONE if before is self._own.get(key) else _SIBLINGS
                conflict = _Conflict(template, before, binding, self.path)
                self.undecided.setdefault(key, conflict)
            self._set(binding)

    def _set(self, binding: Binding) -> None:
        if binding.key in self.bound:
            self.replaced.append(self.bound[binding.key])
        self.bound[binding.key] = binding


@dataclasses.dataclass(frozen=True)
class _Unknown:
    """Stands in a value for a reference to what is not configurable."""

    selector: str


class _Delegate(gin_config.ParserDelegate):
    """Makes Gin's references; an unknown one is kept for a message that says where it stands."""

    def configurable_reference(self, scoped_selector: str, evaluate: bool) -> Any:
        selector = scoped_selector.rsplit("/", 1)[-1]
        if not selectors.is_known(selector):
            return _Unknown(selector)
        return super().configurable_reference(scoped_selector, evaluate)


def _find(file: str, folders: Sequence[str], place: Place | None = None) -> str:
    """Returns the path of a Gin file; `place` is that of the statement that includes it."""
    tried = [os.path.join(folder, file) for folder in folders]
    for path in tried:
        if os.path.isfile(path):
            below = Path(path).is_absolute() and Path(path).is_relative_to(Path.cwd())
            return os.path.relpath(path) if below else path
    near = _shipped_near(file, Path(folders[-1]))
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    if place is not None and (beside := Path(place.source).parent / file).is_file():
        hint = f"; add --gin_search_paths {beside.parent} for the one beside the file"
    raise errors.UsageError(
        (f"{place}: " if place else "")
        + f"no Gin file {file!r}; looked for {', '.join(dict.fromkeys(tried))}{hint}"
    )


def _shipped_near(file: str, folder: Path) -> list[str]:
    """Returns the shipped files whose whole name, or last part, is near to that of `file`."""
    shipped = {p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.gin")}
    wanted = Path(file).with_suffix("")
    names = errors.closest(Path(file).stem, {Path(name).name for name in shipped})
    near = [*errors.closest(wanted.as_posix(), shipped)]
    near += [name for part in names for name in sorted(shipped) if Path(name).name == part]
    return [f"{name}.gin" for name in dict.fromkeys(near)][:3]


def _read_file(path: str, folders: Sequence[str], includers: tuple[str, ...]) -> _Layer:
    """Reads a file and, each in its place, the files it includes."""
    if path in includers:
        loop = " includes ".join([*includers[includers.index(path) :], path])
        raise errors.UsageError(f"Gin files include each other: {loop}; remove an include")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise errors.UsageError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from None
    layer = _Layer(path)
    with gin_config._parse_scope() as context:
        for statement, place in _statements(text, Place(path, 1)):
            if isinstance(statement, config_parser.BindingStatement):
                layer.bind(_binding(statement, place))
            elif isinstance(statement, config_parser.IncludeStatement):
                included = _find(statement.filename, folders, place)
                layer.include(_read_file(included, folders, (*includers, path)))
            elif isinstance(statement, config_parser.ImportStatement):
                selectors.import_statement(context, statement, place)
            else:  # the head of a block
                selectors.find_configurable(statement.selector, place)
        gin_config._IMPORTS.update(context.imports)
    return layer


def _statements(text: str, place: Place) -> Iterator[tuple[Any, Place]]:
    """Yields the statements of Gin text, each with its place; `place` is that of the text."""

    def at(line: int) -> Place:
        return place if place.line is None else dataclasses.replace(place, line=line)

    first = 1  # line of the statement that is read
    try:
        parser = config_parser.ConfigParser(text, _Delegate())
        for statement in parser:
            yield statement, at(statement.location.line_num)
            first = parser.current_token.start[0]
    except (SyntaxError, tokenize.TokenError) as error:
        written = text.splitlines()
        while first < len(written) and written[first - 1].lstrip()[:1] in ("", "#"):
            first += 1
        line, reason = first, "a bracket or quotes are not closed"
        if isinstance(error, SyntaxError):
            line, reason = error.lineno or first, str(error.msg).splitlines()[-1].strip(" .")
        shown = written[min(line, len(written)) - 1].strip()
        begun = f", in the statement that begins at line {first}" if line > first else ""
        raise errors.UsageError(
            f"{at(line)}: cannot read {shown!r} as Gin ({reason}){begun}; "
            "write NAME = value, with text in quotes and every bracket closed"
        ) from None
    except (ValueError, KeyError, TypeError, NameError, AttributeError) as error:
        raise errors.UsageError(f"{at(first)}: {selectors.first_line(error)}") from None


def _binding(statement: config_parser.BindingStatement, place: Place) -> Binding:
    """Returns the binding of a statement after checking every name in it."""
    scope, selector, parameter = statement.scope, statement.selector, statement.arg_name
    if parameter:
        configurable = selectors.find_configurable(selector, place)
        selectors.check_parameter(configurable, parameter, place)
        key = (scope, configurable.selector, parameter)
    else:
        key = (f"{scope}/{selector}" if scope else selector, MACRO, "value")
    for item in _leaves(statement.value):
        if isinstance(item, _Unknown):
            selectors.find_configurable(item.selector, place, sign="@")
    return Binding(key, statement.value, place)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
