# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Registry: genuine SeqIO tasks and mixtures, default rates, and names that are told apart."""

import dataclasses
import functools
import json

import pytest
import seqio
import tensorflow as tf

from flan_jax.collection import registry, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import CotTsvSource, GeneratedSource
from flan_jax.core.errors import UsageError

TEMPLATES = TemplateGroup(
    inline=(json.dumps({"id": "a", "input": "{question}", "target": "{answer}"}),)
)


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """Gives each test SeqIO registries of its own."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry, "_unavailable", {})


def make_row(split, index):
    return {"n": index}


def map_row(row):
    return {"question": str(row["n"]), "answer": "x"}


def task(name, num=10, **changes):
    return spec.TaskSpec(
        name=name,
        family="own",
        source=GeneratedSource(make_row, {"train": num, "validation": 4}),
        fields=map_row,
        templates=TEMPLATES,
        **changes,
    )


def foreign(name, num):
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            functools.partial(foreign_rows, num),
            splits=["train"],
            num_input_examples=None if num is None else {"train": num},
        ),
        output_features=registry.OUTPUT_FEATURES,
    )


def foreign_rows(num, split, shuffle_files, seed=None):
    return tf.data.Dataset.range(num)


def test_tasks_and_mixtures_are_seqios_own():
    added = registry.add_task(task("one"))
    mixture = registry.add_mixture("mix", ["one"])
    assert seqio.get_mixture_or_task("one") is added and isinstance(added, seqio.Task)
    assert seqio.get_mixture_or_task("mix") is mixture and isinstance(mixture, seqio.Mixture)
    assert registry.get_spec("one") == task("one")


def test_default_rates_are_capped_sizes():
    registry.add_task(task("small", 10))
    registry.add_task(task("capped", 100, cap=30))
    registry.add_mixture("mix", ["small", "capped"])
    assert registry.mixture_members("mix") == {"capped": 0.75, "small": 0.25}
    assert registry.mixture_members("small") == {"small": 1.0}


def test_given_rates_and_nested_mixtures():
    for name, num in (("a", 10), ("b", 30), ("c", 60)):
        registry.add_task(task(name, num))
    registry.add_mixture("inner", ["a", "b"])
    registry.add_mixture("by_size", ["inner", "c"])
    assert registry.mixture_members("by_size") == {"a": 0.1, "b": 0.3, "c": 0.6}
    registry.add_mixture("by_share", [("inner", 0.2), ("c", 0.8)])
    assert registry.mixture_members("by_share") == pytest.approx({"a": 0.05, "b": 0.15, "c": 0.8})
    registry.add_mixture("twice", [("inner", 1.0), ("a", 1.0)])
    assert registry.mixture_members("twice") == pytest.approx({"a": 0.625, "b": 0.375})


def test_plain_seqio_tasks_may_be_members():
    registry.add_task(task("own", 10))
    foreign("theirs", 30)
    registry.add_mixture("mix", ["own", "theirs"])
    assert registry.mixture_members("mix") == {"own": 0.25, "theirs": 0.75}
    assert registry.get_spec("theirs") is None
    seqio.MixtureRegistry.add("plain", [("own", 1), ("theirs", 1)])
    assert registry.mixture_members("plain") == {"own": 0.5, "theirs": 0.5}


def test_member_of_unknown_size_needs_a_rate():
    foreign("theirs", None)
    registry.add_mixture("mix", ["theirs"])
    with pytest.raises(UsageError, match="'theirs': its size is unknown; give the mixture a rate"):
        registry.mixture_members("mix")


def test_same_again_is_nothing_new_and_other_content_is_refused():
    added = registry.add_task(task("one"))
    assert registry.add_task(task("one")) is added
    with pytest.raises(UsageError, match="'one' is registered already, as a task"):
        registry.add_task(task("one", cap=3))
    mixture = registry.add_mixture("mix", ["one"])
    assert registry.add_mixture("mix", ["one"]) is mixture
    with pytest.raises(UsageError, match="'mix' is registered already, as a mixture"):
        registry.add_mixture("mix", [("one", 2.0)])
    with pytest.raises(UsageError, match="'mix' is registered already, as a mixture"):
        registry.add_task(task("mix"))
    with pytest.raises(UsageError, match="'one' is registered already, as a task"):
        registry.add_mixture("one", ["one"])


def test_mistakes_in_a_mixture_are_told():
    registry.add_task(task("gsm8k"))
    with pytest.raises(UsageError, match="member of mixture 'mix': 'gsm8'; did you mean 'gsm8k'"):
        registry.add_mixture("mix", ["gsm8"])
    with pytest.raises(UsageError, match="'gsm8k' is named twice"):
        registry.add_mixture("mix", ["gsm8k", ("gsm8k", 1.0)])
    with pytest.raises(UsageError, match="rate must be > 0, got -0.1 for 'gsm8k'"):
        registry.add_mixture("mix", [("gsm8k", -0.1)])
    with pytest.raises(UsageError, match="has no member"):
        registry.add_mixture("mix", [])
    with pytest.raises(UsageError, match="unknown mixture or task 'gsm8'; did you mean 'gsm8k'"):
        registry.mixture_members("gsm8")


def test_unavailable_mixture_is_known_and_tells_the_remedy():
    registry.add_unavailable("niv2", "set FOLDER")
    assert registry.add_mixture("all", ["niv2"]) is None
    for name in ("niv2", "all"):
        with pytest.raises(UsageError, match=f"'{name}' is not available: set FOLDER"):
            registry.mixture_members(name)
    assert registry.known_names() == ["all", "niv2"]
    assert registry.unavailable_reason("all") == "set FOLDER"
    registry.add_task(task("one"))
    registry.add_mixture("niv2", ["one"])
    assert registry.mixture_members("niv2") == {"one": 1.0}
    assert registry.unavailable_reason("niv2") is None


def test_task_without_its_data_is_told_or_skipped(tmp_path):
    gone = dataclasses.replace(task("gone"), source=CotTsvSource(str(tmp_path / "no.tsv")))
    registry.add_task(gone)
    registry.add_task(task("there"))
    registry.add_mixture("mix", ["gone", "there"])
    with pytest.raises(UsageError, match="1 of the 2 tasks of 'mix' cannot be read.*no.tsv does"):
        registry.mixture_members("mix")
    assert registry.mixture_members("mix", skip_missing=True) == {"there": 1.0}
    with pytest.raises(UsageError, match="'gone'.*no.tsv does not exist"):
        registry.mixture_members("gone", skip_missing=True)


def test_registration_reads_nothing(monkeypatch):
    def refuse(*args):
        raise AssertionError("read during registration")

    monkeypatch.setattr(TemplateGroup, "load", refuse)
    monkeypatch.setattr(GeneratedSource, "num_rows", refuse)
    registry.add_task(task("one"))
    registry.add_mixture("mix", ["one"])
    registry.add_mixture("outer", ["mix", ("one", 1.0)])


def test_vocabulary_is_chosen_for_the_process(monkeypatch):
    monkeypatch.setattr(registry.VOCABULARY, "name", registry.VOCABULARY.name)
    registry.use_vocabulary("bytes")
    feature = registry.OUTPUT_FEATURES["inputs"]
    assert feature.vocabulary.vocab_size == 384 and feature.vocabulary.eos_id == 1
    assert feature.vocabulary.decode(feature.vocabulary.encode("a {b}")) == "a {b}"
    assert feature.vocabulary == seqio.ByteVocabulary(extra_ids=125)
    assert feature.vocabulary != seqio.ByteVocabulary(extra_ids=0)
