# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What each run of a study answered to each question, packed to stand in a page.

    RUN/predictions/<task>.jsonl                                     tasks of a store
    RUN/benchmarks/predictions/<benchmark>/<split>.<way>/<subtask>.jsonl   benchmarks

Both come into one plain form. Runs are asked the same questions, so a task's questions are packed
once and each run's answers refer to them; where prompts differ, each is kept. A task is compressed
on its own: a page unpacks what it shows.
"""

import base64
import dataclasses
import gzip
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.collection.sources import read_lines
from flan_jax.core import errors, files
from flan_jax.evals import metrics

LIMIT_BYTES = 8_000_000  # of what is packed, compressed
_TASKS = "*.jsonl"
_BENCHMARKS = "*/*/*.jsonl"
_FOLDER = "predictions"


@dataclasses.dataclass(frozen=True, kw_only=True, order=True)
class TaskKey:
    """Names a task, and how it was asked."""

    benchmark: str = ""  # '' of a store's task, whose groups only the score rows name
    asked: str = ""  # '<split>.<way>'; '' of a store's task
    task: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One answer of one run."""

    task: str
    id: str
    prompt: str
    prediction: str  # what the model said
    answer: str  # taken from it
    references: tuple[str, ...]
    scores: Mapping[str, float]  # metric -> 0 to 100; full marks are right


@dataclasses.dataclass(frozen=True, kw_only=True)
class Packed:
    """The predictions of several runs."""

    tasks: Mapping[TaskKey, bytes]  # compressed JSON, as `pack` describes it
    left_out: tuple[TaskKey, ...]  # for which there was no room

    @property
    def num_bytes(self) -> int:
        """Of all tasks, compressed."""
        return sum(map(len, self.tasks.values()))


def find(folder: str | os.PathLike) -> dict[TaskKey, Path]:
    """Returns the files of predictions of a run, or of one evaluation, sorted."""
    own = Path(folder) / _FOLDER
    found = {TaskKey(task=path.stem): path for path in own.glob(_TASKS)}
    for root in (own, Path(folder) / "benchmarks" / _FOLDER):
        for path in root.glob(_BENCHMARKS):
            asked, benchmark = path.parent.name, path.parent.parent.name
            found[TaskKey(benchmark=benchmark, asked=asked, task=path.stem)] = path
    return dict(sorted(found.items()))


def read(path: str | os.PathLike) -> list[Prediction]:
    """Reads the predictions of a task.

    Raises:
        DataError: naming file and line, if a line is none, or two answer one question.
    """
    found: dict[str, Prediction] = {}
    for number, line in enumerate(read_lines(path), start=1):
        try:
            prediction = _prediction(json.loads(line), Path(path).stem)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise errors.DataError(f"{path}:{number}: not a prediction ({error!r})") from None
        if prediction.id in found:
            raise errors.DataError(f"{path}:{number}: a second line of question {prediction.id!r}")
        found[prediction.id] = prediction
    return list(found.values())


def pack(
    folders: Sequence[str | os.PathLike | None],
    *,
    metric: str,
    limit_bytes: int = LIMIT_BYTES,
) -> Packed:
    """Packs what the runs of a study answered, each task as one JSON value of its own.

    A task holds `metric` (the one that judges its answers, or null), `questions` ([id, prompt,
    references] each) and `runs`: by number of the run, lists `q` (numbers of questions), `p`
    (predictions), `a` (answers; null where it is the prediction) and `s` (scores, or null).

    Where not all fit, whole tasks are left out, evenly: every second one is tried first, then every
    second one of the rest, and each that still fits is kept. The same files give the same bytes.

    Args:
        folders: of the runs; None: it has none.
        metric: whose scores decide; a task without it is judged by its first metric.
        limit_bytes: of all tasks together, compressed.

    Raises:
        DataError: a file of predictions is malformed.
    """
    paths: dict[TaskKey, dict[int, Path]] = {}
    for number, folder in enumerate(folders):
        for key, path in ({} if folder is None else find(folder)).items():
            paths.setdefault(key, {})[number] = path
    kept: dict[TaskKey, bytes] = {}
    room = limit_bytes
    for key in _spread(sorted(paths)):
        by_run = {number: read(path) for number, path in paths[key].items()}
        packed = compress(files.dumps(_task(by_run, metric)))
        if len(packed) <= room:
            kept[key] = packed
            room -= len(packed)
    return Packed(
        tasks=dict(sorted(kept.items())), left_out=tuple(k for k in sorted(paths) if k not in kept)
    )


def compress(text: str) -> bytes:
    """Returns a text as UTF-8 compressed by gzip, without a date; half a pair becomes '?'."""
    return gzip.compress(text.encode("utf-8", "replace"), mtime=0)


def as_text(packed: bytes) -> str:
    """Returns bytes as base64, which may stand in a page."""
    return base64.b64encode(packed).decode("ascii")


def _prediction(line: Mapping[str, Any], task: str) -> Prediction:
    if "predictions" in line:  # a benchmark's: one text, several samples, or a choice
        texts = line["predictions"]
        said = texts[0] if len(texts) == 1 else _samples(texts)
        answer = line.get("answer", line.get("ranked"))
        scores = {n: v for n, v in line.items() if n.partition("/")[0] in metrics.METRICS}
        said = said or str(line.get("ranked", ""))
    else:
        said, answer, scores = line["prediction"], line["answer"], line["metrics"]
    if not isinstance(line["inputs"], str) or not isinstance(said, str):
        raise ValueError("'inputs' and 'prediction' must be texts")
    return Prediction(
        task=task,
        id=str(line["id"]),
        prompt=line["inputs"],
        prediction=said,
        answer=_text(answer),
        references=tuple(map(_text, line["references"])),
        scores={
            name: float(value)
            for name, value in sorted(scores.items())
            if type(value) in (int, float) and math.isfinite(value)
        },
    )


def _samples(texts: Sequence[str]) -> str:
    return "\n\n".join(f"[{i} of {len(texts)}] {text}" for i, text in enumerate(texts, start=1))


def _text(value: Any) -> str:
    """Returns a text as it is, and another JSON value (a list of spans) as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else files.dumps(value)


def _task(by_run: Mapping[int, Sequence[Prediction]], metric: str) -> dict[str, Any]:
    names = {name for answers in by_run.values() for one in answers for name in one.scores}
    judge = min(names, key=lambda name: (name != metric, name), default=None)
    questions: dict[tuple, int] = {}
    runs = {}
    for number, answers in by_run.items():
        run: dict[str, list] = {"q": [], "p": [], "a": [], "s": []}
        for one in answers:
            question = (one.id, one.prompt, one.references)
            run["q"].append(questions.setdefault(question, len(questions)))
            run["p"].append(one.prediction)
            run["a"].append(None if one.answer == one.prediction else one.answer)
            run["s"].append(_number(one.scores.get(judge)) if judge else None)
        runs[str(number)] = run
    return {"metric": judge, "questions": list(questions), "runs": runs}


def _number(score: float | None) -> float | int | None:
    if score is None:
        return None
    rounded = round(score, 4)
    return int(rounded) if rounded == int(rounded) else rounded


def _spread(keys: Iterable[TaskKey]) -> list[TaskKey]:
    """Returns all, every second one first, then every second one of the rest, and so on."""
    rest, ordered = list(keys), []
    while rest:
        ordered += rest[::2]
        rest = rest[1::2]
    return ordered
