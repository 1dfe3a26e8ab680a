# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin's classification tasks: labels, cleaning, and prompts from each builder's own schema."""

import pytest

from flan_jax.collection.spec import Drop
from tasks.muffin import classification
from tests.tasks import muffin_rendering, muffin_samples

# The polarities of the mock are any integers, most of them no label.
BY_HAND = {
    "muffin.sentiment140": [
        {"text": text, "polarity": polarity, "date": "d", "query": "NO_QUERY", "user": "u"}
        for text, polarity in (("i love rain", 4), ("my phone broke", 0), ("late again", 0))
    ]
}


@pytest.mark.parametrize("spec", classification.TASKS, ids=lambda spec: spec.name)
def test_every_template_and_setting_renders(spec):
    by_hand = BY_HAND.get(spec.name, ())
    rendered = muffin_rendering.assert_renders(spec, by_hand, unpunctuated=["answer"])
    assert {r.meta["task"] for r in rendered} == {spec.name}


def test_tasks_are_the_sets_of_the_collection():
    assert [spec.name for spec in classification.TASKS] == [
        f"muffin.{name}"
        for name in ("ag_news_subset", "sentiment140", "imdb_reviews", "yelp_polarity_reviews",
                     "sst2", "cola", "trec")
    ]  # fmt: skip
    assert {dict(s.source.sources[0].splits)["validation"] for s in classification.TASKS} == {
        "train[-200:]"
    }


@pytest.mark.parametrize(
    ("mapping", "row", "names", "answers"),
    [
        (
            classification.ag_news_subset,
            {"title": "t", "description": "d"},
            ("World", "Sports", "Business", "Sci/Tech"),
            ["World", "Sports", "Business", "Science/Tech"],
        ),
        (classification.imdb_reviews, {"text": "t"}, ("neg", "pos"), ["negative", "positive"]),
        (classification.yelp_polarity_reviews, {"text": "t"}, "12", ["negative", "positive"]),
        (
            classification.sst2,
            {"sentence": "s"},
            ("negative", "positive"),
            ["negative", "positive"],
        ),
        (
            classification.cola,
            {"sentence": "s"},
            ("unacceptable", "acceptable"),
            ["unacceptable", "acceptable"],
        ),
        (
            classification.trec,
            {"text": "Who ?"},
            ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC"),
            ["description", "entity", "abbreviation", "human", "numeric", "location"],
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_labels_are_taken_as_numbers_and_as_published_names(mapping, row, names, answers):
    key = "label-coarse" if mapping is classification.trec else "label"
    for number, (name, answer) in enumerate(zip(names, answers, strict=True)):
        for value in (number, name):
            fields = mapping(row | {key: value})
            assert (fields["answer"], fields["options"]) == (answer, answers)
    for value in (-1, len(answers), "none of them"):
        with pytest.raises(Drop, match="no label"):
            mapping(row | {key: value})


@pytest.mark.parametrize(
    ("polarity", "answer"), [(0, "negative"), (1, "negative"), (3, "positive"), (4, "positive")]
)
def test_tweets_have_a_polarity_and_no_escapes(polarity, answer):
    fields = classification.sentiment140({"text": "me &amp; you &lt;3 ", "polarity": polarity})
    assert (fields["text"], fields["answer"]) == ("me & you <3", answer)


def test_tweets_without_a_side_are_dropped():
    for polarity, reason in ((2, "neutral"), (5, "no label"), (-1, "no label")):
        with pytest.raises(Drop, match=reason):
            classification.sentiment140({"text": "t", "polarity": polarity})


def test_html_breaks_of_film_reviews_become_line_breaks():
    row = {"text": "Good.<br /><br />Very good. <br/> See it!<br>", "label": 1}
    assert classification.imdb_reviews(row)["text"] == "Good.\nVery good.\nSee it!"


def test_escapes_of_business_reviews_are_undone():
    row = {"text": r'A ""great"" \"place\".\n\nGo!', "label": 1}
    text = classification.yelp_polarity_reviews(row)["text"]
    assert text == 'A "great" "place".\n\nGo!'


@pytest.mark.parametrize(
    ("mapping", "row"),
    [
        (classification.ag_news_subset, {"title": " ", "description": "d", "label": 0}),
        (classification.cola, {"sentence": "", "label": 0}),
        (classification.trec, {"text": "\n", "label-coarse": 0}),
    ],
)
def test_empty_texts_are_dropped(mapping, row):
    with pytest.raises(Drop, match="empty"):
        mapping(row)


def test_real_rows_give_fields():
    for name, labels in (
        ("sst2", classification.SENTIMENTS),
        ("trec", classification.QUESTION_TYPES),
    ):
        mapping = getattr(classification, name)
        answers = [mapping(row)["answer"] for row in muffin_samples.train_rows(name)]
        assert len(answers) == 1000 and set(answers) == set(labels)
