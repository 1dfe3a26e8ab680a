# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the contamination check found, as a table for a terminal, as CSV and as JSON."""

import csv
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

from flan_jax.collection.contamination import MIN_WORDS, FileOverlap, Passage, TaskOverlap
from flan_jax.collection.store import Store
from flan_jax.core import files
from flan_jax.core.tables import aligned

CSV_COLUMNS = (
    "task", "split", "num_examples", "num_overlapping", "share", "num_evaluation_rows",
    "longest_words", "longest_text", "longest_example", "longest_part", "longest_row",
)  # fmt: skip


def table(
    tasks: Sequence[TaskOverlap],
    evaluations: Sequence[FileOverlap],
    n: int,
    num_passages: int,
    width: int,
) -> Iterator[str]:
    """Yields the lines of the table: tasks with overlap, evaluation files, the longest passages.

    Args:
        tasks: what `contamination.check` returned.
        evaluations: likewise.
        n: words of an n-gram.
        num_passages: how many passages to show.
        width: characters of a passage to show.
    """
    hit = sorted((t for t in tasks if t.num_overlapping), key=lambda t: (-t.share, t.task, t.split))
    if hit:
        rows = [("task", "split", "examples", "overlapping", "share %", "evaluation rows")]
        rows += [
            (
                t.task, t.split, f"{t.num_examples:,}", f"{t.num_overlapping:,}",
                f"{100 * t.share:.3f}", f"{t.num_rows:,}",
            )
            for t in hit
        ]  # fmt: skip
        yield from aligned(rows, right=range(2, len(rows[0])))
        yield ""
    rows = [("evaluation file", "rows", "too short", "hit")]
    rows += [
        (e.file, f"{e.num_rows:,}", f"{e.num_too_short:,}", f"{e.num_hit:,}") for e in evaluations
    ]
    yield from aligned(rows, right=range(1, len(rows[0])))
    passages = [(t, passage) for t in hit for passage in t.passages]
    passages.sort(key=lambda pair: -pair[1].num_words)
    if passages:
        yield ""
        yield "longest passages:"
    for task, passage in passages[:num_passages]:
        yield f"{passage.num_words} words, {_place(task, passage)} and {passage.row}:"
        text = passage.text
        yield "  " + (text if len(text) <= width else f"{text[: width - 4]} ...")
    yield ""
    num_examples = sum(t.num_examples for t in tasks)
    num_overlapping = sum(t.num_overlapping for t in tasks)
    yield (
        f"{num_overlapping:,} of {num_examples:,} examples, in {len(hit)} of {len(tasks)} parts, "
        f"share {n} words in a row with {sum(e.num_hit for e in evaluations):,} of "
        f"{sum(e.num_rows for e in evaluations):,} evaluation rows (rows whose texts are all "
        f"shorter: a whole text of at least {MIN_WORDS} words)"
    )


def write_csv(path: str | os.PathLike, tasks: Sequence[TaskOverlap]) -> None:
    """Writes a line for each task's split, with its longest passage, atomically."""
    with files.atomic_open(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for task in tasks:
            counts = (task.num_examples, task.num_overlapping, f"{task.share:.6f}", task.num_rows)
            longest = ("",) * 5
            if task.passages:
                p = task.passages[0]
                longest = (p.num_words, p.text, p.example, p.part, p.row)
            writer.writerow((task.task, task.split, *counts, *longest))


def write_json(
    path: str | os.PathLike,
    store: Store,
    tasks: Sequence[TaskOverlap],
    evaluations: Sequence[FileOverlap],
    n: int,
) -> None:
    """Writes all that was found, and of which store, atomically."""
    found: dict[str, Any] = {
        "store": str(store.path),
        "mixture": store.mixture,
        "seed": store.manifest["seed"],
        "n": n,
        "min_words": MIN_WORDS,
        "tasks": [dataclasses.asdict(task) | {"share": task.share} for task in tasks],
        "evaluations": [dataclasses.asdict(evaluation) for evaluation in evaluations],
    }
    files.write_json(path, found)


def _place(task: TaskOverlap, passage: Passage) -> str:
    return f"{task.task} {task.split} example {passage.example} ({passage.part})"
