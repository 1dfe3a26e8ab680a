# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a report is made of: runs with their settings, and the score rows of all of them.

A study is read from the folder of a sweep (its `sweep.json` and `scores.csv`; a published study has
just these two), or from the folder that one evaluation or one training left. Several folders make
one study together.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import errors, files
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.scores import Score
from flan_jax.scaling import sweep
from flan_jax.scaling.compute import RunCompute

INFO_FILE = "sweep.json"
FOLDER = "folder"  # the setting that tells runs of several folders apart


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a study."""

    name: str
    size: str  # '' if not known
    settings: Mapping[str, str]
    status: str  # of scaling/sweep.py
    duration_s: float | None = None
    num_parameters: int | None = None
    compute: RunCompute | None = None
    folder: Path | None = None  # with its metrics and predictions; None: not there


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Runs and their rows."""

    title: str
    subject: str = ""  # what was finetuned on what, in a few words
    about: Sequence[str] = ()  # paragraphs: what it is and is not
    metric: str  # of the figures
    runs: Sequence[RunRecord]
    scores: Sequence[Score]  # of all runs that are done, at every step evaluated
    sizes: Sequence[str] = ()  # from small to large
    figures: Sequence[str] = ()  # names of those wanted; empty: what varies decides
    selection: str = "last"  # by which step a run is judged (scaling/selection.py)
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # machine, versions, times

    @property
    def done(self) -> list[RunRecord]:
        """The runs that are done."""
        return [run for run in self.runs if run.status == sweep.DONE]


def read(folder: str | os.PathLike) -> Study:
    """Reads the study of one folder.

    Raises:
        UsageError: nothing is there that a report could show.
        DataError: what is there cannot be read.
    """
    folder = Path(folder)
    if (folder / INFO_FILE).is_file():
        return _read_sweep(folder)
    tables = _score_tables(folder)
    if not tables:
        raise errors.UsageError(
            f"{folder}: neither a sweep ({INFO_FILE}) nor an evaluation ({sweep.SCORES_FILE}) is "
            "here; name a folder that flan-jax sweep, eval or train wrote"
        )
    rows = [row for path in tables for row in scores_lib.read_scores(path)]
    settings = {"run": folder.resolve().name}
    run = RunRecord(
        name=folder.resolve().name, size="", settings=settings, status=sweep.DONE, folder=folder
    )
    return Study(
        title=f"Evaluation of {rows[0].model}" if rows else folder.name,
        metric=_commonest_metric(rows),
        runs=(run,),
        scores=[
            dataclasses.replace(row, settings={**row.settings, **settings}) for row in _once(rows)
        ],
    )


def read_all(folders: Sequence[str | os.PathLike]) -> Study:
    """Reads the studies of several folders as one, in their order.

    Where two runs have the same settings, all get one more, `folder`, which tells them apart. What
    differs otherwise (title, metric, selection) is the first folder's.
    """
    studies = [read(folder) for folder in folders]
    if len(studies) == 1:
        return studies[0]
    names = [Path(folder).resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    keys = [tuple(sorted(run.settings.items())) for study in studies for run in study.runs]
    apart = len(set(keys)) < len(keys)
    runs, rows = [], []
    for name, study in zip(names, studies, strict=True):
        more = {FOLDER: name} if apart else {}
        for run in study.runs:
            full = f"{name}/{run.name}" if apart else run.name
            runs.append(dataclasses.replace(run, name=full, settings={**run.settings, **more}))
        for row in study.scores:
            rows.append(dataclasses.replace(row, settings={**row.settings, **more}))
    first = studies[0]
    return dataclasses.replace(
        first,
        title=" and ".join(dict.fromkeys(study.title for study in studies)),
        subject="; ".join(dict.fromkeys(study.subject for study in studies if study.subject)),
        about=list(dict.fromkeys(text for study in studies for text in study.about)),
        runs=runs,
        scores=rows,
        sizes=list(dict.fromkeys(size for study in studies for size in study.sizes)),
        figures=list(dict.fromkeys(name for study in studies for name in study.figures)),
        info=_joint_info([study.info for study in studies]),
    )


def _read_sweep(folder: Path) -> Study:
    path = folder / INFO_FILE
    info = files.read_json(path)
    try:
        runs = [_run_record(folder, run) for run in info["runs"]]
        known = {
            name: info[name]
            for name in ("subject", "about", "figures", "selection")
            if name in info
        }
        scores_path = folder / sweep.SCORES_FILE
        return Study(
            title=info["title"],
            metric=info["metric"],
            runs=runs,
            scores=scores_lib.read_scores(scores_path) if scores_path.is_file() else [],
            sizes=info["sizes"],
            info=info,
            **known,
        )
    except (KeyError, TypeError) as error:
        raise errors.DataError(
            f"{path} is not what a sweep writes ({error!r}); run the same flan-jax sweep again, "
            "which skips what is done"
        ) from None


def _run_record(folder: Path, run: Mapping[str, Any]) -> RunRecord:
    own = folder / run["name"]
    found = run.get("compute")
    return RunRecord(
        name=run["name"],
        size=run["size"],
        settings=run["settings"],
        status=run["status"],
        duration_s=run["duration_s"],
        num_parameters=run["num_parameters"],
        compute=None if found is None else RunCompute.from_json(found),
        folder=own if own.is_dir() else None,
    )


def _score_tables(folder: Path) -> list[Path]:
    """Returns the tables of an evaluation or a training: the last first, then those of steps."""
    name = sweep.SCORES_FILE
    own = [folder / name, folder / "benchmarks" / name]
    steps = [*folder.glob(f"eval/step_*/{name}"), *folder.glob(f"benchmarks/step_*/{name}")]
    return [path for path in own if path.is_file()] + sorted(steps)


def _once(rows: Sequence[Score]) -> list[Score]:
    """Returns the rows without those that another table has too."""
    found: dict[tuple, Score] = {}
    for row in rows:
        found.setdefault(row.sort_key, row)
    return list(found.values())


def _commonest_metric(rows: Sequence[Score]) -> str:
    means = [row.metric for row in rows if row.subtask == scores_lib.MEAN]
    return max(dict.fromkeys(means), key=means.count, default="exact_match")


def _joint_info(infos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what is said of several sweeps: the first one's, with the times of all."""
    joint = dict(infos[0])
    for name in ("wall_s", "build_s"):
        times = [info[name] for info in infos if name in info]
        if times:
            joint[name] = round(sum(times), 1)
    texts = [info["config"] for info in infos if "config" in info]
    if texts:
        joint["config"] = "\n".join(dict.fromkeys(texts))
    return joint
