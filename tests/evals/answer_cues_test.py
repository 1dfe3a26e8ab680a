# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The words before an answer: each language's phrase, what is no phrase, totality."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.evals import answer_cues


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The answer is 5.", "en", ("5.", "en")),
        ("So the  ANSWER is: 5", "en", ("5", "en")),
        ("Die Antwort ist 5.", "de", ("5.", "de")),
        ("Die Antwort lautet 5.", "de", ("5.", "de")),
        ("Die Antwort listet", "de", None),
        ("La respuesta es 5.", "es", ("5.", "es")),
        ("La respuesta está", "es", None),
        ("La réponse est 5.", "fr", ("5.", "fr")),
        ("Ответ — 5.", "ru", ("5.", "ru")),
        ("Ответ – 5.", "ru", ("5.", "ru")),
        ("Ответ - 5.", "ru", ("5.", "ru")),
        ("Ответ: 5.", "ru", ("5.", "ru")),
        ("La réponse est : **5**", "fr", ("5**", "fr")),
        ("Ответ 5.", "ru", ("5.", "ru")),
        ("Ответ -5.", "ru", ("-5.", "ru")),
        ("Ответ неизвестен", "ru", None),
        ("Jibu ni 5.", "sw", ("5.", "sw")),
        ("答案是 5。", "zh", ("5。", "zh")),
        ("答えは5です。", "ja", ("5です。", "ja")),
        ("คำตอบคือ 5", "th", ("5", "th")),
        ("উত্তর হল 5।", "bn", ("5।", "bn")),
        ("సమాధానం 5.", "te", ("5.", "te")),
        # The labels before a step-by-step answer.
        ("Step-by-Step Answer: 3", "en", None),
        ("Schritt-für-Schritt-Antwort: 3", "de", None),
        ("ステップごとの答え：3", "ja", None),
        ("ধাপে ধাপে উত্তর: 3", "bn", None),
        ("దశలవారీగా సమాధానం: 3", "te", None),
        # English in another language's answer; another language where none is known.
        ("The answer is 5.", "th", ("5.", "en")),
        ("Die Antwort ist 4. The answer is 5.", "de", ("5.", "en")),
        ("The answer is 4. Die Antwort ist 5.", "de", ("5.", "de")),
        ("Jibu ni 5.", "de", None),
        ("Jibu ni 5.", None, ("5.", "sw")),
        ("Jibu ni 5.", "fi", ("5.", "sw")),
        # The last one, and the line below it.
        ("Jibu ni 4. Jibu ni 5.", "sw", ("5.", "sw")),
        ("答案是：\n\n 5\n6", "zh", ("5", "zh")),
        ("答案是\n\n 5\n6", "zh", ("5", "zh")),
        ("答案是", "zh", ("", "zh")),
        ("", "zh", None),
    ],
)
def test_after_phrase(text, language, expected):
    assert answer_cues.after_phrase(text, language) == expected
    assert answer_cues.after_phrase(unicodedata.normalize("NFD", text), language) == expected


@given(st.text(max_size=40), st.sampled_from([None, "xx", *answer_cues.PHRASES]))
def test_cues_are_total(text, language):
    assert isinstance(answer_cues.after_cue(text) or "", str)
    for phrase in ("Die Antwort ist", "答えは"):
        found = answer_cues.after_phrase(f"{text}{phrase}{text}", language)
        assert found is None or "\n" not in found[0]
