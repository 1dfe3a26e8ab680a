# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tiny data of ours in the layouts of GSM8K, MGSM and TyDiQA-GoldP, in all their languages."""

import json
from pathlib import Path
from typing import Any

# Labels and closing sentence of the exemplars of MGSM (its exemplars.py), with what follows them.
MGSM_LABELS = {
    "bn": ("প্রশ্ন: ", "ধাপে ধাপে উত্তর: ", "উত্তর হল {}।"),
    "de": ("Frage: ", "Schritt-für-Schritt-Antwort: ", "Die Antwort lautet {}."),
    "en": ("Question: ", "Step-by-Step Answer: ", "The answer is {}."),
    "es": ("Pregunta: ", "Respuesta paso a paso: ", "La respuesta es {}."),
    "fr": ("Question : ", "Réponse étape par étape : ", "La réponse est {}."),
    "ja": ("問題：", "ステップごとの答え：", "答えは{}です。"),
    "ru": ("Задача: ", "Пошаговое решение: ", "Ответ — {}."),
    "sw": ("Swali: ", "Jibu la Hatua kwa Hatua: ", "Jibu ni {}."),
    "te": ("ప్రశ్న: ", "దశలవారీగా సమాధానం: ", "సమాధానం {}."),
    "th": ("โจทย์: ", "คำตอบทีละขั้นตอน: ", "คำตอบคือ {}"),
    "zh": ("问题：", "逐步解答：", "答案是 {}。"),
}
MGSM_NUMBERS = [2, 3, 4, 5, 6, 7, 8, 9]

TYDIQA_LANGUAGES = (
    "arabic", "bengali", "english", "finnish", "indonesian", "korean", "russian", "swahili",
    "telugu",
)  # fmt: skip
LONG = "x" * 1_001  # a passage, too long for an exemplar


def write_text(path: Path, text: str) -> None:
    """Writes a file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def write_gsm8k(folder: Path) -> None:
    """Writes three questions and the eight exemplars."""
    rows = [
        ('Ann has 2 eggs, "and" 2 more.\nHow many?', "2 + 2 = <<2+2=4>>4 eggs.\nAll.\n#### 4"),
        ("How many are a thousand and two?", "It is 1,002\n#### 1,002"),
        ("What is 3 below zero?", "0-3=<<0-3=-3>>-3.\n#### -3"),
    ]
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in rows]
    write_text(folder / "test.jsonl", "".join(f"{line}\n" for line in lines))
    exemplars = [gsm8k_exemplar(number) for number in range(8)]
    write_text(folder / "cot_8shot_exemplars.json", json.dumps(exemplars))


def gsm8k_exemplar(number: int) -> dict[str, str]:
    """Returns one of the exemplars."""
    answer = f"{number} and 1 make {number + 1}. The answer is {number + 1}."
    return {"question": f"What are {number} and 1?", "target": answer}


def mgsm_exemplars() -> dict[str, Any]:
    """Returns the constants of the file of exemplars."""
    texts = {
        language: {
            str(index): {
                "q": f"{question}{number - 1} + 1 ({language})?",
                "a": f"{rationale}{number - 1} + 1. {sentence.format(number)}",
            }
            for index, number in enumerate(MGSM_NUMBERS, start=1)
        }
        for language, (question, rationale, sentence) in MGSM_LABELS.items()
    }
    return {"EXEMPLAR_NUMBER_ANSWERS": MGSM_NUMBERS, "MGSM_EXEMPLARS": texts}


def write_mgsm(folder: Path) -> None:
    """Writes three questions in each language, and the exemplars."""
    for language in MGSM_LABELS:
        rows = [f'"{language}" 1000 + 2?\t1,002', f"10 + 1 ({language})?\t11", "5 + 6?\t11"]
        write_text(folder / f"mgsm_{language}.tsv", "".join(f"{row}\n" for row in rows))
    write_text(folder / "exemplars.json", json.dumps(mgsm_exemplars()))


def tydiqa_article(question_id: str, passage: str, question: str, *answers: str) -> dict[str, Any]:
    """Returns an article of one question in the layout of SQuAD 1.1."""
    found = [{"text": answer, "answer_start": passage.find(answer)} for answer in answers]
    asked = [{"id": question_id, "question": question, "answers": found}]
    return {"title": "t", "paragraphs": [{"context": passage, "qas": asked}]}


def write_tydiqa(folder: Path) -> None:
    """Writes the training set and the dev set, whose languages take turns."""
    train, dev = [], []
    for number in range(3):
        for language in TYDIQA_LANGUAGES:
            passage = LONG if number == 0 else f"{language} {number}."
            question_id = f"{language}--{number}-0"
            train.append(
                tydiqa_article(question_id, passage, f"How many, {language}?", str(number), "no")
            )
    for number in range(2):
        for language in TYDIQA_LANGUAGES:
            passage = f"In {language}: the number {number}."
            question_id = f"{language}-{number}-1"
            answers = (f"the number {number}", str(number), str(number))
            dev.append(tydiqa_article(question_id, passage, f"{language}?", *answers))
    write_squad(folder / "tydiqa-goldp-v1.1-train.json", train)
    write_squad(folder / "tydiqa-goldp-v1.1-dev.json", dev)


def write_squad(path: Path, articles: list[dict[str, Any]]) -> None:
    """Writes articles as a file in the layout of SQuAD 1.1."""
    write_text(path, json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False))
