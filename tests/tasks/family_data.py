# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data of tasks: written for tests in the formats that users supply, or real where it is there."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

VARIABLES = (
    "FLAN_JAX_MUFFIN_DIR", "FLAN_JAX_COT_DIR", "FLAN_JAX_NIV2_DIR", "FLAN_JAX_P3_RENDERED_DIR",
    "FLAN_JAX_DIALOG_DIR", "FLAN_JAX_TASKMASTER_DIR", "FLAN_JAX_PROGRAM_DIR", "FLAN_JAX_T0_DIR",
    "FLAN_JAX_P3_TEMPLATES", "TFDS_DATA_DIR",
)  # fmt: skip
SHARED_VARIABLE = "FLAN_JAX_SHARED_DATA"
P3_TASK = "adversarial_qa_dbert_answer_the_following_q"
NIV2_TASK = "task001_quoref_question_generation"


def forget(monkeypatch, empty: Path) -> None:
    """Takes away the data that the machine may have; TFDS gets an empty folder."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(empty))


def shared_folder() -> Path:
    """Returns the folder of real data that an environment variable names, or skips the test."""
    folder = os.environ.get(SHARED_VARIABLE)
    if not folder:
        pytest.skip(f"{SHARED_VARIABLE} names no folder of real data")
    return Path(folder)


def write_lines(path: Path, rows: Iterable) -> None:
    """Writes rows one a line, those that are no text as JSON; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def write(folder: Path) -> dict[str, str]:
    """Writes rows of one task of each family; returns the variables that name their places."""

    def lines(path: str, rows: list) -> None:
        write_lines(folder / path, rows)

    boolq = [
        {"question": f"is it {n}", "title": "t", "answer": bool(n % 2), "passage": f"p {n}"}
        for n in range(240)
    ]
    lines("muffin/bool_q/train.jsonl", boolq)
    p3 = [{"inputs": f"Q{n}?", "targets": f"a{n}"} for n in range(40)]
    for split in ("train", "validation"):
        lines(f"p3/{P3_TASK}/{split}.jsonl", p3)
    lines("cot/gsm8k_train.tsv", [f"Question {n}?\t{n}\tBecause\\nof {n}." for n in range(20)])
    niv2 = {
        "Definition": ["Say it.", "Say the thing."],
        "Positive Examples": [{"input": "x", "output": "y", "explanation": "why not"}],
        "Instances": [
            {"id": str(n), "input": f"i{n}", "output": [f"o{n}", "also"]} for n in range(20)
        ],
    }
    lines(f"niv2/{NIV2_TASK}.json", [niv2])
    lines("program/dr_repair_plain_code.tsv", [f"bad {n}\tgood\\n{n}" for n in range(20)])
    speakers = ("USER", "ASSISTANT")
    dialogs = [
        {
            "conversation_id": f"dlg-{n}",
            "utterances": [
                {"index": i, "speaker": speakers[i % 2], "text": f"turn {i} of {n}"}
                for i in range(6)
            ],
        }
        for n in range(20)
    ]
    lines("taskmaster/movies.json", [dialogs])
    places = {
        "MUFFIN": "muffin", "P3_RENDERED": "p3", "COT": "cot", "NIV2": "niv2",
        "PROGRAM": "program", "TASKMASTER": "taskmaster",
    }  # fmt: skip
    return {f"FLAN_JAX_{name}_DIR": str(folder / path) for name, path in places.items()}
