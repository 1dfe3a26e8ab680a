# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin's summarization tasks: what is cut from a text and what never is."""

import pytest

from flan_jax.collection.spec import Drop
from tasks.muffin import summarization
from tests.tasks import muffin_rendering

ANSWERS = {
    "aeslc": "subject",
    "cnn_dailymail": "highlights",
    "gigaword": "summary",
    "multi_news": "summary",
    "newsroom": "summary",
    "opinion_abstracts_rotten_tomatoes": "critic_consensus",
    "opinion_abstracts_idebate": "claim",
    "samsum": "summary",
    "xsum": "summary",
    "wiki_lingua_english_en": "target",
}


@pytest.mark.parametrize("spec", summarization.TASKS, ids=lambda spec: spec.name)
def test_every_template_and_setting_renders(spec):
    answer = ANSWERS[spec.name.removeprefix("muffin.")]
    rendered = muffin_rendering.assert_renders(spec, answer=answer)
    slots = set().union(*(t.slots for t in spec.templates.load()))
    assert rendered and spec.trim_field in slots | {None}


def test_tasks_are_the_sets_of_the_collection():
    assert [spec.name.removeprefix("muffin.") for spec in summarization.TASKS] == list(ANSWERS)
    cuts = {s.name: dict(s.source.sources[0].splits) for s in summarization.TASKS}
    assert cuts["muffin.opinion_abstracts_idebate"]["validation"] == "train[-600:]"


def test_mails_are_one_line_and_need_a_subject():
    row = {"email_body": "Dear all,\n\nsee  you.\n", "subject_line": "\n Lunch\n"}
    assert summarization.aeslc(row) == {"body": "Dear all, see you.", "subject": "Lunch"}
    for name in row:
        with pytest.raises(Drop, match="empty"):
            summarization.aeslc(row | {name: " \n"})


BODY = "The firm (ACME) -- founded in 2009. -- grew until 2014. It was sold in 2020. Nobody knew."


@pytest.mark.parametrize(
    "head",
    [
        "",
        "(CNN) -- ",
        "(CNN)",
        "LONDON, England (Reuters) -- ",
        "NEW YORK (CNNMoney.com) -- ",
        "ST. LOUIS, Missouri (AP) -- ",
        "By. Jane Doe. PUBLISHED:. 09:00 EST, 1 January 2013. |. UPDATED:. 10:00 EST, 1 May 2013. ",
        "By . Daily Mail Reporter . PUBLISHED: . 19:30 EST, 25 May 2012 . | . UPDATED: . "
        "19:31 EST, 25 May 2012 . ",
        "By. James Black. and Ann White. PUBLISHED:. 05:52 EST, 9 May 2012. ",
        "By James Black. Last updated at 6:41 PM on 4th February 2012. ",
        "PUBLISHED:. 05:52 EST, 9 May 2012. |. UPDATED:. 06:12 EST, 9 May 2012. ",
    ],
)
def test_articles_lose_their_head_and_nothing_else(head):
    fields = summarization.cnn_dailymail({"article": head + BODY, "highlights": "It grew."})
    assert fields["text"] == BODY


@pytest.mark.parametrize(
    "text",
    [
        "By the end of the day it was over. It began in 2012. Nobody was hurt.",
        "The Firm said (by phone) -- in 2013. -- that it was over.",
        "People in Rome (Italy) will vote in 2015. They know why.",
        "He came from Spain in 1999. (CNN) -- was what he read.",
        "This page was made in 2010. " * 30 + "UPDATED:. 09:00 EST, 1 January 2013. The end.",
    ],
)
def test_articles_without_a_head_stay_whole(text):
    row = {"article": text, "highlights": "It is over."}
    assert summarization.cnn_dailymail(row)["text"] == text.strip()


def test_highlights_become_one_line():
    row = {"article": "Text.", "highlights": "One thing.\nAnother thing."}
    assert summarization.cnn_dailymail(row)["highlights"] == "One thing. Another thing."


@pytest.mark.parametrize("masked", ["a UNK man", "an <unk> man", "## people", "by ##.# percent"])
def test_headlines_with_masked_words_or_digits_are_dropped(masked):
    whole = {"document": "a man in unknown clothes", "summary": "man in hunk ad"}
    assert summarization.gigaword(whole)["text"] == whole["document"]
    for name in whole:
        with pytest.raises(Drop, match="masked"):
            summarization.gigaword(whole | {name: masked})


def test_news_articles_are_set_apart_and_the_opening_dash_goes():
    row = {"document": "One.\nMore. ||||| Two. |||||", "summary": "– It was – well – two."}
    assert summarization.multi_news(row) == {
        "text": "One.\nMore.\n\nTwo.",
        "summary": "It was – well – two.",
    }


def test_newsroom_needs_all_three_texts():
    row = {"text": "t", "title": "a title", "summary": "s", "url": "u"}
    assert summarization.newsroom(row) == {"text": "t", "title": "a title", "summary": "s"}
    for value in ("", None):
        with pytest.raises(Drop, match="empty title"):
            summarization.newsroom(row | {"title": value})


def tfds(texts):
    return {"key": [str(i) for i in range(len(texts))], "value": texts}


@pytest.mark.parametrize("form", [tfds, lambda texts: dict(enumerate(texts))])
def test_opinions_are_numbered_and_ten_at_most(form):
    reviews = ["First\nof all.", " ", *(f"review {i}" for i in range(20))]
    row = {"_critics": form(reviews), "_movie_name": "A_Film", "_critic_consensus": "Good."}
    fields = summarization.opinion_abstracts_rotten_tomatoes(row)
    lines = fields["numbered_reviews"].split("\n")
    assert (len(lines), lines[0], lines[9]) == (10, "1. First of all.", "10. review 8")
    assert (fields["first_review"], fields["movie"]) == ("First of all.", "A Film")
    row = {
        "_argument_sentences": form(["It is so.", "It is."]),
        "_debate_name": "This_House would",
        "_claim": "So.",
    }
    assert summarization.opinion_abstracts_idebate(row) == {
        "argument_sentences": "1. It is so.\n2. It is.",
        "claim": "So.",
        "debate_name": "This House would",
    }
    with pytest.raises(Drop, match="no opinions"):
        summarization.opinion_abstracts_idebate(row | {"_argument_sentences": form([" "])})


def test_only_tags_leave_a_chat():
    chat = "Ann: hi <file_photo> see <3 you <file_gif>\r\nBob: <file_other>\r\n\r\nAnn: > :) ok:"
    fields = summarization.samsum({"dialogue": chat, "summary": "Ann\r\nsent a photo."})
    assert fields["dialogue"] == "Ann: hi see <3 you\nAnn: > :) ok:"
    assert fields["summary"] == "Ann sent a photo."
    with pytest.raises(Drop, match="empty dialogue"):
        summarization.samsum({"dialogue": "", "summary": "Nothing."})


def test_articles_and_guides_are_taken_as_they_are():
    assert summarization.xsum({"document": "a\nb", "summary": "c"}) == {
        "text": "a\nb",
        "summary": "c",
    }
    row = {"source": "a guide", "target": "do it", "references": []}
    assert summarization.wiki_lingua_english_en(row) == {"source": "a guide", "target": "do it"}
