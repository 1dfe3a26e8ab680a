# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""promptsource's template files (Bach et al. 2022): safe reading and sandboxed rendering.

promptsource itself is never imported: it asks for an older Python. Its files are read as safe YAML,
from its source archive or a folder of them, and rendered in Jinja's immutable sandbox. What is not
as in its own rendering (promptsource/templates.py, 0.2.3): random choices depend on the row alone;
bars in data are kept at any depth; a slot without data, or with a null, gives no prompt. Line
breaks stay where they are, in prompts and targets.
"""

import dataclasses
import functools
import itertools
import os
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flan_jax.collection.sources import Row
from flan_jax.collection.spec import Drop
from flan_jax.core.errors import DataError, UsageError, unknown_name
from flan_jax.core.rng import ExampleKey

VARIABLE = "FLAN_JAX_P3_TEMPLATES"

# A template stands apart from its target, and a choice from the next, by this.
SEPARATOR = "|||"

NO_CHOICE = "its P3 template has nothing to choose from"
NULL = "its P3 template shows a null"
LACKING = "its P3 template shows what the row lacks"

GET_TEMPLATES = (
    f"set {VARIABLE} to the source archive of promptsource 0.2.3 or the folder of its "
    "templates (pip download --no-deps --no-binary :all: --ignore-requires-python "
    "promptsource==0.2.3)"
)

# Where a folder may hold promptsource's templates.
_PREFIXES = ("", "templates", "promptsource/templates")
_ARCHIVED = re.compile(r"[^/]+/promptsource/templates/(.+/templates\.yaml)")
# Far above any of promptsource's files, far below what would fill the memory.
_MAX_FILE_BYTES = 4 << 20
# A bar of the data while it is rendered. No row holds a lone surrogate: it would be malformed.
_BAR = "\udc7c"
_DRAW = "_flan_jax_draw"
# What an expression of a template may raise over a row that is not as it expects.
_FAULTS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclasses.dataclass(frozen=True)
class P3Template:
    """A template as its file gives it."""

    name: str
    # Prompt and target in Jinja, between them `|||`.
    jinja: str
    # The choices in Jinja, between them `|||`; "" if the template has none.
    answer_choices: str
    # The file it is from.
    where: str


def load(dataset: str, subset: str, name: str) -> P3Template:
    """Returns a template of promptsource, found by FLAN_JAX_P3_TEMPLATES.

    Raises:
        UsageError: the variable is not set, or there is no such file or template.
        DataError: the file is not as promptsource writes it.
    """
    root = os.environ.get(VARIABLE)
    if not root:
        raise UsageError(GET_TEMPLATES)
    inside = "/".join(filter(None, (dataset, subset, "templates.yaml")))
    templates = _templates_of(Path(root), inside)
    if name not in templates:
        raise unknown_name("template", name, templates, place=f"{root}: {inside}")
    return templates[name]


def render(template: P3Template, row: Row, key: ExampleKey, where: str) -> Row | None:
    """Returns `inputs`, `targets` and `answer_choices` (or None) of a raw row.

    Args:
        template: the template.
        row: the row, in the fields of its Hugging Face data set.
        key: decides every random choice.
        where: the row's place, for errors.

    Returns:
        None if the template makes no prompt of the row.

    Raises:
        Drop: the template fails on the row.
        DataError: the row lacks a field, or the template is not to be run.
    """
    from jinja2 import TemplateError, UndefinedError
    from jinja2.sandbox import SecurityError

    compiled = _compiled(template)
    if lacking := sorted(compiled.fields - row.keys()):
        raise DataError(
            f"{where}: no field {lacking[0]!r}, which template {template.name!r} of "
            f"{template.where} shows; the row has {sorted(row)}: give the fields of the Hugging "
            "Face data set"
        )
    number = itertools.count()
    values = _escaped(row) | {_DRAW: lambda items: key.choice(f"choice/{next(number)}", items)}
    try:
        choices = None
        if template.answer_choices:
            choices = [c.strip() for c in compiled.choices.render(values).split(SEPARATOR)]
        parts = compiled.prompt.render(values | {"answer_choices": choices}).split(SEPARATOR)
    except SecurityError as error:
        raise _refused(template, str(error)) from None
    except Drop as drop:  # of this module's own filter or check
        raise Drop(drop.reason, where) from None
    except UndefinedError:
        raise Drop(LACKING, where) from None
    except RecursionError:
        raise _refused(template, "it calls itself without end") from None
    except (TemplateError, *_FAULTS) as error:
        raise Drop(f"its P3 template fails with {type(error).__name__}", where) from None
    if len(parts) != 2:
        return None
    inputs, targets = (_unescaped(part).strip() for part in parts)
    choices = choices and [_unescaped(choice) for choice in choices]
    return {"inputs": inputs, "targets": targets, "answer_choices": choices}


def is_conditional(template: P3Template) -> bool:
    """Whether it may make no prompt of a row: its separator stands inside a condition."""
    return _compiled(template).is_conditional


class _Compiled(NamedTuple):
    prompt: Any
    choices: Any
    # What of a row it reads.
    fields: frozenset[str]
    is_conditional: bool


@functools.lru_cache(maxsize=1024)
def _compiled(template: P3Template) -> _Compiled:
    from jinja2 import TemplateSyntaxError, meta, nodes

    environment = _environment()
    try:
        prompt = environment.parse(template.jinja)
        choices = environment.parse(template.answer_choices)
        compiled = [environment.from_string(t) for t in (template.jinja, template.answer_choices)]
    except TemplateSyntaxError as error:
        raise DataError(
            f"{template.where}: template {template.name!r} is no valid Jinja ({error.message}, its "
            f"line {error.lineno}); take the file of promptsource 0.2.3"
        ) from None
    found = meta.find_undeclared_variables(prompt) | meta.find_undeclared_variables(choices)
    always = (
        piece.data
        for node in prompt.body
        if isinstance(node, nodes.Output)
        for piece in node.nodes
        if isinstance(piece, nodes.TemplateData)
    )
    return _Compiled(
        *compiled,
        fields=frozenset(found - environment.globals.keys() - {"answer_choices"}),
        is_conditional=not any(SEPARATOR in text for text in always),
    )


@functools.cache
def _environment() -> Any:
    """Returns the sandbox: promptsource's environment, but for what the module's text says."""
    from jinja2 import StrictUndefined, pass_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    @pass_context
    def choice(context, items):
        if not len(items):
            raise Drop(NO_CHOICE)
        return context[_DRAW](items)

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=_not_null)
    environment.globals["zip"] = zip
    environment.filters["choice"] = choice
    return environment


def _not_null(value: Any) -> Any:
    if value is None:
        raise Drop(NULL)
    return value


def _refused(template: P3Template, reason: str) -> DataError:
    return DataError(
        f"{template.where}: template {template.name!r} is not run: {reason}; take the file of "
        "promptsource 0.2.3"
    )


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("|", _BAR)
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(item) for item in value]
    return value


def _unescaped(text: str) -> str:
    return text.replace(_BAR, "|")


def _templates_of(root: Path, inside: str) -> dict[str, P3Template]:
    """Returns the templates of the file `inside` (such as race/high/templates.yaml)."""
    if root.is_dir():
        for prefix in _PREFIXES:
            path = root / prefix / inside
            if path.is_file():
                return _read_file(*_stamp(path))
    elif root.is_file():
        archive = _read_archive(*_stamp(root))
        if inside in archive:
            return _parse(archive[inside], f"{root}: {inside}")
    else:
        raise UsageError(f"{root} ({VARIABLE}) does not exist; {GET_TEMPLATES}")
    raise UsageError(f"no {inside} in {root} ({VARIABLE}); {GET_TEMPLATES}")


def _stamp(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=512)
def _read_file(path: str, size: int, mtime_ns: int) -> dict[str, P3Template]:
    if size > _MAX_FILE_BYTES:
        raise _too_large(path)
    return _parse(Path(path).read_bytes(), path)


@functools.lru_cache(maxsize=1)
def _read_archive(path: str, size: int, mtime_ns: int) -> dict[str, bytes]:
    """Returns the template files of promptsource's archive; nothing is written to disk."""
    found = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                match = _ARCHIVED.fullmatch(member.name)
                if match is None or not member.isfile():
                    continue
                if member.size > _MAX_FILE_BYTES:
                    raise _too_large(f"{path}: {member.name}")
                found[match[1]] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(
            f"{path} ({VARIABLE}) cannot be read as an archive ({error}); {GET_TEMPLATES}"
        ) from None
    return found


def _too_large(where: str) -> DataError:
    return DataError(f"{where}: larger than {_MAX_FILE_BYTES:,} bytes; {GET_TEMPLATES}")


@functools.lru_cache(maxsize=512)
def _parse(data: bytes, where: str) -> dict[str, P3Template]:
    yaml, loader = _yaml()
    try:
        content = yaml.load(data, loader)  # a safe loader
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{where}: not a template file of promptsource ({reason})") from None
    entries = content.get("templates") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise DataError(f"{where}: not a template file of promptsource (no map of 'templates')")
    templates: dict[str, P3Template] = {}
    for entry in entries.values():
        texts = [entry.get(k) for k in ("name", "jinja")] if isinstance(entry, dict) else [None]
        choices = entry.get("answer_choices") if isinstance(entry, dict) else None
        if not all(isinstance(text, str) for text in (*texts, choices or "")):
            raise DataError(
                f"{where}: a template needs texts 'name', 'jinja' and 'answer_choices' (or null), "
                f"got {entry!r:.60}"
            )
        name, jinja = texts
        if name in templates:
            raise DataError(f"{where}: template {name!r} is there twice; make its name unique")
        templates[name] = P3Template(name, jinja, choices or "", where)
    return templates


@functools.cache
def _yaml() -> tuple[Any, type]:
    """Returns PyYAML and a safe loader that knows promptsource's two tags."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError(
            "P3 templates need PyYAML, which is not installed; pip install 'flan_jax[p3]'"
        ) from None

    class Loader(yaml.SafeLoader):
        """Builds plain values alone, of any other tag an error."""

    def plain(loader, node):
        return loader.construct_mapping(node, deep=True)

    for tag in ("!Template", "!TemplateMetadata"):
        Loader.add_constructor(tag, plain)
    return yaml, Loader
