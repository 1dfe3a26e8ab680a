# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The grammar of the mini collection: what a task asks for, and the rows of a task.

A task reads a note ("Anna has two red cats in Rome.") and reports facts of it in a set form. It is
one choice in each of three attributes: facts, marks, frame. What is trained is these
attributes; what is tested is combinations of them that no training task has.

Notes are divided once, for all tasks: a note of the validation side is in no training row.
"""

import dataclasses

from flan_jax.collection.sources import Row
from flan_jax.core.rng import ExampleKey
from tasks.mini import lexicon

TRAIN, VALIDATION = "train", "validation"
# One in so many notes is of the validation side.
VALIDATION_SHARE = 8
NUM_OPTIONS = 3
_SEED = 2022

_MARKS = lexicon.MARKS | lexicon.UNSEEN_MARKS
_FRAMES = lexicon.FRAMES | lexicon.UNSEEN_FRAMES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skill:
    """What a task asks for."""

    # Facts to report, in the order of `lexicon.VALUES`; a derived fact stands alone.
    facts: tuple[str, ...]
    marks: str = "bare"
    frame: str = "alone"

    @property
    def name(self) -> str:
        """A part of a task's name: facts, then the forms that are not the plain ones."""
        forms = [self.marks, self.frame]
        return "_".join([*self.facts, *(form for form in forms if form not in ("bare", "alone"))])

    @property
    def attributes(self) -> tuple[str, str, str]:
        """The three choices, as labels."""
        return "+".join(self.facts), self.marks, self.frame

    def answer(self, note: dict[str, str]) -> str:
        """Returns the facts without form."""
        return " and ".join([value_of(fact, note) for fact in self.facts])

    def form(self, answer: str) -> str:
        """Returns the answer in the form asked for."""
        text = _MARKS[self.marks][0].replace("{}", answer)
        return _FRAMES[self.frame][0].replace("{}", text)


def value_of(fact: str, note: dict[str, str]) -> str:
    """Returns a fact that the note states or implies."""
    if fact in lexicon.DERIVED:
        given, table = lexicon.DERIVED[fact]
        return table[note[given]]
    return note[fact]


def is_validation(note: dict[str, str]) -> bool:
    """Whether a note, whatever its wording, belongs to the validation side."""
    return ExampleKey(_SEED, "/".join(note.values()), 0).integer("side", VALIDATION_SHARE) == 0


def make_row(skill: Skill, task: str, split: str, index: int) -> Row:
    """Returns row `index` of a task: the note in words, the instruction in words, the answers."""
    key = ExampleKey(_SEED, f"{task}/{split}", index)
    note = _draw_note(key, validation=split == VALIDATION)
    names = [key.choice(f"name/{fact}", lexicon.NAMES[fact]) for fact in skill.facts]
    fact = _join(names)
    answer = skill.answer(note)
    return {
        "text": key.choice("note", lexicon.NOTES).format(**note),
        "request": key.choice("request", lexicon.REQUESTS).format(fact=fact),
        "question": key.choice("question", lexicon.QUESTIONS).format(fact=fact),
        "fact": fact,
        "style": _style(skill, key),
        "rationale": _rationale(skill, note),
        "answer": answer,
        "reply": skill.form(answer),
        "options": _options(skill, note, answer, key),
    }


def _draw_note(key: ExampleKey, *, validation: bool) -> dict[str, str]:
    attempt = 0
    while True:
        note = {
            fact: key.choice(f"value/{fact}/{attempt}", values)
            for fact, values in lexicon.VALUES.items()
        }
        if is_validation(note) == validation:
            return note
        attempt += 1


def _style(skill: Skill, key: ExampleKey) -> str:
    """Returns sentences that ask for the form, in random order."""
    parts = [
        key.choice(f"style/{side}", ways)
        for side, ways in (
            ("marks", _MARKS[skill.marks][1]),
            ("frame", _FRAMES[skill.frame][1]),
        )
        if ways
    ]
    if not parts:
        return key.choice("style", lexicon.NO_FORM)
    order = key.sample("style_order", len(parts), len(parts))
    return " ".join([parts[i] for i in order])


def _rationale(skill: Skill, note: dict[str, str]) -> str:
    (first, *_), answer = skill.facts, skill.answer(note)
    if first not in lexicon.DERIVED:
        return lexicon.READ_RATIONALE.format(answer=answer)
    given = note[lexicon.DERIVED[first][0]]
    return lexicon.RATIONALES[first].format(given=given, answer=answer)


def _options(skill: Skill, note: dict[str, str], answer: str, key: ExampleKey) -> list[str]:
    """Returns the answer and others that differ from it in the first fact, shuffled."""
    first, *rest = skill.facts
    values = lexicon.VALUES.get(first) or tuple(sorted(set(lexicon.DERIVED[first][1].values())))
    own = value_of(first, note)
    tail = [value_of(fact, note) for fact in rest]
    others = [" and ".join([value, *tail]) for value in values if value != own]
    chosen = [others[i] for i in key.sample("options", len(others), NUM_OPTIONS - 1)]
    chosen.insert(key.integer("option_place", NUM_OPTIONS), answer)
    return chosen


def _join(names: list[str]) -> str:
    """Returns `a`, `a and b` or `a, b and c`."""
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last
