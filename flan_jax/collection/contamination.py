# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which examples of a token store share n-grams of words with evaluation sets, task by task.

The measure of Brown et al. 2020 (GPT-3), App. C: an example overlaps if one of its texts and a text
of an evaluation row share 13 words in a row, case and punctuation aside. (Wei et al. 2021, App. C,
use n-grams of at most 13 words too; PaLM, Chowdhery et al. 2022, §8, shares of 8-grams.) What the
prompt shows of other examples is text of the example as well, since the model reads it.

An evaluation row all of whose texts are shorter than n is looked for by whole texts, those of
`MIN_WORDS` words or more; what is shorter yet cannot be told from chance and is only counted.

Memory grows with the evaluation sets, about 40 bytes a word, and not with the store.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from flan_jax.collection import word_grams
from flan_jax.collection.evaluation_texts import EvaluationRow
from flan_jax.collection.store import Store, TaskStore
from flan_jax.collection.word_grams import GAP, GramIndex, Numbering
from flan_jax.core.errors import UsageError
from flan_jax.core.progress import Progress

NUM_WORDS = 13
MIN_WORDS = 5

_NUM_SAMPLES = 3
_NUM_PLACES_TRIED = 16  # of an n-gram that many evaluation texts hold, to find the longest passage
_BATCH_CHARACTERS = 1 << 21
_PARTS = ("inputs", "targets")


@dataclasses.dataclass(frozen=True)
class Passage:
    """Words that an example and an evaluation row share, as many in a row as there are."""

    num_words: int
    # Lower-case words with one space between.
    text: str
    # Number of the example in the task's split of the store.
    example: int
    # "inputs" or "targets".
    part: str
    # The evaluation row, as its file names it.
    row: str


@dataclasses.dataclass(frozen=True)
class TaskOverlap:
    """What one task's split shares with the evaluation rows."""

    task: str
    split: str
    num_examples: int
    # Examples that share at least one n-gram.
    num_overlapping: int
    # Different evaluation rows that some example shares an n-gram with.
    num_rows: int
    # The longest shared passages, the longest first, each of another evaluation row.
    passages: tuple[Passage, ...] = ()

    @property
    def share(self) -> float:
        """Overlapping examples as a share of all."""
        return self.num_overlapping / self.num_examples if self.num_examples else 0.0


@dataclasses.dataclass(frozen=True)
class FileOverlap:
    """What one evaluation file shares with the whole store."""

    file: str
    num_rows: int
    # Rows too short to be looked for.
    num_too_short: int
    # Rows that some example of some task shares an n-gram with.
    num_hit: int


class EvaluationIndex:
    """The n-grams of evaluation rows.

    Args:
        sets: (file, its rows).
        n: words of an n-gram.

    Raises:
        UsageError: n is below `MIN_WORDS`, or no row is long enough to be looked for.
    """

    def __init__(self, sets: Iterable[tuple[str, Iterable[EvaluationRow]]], n: int = NUM_WORDS):
        if n < MIN_WORDS:
            raise UsageError(f"n must be at least {MIN_WORDS} words, got {n}")
        self.n = n
        self.numbering = Numbering()
        self.files: list[str] = []
        self.wheres: list[str] = []
        numbers: list[np.ndarray] = []
        starts: dict[int, list[np.ndarray]] = {}
        text_starts, text_rows = [0], [-1]  # the texts looked for, by row
        row_files, row_is_sought = [], []
        end = 0
        for file, rows in sets:
            self.files.append(file)
            for row in rows:
                texts = [self.numbering.add(word_grams.spaced(t).split()) for t in row.texts]
                least = n if max(map(len, texts)) >= n else MIN_WORDS
                sought = [text for text in texts if len(text) >= least]
                for text in sought:
                    length = min(len(text), n)
                    at = np.arange(end, end + len(text) - length + 1)
                    starts.setdefault(length, []).append(at)
                    text_starts.append(end)
                    text_rows.append(len(self.wheres))
                    numbers.append(np.array([*text, GAP], np.int32))
                    end += len(text) + 1
                self.wheres.append(row.where)
                row_files.append(len(self.files) - 1)
                row_is_sought.append(bool(sought))
        if not any(row_is_sought):
            raise UsageError(
                f"none of the {len(self.wheres)} evaluation rows has a text of {MIN_WORDS} words; "
                "name files with longer texts"
            )
        self.numbers = np.concatenate(numbers)
        self.row_files, self.row_is_sought = np.array(row_files), np.array(row_is_sought)
        self._text_starts, self._text_rows = np.array(text_starts), np.array(text_rows)
        self.grams = [
            GramIndex(self.numbers, np.concatenate(found), length)
            for length, found in sorted(starts.items())
        ]

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Returns the row of each of these places in `numbers`."""
        return self._text_rows[np.searchsorted(self._text_starts, places, "right") - 1]


def check(
    store: Store, index: EvaluationIndex, splits: Sequence[str] | None = None
) -> tuple[list[TaskOverlap], list[FileOverlap]]:
    """Compares all examples of a store with evaluation rows.

    Args:
        store: a built store.
        index: the evaluation rows.
        splits: those to look at; all if None.

    Returns:
        What each task's split shares, in order of their names, and what each file does.
    """
    parts = [
        (name, split)
        for name, entries in sorted(store.manifest["tasks"].items())
        for split in sorted(entries)
        if splits is None or split in splits
    ]
    is_hit = np.zeros(len(index.wheres), bool)
    found = []
    total = sum(store.task(*part).num_examples for part in parts)
    with Progress("contamination", total=total, unit="example") as progress:
        for name, split in parts:
            overlap, rows = _check_task(name, split, store.task(name, split), index, progress)
            is_hit[rows] = True
            found.append(overlap)
    of_files = []
    for number, file in enumerate(index.files):
        is_own = index.row_files == number
        num_short = int((is_own & ~index.row_is_sought).sum())
        num_hit = int((is_own & is_hit).sum())
        of_files.append(FileOverlap(file, int(is_own.sum()), num_short, num_hit))
    return found, of_files


def _check_task(
    name: str, split: str, task: TaskStore, index: EvaluationIndex, progress: Progress
) -> tuple[TaskOverlap, np.ndarray]:
    longest = _Longest(index)
    num_examples = num_overlapping = 0
    grams_hit = [np.zeros(len(grams), bool) for grams in index.grams]
    for texts in _batches(task.texts()):
        numbers, gaps = index.numbering.texts(texts)
        sums, factors = word_grams.prefix_sums(numbers)
        is_overlapping = np.zeros(len(texts) // len(_PARTS), bool)
        for grams, hit in zip(index.grams, grams_hit, strict=True):
            starts, found = grams.find(numbers, sums, factors)
            if not len(starts):
                continue
            hit[found] = True
            texts_hit = np.searchsorted(gaps, starts)
            is_overlapping[texts_hit // len(_PARTS)] = True
            longest.add(num_examples, numbers, gaps, starts, found, grams)
        num_examples += len(is_overlapping)
        num_overlapping += int(is_overlapping.sum())
        progress.advance(len(is_overlapping), note=name)
    rows = np.unique(
        np.concatenate(
            [
                index.rows(grams.places(np.flatnonzero(hit)))
                for grams, hit in zip(index.grams, grams_hit, strict=True)
            ]
        )
    )
    passages = longest.passages(task)
    return TaskOverlap(name, split, num_examples, num_overlapping, len(rows), passages), rows


def _batches(records: Iterable[dict[str, Any]]) -> Iterator[list[str]]:
    """Yields the texts of many examples at a time, `_PARTS` of each."""
    texts: list[str] = []
    size = 0
    for record in records:
        for part in _PARTS:
            texts.append(record[part])
            size += len(texts[-1])
        if size >= _BATCH_CHARACTERS:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts


class _Longest:
    """Keeps the longest shared passages of a task, one an evaluation row."""

    def __init__(self, index: EvaluationIndex):
        self._index = index
        # Row -> (words, example, part, first word in the text).
        self._best: dict[int, tuple[int, int, int, int]] = {}

    def add(
        self,
        first_example: int,
        numbers: np.ndarray,
        gaps: np.ndarray,
        starts: np.ndarray,
        found: np.ndarray,
        grams: GramIndex,
    ) -> None:
        """Looks at the n-grams that were found in a batch of texts."""
        # Windows side by side belong to a passage of at most so many words.
        begins = np.flatnonzero(np.diff(starts, prepend=-2) != 1)
        most = np.diff(np.append(begins, len(starts))) + grams.n - 1
        for run in np.argsort(-most, kind="stable").tolist():
            if most[run] <= self._least:
                break
            at, end = int(begins[run]), int(begins[run] + most[run] - grams.n + 1)
            while at < end:
                start = int(starts[at])
                text = int(np.searchsorted(gaps, start))
                length, row = self._grown(numbers, start, int(gaps[text]), grams, found[at])
                first_word = start - (int(gaps[text - 1]) + 1 if text else 0)
                example, part = divmod(text, len(_PARTS))
                self._keep(row, (length, first_example + example, part, first_word))
                at += length - grams.n + 1

    def passages(self, task: TaskStore) -> tuple[Passage, ...]:
        """Returns the passages, the longest first."""
        made = []
        for row, (length, example, part, first) in sorted(
            self._best.items(), key=lambda item: (-item[1][0], item[1][1:], item[0])
        ):
            text = task.text(example)[_PARTS[part]]
            words = word_grams.spaced(text).decode("utf-8", "replace").split()
            shared = " ".join(words[first : first + length])
            where = self._index.wheres[row]
            made.append(Passage(length, shared, example, _PARTS[part], where))
        return tuple(made)

    @property
    def _least(self) -> int:
        if len(self._best) < _NUM_SAMPLES:
            return 0
        return min(length for length, *_ in self._best.values())

    def _grown(
        self, numbers: np.ndarray, start: int, gap: int, grams: GramIndex, gram: int
    ) -> tuple[int, int]:
        """Returns how many words from `start` on an evaluation text shares, and its row."""
        own = self._index.numbers
        best = (0, -1)
        for place in grams.places(np.array([gram]))[:_NUM_PLACES_TRIED].tolist():
            most = min(gap - start, len(own) - place)
            differs = numbers[start : start + most] != own[place : place + most]
            length = int(np.argmax(differs)) if differs.any() else most
            if length > best[0]:
                best = (length, place)
        return best[0], int(self._index.rows(np.array([best[1]]))[0])

    def _keep(self, row: int, passage: tuple[int, int, int, int]) -> None:
        if row in self._best and self._best[row][0] >= passage[0]:
            return
        self._best[row] = passage
        if len(self._best) > _NUM_SAMPLES:
            # Of the shortest, the one met last goes, so that what is kept does not depend on it.
            worst = min(self._best, key=lambda r: (self._best[r][0], -self._best[r][1], -r))
            del self._best[worst]
