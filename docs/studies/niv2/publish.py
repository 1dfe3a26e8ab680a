# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns the finished sweep on Natural-Instructions into the files that are kept in the repository.

    FLAN_JAX_NIV2_DIR=... python docs/studies/niv2/publish.py runs/niv2_smollm2

Writes beside itself `scores.csv`, `sweep.json`, the figures and the table; `rules.csv`, what rules
without learning score on the same questions, and the untrained model without the word its answers
begin with; `baselines.csv`, one rule's means as the report draws them; `differences.csv`;
`tasks.csv`, which task is in which mixture; and `overlaps.csv`, of how many questions the text is
in training tasks. Of the questions and answers themselves it writes nothing.
"""

import collections
import csv
import dataclasses
import itertools
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from flan_jax import reporting
from flan_jax.collection import word_grams
from flan_jax.collection.parsing import Malformed
from flan_jax.collection.sources import Source
from flan_jax.collection.store import Store
from flan_jax.core import files
from flan_jax.evals import metrics
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.scores import Score
from flan_jax.scaling import sweep
from tasks import niv2

HERE = Path(__file__).resolve().parent
METRIC = "rouge_l"
HELD_OUT = "held_out_tasks"
KEPT = ("task_scaling.png", "task_scaling.svg", "scores_table.md")
# Held-out tasks made of data sets that training tasks are made of too, under another name.
SAME_SOURCE = (
    "task1412_web_questions", "task1483_chemical_extraction_chemprot", "task275_enhanced_wsc"
)  # fmt: skip
TRAINED = ("niv2_train_4", "niv2_train_16", "niv2_train_64", "niv2_train")
NUM_WORDS = 10  # in a row that two texts share are no chance
NUM_RESAMPLES = 10_000
DRAWN_RULES = ("copy_input", "most_frequent")  # dotted in the figure

# What an untrained model's answer begins with: who speaks, as its chat template has it.
_HEADER = re.compile(r"\s*assistant\s")


def rules(task: str, lines: Sequence[Mapping]) -> dict[str, list[str]]:
    """Returns rule -> answers to a task's questions, and those of the untrained model stripped.

    * `copy_input`: the input again.
    * `example_output`: the output of the task's first worked example.
    * `most_frequent`: the task's most frequent output, as if it were known.
    * `untrained_stripped`: the model's answer without the chat template's `assistant`.
    """
    source = niv2.released_spec(task).source
    rows = {split: dict(_rows(source, split)) for split in ("train", "validation")}
    outputs = collections.Counter(row["outputs"][0] for row in rows["train"].values())
    return {
        "copy_input": [rows["validation"][line["index"]]["input"] for line in lines],
        "example_output": [
            rows["validation"][line["index"]]["positives"][0]["output"] for line in lines
        ],
        "most_frequent": [outputs.most_common(1)[0][0]] * len(lines),
        "untrained_stripped": [_HEADER.sub("", line["prediction"], count=1) for line in lines],
    }


def rule_scores(run: Path, store: Store, groups: Mapping[str, Sequence[str]]) -> list[Score]:
    """Returns each rule's score on each task, and the means, in the layout of a sweep's table."""
    rows = []
    for group, tasks in groups.items():
        for task in tasks:
            lines = [
                line | {"index": record["index"]}
                for line, record in zip(
                    _lines(run / "predictions" / f"{task}.jsonl"),
                    store.task(task, "validation").texts(),
                    strict=False,  # of those asked
                )
            ]
            for rule, answers in rules(task, lines).items():
                each = [
                    metrics.per_example(METRIC, line["references"], answer)
                    for line, answer in zip(lines, answers, strict=True)
                ]
                value, stderr = metrics.mean_and_stderr(each)
                rows.append(
                    Score(
                        model=rule, step=0, benchmark=group, protocol="rule", subtask=task,
                        metric=METRIC, value=value, n=len(each), stderr=stderr,
                    )
                )  # fmt: skip
    return rows + scores_lib.macro_means(rows)


def differences(scores: Sequence[Score], untrained: Mapping[str, float]) -> Iterator[dict]:
    """Yields how much more of the held-out tasks each number of tasks gets than each smaller one.

    The interval, of 95 %, is of a bootstrap that draws tasks again; or the data sets they are of,
    each with all its tasks, since tasks of one data set are much alike.

    Args:
        scores: of the sweep.
        untrained: task -> score of the untrained model, without the header.
    """
    of_num: dict[int, dict[str, list[float]]] = {}
    for row in scores:
        if row.benchmark == HELD_OUT and row.metric == METRIC and row.subtask != scores_lib.MEAN:
            of_task = of_num.setdefault(int(row.settings["num_tasks"]), {})
            of_task.setdefault(row.subtask, []).append(row.value)
    means = {
        str(num): {task: float(np.mean(values)) for task, values in of_task.items()}
        for num, of_task in sorted(of_num.items())
    }
    means = {"0 stripped": dict(untrained)} | means
    names = list(means)
    tasks = sorted(untrained)
    data_sets = {task: niv2.RELEASED[task].stem.split("_")[1] for task in tasks}
    apart = [t for t in tasks if not niv2.RELEASED[t].stem.startswith(SAME_SOURCE)]
    draws = {
        "tasks": {task: [task] for task in tasks},
        "data sets": {
            name: [task for task in tasks if data_sets[task] == name]
            for name in sorted(set(data_sets.values()))
        },
        "tasks of sources not trained on": {task: [task] for task in apart},
    }
    for index, more in enumerate(names):
        for fewer in names[:index]:
            for drawn, units in draws.items():
                gains = [
                    [means[more][t] - means[fewer][t] for t in unit] for unit in units.values()
                ]
                value, low, high = _interval(gains)
                yield {
                    "more": more, "fewer": fewer, "drawn": drawn, "num_drawn": len(units),
                    "difference": f"{value:.2f}", "low": f"{low:.2f}", "high": f"{high:.2f}",
                    "tasks_better": sum(gain > 0 for unit in gains for gain in unit),
                    "tasks": sum(map(len, gains)),
                }  # fmt: skip


def overlaps(asked: Mapping[str, int], store: Store) -> Iterator[dict]:
    """Yields how many of a held-out task's questions share ten words in a row with training tasks.

    Args:
        asked: held-out task -> number of its questions.
        store: of the sweep.
    """
    known = collections.defaultdict(set)
    for task in store.mixture_rates("niv2_train"):
        for _, row in _rows(niv2.released_spec(task).source, "train"):
            for gram in _grams(row["input"], *row["outputs"]):
                known[gram].add(task)
    trained = {name: set(store.mixture_rates(name)) for name in TRAINED}
    for task, num in asked.items():
        rows = dict(_rows(niv2.released_spec(task).source, "validation"))
        records = itertools.islice(store.task(task, "validation").texts(), num)
        inputs = [rows[record["index"]]["input"] for record in records]
        found = [{t for gram in _grams(text) for t in known.get(gram, ())} for text in inputs]
        yield {
            "task": task,
            "questions": num,
            **{name: sum(bool(f & tasks) for f in found) for name, tasks in trained.items()},
            "most_in": min(
                sorted({t for f in found for t in f}),
                key=lambda t: -sum(t in f for f in found),
                default="",
            ),
        }  # fmt: skip


def members(store: Store) -> Iterator[dict]:
    """Yields each task with the mixtures that have it."""
    mixtures = {name: store.mixture_rates(name) for name in (*TRAINED, "niv2_heldout")}
    for task in store.tasks("train"):
        yield {
            "task": task,
            "category": niv2.RELEASED[task].category,
            "num_train": store.task(task, "train").num_examples,
            "num_validation": store.task(task, "validation").num_examples,
            **{name: int(task in tasks) for name, tasks in mixtures.items()},
        }


def main(study: str) -> None:
    """Writes all files."""
    for name in (sweep.SCORES_FILE, "sweep.json"):
        shutil.copyfile(Path(study) / name, HERE / name)
    scores = scores_lib.read_scores(HERE / sweep.SCORES_FILE)
    nums = sorted({int(row.settings["num_tasks"]) for row in scores})
    groups: dict[str, list[str]] = {}
    for row in scores:
        if int(row.settings["num_tasks"]) == 0 and row.metric == METRIC and row.step == 0:
            if row.subtask != scores_lib.MEAN:
                groups.setdefault(row.benchmark, []).append(row.subtask)
    run = next(r for r in files.read_json(HERE / "sweep.json")["runs"] if _num_tasks(r) == 0)
    store = Store.open(Path(study) / "store")
    rows = rule_scores(Path(study) / run["name"], store, groups)
    scores_lib.write_scores(HERE / "rules.csv", rows)
    baselines = [
        dataclasses.replace(row, settings={"num_tasks": str(num)})
        for row in rows
        for num in nums
        if row.model in DRAWN_RULES and row.subtask == scores_lib.MEAN
    ]
    scores_lib.write_scores(HERE / "baselines.csv", baselines)
    untrained = {
        row.subtask: row.value
        for row in rows
        if (row.model, row.benchmark) == ("untrained_stripped", HELD_OUT)
        and row.subtask != scores_lib.MEAN
    }
    _write(HERE / "differences.csv", differences(scores, untrained))
    asked = {row.subtask: row.n for row in rows if row.subtask in untrained}
    _write(HERE / "tasks.csv", members(store))
    _write(HERE / "overlaps.csv", overlaps(asked, store))
    with tempfile.TemporaryDirectory() as folder:
        reporting.report(study, out=folder, baselines=str(HERE / "baselines.csv"))
        for name in KEPT:
            shutil.copyfile(Path(folder) / name, HERE / name)


def _rows(source: Source, split: str) -> Iterator[tuple[int, Mapping]]:
    """Yields the well-formed rows of a source with their index."""
    return ((i, row) for i, row in source.rows(split) if not isinstance(row, Malformed))


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _grams(*texts: str) -> Iterator[tuple[bytes, ...]]:
    for text in texts:
        words = word_grams.spaced(text).split()
        for start in range(len(words) - NUM_WORDS + 1):
            yield tuple(words[start : start + NUM_WORDS])


def _write(path: Path, lines: Iterable[Mapping]) -> None:
    lines = list(lines)
    with files.atomic_open(path) as file:
        writer = csv.DictWriter(file, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _num_tasks(run: Mapping) -> int:
    return int(run["settings"]["num_tasks"])


def _interval(units: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Returns the mean over all numbers, and a 95 % interval from drawing their units again."""
    sums = np.array([sum(unit) for unit in units])
    sizes = np.array([len(unit) for unit in units])
    drawn = np.random.default_rng(0).integers(len(units), size=(NUM_RESAMPLES, len(units)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(sums.sum() / sizes.sum()), float(low), float(high)


if __name__ == "__main__":
    main(*sys.argv[1:])
