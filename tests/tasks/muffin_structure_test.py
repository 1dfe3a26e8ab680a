# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin's data-to-text tasks: how words, triples and attributes are written out."""

import csv

import pytest

from flan_jax.collection.rendering import render
from flan_jax.collection.spec import ZS_NOOPT, Drop
from flan_jax.core.rng import ExampleKey
from tasks.muffin import structure
from tests.tasks import family_data, muffin_rendering

ROW = {"target": "A text.", "references": []}


@pytest.mark.parametrize("spec", structure.TASKS, ids=lambda spec: spec.name)
def test_every_template_and_setting_renders(spec):
    muffin_rendering.assert_renders(spec, answer="target")


def test_words_come_in_one_line_and_one_a_line():
    fields = structure.common_gen(ROW | {"concepts": ["ski", "mountain ", ""]})
    assert (fields["concepts"], fields["concepts_newline"]) == ("ski, mountain", "ski\nmountain")
    with pytest.raises(Drop, match="empty concepts"):
        structure.common_gen(ROW | {"concepts": []})


@pytest.mark.parametrize(
    "triples",
    [
        ["[TABLECONTEXT] [TITLE] Players", "Ann TEAM A[1]", "[TABLECONTEXT]"],
        [["[TABLECONTEXT]", "[TITLE]", "Players"], ["Ann", "TEAM", "A[1]"], ["[TABLECONTEXT]"]],
    ],
)
def test_triples_lose_the_tags_of_their_table(triples):
    fields = structure.dart(ROW | {"tripleset": triples})
    assert fields["tripleset"] == "Players; Ann TEAM A[1]"
    assert not fields["tripleset"].startswith("[")


@pytest.mark.parametrize(("name", "target"), [("meaning_representation", "target"), ("mr", "ref")])
def test_attributes_are_written_with_equals_signs(name, target):
    text = "name[The Eagle], priceRange[less than £20], near[Burger King, Leeds], food[]"
    fields = structure.e2e_nlg({name: text, target: "An inn."})
    assert fields["meaning_representation"] == (
        "name = The Eagle, priceRange = less than £20, near = Burger King, Leeds, food = "
    ).rstrip(" ")
    assert fields["target"] == "An inn."


def test_attributes_in_another_form_stay_as_they_are():
    fields = structure.e2e_nlg(ROW | {"meaning_representation": " name: The Eagle "})
    assert fields["meaning_representation"] == "name: The Eagle"


def test_knowledge_graph_triples_have_commas_and_blanks():
    triples = ["Aarhus_Airport | cityServed | Aarhus", 'Aarhus | country | "Den_mark"']
    fields = structure.web_nlg_en(ROW | {"input": triples})
    assert (
        fields["input_string"] == 'Aarhus Airport, cityServed, Aarhus; Aarhus, country, "Den mark"'
    )


def test_all_texts_of_a_validation_row_are_accepted():
    row = {"target": "One.", "references": ["One.", "Two.", " "], "concepts": ["a"]}
    fields = structure.common_gen(row)
    assert fields["references"] == ["One.", "Two."]
    spec = structure.TASKS[0]
    seen = {}
    for index in range(60):
        example = render(spec, fields, key=ExampleKey(0, spec.name, index), setting=ZS_NOOPT)
        seen[example.meta["direction"]] = example.references
    assert seen["forward"] == ["One.", "Two."] and seen["concepts"] == ["a"]
    assert dict(spec.source.sources[0].splits)["validation"] == "validation"


@pytest.mark.parametrize("mapping", [structure.dart, structure.web_nlg_en])
def test_rows_without_a_text_are_dropped(mapping):
    with pytest.raises(Drop, match="empty target"):
        mapping({"target": "", "references": [], "tripleset": ["a b c"], "input": ["a | b | c"]})


def test_real_attributes_give_fields():
    path = family_data.shared_folder() / "train/muffin/e2e_nlg/train.csv"
    with path.open(encoding="utf-8-sig") as file:
        fields = [structure.e2e_nlg(row) for row in csv.DictReader(file)]
    assert len(fields) == 1000
    for row in fields:
        assert "[" not in row["meaning_representation"] and " = " in row["meaning_representation"]
