# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The browser's data: every task is there, with what it shows or why it shows nothing."""

import dataclasses
import json

import pytest
import seqio

import tasks.mini.mixtures  # noqa: F401 - registers
from flan_jax.collection import browsing, registry, rendering, sources, vocabularies
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.spec import TaskSpec
from flan_jax.core.errors import DataError

LOOK = browsing.Look(num_examples=2, num_lengths=30)


def broken_row(split, index):
    raise DataError("rows.jsonl:1: not valid JSON")


def odd_fields(row):
    raise ZeroDivisionError("by the user")


@pytest.fixture(scope="module")
def specs():
    names = registry.task_names("mini_8")
    return {name: registry.get_spec(name) for name in names}


@pytest.fixture(scope="module")
def data(specs):
    return browsing.collect("mini_8", specs, ["mini_8"], LOOK)


def test_every_task_is_described_and_json_holds_it(data, specs):
    assert json.loads(json.dumps(data)) == data
    assert [task["name"] for task in data["tasks"]] == list(specs)
    for task in data["tasks"]:
        spec = specs[task["name"]]
        assert task["num_rows"] == {s: spec.source.num_rows(s) for s in spec.splits}
        assert dict(map(tuple, task["settings"])) == dict(spec.settings)
        group = data["groups"][task["group"]]
        assert [t["id"] for t in group] == [t.id for t in spec.templates.load()]
    families = {task["family"] for task in data["tasks"]}
    assert len(data["groups"]) == len(families)  # groups that tasks share are there once


def test_examples_are_those_a_model_gets(data, specs):
    for task in data["tasks"]:
        rendered = rendering.render_task(specs[task["name"]], task["split"], 0, limit=2)
        wanted = [e for e in rendered if isinstance(e, rendering.Rendered)]
        assert len(task["examples"]) == 2
        for shown, example in zip(task["examples"], wanted, strict=True):
            pieces = [piece for _, pieces in shown["parts"] for piece in pieces]
            assert "".join(text for _, _, text, _ in pieces) == example.inputs
            assert shown["targets"] == [example.targets, 0]
            assert shown["meta"]["template"] == example.meta["template"]


def test_lengths_are_those_of_the_texts(data, specs):
    task = data["tasks"][0]
    found = rendering.render_task(specs[task["name"]], task["split"], 0, limit=30)
    lengths = sorted(len(e.inputs) for e in found if isinstance(e, rendering.Rendered))
    inputs = task["lengths"]["inputs"]
    assert inputs["max"] == lengths[-1] and inputs["percentiles"]["50"] == lengths[14]
    assert inputs["mean"] == pytest.approx(sum(lengths) / 30, abs=0.06)
    for i, num in enumerate(inputs["bins"]):
        low, high = i * inputs["width"], (i + 1) * inputs["width"]
        assert num == sum(low <= length < high for length in lengths)


def test_rates_and_parts_are_those_of_the_mixture():
    name = "mini_heldout"
    specs = {task: registry.get_spec(task) for task in registry.task_names(name)}
    names = browsing.submixtures(name)
    assert names[0] == name and set(names[1:]) == {f"{name}_combinations", f"{name}_skills"}
    data = browsing.collect(name, specs, names, browsing.Look(num_examples=1, num_lengths=1))
    found = data["mixtures"][0]
    rates = registry.mixture_members(name)
    for number, rate in zip(found["tasks"], found["rates"], strict=True):
        assert rate == pytest.approx(rates[data["tasks"][number]["name"]], rel=1e-5)
    assert found["num_readable"] == len(specs)


def test_declared_shares_are_shown_without_data():
    registry.add_mixture("browsed_parts", [("mini_4", 3.0), ("mini_heldout_skills", 1.0)])
    names = registry.task_names("browsed_parts")
    specs = {name: registry.get_spec(name) for name in names}
    data = browsing.collect("x", specs, ["browsed_parts"], dataclasses.replace(LOOK, num_lengths=1))
    assert data["mixtures"][0]["parts"] == [["mini_4", 0.75], ["mini_heldout_skills", 0.25]]


def test_tokens_are_counted_and_what_the_tokenizer_changes_is_shown(specs):
    vocabulary = vocabularies.load_vocabulary("bytes")
    name, spec = next(iter(specs.items()))
    look = dataclasses.replace(LOOK, vocabulary=vocabulary)
    (task,) = browsing.collect("x", {name: spec}, [], look)["tasks"]
    shown = task["examples"][0]
    text = "".join(piece[2] for _, pieces in shown["parts"] for piece in pieces)
    assert shown["inputs_tokens"] == len(vocabulary.encode(text))
    assert shown["inputs_read"] is None and shown["targets_read"] is None


def test_a_lossy_tokenizer_is_seen(specs):
    class Forgetful(vocabularies.ByteVocabulary):
        def decode(self, ids):
            return super().decode(ids).lower()

    look = dataclasses.replace(LOOK, vocabulary=Forgetful())
    name, spec = next(iter(specs.items()))
    (task,) = browsing.collect("x", {name: spec}, [], look)["tasks"]
    shown = task["examples"][0]
    text = "".join(piece[2] for _, pieces in shown["parts"] for piece in pieces)
    assert shown["inputs_read"] == [text.lower(), 0] != [text, 0]


def test_what_cannot_be_shown_is_described_and_stops_no_other(specs, tmp_path):
    name, spec = next(iter(specs.items()))
    gone = sources.JsonLinesSource({"train": str(tmp_path / "gone.jsonl")})
    no_templates = TemplateGroup(str(tmp_path / "none.jsonl"))
    broken = sources.GeneratedSource(broken_row, {"train": 3, "validation": 3})
    found = browsing.collect(
        "x",
        {
            "missing": dataclasses.replace(spec, name="missing", source=gone),
            "broken": dataclasses.replace(spec, name="broken", source=broken),
            "odd": dataclasses.replace(spec, name="odd", fields=odd_fields),
            "no_templates": dataclasses.replace(spec, name="no_templates", templates=no_templates),
            name: spec,
        },
        [],
        LOOK,
    )
    missing, faulty, odd, bare, good = found["tasks"]
    assert "gone.jsonl does not exist" in found["reasons"][missing["missing"]]
    assert "group" in missing and "num_rows" not in missing and "examples" not in missing
    assert faulty["fault"] == "rows.jsonl:1: not valid JSON"
    assert odd["fault"].startswith("ZeroDivisionError: by the user (at ")
    assert "none.jsonl does not exist" in bare["fault"]
    assert [browsing.is_readable(task) for task in found["tasks"]] == [False] * 4 + [True]
    assert len(good["examples"]) == 2 and "fault" not in good


def test_a_plain_seqio_task_is_listed():
    seqio.TaskRegistry.add(
        "browsed_plain",
        source=seqio.FunctionDataSource(lambda split, shuffle_files, seed=None: None, ["train"]),
        output_features=registry.OUTPUT_FEATURES,
    )
    found = browsing.collect("x", {"browsed_plain": registry.get_spec("browsed_plain")}, [], LOOK)
    assert found["tasks"][0]["family"] == browsing.FOREIGN
    assert "plain SeqIO" in found["reasons"][found["tasks"][0]["missing"]]


def test_long_texts_are_cut_and_the_rest_is_counted():
    long = TaskSpec(
        name="browsed_long",
        family="test",
        source=sources.GeneratedSource(long_row, {"train": 1}),
        fields=dict,
        templates=TemplateGroup(inline=('{"id": "a", "input": "{x}", "target": "{answer}"}',)),
        settings=(("zs_noopt", 1.0),),
        splits=("train",),
    )
    (task,) = browsing.collect("x", {"browsed_long": long}, [], LOOK)["tasks"]
    (_, ((slot, _, text, left),)) = task["examples"][0]["parts"][0]
    assert (slot, len(text), left) == ("x", browsing.MAX_SHOWN, 4_000)


def long_row(split, index):
    return {"x": "y" * 10_000, "answer": "z"}


def test_tasks_by_licence_end_with_those_that_state_none():
    name = registry.task_names("mini_4")[0]
    spec = registry.get_spec(name)
    unstated = dataclasses.replace(spec, name="browsed_unstated", licence="")
    registry.add_task(unstated)
    registry.add_mixture("browsed_licences", ["mini_4", "browsed_unstated"])
    found = browsing.by_licence("browsed_licences")
    assert list(found) == [spec.licence, ""]
    assert found[""] == ["browsed_unstated"] and name in found[spec.licence]
