# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rendering: each row once, everything seeded and recorded, nothing cut without a note."""

import collections
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.collection import options, spec
from flan_jax.collection.few_shot import ExemplarPool
from flan_jax.collection.parsing import Malformed
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.rendering import Dropped, Rendered, render, render_task
from flan_jax.collection.sources import GeneratedSource
from flan_jax.core.errors import DataError, UsageError
from flan_jax.core.rng import ExampleKey

COLOURS = ["red", "green", "blue", "grey"]


def make_row(split, index):
    return {"n": index, "split": split}


def plain(row):
    return {"question": f"{row['split']} {row['n']}", "answer": COLOURS[row["n"] % 4]}


def with_options(row):
    return plain(row) | {"options": COLOURS}


def with_drops(row):
    if row["n"] % 3 == 0:
        raise spec.Drop("divides by three")
    return plain(row)


def with_texts(row):
    return {"question": "word " * row["n"], "answer": "a"}


def group(*rows):
    base = {"input": "{question}", "target": "{answer}"}
    return TemplateGroup(
        inline=tuple(json.dumps({"id": f"t{i}"} | base | row) for i, row in enumerate(rows))
    )


def task(*rows, fields=plain, num=40, **changes):
    return spec.TaskSpec(
        name="demo",
        family="own",
        source=GeneratedSource(make_row, {"train": num, "validation": 8}),
        fields=fields,
        templates=group(*(rows or ({},))),
        **changes,
    )


def count_words(text):
    return len(text.split())


def examples(demo, split="train", seed=0, **options):
    return [r for r in render_task(demo, split, seed, **options) if isinstance(r, Rendered)]


EVERY = tuple((name, 1.0) for name in spec.SETTINGS)
LISTED = {"input": "{question}\n{options}"}


def test_every_row_gives_exactly_one_result_in_order():
    results = list(render_task(task(fields=with_drops), "train", 0))
    assert [r.index for r in results] == list(range(40))
    dropped = [r for r in results if isinstance(r, Dropped)]
    assert [r.index for r in dropped] == list(range(0, 40, 3))
    assert {r.reason for r in dropped} == {"divides by three"}


def test_same_seed_same_text_whatever_else_was_rendered():
    demo = task(LISTED, {"input": "Q: {question}"}, fields=with_options, settings=EVERY)
    whole = list(render_task(demo, "train", 7))
    assert whole == list(render_task(demo, "train", 7))
    pool = ExemplarPool.load(demo, 7)
    alone = render(
        demo,
        with_options(make_row("train", 25)),
        key=ExampleKey(7, "demo", 25),
        exemplars=pool,
        train_index=25,
    )
    assert dataclasses.replace(alone, index=25) == whole[25]
    assert whole != list(render_task(demo, "train", 8))


def test_splits_do_not_share_draws():
    demo = task(*({"input": f"{i} {{question}}"} for i in range(50)))
    train, held = examples(demo), examples(demo, "validation")
    assert [r.meta["template"] for r in train[:8]] != [r.meta["template"] for r in held]


def test_settings_and_templates_are_drawn_in_their_shares():
    demo = task(
        LISTED, {"input": "Q: {question}"}, fields=with_options, num=2000,
        settings=(("zs_opt", 3.0), ("fs_noopt", 1.0)),
    )  # fmt: skip
    found = collections.Counter(r.meta["setting"] for r in examples(demo))
    assert found["zs_opt"] + found["fs_noopt"] == 2000
    assert 1400 < found["zs_opt"] < 1600
    templates = collections.Counter(r.meta["template"] for r in examples(demo, setting="zs_noopt"))
    assert 900 < templates["t0"] < 1100 and 900 < templates["t1"] < 1100


def test_settings_show_options_and_exemplars_as_they_say():
    demo = task(LISTED, fields=with_options, settings=EVERY, num=400)
    for r in examples(demo):
        shows, few = r.meta["setting"].endswith("_opt"), r.meta["setting"].startswith("fs")
        if shows:
            assert r.inputs.count("green") >= 1 + r.meta["num_shots"]
        elif not few:
            assert not any(colour in r.inputs for colour in COLOURS)
        assert bool(r.meta["option_style"]) == shows
        assert (1 <= r.meta["num_shots"] <= 5) if few else r.meta["num_shots"] == 0
        assert r.inputs.count("train ") == 1 + r.meta["num_shots"]
        assert len(r.meta["exemplars"]) == r.meta["num_shots"]


@pytest.mark.parametrize("name", options.STYLES)
def test_target_is_the_mark_of_an_enumerated_option_and_else_its_text(name):
    demo = task(LISTED, fields=with_options, option_styles=(name,))
    style = options.STYLES[name]
    for r in examples(demo):
        item = r.index % 4
        assert r.targets == (style.mark(item) if style.enumerated else COLOURS[item])
        assert r.references == [r.targets]


def test_exemplars_answer_in_the_style_of_the_query():
    demo = task(
        LISTED, fields=with_options, option_styles=("upper_round",), settings=(("fs_opt", 1.0),)
    )
    for r in examples(demo):
        delimiter = r.meta["delimiter"]
        for index in r.meta["exemplars"]:
            listed = options.STYLES["upper_round"].items(COLOURS)
            assert f"{listed}{delimiter}({'ABCD'[index % 4]})" in r.inputs


def test_answer_outside_its_options_is_dropped_by_name():
    def odd(row):
        return plain(row) | {"options": ["red", "green"]}

    reasons = collections.Counter(
        r.reason for r in render_task(task(LISTED, fields=odd), "train", 0) if type(r) is Dropped
    )
    assert reasons == {"answer is not among the options": 20}


def test_few_shot_prompt_is_head_exemplars_and_query():
    demo = task(
        {"head": "Name it.", "input_prefix": "Q: ", "target_prefix": "A: "},
        settings=(("fs_noopt", 1.0),),
        few_shot=spec.FewShot(min_shots=2, max_shots=2, delimiters=(("\n", "\n\n"),)),
    )
    for r in examples(demo):
        shots = [f"Q: train {i}\nA: {COLOURS[i % 4]}\n\n" for i in r.meta["exemplars"]]
        assert r.inputs == f"Name it.\n\n{''.join(shots)}Q: train {r.index}\nA:"
        assert r.index not in r.meta["exemplars"] and r.targets == COLOURS[r.index % 4]


def test_zero_shot_prompt_of_a_block_template_has_the_same_form():
    demo = task(
        {"input_prefix": "Q: ", "target_prefix": "A: "},
        few_shot=spec.FewShot(delimiters=(("\n", "\n\n"),)),
    )
    assert examples(demo)[3].inputs == "Q: train 3\nA:"


def test_validation_queries_take_exemplars_from_train():
    for r in examples(task(settings=(("fs_noopt", 1.0),)), "validation"):
        assert r.inputs.count("validation") == 1
        assert r.inputs.count("train") == r.meta["num_shots"] > 0


def test_template_can_fix_the_number_of_exemplars():
    demo = task({"shots": 2}, {"shots": 0, "embedded_shots": 1}, settings=(("fs_opt", 1.0),))
    found = {
        r.meta["template"]: (r.meta["num_shots"], len(r.meta["exemplars"])) for r in examples(demo)
    }
    assert found == {"t0": (2, 2), "t1": (1, 0)}


def test_row_with_no_exemplar_to_show_becomes_zero_shot_and_says_so():
    [r] = examples(task(num=1, settings=(("fs_noopt", 1.0),)))
    assert (r.meta["setting"], r.meta["drawn_setting"]) == ("zs_noopt", "fs_noopt")
    only_few = task({"kind": "few_shot"}, num=1, settings=(("fs_noopt", 1.0),))
    [dropped] = render_task(only_few, "train", 0)
    assert "no exemplar" in dropped.reason


def test_exemplars_are_dropped_before_anything_is_too_long():
    demo = task(settings=(("fs_noopt", 1.0),), num=300)
    whole = examples(demo)
    lengths = {"inputs": 8, "targets": 2}
    short = examples(demo, count_tokens=count_words, feature_lengths=lengths)
    assert len(short) == len(whole) == 300
    for before, after in zip(whole, short, strict=True):
        assert count_words(after.inputs) < 8
        assert after.targets == before.targets
        kept = after.meta["num_shots"]
        assert kept == min(before.meta["num_shots"], (7 - 2) // 3)
        assert after.meta["exemplars"] == before.meta["exemplars"][:kept]


def test_exemplar_budget_limits_their_tokens():
    few = spec.FewShot(min_shots=5, budget=10, delimiters=(("\n", "\n\n"),))
    for r in examples(task(settings=(("fs_noopt", 1.0),), few_shot=few), count_tokens=count_words):
        assert r.meta["num_shots"] == 3  # three words each


def test_too_long_inputs_and_targets_are_dropped_by_name():
    demo = task(fields=with_texts, num=6)
    results = list(
        render_task(
            demo, "train", 0, count_tokens=count_words, feature_lengths={"inputs": 4, "targets": 2}
        )
    )
    assert [getattr(r, "reason", None) for r in results] == [
        "empty input", None, None, None, "too long: input", "too long: input",
    ]  # fmt: skip
    assert all(
        r.reason == "too long: target"
        for r in render_task(
            demo, "train", 0, count_tokens=count_words, feature_lengths={"inputs": 9, "targets": 1}
        )
    )


def test_only_the_trim_field_is_cut_and_the_cut_is_recorded():
    demo = task(
        {"input": "Read this: {question} Now answer."}, fields=with_texts, trim_field="question"
    )
    whole = examples(demo)
    for before, r in zip(
        whole,
        examples(demo, count_tokens=count_words, feature_lengths={"inputs": 13, "targets": 2}),
        strict=True,
    ):
        assert r.inputs.startswith("Read this: ") and r.inputs.endswith(" Now answer.")
        assert r.meta["trimmed"] == len(before.inputs) - len(r.inputs)
        words = count_words(before.inputs)
        assert count_words(r.inputs) == min(words, 12)
        assert (r.meta["trimmed"] > 0) == (words > 12)


def test_references_are_all_accepted_targets():
    def several(row):
        return {"question": "q", "answer": [f"a{row['n']}", "b", "c"]}

    wrapped = examples(task({"target": "It is {answer}."}, fields=several))
    for r in wrapped:
        assert r.references[0] == r.targets
        assert sorted(r.references) == sorted(f"It is {a}." for a in (f"a{r.index}", "b", "c"))
    assert len({r.targets for r in wrapped}) > 3

    def stated(row):
        return plain(row) | {"references": ["red", "crimson"]}

    turned = {"input": "{answer}", "target": "{question}", "direction": "question"}
    for r in examples(task({}, turned, fields=stated)):
        forward = r.meta["template"] == "t0"
        assert r.references == (
            list(dict.fromkeys([r.targets, "red", "crimson"])) if forward else [r.targets]
        )


def test_one_dict_of_a_list_gives_dotted_slots_and_empty_lists_rule_templates_out():
    def shown(row):
        pairs = [{"in": f"i{k}", "out": f"o{k}"} for k in range(3)]
        return plain(row) | {"ex": pairs if row["n"] % 2 else []}

    demo = task({"input": "{ex.in}={ex.out} {question}"}, {}, fields=shown, num=100)
    drawn = set()
    for r in examples(demo):
        if r.meta["template"] == "t0":
            assert r.index % 2 and r.inputs[:5] in ("i0=o0", "i1=o1", "i2=o2")
            drawn.add(r.inputs[:5])
    assert len(drawn) == 3


def test_cap_is_an_exact_seeded_limit_of_the_train_split():
    demo = task(cap=10)
    results = list(render_task(demo, "train", 0))
    kept = [r for r in results if isinstance(r, Rendered)]
    assert len(results) == 40 and len(kept) == 10
    assert {r.reason for r in results if isinstance(r, Dropped)} == {"beyond the cap of 10"}
    uncapped = examples(task())
    assert all(r == uncapped[r.index] for r in kept)
    assert [r.index for r in kept] != [r.index for r in examples(demo, seed=1)]
    assert len(examples(task(cap=5), "validation")) == 8
    assert len(examples(task(cap=40))) == len(examples(task(cap=41))) == 40


def test_limit_ends_after_that_many_examples():
    assert [r.index for r in examples(task(fields=with_drops), limit=3)] == [1, 2, 4]


def test_empty_target_is_dropped():
    def hollow(row):
        return plain(row) | {"answer": " "}

    assert {r.reason for r in render_task(task(fields=hollow), "train", 0)} == {"empty target"}


@pytest.mark.parametrize(
    ("demo", "message"),
    [
        (task({"input": "{title}"}), r"template 't0' asks for \{title\}"),
        (task({"kind": "few_shot"}), "no template serves setting 'zs_opt'.*few_shot, options any"),
        (
            task({"input": "{question} {title}"}),
            "row 0 of 'train': task 'demo': template 't0' asks",
        ),
        (task(option_styles=("dsh",)), "did you mean 'dash'"),
    ],
)
def test_mistakes_in_a_task_are_named(demo, message):
    with pytest.raises(UsageError, match=message):
        list(render_task(demo, "train", 0))


def test_wrong_calls_are_named():
    with pytest.raises(UsageError, match="has no split 'test'"):
        list(render_task(task(), "test", 0))
    with pytest.raises(UsageError, match="setting 'few' must be one of"):
        list(render_task(task(), "train", 0, setting="few"))
    with pytest.raises(UsageError, match="need count_tokens"):
        list(render_task(task(), "train", 0, feature_lengths={"inputs": 3}))


class Rows:
    """A source of the rows it is given."""

    def __init__(self, *rows):
        self._rows = rows

    def num_rows(self, split):
        return sum(not isinstance(row, Malformed) for row in self._rows)

    def rows(self, split):
        return enumerate(self._rows)

    def missing(self):
        return None


def rows_task(*rows, fields=dict, **changes):
    return dataclasses.replace(task(**changes), source=Rows(*rows), fields=fields)


def qa(number):
    return {"question": f"q{number}", "answer": f"a{number}"}


def test_malformed_rows_are_dropped_with_their_places_and_take_no_part_in_caps():
    bad = [Malformed(f"x.tsv:{i}", "too short" if i % 2 else "odd") for i in range(6)]
    good = [qa(i) for i in range(8)]
    mixed = [row for pair in zip(bad, good[:6], strict=True) for row in pair] + good[6:]
    for cap in (None, 5):
        results = list(render_task(rows_task(*mixed, cap=cap), "train", 0))
        assert len(results) == len(mixed)
        dropped = [r for r in results if isinstance(r, Dropped) and "cap" not in r.reason]
        assert [(r.index, r.reason, r.where) for r in dropped] == [
            (2 * i, f"malformed: {row.reason}", row.where) for i, row in enumerate(bad)
        ]
        kept = [r.targets for r in results if isinstance(r, Rendered)]
        assert kept == [r.targets for r in examples(rows_task(*good, cap=cap))]
        assert len(kept) == (cap or 8)


def test_malformed_rows_are_no_exemplars():
    rows = [Malformed("x.tsv:1", "odd"), qa(1), Malformed("x.tsv:3", "odd"), qa(3), qa(4)]
    few = spec.FewShot(min_shots=2, max_shots=2, pool_size=3)
    shown = examples(rows_task(*rows, settings=(("fs_noopt", 1.0),), few_shot=few))
    assert [sorted(r.meta["exemplars"]) for r in shown] == [[3, 4], [1, 4], [1, 3]]


def test_rows_without_a_slot_of_the_template_are_no_exemplars():
    demo = rows_task(qa(0), {"answer": "x"}, qa(2), settings=(("fs_noopt", 1.0),))
    first = next(render_task(demo, "train", 0))
    assert first.meta["exemplars"] == [2]


def test_text_that_utf8_cannot_hold_is_dropped_and_is_no_exemplar():
    rows = [qa(0), {"question": "\ud800", "answer": "x"}, qa(2), qa(3) | {"more": ["\udfff"]}]
    rows.append(qa(4) | {"ex": [{"in": "é", "out": "\udfff"}]})
    demo = rows_task(*rows, settings=(("fs_noopt", 1.0),))
    results = list(render_task(demo, "train", 0))
    bad = "malformed: text with a lone surrogate, which UTF-8 cannot hold"
    assert results[1] == Dropped(1, bad, "row 1") and results[3] == Dropped(3, bad, "row 3")
    assert results[4] == Dropped(4, bad, "row 4")
    assert [results[0].meta["exemplars"], results[2].meta["exemplars"]] == [[2], [0]]


def lacking(row):
    return {"question": row["question"], "answer": row["reply"]}


def mistyped(row):
    return {"question": row["question"].strip(), "answer": row["answer"]}


@pytest.mark.parametrize(
    ("fields", "row", "message"),
    [
        (lacking, qa(1), "asks for 'reply', which is not there .*has .'answer', 'question'.: mend"),
        (mistyped, {"question": 3}, "fails with AttributeError: 'int' object .*: mend it, or let"),
        (lambda row: row, {"question": 3}, "gives a field 'question' of 3; it must be a text"),
        (lambda row: row, qa(1) | {"options": ["a", 1]}, r"a field 'options' of \['a', 1\]"),
        (lambda row: row, qa(1) | {"ex": [{"in": None}]}, "gives a field 'ex' of "),
        (lambda row: row, qa(1) | {"ex": [{"in": "a"}, "b"]}, "gives a field 'ex' of "),
    ],
)
def test_a_row_that_does_not_suit_its_mapping_is_one_line_with_task_row_and_field(
    fields, row, message
):
    demo = rows_task(qa(0) | {"reply": "x"}, row, fields=fields)
    with pytest.raises(DataError, match=f"^task 'demo': row 1 of 'train'.*{message}"):
        list(render_task(demo, "train", 0))


def test_a_defect_of_a_mapping_keeps_its_error_and_says_which_row():
    with pytest.raises(ZeroDivisionError) as caught:
        list(render_task(task(fields=lambda row: {"question": 1 // row["n"]}), "train", 0))
    assert caught.value.__notes__ == ["while rendering row 0 of 'train' of task 'demo'"]


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 1000))
def test_any_text_comes_through_whole(question, answer, index):
    demo = task(LISTED, {"head": "Do it.", "target_prefix": "A: "}, settings=EVERY)
    fields = {"question": question, "answer": answer, "options": ["{answer}", answer]}
    try:
        r = render(demo, fields, key=ExampleKey(0, "demo", index))
    except spec.Drop as drop:
        assert not question.strip() or not answer.strip(), drop
        return
    assert question in r.inputs
    style = options.STYLES.get(r.meta["option_style"])
    if style is None or not style.enumerated:
        assert r.targets == answer
    else:
        assert r.targets == style.mark(["{answer}", answer].index(answer))


def in_groups(row):
    return plain(row) | {"group": str(row["n"] // 4)}


def test_rows_of_a_group_are_no_exemplars_of_each_other():
    demo = task({"kind": "few_shot"}, fields=in_groups, settings=((spec.FS_NOOPT, 1.0),))
    shown = 0
    for r in render_task(demo, "train", 0):
        assert r.meta["group"] == str(r.index // 4)
        assert all(i // 4 != r.index // 4 for i in r.meta["exemplars"])
        shown += len(r.meta["exemplars"])
    assert shown > 40
