# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What holds for any data: of rendering, options, trimming and the choice of exemplars."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.collection import options, spec
from flan_jax.collection.few_shot import ExemplarPool
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.rendering import render
from flan_jax.collection.sources import GeneratedSource
from flan_jax.core.rng import ExampleKey

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=8), min_size=1, max_size=12)
TEXT = WORDS.map(" ".join)
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=8, max_size=20, unique=True)


def make_row(split, index):
    return {}


def count(text: str) -> int:
    """Words: a stand-in for tokens that a test can count."""
    return len(text.split())


def demo(**changes) -> spec.TaskSpec:
    both = {"input": "{context} || {question}", "target": "{answer}"}
    few = {"head": "Do it.", "input_prefix": "In: ", "target_prefix": "Out: "}
    rows = [
        {"id": "zero", "kind": "zero_shot"} | both,
        {"id": "few", "kind": "few_shot"} | both | few,
    ]
    return spec.TaskSpec(
        name="demo",
        family="own",
        source=GeneratedSource(make_row, {"train": 1}),
        fields=dict,
        templates=TemplateGroup(inline=tuple(map(json.dumps, rows))),
        **changes,
    )


@given(st.integers(1, 900), st.sampled_from(sorted(options.STYLES)))
def test_option_marks_are_different_however_many(num, style):
    style = options.STYLES[style]
    if style.enumerated:
        marks = [style.mark(i) for i in range(num)]
        assert len({m.casefold() for m in marks}) == num and all(marks)


@given(st.lists(TEXT, min_size=1, max_size=40), st.integers(0, 10_000))
def test_every_option_is_listed_once_and_in_order(choices, seed):
    listing = options.draw_listing(ExampleKey(seed, "t", 0))
    text = listing.text(choices)
    position = len(listing.header)
    for choice in choices:
        position = text.index(choice, position) + len(choice)
    assert text.startswith(listing.header)


@given(TEXT, st.lists(TEXT, min_size=2, max_size=30, unique=True), st.integers(0, 1000), st.data())
def test_the_target_names_the_answer_among_the_options(question, choices, index, data):
    answer = data.draw(st.sampled_from(choices))
    row = {"id": "t", "options": "yes", "input": "{question}\n{options}", "target": "{answer}"}
    task = spec.TaskSpec(
        name="demo", family="own", source=GeneratedSource(make_row, {"train": 1}), fields=dict,
        templates=TemplateGroup(inline=(json.dumps(row),)),
    )  # fmt: skip
    fields = {"question": question, "answer": answer, "options": choices}
    example = render(task, fields, key=ExampleKey(0, "demo", index), setting="zs_opt")
    style = options.STYLES[example.meta["option_style"]]
    if style.enumerated:
        assert example.targets == style.mark(choices.index(answer))
        assert example.references == [example.targets]
    else:
        assert example.targets == answer


@given(TEXT, WORDS, st.integers(4, 40), st.integers(0, 1000))
def test_only_the_trim_field_is_cut_and_the_prompt_fits(question, context, most, index):
    context = " ".join(f"c{i}" for i in range(3 * len(context)))
    fields = {"question": question, "context": context, "answer": "a"}
    lengths = {"inputs": most, "targets": 9}
    task = demo(trim_field="context")
    try:
        example = render(
            task, fields, key=ExampleKey(0, "demo", index), setting="zs_noopt",
            count_tokens=count, feature_lengths=lengths,
        )  # fmt: skip
    except spec.Drop:
        # Not even one word of the context would fit.
        assert count(f"c0 || {question}") >= most
        return
    shown, bars, asked = example.inputs.partition(" || ")
    assert bars and asked == question
    assert context.startswith(shown) and count(example.inputs) < most
    assert example.meta["trimmed"] == len(context) - len(shown)
    if example.meta["trimmed"]:  # and one word more would not fit
        assert count(example.inputs) + 1 >= most


@settings(deadline=None)
@given(ROWS, st.integers(20, 200), st.integers(0, 1000), st.sampled_from(spec.EXEMPLAR_POLICIES))
def test_exemplars_are_others_within_length_and_budget(rows, most, index, policy):
    entries = [(i, {"question": q, "context": "c", "answer": a}) for i, (q, a) in enumerate(rows)]
    query = index % len(rows)
    few = spec.FewShot(policy=policy, budget=most // 2)
    example = render(
        demo(few_shot=few), entries[query][1], key=ExampleKey(0, "demo", index),
        exemplars=ExemplarPool(entries, policy=policy), count_tokens=count,
        feature_lengths={"inputs": most, "targets": 50}, setting="fs_noopt", train_index=query,
    )  # fmt: skip
    meta = example.meta
    shown = meta["exemplars"]
    assert count(example.inputs) < most or meta["setting"] == "zs_noopt"
    if meta["setting"] == "zs_noopt":  # none fits, or there is none to show
        assert not shown and meta["drawn_setting"] == "fs_noopt"
        return
    assert 1 <= len(shown) == meta["num_shots"] <= 5
    assert meta["num_shots"] + meta["num_shots_cut"] <= 5
    assert len(set(shown)) == len(shown)
    if policy != spec.PAPER:
        assert query not in shown
        assert all(rows[i][0] != rows[query][0] for i in shown)
    for i in shown:
        assert f"In: c || {rows[i][0]}" in example.inputs
    # The query stands last and whole.
    assert example.inputs.rpartition("In: ")[2].startswith(f"c || {rows[query][0]}")
    assert example.targets == rows[query][1]


@given(TEXT, TEXT, st.integers(0, 10_000), st.integers(0, 3))
def test_a_key_gives_one_text_for_ever(question, answer, index, seed):
    fields = {"question": question, "context": "c", "answer": [answer, answer + " too"]}
    task = demo(settings=((spec.ZS_NOOPT, 1.0), (spec.FS_NOOPT, 1.0)))
    key = ExampleKey(seed, "demo", index)
    first, again = (render(task, fields, key=key) for _ in range(2))
    assert (first.inputs, first.targets, first.meta) == (again.inputs, again.targets, again.meta)
    assert set(first.references) == {answer, answer + " too"}


def test_a_style_that_repeated_its_marks_would_be_seen():
    marks = [options.STYLES["upper_dot"].mark(i) for i in (0, 25, 26, 27, 51, 52, 701, 702)]
    assert marks == ["A", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA"]
