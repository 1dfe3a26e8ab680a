# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every template of the collection: enough of each kind, told apart, and whole for T5's vocabulary.

T5's vocabulary folds white space to single blanks and has no piece for some characters, so no
meaning may rest on either. Fields and targets of each group are checked beside its tasks.
"""

import re
from pathlib import Path

import pytest

from flan_jax.collection import prompts
from flan_jax.collection.prompts import FORWARD, OPTIONS_SLOT
from flan_jax.collection.vocabularies import load_vocabulary
from tasks import paper
from tests.tasks import family_data

ROOT = Path(__file__).resolve().parent.parent.parent / "tasks"
# The mini collection's own is checked with its tasks.
FILES = sorted(p for p in ROOT.rglob("templates/*.jsonl") if "mini" not in p.parts)
NAMES = [str(p.relative_to(ROOT)) for p in FILES]
GROUPS = [prompts.TemplateGroup(str(path)).load() for path in FILES]
# 62 of Muffin, where some tasks share one; with twins, 6 of dialog, 4 of program synthesis and 2 of
# CoT; 3 of T0-SF; and Natural-Instructions'.
NUM_GROUPS = 78

# Without a piece in T5's vocabulary (or, a tab, one that stays).
UNKNOWN_TO_T5 = set("{}~<\\^`\t")
# Fewest templates of each kind in a group.
LEAST = 10
# Fields that end in a period of their own, so that what follows stays apart.
WHOLE_SENTENCES = ("definition",)


def texts(template):
    """Yields all fixed text of a template."""
    for pattern in (template.head, template.input, template.target):
        if pattern:
            yield from (text for is_slot, text in pattern.pieces if not is_slot)
    yield from (template.input_prefix, template.target_prefix)


def folded(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def test_there_is_a_group_for_every_one_of_the_collection():
    assert len(FILES) == NUM_GROUPS


@pytest.mark.parametrize("templates", GROUPS, ids=NAMES)
def test_enough_templates_of_each_kind(templates):
    def num(few_shot: bool, show: bool) -> int:
        fitting = [t for t in templates if t.fits(few_shot=few_shot, show_options=show)]
        if show:  # as the renderer chooses
            fitting = [
                t
                for t in templates
                if (t in fitting and OPTIONS_SLOT in t.slots) or t.direction != FORWARD
            ]
            fitting = [
                t for t in fitting if t.kind in ("both", "few_shot" if few_shot else "zero_shot")
            ]
        return len(fitting)

    assert num(False, False) >= LEAST and num(True, False) >= LEAST
    if any(OPTIONS_SLOT in t.slots for t in templates):
        assert num(False, True) >= LEAST and num(True, True) >= LEAST
        assert sum(t.options == "no" and t.kind == "zero_shot" for t in templates) >= 3


@pytest.mark.parametrize("templates", GROUPS, ids=NAMES)
def test_directions_are_named_after_their_target(templates):
    for t in templates:
        targets = "+".join(sorted(set(t.target.slots)))
        assert t.direction in (FORWARD, targets), t.id


@pytest.mark.parametrize("templates", GROUPS, ids=NAMES)
def test_nothing_is_lost_in_t5s_vocabulary(templates):
    for t in templates:
        for text in texts(t):
            assert not set(text) & UNKNOWN_TO_T5, f"{t.id}: {text!r}"
        for pattern in filter(None, (t.head, t.input, t.target)):
            pieces = pattern.pieces
            for first, second in zip(pieces, pieces[1:], strict=False):
                assert not (first[0] and second[0]), f"{t.id}: nothing between two slots"
            for first, between, last in zip(pieces, pieces[1:], pieces[2:], strict=False):
                if first[0] and last[0] and OPTIONS_SLOT not in (first[1], last[1]):
                    ends = first[1] in WHOLE_SENTENCES
                    assert ends or between[1].strip(), f"{t.id}: {first[1]} runs into {last[1]}"


@pytest.mark.parametrize("templates", GROUPS, ids=NAMES)
def test_templates_differ_once_line_breaks_and_options_are_gone(templates):
    seen = {}
    for t in templates:
        bare = t.bare
        patterns = (bare.head, bare.input, bare.target)
        shape = [
            "".join(f"{{{x}}}" if is_slot else x for is_slot, x in p.pieces) if p else ""
            for p in patterns
        ]
        key = (t.kind, t.options == "yes", *map(folded, (*shape, t.input_prefix, t.target_prefix)))
        assert key not in seen, f"{t.id} is {seen.get(key)}"
        seen[key] = t.id


def test_exemplars_stay_apart_in_t5s_vocabulary():
    for inner, between in paper.DELIMITERS:
        assert not set(inner + between) & UNKNOWN_TO_T5
        assert folded(between) not in ("", folded(inner))


def test_fixed_text_comes_back_from_t5s_own_vocabulary():
    vocabulary = load_vocabulary(str(family_data.shared_folder() / "vocab/t5_cc_all_32000.model"))
    for name, templates in zip(NAMES, GROUPS, strict=True):
        for t in templates:
            for text in texts(t):
                assert vocabulary.decode(vocabulary.encode(text)) == folded(text), f"{name} {t.id}"
