# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which part of a rendered prompt is what: instruction, exemplars, query, and each field's text.

The task is rendered a second time under the same keys, with templates and delimiters that carry
marks (Unicode noncharacters). If that text without its marks is not the prompt itself, because the
data holds such characters, the prompt stays in one part: what is shown is always what a model gets.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator

from flan_jax.collection import rendering
from flan_jax.collection.narrowing import GivenTemplates
from flan_jax.collection.prompts import Pattern, Template
from flan_jax.collection.spec import TaskSpec

INSTRUCTION, EXEMPLAR, QUERY = "instruction", "exemplar", "query"

_BLOCK, _ANSWER, _GAP, _SLOT, _NAMED, _END = "\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4\ufdd5"
_MARKS = re.compile(f"{_SLOT}[^{_NAMED}]*{_NAMED}|[{_BLOCK}{_ANSWER}{_GAP}{_END}]")


@dataclasses.dataclass(frozen=True)
class Piece:
    """Text of one origin."""

    text: str
    # The slot that it was put into; "" for the template's own words.
    slot: str = ""
    # Whether it is an exemplar's answer, or the cue for the answer at the end.
    answer: bool = False


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a prompt; the texts of all parts together are the prompt."""

    kind: str
    pieces: tuple[Piece, ...]


@dataclasses.dataclass(frozen=True)
class Example:
    """A rendered example and the parts of its inputs."""

    rendered: rendering.Rendered
    parts: tuple[Part, ...]


def dissect(
    spec: TaskSpec,
    split: str,
    seed: int,
    examples: Iterable[rendering.Rendered | rendering.Dropped],
    limit: int,
) -> Iterator[Example]:
    """Yields the first `limit` of the task's rendered `examples` with their parts.

    Args:
        spec: the task.
        split: of the examples.
        seed: that they were rendered with.
        examples: what `rendering.render_task(spec, split, seed)` yields, at least to the limit.
        limit: most examples.
    """
    marked = rendering.render_task(_marked_spec(spec), split, seed, limit=limit)
    # The marked ones come first: after the last of them no further example is asked for.
    for twin, example in zip(marked, examples, strict=False):
        if isinstance(example, rendering.Dropped):
            continue
        text = twin.inputs if isinstance(twin, rendering.Rendered) else ""
        if _MARKS.sub("", text) == example.inputs and text.count(_BLOCK) == text.count(_GAP) + 1:
            yield Example(example, _parts(text))
        else:
            yield Example(example, (Part(QUERY, (Piece(example.inputs),)),))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _MarkedTemplate(Template):
    plain: Template

    @functools.cached_property
    def bare(self) -> Template:
        """The marked form of the template without options."""
        return _marked_template(self.plain.bare)


def _marked_spec(spec: TaskSpec) -> TaskSpec:
    templates = GivenTemplates(templates=tuple(map(_marked_template, spec.templates.load())))
    delimiters = tuple((_ANSWER + d, _GAP + gap) for d, gap in spec.few_shot.delimiters)
    few_shot = dataclasses.replace(spec.few_shot, delimiters=delimiters)
    return dataclasses.replace(spec, templates=templates, few_shot=few_shot)


def _marked_template(template: Template) -> Template:
    values = {f.name: getattr(template, f.name) for f in dataclasses.fields(template)}
    values |= {
        "input": _marked_pattern(template.input),
        "head": template.head and _marked_pattern(template.head),
        "input_prefix": _BLOCK + template.input_prefix,
    }
    return _MarkedTemplate(**values, plain=template)


def _marked_pattern(pattern: Pattern) -> Pattern:
    pieces = []
    for is_slot, text in pattern.pieces:
        if is_slot:
            pieces += [(False, f"{_SLOT}{text}{_NAMED}"), (True, text), (False, _END)]
        else:
            pieces.append((False, text))
    return Pattern(pieces=pieces)


def _parts(text: str) -> tuple[Part, ...]:
    head, *blocks = text.split(_BLOCK)
    parts = [Part(INSTRUCTION, _pieces(head))] if head else []
    # A gap stands at the end of each block but the last.
    parts += [Part(EXEMPLAR, _pieces(block)) for block in blocks[:-1]]
    return (*parts, Part(QUERY, _pieces(blocks[-1])))


def _pieces(text: str) -> tuple[Piece, ...]:
    pieces, slot, answer, end = [], "", False, 0
    for match in [*_MARKS.finditer(text), None]:
        if literal := text[end : match.start() if match else len(text)]:
            pieces.append(Piece(literal, slot, answer))
        if match is None:
            break
        end, mark = match.end(), match[0][0]
        if mark == _SLOT:
            slot = match[0][1:-1]
        elif mark == _END:
            slot = ""
        else:
            answer = mark == _ANSWER
    return tuple(pieces)
