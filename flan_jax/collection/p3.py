# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""P3's prompts (Sanh et al. 2022): promptsource's templates over raw rows, or rendered rows.

A task's rows come from the first of these that is there:
  * rendered P3 rows, `$FLAN_JAX_P3_RENDERED_DIR/<P3 name>/<split>.jsonl`, with `inputs`, `targets`
    (or `inputs_pretokenized`, `targets_pretokenized`) and `answer_choices`;
  * the template file of promptsource 0.2.3 (`$FLAN_JAX_P3_TEMPLATES`: its source archive, or a
    folder that holds its templates) over `$FLAN_JAX_T0_DIR/<dataset>[_<subset>]/<split>.jsonl`, in
    the fields of the Hugging Face data set, or over a TFDS builder of the same fields.

The field mappings of such rows are here too, one for each kind of task; it is they that render a
raw row, so that those beyond a cap cost nothing.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator

from flan_jax.collection import p3_templates
from flan_jax.collection.parsing import Malformed
from flan_jax.collection.rendering import EMPTY_INPUT, EMPTY_TARGET, ODD_ANSWER
from flan_jax.collection.sources import (
    JsonLinesSource,
    Row,
    Source,
    code_fingerprint,
    num_well_formed,
)
from flan_jax.collection.spec import SPLITS, Drop, Fields
from flan_jax.collection.tfds_source import FirstOf, TfdsSource
from flan_jax.core import files
from flan_jax.core.errors import FlanError, UsageError
from flan_jax.core.rng import ExampleKey

ROWS_VARIABLE = "FLAN_JAX_T0_DIR"
RENDERED_VARIABLE = "FLAN_JAX_P3_RENDERED_DIR"

LEFT_OUT = "its P3 template makes no prompt of it"
NO_ANSWER_CHOICES = "no answer choices"

_GET_ROWS = (
    f"set {ROWS_VARIABLE} to a folder of <dataset>[_<subset>]/<split>.jsonl, in the fields of the "
    "Hugging Face data sets"
)
_GET_RENDERED = f"set {RENDERED_VARIABLE} to a folder of rendered rows, <P3 name>/<split>.jsonl"

_FOLDER = re.compile(r"\w[\w.-]*")


@dataclasses.dataclass(frozen=True)
class Unrendered:
    """A raw row and all that its rendering depends on; rendered when its fields are asked for."""

    template: p3_templates.P3Template
    row: Row
    key: ExampleKey
    where: str

    def render(self) -> Row | None:
        """Returns `inputs`, `targets` and `answer_choices`; as `p3_templates.render`."""
        return p3_templates.render(self.template, self.row, self.key, self.where)


@dataclasses.dataclass(frozen=True, kw_only=True)
class P3Source:
    """Rows of one P3 task: rendered ones, or `Unrendered` under the key `unrendered`.

    A row that the template's own condition leaves out stands as `Malformed`, so that it is counted
    as dropped and not as a row of the task.
    """

    # The P3 name, such as `cos_e_v1.11_rationale`.
    name: str
    # Hugging Face data set and subset.
    dataset: str
    subset: str = ""
    # The template's name in promptsource's file for them.
    template: str
    splits: tuple[str, ...] = SPLITS
    # TFDS `builder:version` whose rows have the same fields; "" if there is none.
    tfds: str = ""
    # Another seed gives other random choices.
    seed: int = 0

    def __post_init__(self):
        for part in (self.name, self.dataset, *((self.subset,) if self.subset else ())):
            if not _FOLDER.fullmatch(part):
                raise UsageError(
                    f"P3 task {self.name!r}: {part!r} names a folder; only letters, digits, '_', "
                    "'-' and '.' are allowed, and no '.' in front"
                )
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise UsageError(f"P3 task {self.name!r}: splits {self.splits!r} must be of {SPLITS}")

    def num_rows(self, split: str) -> int:
        """Returns how many rows `split` has; those its template leaves out are not counted."""
        if split not in self.splits:
            return 0
        if self._is_rendered:
            return self._rendered.num_rows(split)
        if p3_templates.is_conditional(self._load()):
            return num_well_formed(self, split, self.fingerprint(split))
        return self._raw.num_rows(split)

    def rows(self, split: str) -> Iterator[tuple[int, Row | Malformed]]:
        """Yields (index, row) in order."""
        if split not in self.splits:
            return
        if self._is_rendered:
            yield from self._rendered.rows(split)
            return
        template = self._load()
        is_conditional = p3_templates.is_conditional(template)
        for index, row in self._raw.rows(split):
            if not isinstance(row, Malformed):
                key = ExampleKey(self.seed, f"p3/{self.name}/{split}", index)
                where = f"{self.name} {split} row {index}"
                row = {"unrendered": Unrendered(template, row, key, where)}
                if is_conditional:
                    row = _unless_left_out(row)
            yield index, row

    def fingerprint(self, split: str) -> str:
        """Returns a hash of the rows and, where they are raw, of the template's text."""
        if split not in self.splits:
            return ""
        if self._is_rendered:
            return self._rendered.fingerprint(split)
        template = self._load()
        texts = (template.jinja, template.answer_choices)
        rows = (self._raw.fingerprint(split), self.name, split, self.seed)
        text = files.dumps([*texts, *rows, code_fingerprint(p3_templates.render)])
        return hashlib.sha256(text.encode()).hexdigest()

    def missing(self) -> str | None:
        """Returns None if rows can be had one way or the other, else what each way lacks."""
        if self._is_rendered:
            return None
        lacking = []
        try:
            self._load()
        except FlanError as error:
            lacking.append(str(error))
        if rows := self._raw.missing():
            if not os.environ.get(ROWS_VARIABLE):
                tfds = TfdsSource(self.tfds, self._same_splits).missing() if self.tfds else None
                rows = f"{_GET_ROWS}; or {tfds}" if tfds else _GET_ROWS
            lacking.append(rows)
        if not lacking:
            return None
        is_set = os.environ.get(RENDERED_VARIABLE)
        return (
            f"{'; and '.join(lacking)}; or {self._rendered.missing() if is_set else _GET_RENDERED}"
        )

    @property
    def _same_splits(self) -> tuple[tuple[str, str], ...]:
        return tuple((split, split) for split in self.splits)

    @property
    def _rendered(self) -> JsonLinesSource:
        folder = f"${RENDERED_VARIABLE}/{self.name}"
        return JsonLinesSource(tuple((s, f"{folder}/{s}.jsonl") for s in self.splits))

    @property
    def _is_rendered(self) -> bool:
        return bool(os.environ.get(RENDERED_VARIABLE)) and self._rendered.missing() is None

    @property
    def _raw(self) -> Source:
        folder = f"${ROWS_VARIABLE}/{'_'.join(filter(None, (self.dataset, self.subset)))}"
        lines = JsonLinesSource(tuple((s, f"{folder}/{s}.jsonl") for s in self.splits))
        return FirstOf((lines, TfdsSource(self.tfds, self._same_splits))) if self.tfds else lines

    def _load(self) -> p3_templates.P3Template:
        return p3_templates.load(self.dataset, self.subset, self.template)


def question_answer(row: Row) -> Fields:
    """Returns the prompt as `question`, the target as `answer`."""
    question, answer, _ = _texts(row)
    return {"question": question, "answer": answer}


def multiple_choice(row: Row) -> Fields:
    """Returns the same where the prompt shows the choices already; the answer is one of them."""
    question, answer, choices = _texts(row)
    return {"question": question, "answer": _chosen(answer, choices)}


def separated_options(row: Row) -> Fields:
    """Returns the same with the choices as `options`, which the prompt does not show."""
    question, answer, choices = _texts(row)
    return {"question": question, "answer": _chosen(answer, choices), "options": choices}


def _unless_left_out(row: Row) -> Row | Malformed:
    unrendered = row["unrendered"]
    try:
        rendered = unrendered.render()
    except Drop:  # of the task, but not to be used: its field mapping says so again
        return row
    return Malformed(unrendered.where, LEFT_OUT) if rendered is None else rendered


def _texts(row: Row) -> tuple[str, str, list[str] | None]:
    """Returns prompt, target and choices of a row of `P3Source`, without white space around."""
    if isinstance(unrendered := row.get("unrendered"), Unrendered):
        row = unrendered.render()
        if row is None:
            raise Drop(LEFT_OUT, unrendered.where)
    question, answer = (_text(row, name).strip() for name in ("inputs", "targets"))
    if not question:
        raise Drop(EMPTY_INPUT)
    if not answer:
        raise Drop(EMPTY_TARGET)
    choices = row.get("answer_choices")
    return question, answer, choices and [choice.strip() for choice in choices]


def _text(row: Row, name: str) -> str:
    # P3's own rows hold tokens under the short name.
    text = row.get(f"{name}_pretokenized", row.get(name))
    if not isinstance(text, str):
        raise TypeError(f"neither {name!r} nor '{name}_pretokenized' is a text")
    return text


def _chosen(answer: str, choices: list[str] | None) -> str:
    """Returns the choice that a target is, letter case and white space aside."""
    if not choices:
        raise Drop(NO_ANSWER_CHOICES)
    if answer in choices:
        return answer
    same = {choice for choice in choices if _folded(choice) == _folded(answer)}
    if len(same) != 1:
        raise Drop(ODD_ANSWER)
    return same.pop()


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
