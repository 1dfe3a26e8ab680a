# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a task is: a source, a field mapping, a template group, and how to score answers.

A `TaskSpec` is data. It is read two ways from the same rendering functions
(`collection/rendering.py`): by the builder, and through SeqIO (`collection/registry.py`).
Making one opens no file.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable
from typing import Any

from flan_jax.collection.parsing import LONE_SURROGATE, Malformed, is_encodable
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import USER_FAULTS, Row, Source, code_fingerprint, fault_of
from flan_jax.core import files
from flan_jax.core.errors import DataError, FlanError, UsageError, unknown_name

Fields = dict[str, Any]
MetricFn = Callable[[list, list], dict[str, float]]

TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)

# Prompt settings: zero-shot or few-shot, with or without answer options.
ZS_OPT, ZS_NOOPT, FS_OPT, FS_NOOPT = "zs_opt", "zs_noopt", "fs_opt", "fs_noopt"
SETTINGS = (ZS_OPT, ZS_NOOPT, FS_OPT, FS_NOOPT)

FEW_SHOT_SETTINGS = (FS_OPT, FS_NOOPT)
OPTION_SETTINGS = (ZS_OPT, FS_OPT)
# What a few-shot prompt becomes when no exemplar fits.
ZERO_SHOT_TWIN = {FS_OPT: ZS_OPT, FS_NOOPT: ZS_NOOPT}

# The end of the name of an inverted twin: it asks for a task's input from its answer, and is not
# counted as a task of its own (as in the released collection's list).
INVERTED = "_input_inversion"

# Raised whenever a change makes the renderer give other text for the same spec and seed.
RENDERING_VERSION = 1

_NAME = re.compile(r"[\w.:]+")

# Which rows a few-shot prompt may show. exclude_self: any but the query's own; disjoint_pool: rows
# set aside, which are no queries themselves; paper: any, the query's own among them.
EXCLUDE_SELF, DISJOINT_POOL, PAPER = "exclude_self", "disjoint_pool", "paper"
EXEMPLAR_POLICIES = (EXCLUDE_SELF, DISJOINT_POOL, PAPER)

# (between input and target, between exemplars); the second always cuts deeper than the first.
DELIMITERS = (
    ("\n", "\n\n"),
    ("\n", "\n\n\n"),
    ("\n\n", "\n\n\n"),
    ("\n", "\n---\n"),
    ("\n", "\n\n***\n\n"),
    ("\n\n", "\n\n=====\n\n"),
)


class Drop(Exception):  # noqa: N818 - a verdict on a row, not an error
    """Raised by a field mapping to leave a row out; the row is counted under `reason`.

    `where` says in which file and line the row is, if that is known.
    """

    def __init__(self, reason: str, where: str = ""):
        super().__init__(reason)
        self.reason, self.where = reason, where


def malformed(row: Malformed) -> Drop:
    """Returns the verdict on a row that cannot be read."""
    return Drop(f"malformed: {row.reason}", row.where)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewShot:
    """How few-shot prompts of a task are put together."""

    # Fewest and most exemplars in a prompt; the number is drawn, each equally likely.
    min_shots: int = 1
    max_shots: int = 5
    # Tokens the exemplars of one prompt may take together, where tokens are counted; None: as many
    # as the length allows.
    budget: int | None = None
    # Most rows of the train split to draw exemplars from.
    pool_size: int = 1000
    # One of EXEMPLAR_POLICIES.
    policy: str = EXCLUDE_SELF
    # Pairs (between input and target, between exemplars), one drawn per example.
    delimiters: tuple[tuple[str, str], ...] = DELIMITERS

    def __post_init__(self):
        if self.policy not in EXEMPLAR_POLICIES:
            raise unknown_name("exemplar policy", self.policy, EXEMPLAR_POLICIES)
        if not 0 < self.min_shots <= self.max_shots:
            raise UsageError(
                f"few_shot: need 0 < min_shots <= max_shots, got {self.min_shots} and "
                f"{self.max_shots}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One task of the collection.

    `fields` maps a source row to fields and may raise `Drop`. It is a module-level pure function
    (so that it can be sent to another process). Field values are strings, except:
      * `options`: the answer choices, a list of strings; `answer` is then one of them.
      * `references`: all accepted answers, a list of strings, for templates whose target is one
        slot alone. Without it they follow from the list the target was drawn from.
      * `group`: a key of rows that belong together, such as the turns of a conversation: none is
        an exemplar of another. Kept in the metadata, where a metric may need it; never shown.
      * any other list: one item is drawn per example. An item that is a dict gives the slots
        `{name.key}`.
    """

    # SeqIO name.
    name: str
    # muffin, t0_sf, niv2, cot, or any word of the user's own.
    family: str
    source: Source
    fields: Callable[[Row], Fields]
    templates: TemplateGroup
    # Most examples of the train split that are used, and the most that count in a default rate.
    cap: int | None = None
    # (setting, weight): one setting is drawn per example.
    settings: tuple[tuple[str, float], ...] = ((ZS_OPT, 1.0),)
    metrics: tuple[MetricFn, ...] = ()
    # SeqIO form: (text, example=None, is_target=False) -> answer.
    postprocessor: Callable[..., Any] | None = None
    category: str = ""
    licence: str = ""
    version: str = "1"
    splits: tuple[str, ...] = SPLITS
    few_shot: FewShot = FewShot()
    # Names of option styles (collection/options.py) to draw from; empty: all of them.
    option_styles: tuple[str, ...] = ()
    # The field that may be cut at its end when an example is too long; None: never cut.
    trim_field: str | None = None

    def __post_init__(self):
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"task name {self.name!r}: only letters, digits, '_', '.' and ':' are allowed"
            )
        unknown = [name for name, _ in self.settings if name not in SETTINGS]
        if unknown or not self.settings or sum(weight for _, weight in self.settings) <= 0:
            raise UsageError(
                f"task {self.name!r}: settings {self.settings!r} must be pairs of a name out of "
                f"{SETTINGS} and a weight, the weights summing to > 0"
            )
        if self.cap is not None and self.cap <= 0:
            raise UsageError(f"task {self.name!r}: cap must be > 0 or None, got {self.cap}")
        if not set(self.splits) <= set(SPLITS) or not self.splits:
            raise UsageError(f"task {self.name!r}: splits {self.splits!r} must be out of {SPLITS}")

    def map_row(self, row: Row, split: str, index: int) -> Fields:
        """Returns the fields of the row `index` of `split`.

        Raises:
            Drop: the mapping leaves the row out, or it has text that UTF-8 cannot hold.
            DataError: the row lacks what the mapping needs, or the mapping gives no fields.
        """
        try:
            fields = self.fields(row)
        except (Drop, FlanError):
            raise
        except USER_FAULTS as error:
            raise DataError(
                f"task {self.name!r}: row {index} of {split!r}: its field mapping "
                f"{fault_of(error, row)}: mend it, or let the mapping raise Drop for such rows"
            ) from error
        for name, value in fields.items():
            if type(value) is str and value.isascii():  # most are; called for every row
                continue
            text = _joined(value)
            if text is None:
                raise DataError(
                    f"task {self.name!r}: row {index} of {split!r} gives a field {name!r} of "
                    f"{value!r:.60}; it must be a text, a list of texts or of dicts of texts, or "
                    "None: make the field mapping give that"
                )
            if not is_encodable(text):
                raise malformed(Malformed(f"row {index}", LONE_SURROGATE))
        return fields

    def fingerprint(self) -> str:
        """Returns a hash of all that decides the rendered text, but for the source's content.

        It reads the template file, so the builder asks for it, not the registry.
        """
        parts = {
            "rendering": RENDERING_VERSION,
            "name": self.name,
            "fields": code_fingerprint(self.fields),
            "templates": self.templates.fingerprint(),
            "cap": self.cap,
            "settings": self.settings,
            "version": self.version,
            "few_shot": dataclasses.astuple(self.few_shot),
            "option_styles": self.option_styles,
            "trim_field": self.trim_field,
        }
        return hashlib.sha256(files.dumps(parts).encode()).hexdigest()


def _joined(value: Any) -> str | None:
    """Returns all text in a field's value; None if it is no value that a field may have."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if not isinstance(value, list):
        return None
    try:
        if value and isinstance(value[0], dict):
            value = [text for item in value for text in item.values()]
        return "".join(value)
    except (AttributeError, TypeError):  # an item that is neither
        return None
