# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exemplars: from the train split, seeded, never the query."""

import dataclasses
import json

import pytest

from flan_jax.collection import few_shot, rendering, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.sources import GeneratedSource
from flan_jax.core.errors import UsageError
from flan_jax.core.rng import ExampleKey


def make_row(split, index):
    return {"split": split, "n": index}


def map_row(row):
    if row["n"] % 10 == 9:
        raise spec.Drop("ends in nine")
    return {"question": f"{row['split']} {row['n']}", "answer": "x"}


def demo(**few):
    return spec.TaskSpec(
        name="demo",
        family="own",
        source=GeneratedSource(make_row, {"train": 100, "validation": 10}),
        fields=map_row,
        templates=TemplateGroup(
            inline=(json.dumps({"id": "a", "input": "{question}", "target": "{answer}"}),)
        ),
        few_shot=spec.FewShot(**few),
    )


ENTRIES = [(i, {"question": f"q{i // 2}"}) for i in range(20)]


def draw(pool, index=0, num=3, seed=0, same=lambda fields: False):
    return pool.draw(ExampleKey(seed, "t", index), num, train_index=index, same=same)


def test_pool_is_a_seeded_part_of_train_without_dropped_rows():
    pool = few_shot.ExemplarPool.load(demo(pool_size=40), 0)
    again = few_shot.ExemplarPool.load(demo(pool_size=40), 0)
    other = few_shot.ExemplarPool.load(demo(pool_size=40), 1)
    assert pool._entries == again._entries != other._entries
    assert 30 <= len(pool) <= 40
    assert all(fields["question"] == f"train {index}" for index, fields in pool._entries)
    assert len(few_shot.ExemplarPool.load(demo(), 0)) == 90


@pytest.mark.parametrize("num", [1, 3, 7])
def test_draw_never_gives_the_query_nor_a_row_that_shows_it(num):
    pool = few_shot.ExemplarPool(ENTRIES)
    for index in range(20):
        twin = f"q{index // 2}"
        drawn = draw(pool, index, num, same=lambda fields, twin=twin: fields["question"] == twin)
        indices = [i for i, _ in drawn]
        assert len(set(indices)) == num and index not in indices
        assert twin not in [fields["question"] for _, fields in drawn]


def test_draw_by_the_papers_policy_may_give_the_query():
    pool = few_shot.ExemplarPool(ENTRIES, policy=spec.PAPER)
    assert any(index in [i for i, _ in draw(pool, index)] for index in range(20))


def test_draw_depends_on_the_key_alone_and_uses_the_whole_pool():
    pool = few_shot.ExemplarPool(ENTRIES)
    assert draw(pool, 5) == draw(few_shot.ExemplarPool(ENTRIES), 5)
    used = {i for seed in range(60) for i, _ in draw(pool, 0, seed=seed)}
    assert used == set(range(1, 20))


def test_draw_from_a_small_pool_gives_what_there_is():
    pool = few_shot.ExemplarPool(ENTRIES[:3])
    assert sorted(i for i, _ in draw(pool, 0, 5)) == [1, 2]
    assert draw(few_shot.ExemplarPool([]), 0, 5) == []


def test_a_disjoint_pool_is_a_fifth_at_most_and_no_query():
    few = demo(policy=spec.DISJOINT_POOL)
    few = dataclasses.replace(few, settings=((spec.FS_NOOPT, 1.0),))
    pool = few_shot.ExemplarPool.load(few, 0)
    assert 10 <= len(pool) <= 20 and len(pool.set_aside) == len(pool)
    items = list(rendering.render_task(few, "train", 0))
    kept = {x.index for x in items if getattr(x, "reason", "") == rendering.SET_ASIDE}
    assert kept == pool.set_aside
    shown = {i for x in items if isinstance(x, rendering.Rendered) for i in x.meta["exemplars"]}
    assert shown and shown <= pool.set_aside
    validation = [x for x in rendering.render_task(few, "validation", 0)]
    assert not any(getattr(x, "reason", "") == rendering.SET_ASIDE for x in validation)


def test_unknown_policy_names_the_closest():
    with pytest.raises(UsageError, match="disjoint_pool"):
        spec.FewShot(policy="disjoint")
