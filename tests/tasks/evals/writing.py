# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tiny data of ours in the layouts that benchmarks are published in."""

import csv
import json
from pathlib import Path
from typing import Any

from flan_jax.paper import parts
from tasks.evals import bbh, mmlu

# Rows as spreadsheets have them: several lines, quotes, white space, options that are no texts to
# careless readers, and the same option twice. The commonest letter is B.
MMLU_ROWS = (
    ("Which number, of these, is even?", "1", "2", "3", "5", "B"),
    ('Read:\n"So it is," he said.\n\nWho spoke?', "He", "None", "NA", "null", "A"),
    (" Pick the last one. ", " one", "one", "two ", "None", "D"),
    ("Half of 4?", "0", "2.0", "1", "1", "B"),
)


def write_text(path: Path, text: str) -> None:
    """Writes a file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON."""
    write_text(path, json.dumps(value, ensure_ascii=False))


def write_mmlu(folder: Path) -> None:
    """Writes `dev`, `val` and `test` of all subjects, and prompts with chains of thought."""
    for subject in mmlu.SUBJECTS:
        dev = [(f"Is {n} {subject}?", "no", "yes", "a, b", "", "ABCDA"[n]) for n in range(5)]
        for part, rows in {"dev": dev, "val": MMLU_ROWS[:1], "test": MMLU_ROWS}.items():
            path = folder / part / f"{subject}_{part}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
    stored = {
        subject: f"About {subject}.\n\n"
        + "\n\n".join(
            f"Q: Is {n} odd?\n(A) no (B) yes (C) so (D) -\nA: Let's think step by step. {n} is\n"
            f"what it is. The answer is ({'AB'[n % 2]})."
            for n in range(4)
        )
        for subject in mmlu.SUBJECTS
    }
    write_json(folder / "mmlu-cot.json", stored)


def write_bbh(folder: Path, canary: str = "No training on this. canary GUID 0\n-----\n") -> None:
    """Writes every file of BBH with three questions, and its prompt of three exemplars."""
    for file in parts.bbh_files():
        shown = [_bbh_example(file.file, n) for n in range(6)]
        write_json(
            folder / "bbh" / f"{file.file}.json",
            {"canary": "no training", "examples": shown[:3]},
        )
        blocks = [
            f"About {file.file}.\n\nIn two paragraphs.",
            *(
                f"Q: {example['input']}\nA: Let's think step by step.\nWe look.\n"
                f"So the answer is {example['target']}."
                for example in shown[3:]
            ),
        ]
        write_text(folder / "cot-prompts" / f"{file.file}.txt", canary + "\n\n".join(blocks))


def _bbh_example(file: str, number: int) -> dict[str, str]:
    answers = bbh.ANSWERS[file]
    if answers == bbh.LETTERS:
        options = "\n".join(f"({'ABC'[n]}) {n}" for n in range(3))
        return {
            "input": f"Find {number % 3}.\nOptions:\n{options}",
            "target": f"({'ABC'[number % 3]})",
        }
    if answers == bbh.FREE_TEXT:
        return {"input": f"Say {number} - {number} ] twice:", "target": f"{number} ] {number}"}
    return {"input": f"Is {number} odd?\nOptions:\n- Yes\n- No", "target": answers[number % 2]}
