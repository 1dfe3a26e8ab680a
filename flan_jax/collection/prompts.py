# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Templates: their file format, a safe `{slot}` renderer, and checks.

A template file holds one JSON object a line:
  * `id`: unique in its group; `group`: optional, several groups may share a file.
  * `kind`: `zero_shot`, `few_shot` or `both`.
  * `options`: `yes` (shows the answer options), `no` (never), `any` (its `{options}` slot, with
    the line break or brackets before it, goes where options are not to be shown).
  * `direction`: `forward` (the answer is the target) or the name of an inverted direction.
  * `input`, `target`: patterns. `{name}` is a slot; `{{` and `}}` are literal braces.
  * `head`: an instruction put once, before exemplars and input.
  * `input_prefix`, `target_prefix`: fixed text of each few-shot block.
  * `shots`: a fixed number of exemplars, in place of the task's drawn one; `embedded_shots`: how
    many exemplars its own slots already show.

Data put into a slot is never read as a pattern.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flan_jax.collection import sources
from flan_jax.core.errors import DataError, UsageError

ZERO_SHOT, FEW_SHOT, BOTH = "zero_shot", "few_shot", "both"
KINDS = (ZERO_SHOT, FEW_SHOT, BOTH)
SHOWS_OPTIONS = ("yes", "no", "any")
FORWARD = "forward"
OPTIONS_SLOT = "options"

_TEXT_KEYS = ("id", "kind", "options", "direction", "group", "input", "target", "head",
              "input_prefix", "target_prefix")  # fmt: skip
_NUMBER_KEYS = ("shots", "embedded_shots")
_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w.]*)\}|[{}]")
# What goes away with an options slot that is not shown: breaks, blanks, a bar or an open bracket.
_BEFORE_SLOT = re.compile(r"[\s|(\[]+\Z")


class Pattern:
    """A parsed pattern: literal pieces and slots.

    Example:
        >>> Pattern("{{Q}}: {question}").render({"question": "{x}?"})
        '{Q}: {x}?'
        >>> print(Pattern("{{Q}}: {question}"))
        {{Q}}: {question}
    """

    __slots__ = ("pieces", "slots")

    def __init__(self, text: str = "", *, pieces: Iterable[tuple[bool, str]] | None = None):
        self.pieces = _parse(text) if pieces is None else tuple(pieces)
        self.slots = tuple(text for is_slot, text in self.pieces if is_slot)

    def render(self, fields: Mapping[str, str]) -> str:
        """Returns the text with each slot replaced by its field; a missing one is a KeyError."""
        return "".join([fields[text] if is_slot else text for is_slot, text in self.pieces])

    def __str__(self) -> str:
        parts = [
            f"{{{t}}}" if s else t.replace("{", "{{").replace("}", "}}") for s, t in self.pieces
        ]
        return "".join(parts)

    def without(self, slot: str) -> "Pattern":
        """Returns the pattern without `slot` and without what led up to it."""
        pieces: list[tuple[bool, str]] = []
        closing = ""
        for is_slot, text in self.pieces:
            if is_slot and text == slot:
                if pieces and not pieces[-1][0]:
                    before = pieces.pop()[1]
                    kept = _BEFORE_SLOT.sub("", before)
                    gone = before[len(kept) :]
                    closing = {"(": ")", "[": "]"}.get(gone.strip()[-1:], "")
                    if kept:
                        pieces.append((False, kept))
                continue
            if not is_slot:
                if closing and text.startswith(closing):
                    text = text[1:]
                closing = ""
                if not pieces:
                    text = text.lstrip("\n")
            if text:
                pieces.append((is_slot, text))
        return Pattern(pieces=pieces)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
    """One template; see the module for what each entry means."""

    id: str
    kind: str
    options: str
    direction: str
    input: Pattern
    target: Pattern
    head: Pattern | None = None
    input_prefix: str = ""
    target_prefix: str = ""
    shots: int | None = None
    embedded_shots: int = 0

    @functools.cached_property
    def slots(self) -> frozenset[str]:
        """All slots of its patterns."""
        patterns = (self.input, self.target, *((self.head,) if self.head else ()))
        return frozenset(slot for pattern in patterns for slot in pattern.slots)

    def fits(self, *, few_shot: bool, show_options: bool) -> bool:
        """Whether the template serves a prompt with or without exemplars and options."""
        kinds = (FEW_SHOT, BOTH) if few_shot else (ZERO_SHOT, BOTH)
        shows = ("yes", "any") if show_options else ("no", "any")
        return self.kind in kinds and self.options in shows

    @functools.cached_property
    def bare(self) -> "Template":
        """The same template with the options slot taken out."""
        return dataclasses.replace(
            self,
            input=self.input.without(OPTIONS_SLOT),
            target=self.target.without(OPTIONS_SLOT),
            head=self.head and self.head.without(OPTIONS_SLOT),
        )


@dataclasses.dataclass(frozen=True)
class TemplateGroup:
    """The templates of a task, read from a file on first use.

    Args:
        path: a JSON-lines file: a path, or `package:NAME/REST` inside a package.
        group: the rows whose `group` is this; None: all rows.
        inline: JSON lines given directly instead of a file.
    """

    path: str = ""
    group: str | None = None
    inline: tuple[str, ...] = ()

    def load(self) -> tuple[Template, ...]:
        """Returns the templates; malformed rows are a `DataError` that names file and line."""
        return _load(self)

    def fingerprint(self) -> str:
        """Returns a hash of the group's rows."""
        return hashlib.sha256("\n".join(t for _, t in _lines(self)).encode()).hexdigest()


def parse_template(row: Mapping[str, Any], where: str) -> Template:
    """Returns the template of a file row; `where` names file and line in errors."""
    allowed = set(_TEXT_KEYS) | set(_NUMBER_KEYS)
    if unknown := sorted(set(row) - allowed):
        raise DataError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(allowed))}")
    for key in ("id", "input", "target"):
        if not isinstance(row.get(key), str):
            raise DataError(f"{where}: {key!r} must be a string, got {row.get(key)!r}")
    kind, options = row.get("kind", BOTH), row.get("options", "any")
    if kind not in KINDS:
        raise DataError(f"{where}: kind {kind!r} must be one of {KINDS}")
    if options not in SHOWS_OPTIONS:
        raise DataError(f"{where}: options {options!r} must be one of {SHOWS_OPTIONS}")
    for key in _NUMBER_KEYS:
        if not isinstance(row.get(key, 0), int) or row.get(key, 0) < 0:
            raise DataError(f"{where}: {key!r} must be a count, got {row[key]!r}")
    try:
        patterns = {key: Pattern(row[key]) for key in ("input", "target", "head") if key in row}
    except UsageError as error:
        raise DataError(f"{where}: {error}") from None
    shown = any(OPTIONS_SLOT in pattern.slots for pattern in patterns.values())
    if (options == "yes") > shown or (options == "no" and shown):
        raise DataError(
            f"{where}: options {options!r} but the slot {{options}} is "
            f"{'there' if shown else 'nowhere'}"
        )
    return Template(
        id=row["id"],
        kind=kind,
        options=options,
        direction=row.get("direction", FORWARD),
        input_prefix=row.get("input_prefix", ""),
        target_prefix=row.get("target_prefix", ""),
        shots=row.get("shots"),
        embedded_shots=row.get("embedded_shots", 0),
        **patterns,
    )


def lint(
    templates: Sequence[Template],
    *,
    fields: Iterable[str],
    answer: str = "answer",
    both_sides: Iterable[str] = (),
    unpunctuated: Iterable[str] = (),
) -> list[str]:
    """Returns the faults of a group of templates, one line each; none is an empty list.

    Args:
        templates: the group.
        fields: slots that the task's mapping gives.
        answer: the slot that a forward template's target must hold.
        both_sides: slots that may stand in input and target of one template.
        unpunctuated: slots whose data never ends in a period or question mark of its own.
    """
    known, both_sides = set(fields) | {OPTIONS_SLOT}, set(both_sides)
    faults: list[str] = []
    seen: dict[tuple, str] = {}
    for template in templates:
        inputs = {*template.input.slots, *(template.head.slots if template.head else ())}
        targets = set(template.target.slots)
        for slot in sorted((inputs | targets) - known):
            faults.append(f"{template.id}: unknown slot {{{slot}}}")
        for slot in sorted((inputs & targets) - both_sides):
            faults.append(f"{template.id}: {{{slot}}} stands in input and target")
        if not targets:
            faults.append(f"{template.id}: the target holds no field")
        if template.direction == FORWARD and answer not in targets:
            faults.append(f"{template.id}: direction is forward but {{{answer}}} is no target")
        if template.direction != FORWARD and answer in targets and len(targets) == 1:
            faults.append(f"{template.id}: the target is {{{answer}}} alone, so it is forward")
        faults += [f"{template.id}: {fault}" for fault in _glue(template, set(unpunctuated))]
        faults += _remains(template)
        key = _shape(template)
        if key in seen:
            faults.append(f"{template.id}: the same as {seen[key]} once options are removed")
        seen.setdefault(key, template.id)
    return faults


def _parse(text: str) -> tuple[tuple[bool, str], ...]:
    pieces: list[tuple[bool, str]] = []
    literal, end = "", 0
    for match in _TOKEN.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][0]
        elif match[1]:
            if literal:
                pieces.append((False, literal))
            pieces.append((True, match[1]))
            literal = ""
        else:
            raise UsageError(
                f"pattern {text!r}: lone {match[0]!r} at {match.start()}; a slot is {{name}}, a "
                "literal brace is doubled"
            )
    literal += text[end:]
    if literal:
        pieces.append((False, literal))
    return tuple(pieces)


def _lines(group: TemplateGroup) -> list[tuple[str, str]]:
    """Returns (where, line) for each row of the group."""
    if group.inline:
        lines = [(f"template {i + 1}", line) for i, line in enumerate(group.inline)]
    else:
        path = sources.resolve(group.path)
        if not path.is_file():
            raise UsageError(f"template file {path} does not exist; correct the task's path")
        lines = [(f"{path}:{i + 1}", t) for i, t in enumerate(sources.read_lines(path))]
    if group.group is None:
        return lines
    return [(w, t) for w, t in lines if _row(w, t).get("group") == group.group]


def _row(where: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: need a JSON object, got {type(row).__name__}")
    return row


@functools.lru_cache(maxsize=4096)
def _load(group: TemplateGroup) -> tuple[Template, ...]:
    templates: dict[str, Template] = {}
    for where, line in _lines(group):
        template = parse_template(_row(where, line), where)
        if template.id in templates:
            raise DataError(f"{where}: id {template.id!r} is used twice; make it unique")
        templates[template.id] = template
    if not templates:
        name = f" with group {group.group!r}" if group.group else ""
        raise UsageError(f"{group.path or 'inline templates'}: no template{name}")
    return tuple(templates.values())


def _glue(template: Template, unpunctuated: set[str]) -> list[str]:
    """Punctuation that runs into data: a full stop after a slot, no blank after a colon."""
    faults = []
    for name, pattern in (("input", template.input), ("target", template.target)):
        pieces = pattern.pieces
        for (is_slot, text), (next_is_slot, following) in zip(pieces, pieces[1:], strict=False):
            if not is_slot and next_is_slot and text.endswith(":"):
                faults.append(f"{name}: no blank between ':' and {{{following}}}")
            ends = is_slot and not next_is_slot and following[:1] in ("?", ".")
            if ends and text not in unpunctuated:
                faults.append(f"{name}: {following[0]!r} after {{{text}}} may double its own")
    return faults


def _remains(template: Template) -> list[str]:
    """The word `options` must not stand in a prompt that shows none."""
    if template.options == "yes":
        return []
    parts = (template.bare.head, template.bare.input, template.bare.target)
    text = " ".join(t for p in parts if p for is_slot, t in p.pieces if not is_slot)
    if re.search(r"\b(options|choices)\b", text, re.IGNORECASE):
        return [f"{template.id}: speaks of options where none are shown"]
    return []


def _shape(template: Template) -> tuple:
    bare = template.bare
    few = template.kind == FEW_SHOT
    head = bare.head.pieces if bare.head else ()
    prefixes = (template.input_prefix, template.target_prefix) if few else ()
    shape = template.options == "yes", few, head, bare.input.pieces, bare.target.pieces
    return (*shape, template.shots, *prefixes)
