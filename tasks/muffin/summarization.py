# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Summaries of mails, news, reviews, arguments, chats and guides.

Markup that says nothing is taken out; text never is. (The released collection cuts each CNN / Daily
Mail article behind its last year or ") -- ", and deletes what stands between two tags of a chat.)
"""

import re
from typing import Any

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from flan_jax.evals import metrics
from tasks.muffin import declaring, rows
from tasks.muffin.declaring import required

# Most reviews or sentences of a numbered list (as in the released collection).
MOST_OPINIONS = 10

_CAPITALIZED = r"[A-Z][\w.'’/-]*,?"
# "(CNN)", "LONDON, England (Reuters) --".
_DATELINE = re.compile(
    rf"(?:{_CAPITALIZED}\s+){{0,6}}\((?:CNN\)(?:\s*--)?|[A-Z][\w.,' ]{{1,40}}\)\s*--)\s*"
)
# The Daily Mail's head: "By. Jane Doe. PUBLISHED:. 09:00 EST, 1 May 2013. |. UPDATED:. ... 2013. "
_DATE = r".{0,50}?\b(?:19|20)\d\d\s?\.\s+"
_BYLINE = re.compile(
    r"(?:By\b.{0,150}?)?(?:PUBLISHED\s?:|UPDATED\s?:|CREATED\s?:|Last updated at\b)"
    rf"{_DATE}(?:\|\s?\.\s+UPDATED\s?:{_DATE})?"
)
_FILE_TAG = re.compile(r"[ \t]*<[a-z_]+>")


def aeslc(row: Row) -> spec.Fields:
    """A mail and its subject, each on one line."""
    fields = {
        "body": rows.one_line(row["email_body"]),
        "subject": rows.one_line(row["subject_line"]),
    }
    return _filled(fields)


def cnn_dailymail(row: Row) -> spec.Fields:
    """An article without dateline or byline, and its highlights on one line."""
    text = row["article"].strip()
    for head in (_BYLINE, _DATELINE):
        if match := head.match(text):
            text = text[match.end() :]
    return _filled({"text": text, "highlights": rows.one_line(row["highlights"])})


def gigaword(row: Row) -> spec.Fields:
    """The first sentence of a report and its headline, where both are whole.

    In most of the data rare words are `UNK` or `<unk>`, and digits `#`.
    """
    fields = _filled({"text": row["document"], "summary": row["summary"]})
    for text in fields.values():
        if "#" in text or not {"UNK", "<unk>"}.isdisjoint(text.split()):
            raise spec.Drop("masked words or digits")
    return fields


def multi_news(row: Row) -> spec.Fields:
    """Articles, a blank line between two of them, and a summary without the dash it opens with."""
    articles = [article.strip() for article in row["document"].split("|||||")]
    text = "\n\n".join(article for article in articles if article)
    return _filled({"text": text, "summary": row["summary"].strip().removeprefix("–")})


def newsroom(row: Row) -> spec.Fields:
    """An article with title and summary."""
    return _filled({name: row[name] for name in ("text", "title", "summary")})


def opinion_abstracts_rotten_tomatoes(row: Row) -> spec.Fields:
    """Reviews of a film, the first of them apart, and the critics' consensus."""
    reviews = _opinions(row["_critics"])
    return _filled(
        {
            "movie": row["_movie_name"].replace("_", " "),
            "numbered_reviews": rows.numbered(reviews),
            "first_review": reviews[0],
            "critic_consensus": row["_critic_consensus"],
        }
    )


def opinion_abstracts_idebate(row: Row) -> spec.Fields:
    """The sentences of an argument, the claim they support, and the debate."""
    return _filled(
        {
            "argument_sentences": rows.numbered(_opinions(row["_argument_sentences"])),
            "claim": row["_claim"],
            "debate_name": row["_debate_name"].replace("_", " "),
        }
    )


def samsum(row: Row) -> spec.Fields:
    """A chat, one message a line, and its summary.

    Tags that stand for a file, such as `<file_photo>`, go, and messages that are nothing else.
    """
    lines = []
    for line in row["dialogue"].splitlines():
        kept = _FILE_TAG.sub("", line).strip()
        if kept and (kept == line.strip() or not kept.endswith(":")):
            lines.append(kept)
    return _filled({"dialogue": "\n".join(lines), "summary": rows.one_line(row["summary"])})


def xsum(row: Row) -> spec.Fields:
    """An article and its first sentence, which sums it up."""
    return _filled({"text": row["document"], "summary": row["summary"]})


def wiki_lingua_english_en(row: Row) -> spec.Fields:
    """A section of a how-to guide, and its steps in short."""
    return _filled({"source": row["source"], "target": row["target"]})


def _filled(fields: dict[str, str | None]) -> spec.Fields:
    """Returns the texts without white space around them, if none is empty."""
    texts = {name: (text or "").strip() for name, text in fields.items()}
    required(texts, *texts)
    return texts


def _opinions(value: Any) -> list[str]:
    """Returns the first opinions, from `{"key": [...], "value": [...]}` or, as published, by id."""
    texts = value["value"] if value.keys() == {"key", "value"} else value.values()
    opinions = [line for text in texts if (line := rows.one_line(text))]
    if not opinions:
        raise spec.Drop("no opinions")
    return opinions[:MOST_OPINIONS]


def _task(name, builder, fields, trim, *, train="train", validation="validation", licence=""):
    return declaring.task(
        name,
        builder,
        fields,
        train=train,
        validation=validation,
        category="Summarization",
        licence=licence,
        trim=trim,
        metrics=(metrics.rouge_l,),
    )


_WITHOUT_TAIL = {"train": "train[:-600]", "validation": "train[-600:]"}

TASKS = (
    _task("aeslc", "aeslc:1.0.0", aeslc, "body", licence="CC-BY-NC-SA-4.0"),
    _task("cnn_dailymail", "cnn_dailymail:3.4.0", cnn_dailymail, "text"),
    _task("gigaword", "gigaword:1.2.0", gigaword, None, train=declaring.HEAD),
    _task("multi_news", "multi_news:2.1.0", multi_news, "text"),
    _task("newsroom", "newsroom:1.0.0", newsroom, "text", train=declaring.HEAD),
    _task(
        "opinion_abstracts_rotten_tomatoes",
        "opinion_abstracts/rotten_tomatoes:1.0.0",
        opinion_abstracts_rotten_tomatoes,
        "numbered_reviews",
        **_WITHOUT_TAIL,
    ),
    _task(
        "opinion_abstracts_idebate",
        "opinion_abstracts/idebate:1.0.0",
        opinion_abstracts_idebate,
        "argument_sentences",
        **_WITHOUT_TAIL,
    ),
    _task("samsum", "samsum:1.0.0", samsum, "dialogue", licence="CC-BY-NC-ND-4.0"),
    _task("xsum", "xsum:1.1.0", xsum, "text"),
    _task(
        "wiki_lingua_english_en",
        "gem/wiki_lingua_english_en:1.1.0",
        wiki_lingua_english_en,
        "source",
    ),
)
