# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Translation between English and another language; half of the templates translate back.

English is always the first language, whatever the order in a data set's name, so that templates
which ask for the second language have an answer that is not the same for every set.
"""

import functools

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from flan_jax.evals import corpus_metrics
from tasks.muffin import rows
from tasks.muffin.declaring import HEAD, required, task

CATEGORY = "Translation"
LANGUAGES = {
    "cs": "Czech",
    "de": "German",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "ro": "Romanian",
    "ru": "Russian",
    "tr": "Turkish",
}


def translation(row: Row, code: str) -> spec.Fields:
    """A sentence in English and in the language of this code; copies are left out."""
    required(row, "en", code)
    english, other = (rows.one_line(row[name]) for name in ("en", code))
    if english == other:
        raise spec.Drop("not translated")
    return {"lang1": "English", "lang2": LANGUAGES[code], "sent1": english, "sent2": other}


def _task(name, builder, code, *, group="", train="train", validation="validation", licence=""):
    return task(
        name,
        builder,
        functools.partial(translation, code=code),
        train=train,
        validation=validation,
        category=CATEGORY,
        group=group,
        licence=licence,
        metrics=(corpus_metrics.bleu,),
    )


TASKS = (
    _task(
        "para_crawl_enes",
        "para_crawl/enes:1.2.0",
        "es",
        group="para_crawl",
        train="train[:30000]",
        validation="train[30000:30200]",
        licence="CC0-1.0",
    ),
    _task("wmt14_enfr", "wmt14_translate/fr-en:1.0.0", "fr", train=HEAD),
    *(
        _task(
            f"wmt16_translate_{code}en",
            f"wmt16_translate/{code}-en:1.0.0",
            code,
            group="wmt16_translate",
            train=HEAD,
        )
        for code in ("de", "tr", "cs", "fi", "ro", "ru")
    ),
)
