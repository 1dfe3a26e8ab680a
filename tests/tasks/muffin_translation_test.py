# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muffin's translation tasks: languages by name, both directions, BLEU."""

import pytest

from flan_jax.collection.spec import Drop
from tasks.muffin import translation
from tests.tasks import family_data, muffin_rendering

PAIRS = {
    "muffin.para_crawl_enes": "Spanish",
    "muffin.wmt14_enfr": "French",
    "muffin.wmt16_translate_deen": "German",
    "muffin.wmt16_translate_tren": "Turkish",
    "muffin.wmt16_translate_csen": "Czech",
    "muffin.wmt16_translate_fien": "Finnish",
    "muffin.wmt16_translate_roen": "Romanian",
    "muffin.wmt16_translate_ruen": "Russian",
}


@pytest.mark.parametrize("spec", translation.TASKS, ids=lambda spec: spec.name)
def test_every_template_and_setting_renders(spec):
    rendered = muffin_rendering.assert_renders(
        spec, answer="sent2", unpunctuated=["lang1", "lang2"]
    )
    assert {"forward", "sent1"} <= {r.meta["direction"] for r in rendered}
    assert any(PAIRS[spec.name] in r.inputs for r in rendered)


def test_tasks_are_the_pairs_of_the_collection():
    assert [spec.name for spec in translation.TASKS] == list(PAIRS)
    cuts = dict(translation.TASKS[0].source.sources[0].splits)
    assert cuts == {"train": "train[:30000]", "validation": "train[30000:30200]"}


def test_english_comes_first():
    assert translation.translation({"en": "a  house\n", "de": "ein Haus"}, "de") == {
        "lang1": "English",
        "lang2": "German",
        "sent1": "a house",
        "sent2": "ein Haus",
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"en": "", "fr": "un"}, "empty en"),
        ({"en": "one", "fr": " "}, "empty fr"),
        ({"en": "Page 3", "fr": "Page  3"}, "not translated"),
    ],
)
def test_pairs_that_translate_nothing_are_dropped(row, reason):
    with pytest.raises(Drop, match=reason):
        translation.translation(row, "fr")


def test_bleu_is_over_whatever_side_was_asked_for():
    (metric,) = translation.TASKS[0].metrics
    assert metric(["ein kleines Haus am See"], ["ein kleines Haus am See"])["bleu"] > 99


def test_real_pairs_give_fields():
    folder = family_data.shared_folder() / "train/muffin/flores200_mt_standin"
    english = (folder / "eng_Latn.dev").read_text().splitlines()
    files = {"cs": "ces", "de": "deu", "fi": "fin", "fr": "fra", "ro": "ron", "tr": "tur"}
    for code, name in files.items():
        other = (folder / f"{name}_Latn.dev").read_text().splitlines()
        rows = [{"en": en, code: text} for en, text in zip(english, other, strict=True)]
        fields = [translation.translation(row, code) for row in rows]
        assert len(fields) == 250 and {f["lang2"] for f in fields} == {translation.LANGUAGES[code]}
