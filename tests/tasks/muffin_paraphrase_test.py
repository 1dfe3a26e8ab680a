# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin's paraphrase tasks: labels, similarity scores, and answers found again behind marks."""

import json

import pytest

from flan_jax.collection import options
from flan_jax.collection.few_shot import ExemplarPool
from flan_jax.collection.rendering import render
from flan_jax.collection.spec import ZS_OPT, Drop
from flan_jax.core.rng import ExampleKey
from tasks.muffin import paraphrase, scoring
from tests.tasks import muffin_rendering

STSB = next(spec for spec in paraphrase.TASKS if spec.name == "muffin.stsb")


@pytest.mark.parametrize("spec", paraphrase.TASKS, ids=lambda spec: spec.name)
def test_every_template_and_setting_renders(spec):
    muffin_rendering.assert_renders(spec)


@pytest.mark.parametrize(
    ("mapping", "names"),
    [
        (paraphrase.paws_wiki, ("different_meaning", "paraphrase")),
        (paraphrase.glue_mrpc, ("not_equivalent", "equivalent")),
        (paraphrase.glue_qqp, ("not_duplicate", "duplicate")),
    ],
)
def test_labels_are_taken_as_numbers_and_as_published_names(mapping, names):
    row = {name: "a text" for name in ("sentence1", "sentence2", "question1", "question2")}
    for number, answer in enumerate(("no", "yes")):
        for value in (number, names[number]):
            fields = mapping(row | {"label": value})
            assert (fields["answer"], fields["options"]) == (answer, ["no", "yes"])
    with pytest.raises(Drop, match="no label"):
        mapping(row | {"label": -1})
    with pytest.raises(Drop, match="empty"):
        mapping(dict.fromkeys(row, " ") | {"label": 1})


@pytest.mark.parametrize(
    ("score", "answer"),
    [(0.0, "0"), (0.5, "1"), (1.25, "1"), (2.5, "3"), (4.4, "4"), (4.5, "5"), (5.0, "5")],
)
def test_similarity_is_rounded_with_halves_up(score, answer):
    fields = paraphrase.stsb({"sentence1": "a", "sentence2": "b", "label": score})
    assert (fields["answer"], fields["options"]) == (answer, list("012345"))


def test_similarity_without_a_score_is_dropped():
    with pytest.raises(Drop, match="no label"):
        paraphrase.stsb({"sentence1": "a", "sentence2": "b", "label": -1.0})


def test_inverted_similarity_templates_show_the_score_itself():
    fields = paraphrase.stsb({"sentence1": "a dog", "sentence2": "a cat", "label": 4.2})
    inverted = 0
    for index in range(400):
        key = ExampleKey(0, STSB.name, index)
        example = render(STSB, fields, key=key, setting=ZS_OPT)
        if example.meta["direction"] == "forward":
            assert STSB.postprocessor(example.targets, example.meta) == "4"
        else:
            assert "4" in example.inputs and example.meta["option_style"] == ""
            inverted += 1
    assert STSB.metrics and inverted


@pytest.mark.parametrize("style", sorted(options.STYLES))
def test_answers_are_found_again_behind_every_mark(style):
    for post, listed in ((scoring.no_yes, ["no", "yes"]), (scoring.similarity, list("012345"))):
        for i, option in enumerate(listed):
            chosen = options.STYLES[style]
            target = chosen.mark(i) if chosen.enumerated else option
            for text in (target, f" {target}. ", target.upper()):
                got = post(text, {"option_style": style})
                assert got.casefold().strip(" .") == option
            # SeqIO's form of an example.
            meta = json.dumps({"option_style": style}).encode()
            assert post(target, {"meta": meta}, is_target=True) == option
            assert post(target, {"option_style": style.encode()}, is_target=True) == option


def test_other_texts_and_examples_without_options_stay_as_they_are():
    assert scoring.no_yes(" Yes ", {"option_style": "upper_dot"}) == "Yes"
    assert scoring.no_yes("B", {"option_style": ""}) == "B"
    assert scoring.no_yes("B") == "B"
    assert scoring.similarity("2", {"option_style": ""}) == "2"
    assert scoring.similarity("2", {"option_style": "number_dot"}) == "1"
    assert scoring.similarity("A dog runs.", {"option_style": "upper_dot"}) == "A dog runs."


def test_multirc_answers_keep_their_question():
    example = {"option_style": "roman_dot", "group": "0/3"}
    assert scoring.multirc("ii", example, is_target=True) == ("0/3", "yes")
    assert scoring.multirc("no", {"option_style": ""}) == (None, "no")


def test_f1_is_over_answers_not_over_marks():
    spec = next(spec for spec in paraphrase.TASKS if spec.name == "muffin.glue_mrpc")
    rows = [
        paraphrase.glue_mrpc({"sentence1": f"a {i}", "sentence2": f"b {i}", "label": i % 2})
        for i in range(40)
    ]
    pool = ExemplarPool(list(enumerate(rows)))
    done = [
        render(spec, fields, key=ExampleKey(0, spec.name, i), exemplars=pool, train_index=i)
        for i, fields in enumerate(rows)
    ]
    assert len({r.targets for r in done}) > 4
    answers = [spec.postprocessor(r.targets, r.meta) for r in done]
    assert answers == ["no", "yes"] * 20
    wrong = ["yes"] * 40
    assert spec.metrics[0](answers, wrong) == {"f1": pytest.approx(200 / 3)}
    assert spec.metrics[1](answers, wrong) == {"accuracy": 50.0}
