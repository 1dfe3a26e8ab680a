# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Real rows of Muffin tasks, where the environment variable FLAN_JAX_SHARED_DATA names some.

They lie there as their publishers lay them out. Where that is not a builder's JSON lines, they are
converted here, as a user would.
"""

import collections
import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from flan_jax.collection.rendering import Dropped, Rendered, render_task
from flan_jax.collection.sources import JsonLinesSource, Row
from flan_jax.collection.spec import TaskSpec
from tasks.muffin import closed_book
from tests.tasks.family_data import shared_folder, write_lines

_LANGUAGES = {
    "cs": "ces_Latn", "de": "deu_Latn", "en": "eng_Latn", "fi": "fin_Latn", "fr": "fra_Latn",
    "ro": "ron_Latn", "ru": "rus_Cyrl", "tr": "tur_Latn",
}  # fmt: skip
# Parallel lines that are kept for validation.
_NUM_VALIDATION = 50


def train_rows(task: str) -> list[Row]:
    """Returns the rows of a task's published training file."""
    train, _, read = _LAYOUTS[task]
    return read(shared_folder() / "train/muffin" / task / train)


def render_samples(task: TaskSpec) -> tuple[list[Rendered], collections.Counter]:
    """Returns what the sample's train rows give, and how many were dropped for each reason."""
    name = task.name.removeprefix("muffin.")
    path = str(shared_folder() / "train/muffin" / name / "train.jsonl")
    sample = dataclasses.replace(task, source=JsonLinesSource({"train": path}), splits=("train",))
    results = list(render_task(sample, "train", 0))
    dropped = collections.Counter(r.reason for r in results if isinstance(r, Dropped))
    return [r for r in results if isinstance(r, Rendered)], dropped


def export(folder: Path) -> dict[str, int]:
    """Writes all samples as FLAN_JAX_MUFFIN_DIR has them; returns the number of rows by task.

    A published training file and its test file are one `train.jsonl`, of which the tasks cut their
    validation, unless the builder has a split for that.
    """
    samples, num_rows = shared_folder() / "train/muffin", {}

    def write(task: str, **rows_by_split: list[Row]) -> None:
        for split, rows in rows_by_split.items():
            write_lines(folder / task / f"{split}.jsonl", rows)
        num_rows[task] = sum(map(len, rows_by_split.values()))

    for task, (train, test, read) in _LAYOUTS.items():
        first, second = (read(samples / task / name) for name in (train, test))
        if task in _WITH_VALIDATION:
            write(task, train=first, validation=second)
        else:
            few = samples / task / "train.fewglue32.jsonl"
            write(task, train=first + second + (_json_lines(few) if few.exists() else []))
    texts = {
        code: (samples / "flores200_mt_standin" / f"{name}.dev").read_text("utf-8").splitlines()
        for code, name in _LANGUAGES.items()
    }
    for code in _LANGUAGES.keys() - {"en"}:
        pairs = zip(texts["en"], texts[code], strict=True)
        rows = [{"en": english, code: other} for english, other in pairs]
        task = "wmt14_enfr" if code == "fr" else f"wmt16_translate_{code}en"
        write(task, train=rows[:-_NUM_VALIDATION], validation=rows[-_NUM_VALIDATION:])
    for task in ("true_case", "fix_punct", "word_segment"):
        write(task, train=[{"en": text} for text in texts["en"]])
    return num_rows


def _json_lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _e2e_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [
            {"meaning_representation": row["mr"], "target": row["ref"], "references": []}
            for row in csv.DictReader(file)
        ]


def _openbookqa_tsv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = []
    for row in table:
        texts = closed_book._LETTERED.split(row["Choices"])[2::2]
        choices = {f"choice_{mark}": text for mark, text in zip("ABCD", texts, strict=True)}
        question = {"stem": row["Question Stem"], **choices}
        rows.append({"question": question, "answerKey": row["Answer Key"]})
    return rows


def _sst2_tsv(path: Path) -> list[Row]:
    pairs = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    return [{"sentence": text, "label": int(label)} for text, label in pairs]


def _trec_labels(path: Path) -> list[Row]:
    pairs = [line.split(" ", 1) for line in path.read_text("latin-1").splitlines()]
    return [{"label-coarse": label.split(":")[0], "text": text} for label, text in pairs]


# (training file, test file, how to read one) of each task.
_Layout = tuple[str, str, Callable[[Path], list[Row]]]
_PLAIN: _Layout = ("train.jsonl", "test.jsonl", _json_lines)
_LAYOUTS: dict[str, _Layout] = {
    "arc_challenge": _PLAIN,
    "arc_easy": _PLAIN,
    "bool_q": _PLAIN,
    "cb": _PLAIN,
    "copa": _PLAIN,
    "e2e_nlg": ("train.csv", "test.csv", _e2e_csv),
    "openbookqa": ("train.tsv", "test.tsv", _openbookqa_tsv),
    "rte": _PLAIN,
    "sst2": ("train.tsv", "test.tsv", _sst2_tsv),
    "trec": ("train.label", "test.label", _trec_labels),
    "wic": _PLAIN,
    "wsc": _PLAIN,
}
# Those whose builder's validation split is validated on; e2e_nlg leaves the train split's last 200.
_WITH_VALIDATION = ("e2e_nlg", "openbookqa")
