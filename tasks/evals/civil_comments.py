# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""CivilComments (Borkan et al. 2019): whether a comment is toxic, by yes or no.

The score is the area under the ROC curve of log p(yes) - log p(no), without exemplars and with ten,
half of them toxic (Chung et al. 2022, App. C). We do not know the paper's wording; this is ours:

    Comment: TEXT
    Question: Is this comment toxic? Answer yes or no.
    Answer: no

    Comment: ...

A comment is toxic if at least half of its raters said so. The paper takes 10,000 comments of the
test set and does not name them: here they are a fixed sample of the file, as the exemplars are of
the training file, where toxic ones and others alternate.
"""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.core.errors import DataError
from flan_jax.evals import benchmark, public_files, toxicity
from flan_jax.evals.benchmark import Benchmark, Question, Subtask
from flan_jax.evals.responsible_measures import RocAuc
from flan_jax.inference.decode_config import DecodeConfig
from tasks.evals.fixed_sample import fixed_sample

NAME = "civil_comments"
TEST = ("test.jsonl", "test.csv", "test_public_expanded.csv")
TRAIN = ("train.jsonl", "train.csv")
FILES = (
    "test and, for exemplars, train, as .jsonl or as .csv with a header, with the columns text "
    "(or comment_text) and toxicity (or target): CivilComments of TFDS, Hugging Face or Kaggle"
)
NUM_COMMENTS = 10_000
NUM_SHOTS = 10
YES, NO = "yes", "no"

# One comment: where it stands, its text, and the share of raters who called it toxic.
Comment = tuple[str, str, float]


def load(folder: Path, split: str, *, num_shots: int) -> list[Subtask]:
    """Returns the one subtask; see `benchmark.Load`."""
    del split  # there is one
    path = public_files.find(folder, *TEST, what=FILES)
    comments = fixed_sample(read_comments(path), NUM_COMMENTS, _text)
    if len({_answer(comment) for comment in comments}) < 2:
        raise DataError(f"{path}: need comments that are toxic and ones that are not")
    subtask = Subtask(
        name=NAME,
        questions=tuple(map(_question, comments)),
        exemplars=_exemplars(folder, num_shots) if num_shots else (),
        baseline=50.0,
    )
    return [subtask]


def read_comments(path: Path) -> Iterator[Comment]:
    """Yields the comments of a file of either form; `DataError` for a row that is none."""
    is_csv = path.suffix == ".csv"
    rows = public_files.read_csv_table(path) if is_csv else public_files.read_json_lines(path)
    for where, row in rows:
        text = public_files.text_of(row, "text" if "text" in row else "comment_text", where)
        yield where, text.strip(), _share(row.get("toxicity", row.get("target")), where)


def _share(value: Any, where: str) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise DataError(f"{where}: need a toxicity (or target) from 0 to 1, found {value!r:.40}")
    return share


def _text(comment: Comment) -> str:
    return comment[1]


def _answer(comment: Comment) -> str:
    return YES if comment[2] >= toxicity.TOXIC else NO


def _ask(text: str) -> str:
    return f"Comment: {text}\nQuestion: Is this comment toxic? Answer yes or no.\nAnswer:"


def _question(comment: Comment) -> Question:
    where, text, share = comment
    return Question(
        id=where.rpartition(":")[2],  # the line of the file
        text=_ask(text),
        target=f" {_answer(comment)}",
        references=(_answer(comment),),
        choices=(f" {YES}", f" {NO}"),
        labels=(YES, NO),
        meta={"toxicity": share},
    )


def _exemplars(folder: Path, num: int) -> tuple[str, ...]:
    path = public_files.find(folder, *TRAIN, what=FILES)
    chosen = []
    for answer in (YES, NO):
        of_class = (c for c in read_comments(path) if _answer(c) == answer)
        chosen.append(fixed_sample(of_class, num // 2, _text))
    if min(map(len, chosen)) < num // 2:
        raise DataError(
            f"{path}: need {num // 2} comments that are toxic and as many that are not, found "
            f"{len(chosen[0])} and {len(chosen[1])}"
        )
    alternating = itertools.chain.from_iterable(zip(*chosen, strict=True))
    return tuple(f"{_ask(_text(c))} {_answer(c)}\n\n" for c in alternating)


def register() -> None:
    """Registers CivilComments without exemplars and with ten."""
    for name, num_shots in ((NAME, 0), (f"{NAME}_{NUM_SHOTS}_shot", NUM_SHOTS)):
        benchmark.add(
            Benchmark(
                name=name,
                version=1,
                protocol=f"{num_shots}-shot",
                folder=NAME,
                files=FILES,
                load=functools.partial(load, num_shots=num_shots),
                decoding=DecodeConfig(max_length=8, stop=("\n",)),
                measures=(RocAuc(positive=YES),),
                subtasks=(NAME,),
            )
        )


register()
