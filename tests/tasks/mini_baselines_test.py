# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the rules that a model on the mini collection is compared with."""

import pytest

from tasks.mini import baselines, catalogue
from tasks.mini.catalogue import HELD_IN, HELDOUT_SKILL, Entry
from tasks.mini.skills import Skill


def score(facts, group=HELD_IN, **form):
    return baselines.exact_match([Entry("muffin", Skill(facts=facts, **form), group)])


def test_random_facts_are_right_by_chance():
    assert score(("color",))["random_fact"] == pytest.approx(20)  # one of five
    assert score(("color", "city"))["random_fact"] == pytest.approx(10)  # one of ten pairs
    assert score(("country",))["random_fact"] == 0


def test_ignoring_the_form_helps_only_where_none_is_asked_for():
    assert score(("color",))["no_form"] == 100
    assert score(("color",), marks="twice")["no_form"] == 0


def test_majority_of_rows():
    four_kinds = score(("kind",), HELDOUT_SKILL)["majority"]
    assert 25 <= four_kinds < 60
    assert score(("owner", "color", "city"), HELDOUT_SKILL)["majority"] < 10


def test_heldout_chance_is_low():
    combinations = baselines.exact_match(catalogue.heldout_combinations())
    assert combinations["no_form"] == 0
    assert max(combinations.values()) < 25
