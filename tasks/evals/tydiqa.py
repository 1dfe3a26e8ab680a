# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""TyDiQA-GoldP: questions on passages with their answers, in eight languages (Clark et al. 2020).

Chung et al. 2022 ask it with one exemplar and average the languages without English (App. D), but
do not print the prompt. This one is that of lm-eval's `tydiqa_goldp_*`, whose scores can so be
compared, with an exemplar before it:

    Konteksti: PASSAGE\n\nKysymys: QUESTION\n\nVastaus: ANSWER

The exemplar is the first of the language's training questions, in the order of the file, whose
passage has at most 1,000 characters; where there is none, the first of those with the shortest.
Texts are in Unicode's form NFC. Files are in the layout of SQuAD 1.1.
"""

import dataclasses
import functools
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.core.errors import DataError
from flan_jax.evals import benchmark, public_files
from flan_jax.evals.benchmark import VALIDATION, Benchmark, Question, Subtask
from flan_jax.evals.measures import Extracted
from flan_jax.inference.decode_config import DecodeConfig

NAME = "tydiqa"
LANGUAGES = {
    "ar": "arabic", "bn": "bengali", "fi": "finnish", "id": "indonesian", "ko": "korean",
    "ru": "russian", "sw": "swahili", "te": "telugu",
}  # fmt: skip
"""Codes, and the names that questions' ids begin with."""

LABELS = {
    "ar": ("السياق", "السؤال", "الإجابة"),
    "bn": ("প্রসঙ্গ", "প্রশ্ন", "উত্তর"),
    "fi": ("Konteksti", "Kysymys", "Vastaus"),
    "id": ("Konteks", "Pertanyaan", "Jawaban"),
    "ko": ("맥락", "질문", "답변"),
    "ru": ("Контекст", "Вопрос", "Ответ"),
    "sw": ("Muktadha", "Swali", "Jibu"),
    "te": ("సందర్భం", "ప్రశ్న", "సమాధానం"),
}
"""Of passage, question and answer."""

TRAIN, DEV = "tydiqa-goldp-v1.1-train.json", "tydiqa-goldp-v1.1-dev.json"
FILES = f"{TRAIN} and {DEV} of github.com/google-research-datasets/tydiqa (gold passage task)"
MAX_EXEMPLAR_PASSAGE = 1_000  # characters

# Answers are short; in scripts that a vocabulary lacks a character may take three tokens.
DECODING = DecodeConfig(max_length=64, stop=("\n",))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A question with its passage."""

    id: str
    passage: str
    question: str
    answers: tuple[str, ...]  # each once, in the order of the file

    def prompt(self, code: str) -> str:
        """Returns the row up to its answer, with the labels of a language."""
        passage, question, answer = LABELS[code]
        return f"{passage}: {self.passage}\n\n{question}: {self.question}\n\n{answer}:"


def load(folder: Path, split: str, *, has_exemplar: bool = True) -> list[Subtask]:
    """Returns a subtask for each language; see `benchmark.Load`."""
    del split  # the dev set is the only one with answers to measure
    read = functools.cache(read_rows)  # several languages may be in one file
    train = public_files.find(folder, TRAIN, what=FILES) if has_exemplar else None
    subtasks = []
    for code, name in LANGUAGES.items():
        path = public_files.find(
            folder,
            DEV,
            f"tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{name}.json",
            f"tydiqa-goldp-dev-{name}.json",
            what=FILES,
        )
        rows = _of_language(read(path), name, path) if path.name == DEV else read(path)
        subtasks.append(
            Subtask(
                name=code,
                questions=tuple(_question(row, code) for row in rows),
                exemplars=(_exemplar(read(train), code, train),) if train else (),
                stop=(f"{LABELS[code][0]}:",),  # of vocabularies without a line break
            )
        )
    return subtasks


def read_rows(path: Path) -> tuple[Row, ...]:
    """Returns the questions of a file in the layout of SQuAD 1.1, in its order.

    Raises:
        DataError: something is missing; the message names the place in the file.
    """
    rows = []
    for where, article in _items(public_files.read_json(path), "data", f"{path}: "):
        for place, paragraph in _items(article, "paragraphs", f"{where}."):
            passage = _text(paragraph, "context", place)
            for spot, question in _items(paragraph, "qas", f"{place}."):
                found = [_text(a, "text", at) for at, a in _items(question, "answers", f"{spot}.")]
                if not all(answer.strip() for answer in found):
                    raise DataError(f"{spot}: an answer is empty; remove it")
                rows.append(
                    Row(
                        id=_text(question, "id", spot),
                        passage=passage,
                        question=_text(question, "question", spot),
                        answers=tuple(dict.fromkeys(found)),
                    )
                )
    return tuple(rows)


def _items(holder: Any, key: str, where: str) -> Iterator[tuple[str, Any]]:
    """Yields (place, item) of the list at a key of a JSON object; it must not be empty."""
    items = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(items, list) or not items:
        raise DataError(f"{where}{key}: need a list that is not empty")
    for index, item in enumerate(items):
        yield f"{where}{key}[{index}]", item


def _text(holder: Any, key: str, where: str) -> str:
    return unicodedata.normalize("NFC", public_files.text_of(holder, key, where))


def _of_language(rows: tuple[Row, ...], name: str, path: Path) -> tuple[Row, ...]:
    """Returns the rows of a language; `DataError` if there is none."""
    found = tuple(row for row in rows if row.id.split("-")[0] == name)
    if not found:
        raise DataError(f"{path}: no question whose id begins with {name + '-'!r}; complete it")
    return found


def _question(row: Row, code: str) -> Question:
    return Question(
        id=row.id,
        text=row.prompt(code),
        target=f" {row.answers[0]}",
        references=row.answers,
        meta={"language": code},
    )


def _exemplar(rows: tuple[Row, ...], code: str, path: Path) -> str:
    own = _of_language(rows, LANGUAGES[code], path)
    short = (row for row in own if len(row.passage) <= MAX_EXEMPLAR_PASSAGE)
    row = next(short, None) or min(own, key=lambda row: len(row.passage))
    return f"{row.prompt(code)} {row.answers[0]}\n\n"


def register() -> None:
    """Registers TyDiQA's forms."""
    few_shot = Benchmark(
        name=NAME,
        version=1,
        protocol="1-shot direct",
        folder=NAME,
        files=FILES,
        load=load,
        decoding=DECODING,
        measures=(Extracted("squad_answer", ("squad_em_multilingual", "squad_f1_multilingual")),),
        splits=(VALIDATION,),
        subtasks=tuple(LANGUAGES),
        paper_column="tydiqa",
    )
    benchmark.add(few_shot)
    benchmark.add(
        dataclasses.replace(
            few_shot,
            name="tydiqa_zero_shot",
            protocol="0-shot direct",
            load=functools.partial(load, has_exemplar=False),
            paper_column="",
        )
    )


register()
