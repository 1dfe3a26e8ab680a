# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the mini collection's grammar and catalogue."""

import collections

import pytest

from tasks.mini import catalogue, lexicon, skills
from tasks.mini.skills import Skill

NOTE = {"owner": "Anna", "number": "two", "color": "red", "thing": "cats", "city": "Rome"}


@pytest.mark.parametrize(
    ("skill", "expected"),
    [
        (Skill(facts=("color",)), "red"),
        (Skill(facts=("color",), marks="brackets", frame="loud"), "( red ) !"),
        (Skill(facts=("country",), marks="sentence", frame="here"), "here : it is Italy"),
        (Skill(facts=("number",), marks="twice", frame="done"), "two two done"),
        (Skill(facts=("owner", "city"), marks="stars"), "* Anna and Rome *"),
        (Skill(facts=("kind",), marks="brackets_twice"), "( animals ) ( animals )"),
        (Skill(facts=("thing",), marks="thrice", frame="here_loud"), "here : cats cats cats !"),
    ],
)  # fmt: skip
def test_answer_and_form(skill, expected):
    assert skill.form(skill.answer(NOTE)) == expected


def test_a_row_is_the_same_each_time_and_differs_between_indices():
    skill = Skill(facts=("color",), marks="stars")
    rows = [skills.make_row(skill, "t", "train", index) for index in range(20)]
    assert rows == [skills.make_row(skill, "t", "train", index) for index in range(20)]
    assert len({row["text"] for row in rows}) > 15
    assert rows[0] != skills.make_row(skill, "t", "validation", 0)


def test_a_row_holds_its_answer_among_different_options():
    for entry in (*catalogue.training()[::5], *catalogue.heldout_skills()):
        for index in range(10):
            row = skills.make_row(entry.skill, entry.name, "train", index)
            assert row["answer"] in row["options"]
            assert len(set(row["options"])) == skills.NUM_OPTIONS
            assert row["answer"] in row["reply"]
            assert row["rationale"].endswith(f"{row['answer']}.")


def test_every_trained_form_is_asked_for_in_words():
    for forms in (lexicon.MARKS, lexicon.FRAMES):
        plain, *others = forms.values()
        assert plain == ("{}", ())
        assert all(len(ways) >= 4 for _, ways in others)
    ways = [w for f in (lexicon.MARKS, lexicon.FRAMES) for _, ws in f.values() for w in ws]
    assert len(ways) == len(set(ways)), "one wording would ask for two forms"


def test_names_of_facts_are_not_shared():
    names = [name for names in lexicon.NAMES.values() for name in names]
    assert len(names) == len(set(names))


def test_notes_state_every_fact_once():
    for note in lexicon.NOTES:
        assert all(note.count(f"{{{fact}}}") == 1 for fact in lexicon.VALUES)


def test_the_sides_of_notes_never_meet():
    sides = {"train": set(), "validation": set()}
    for split, notes in sides.items():
        for entry in catalogue.training()[:6]:
            for index in range(200):
                row = skills.make_row(entry.skill, entry.name, split, index)
                words = set(row["text"].replace(",", "").rstrip(".").split())
                notes.add(frozenset(words & VALUES))
    assert all(len(notes) > 300 for notes in sides.values())
    assert not sides["train"] & sides["validation"]


VALUES = {value for values in lexicon.VALUES.values() for value in values}


def test_catalogue_sizes_and_names():
    entries = (
        *catalogue.training(), *catalogue.heldout_combinations(), *catalogue.heldout_skills(),
    )  # fmt: skip
    assert len(catalogue.training()) >= 120
    assert len({entry.name for entry in entries}) == len(entries)
    assert len({entry.skill for entry in entries}) == len(entries), "one instruction, two tasks"


def test_every_family_is_in_every_prefix():
    for size in (4, 8, 16, 32, 64):
        families = collections.Counter(entry.family for entry in catalogue.training()[:size])
        assert set(families) == {"muffin", "t0_sf", "niv2", "cot"}
        assert families["cot"] <= size // 4


def test_heldout_combinations_use_trained_values_and_heldout_skills_do_not():
    trained = [set() for _ in range(3)]
    for entry in catalogue.training()[:16]:  # the first mixture that has them all
        for values, value in zip(trained, entry.skill.attributes, strict=True):
            values.add(value)

    def unseen(entry):
        return sum(
            value not in values
            for values, value in zip(trained, entry.skill.attributes, strict=True)
        )

    assert all(unseen(entry) == 0 for entry in catalogue.heldout_combinations())
    assert all(unseen(entry) >= 1 for entry in catalogue.heldout_skills())
