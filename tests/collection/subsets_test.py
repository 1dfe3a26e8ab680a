# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mixtures made from mixtures: the settings of a variant, names by pattern, rates in both."""

import json

import pytest
import seqio

from flan_jax.collection import build, registry, rendering, spec, subsets
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import GeneratedSource
from flan_jax.core.errors import UsageError

TEMPLATES = TemplateGroup(
    inline=tuple(
        json.dumps({"id": kind, "kind": kind, "input": "{q}", "target": "{answer}"})
        for kind in ("zero_shot", "few_shot")
    )
)
PLAIN = ((spec.ZS_NOOPT, 0.5), (spec.FS_NOOPT, 0.5))
ALL = tuple((name, 0.25) for name in spec.SETTINGS)


def make_row(split, index):
    return {"q": f"{split} {index}", "answer": "x"}


def map_row(row):
    return row


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Two mixtures in one, in registries of their own."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry, "_unavailable", {})
    for name, num, settings in (("a.x", 10, ALL), ("a.y", 30, PLAIN), ("b.z", 60, PLAIN)):
        registry.add_task(
            spec.TaskSpec(
                name=name, family="own", fields=map_row, templates=TEMPLATES, settings=settings,
                source=GeneratedSource(make_row, {"train": num, "validation": 2}),
            )
        )  # fmt: skip
    registry.add_mixture("a", ["a.x", "a.y"])
    registry.add_mixture("b", ["b.z"])
    registry.add_mixture("all", [("a", 3.0), ("b", 1.0)])


def test_task_rates_are_those_of_seqio():
    mixture = seqio.MixtureRegistry.get("all")
    expected = {t.name: seqio.Mixture.get_rate(mixture, t) for t in mixture.tasks}
    assert registry.task_rates(mixture) == pytest.approx(expected)
    assert expected == pytest.approx({"a.x": 0.75, "a.y": 2.25, "b.z": 1.0})
    assert mixture._get_all_mixing_rates(mixture.tasks) == pytest.approx([0.75, 2.25, 1.0])


@pytest.mark.parametrize(
    ("variant", "settings"),
    [
        ("zero_shot", {"zs_opt", "zs_noopt"}),
        ("few_shot", {"fs_opt", "fs_noopt"}),
        ("no_options", {"zs_noopt", "fs_noopt"}),
    ],
)
def test_variant_keeps_tasks_and_rates_and_drops_settings(variant, settings):
    name = f"all_{variant}"
    subsets.ensure(name)
    subsets.ensure(name)
    rates = registry.mixture_members(name)
    expected = {"a.x": 0.1875, "a.y": 0.5625, "b.z": 0.25}
    assert rates == pytest.approx({f"{t}.{variant}": r for t, r in expected.items()})
    declared = registry.get_spec(f"a.x.{variant}")
    assert {s for s, _ in declared.settings} == settings
    drawn = {
        x.meta["drawn_setting"]
        for x in rendering.render_task(registry.get_spec(f"a.y.{variant}"), "train", 0)
    }
    assert drawn <= settings


def test_variant_leaves_out_tasks_without_such_a_setting():
    subsets.ensure("all_options")
    assert registry.mixture_members("all_options") == {"a.x.options": 1.0}
    with pytest.raises(UsageError, match="no task of 'b' has a prompt setting out of zs_opt"):
        subsets.ensure("b_options")


def test_names_that_are_no_variant_stay_unknown():
    before = set(seqio.MixtureRegistry.names())
    for name in ("all_zero", "none_zero_shot", "a.x_zero_shot", "all"):
        subsets.ensure(name)
    assert set(seqio.MixtureRegistry.names()) == before


def test_pattern_keeps_the_rates_of_the_base():
    subsets.add_by_pattern("few", "all", ["*.x", "b.*"])
    assert registry.mixture_members("few") == pytest.approx({"a.x": 0.75 / 1.75, "b.z": 1 / 1.75})


def test_pattern_that_matches_nothing_is_refused():
    with pytest.raises(UsageError, match="pattern 'c.\\*' matches no task of 'all'"):
        subsets.add_by_pattern("few", "all", ["a.*", "c.*"])
    with pytest.raises(UsageError, match="unknown mixture 'alle'"):
        subsets.add_by_pattern("few", "alle", ["a.*"])


def test_variant_is_built_by_its_name(tmp_path):
    store = build.build(
        mixture="a_zero_shot", out=tmp_path / "store", vocabulary="bytes", limit=3,
        feature_lengths={"inputs": 512, "targets": 256},
    )  # fmt: skip
    assert sorted(store.manifest["rates"]) == ["a.x.zero_shot", "a.y.zero_shot"]
