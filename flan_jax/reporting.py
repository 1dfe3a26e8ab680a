# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reports of sweeps: reads what a sweep left in its folder, and has it drawn."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax import sweeps
from flan_jax.collection import sources
from flan_jax.core import errors, files
from flan_jax.evals import scores as scores_lib
from flan_jax.scaling import curves, sweep
from flan_jax.scaling import report as report_lib

_FEW_RUNS = 12


def report(
    folder: str, *, out: str | None = None, study: str | None = None, baselines: str | None = None
) -> report_lib.ReportFiles:
    """Writes the report of a sweep: of the runs that are done so far.

    Of a folder that holds only `sweep.json` and `scores.csv`, as a published study does, it draws
    what these tell: everything but training losses and examples.

    Args:
        folder: the sweep's.
        out: where to write; `FOLDER/report` if None.
        study: the scores.csv of a several-seed study to draw behind, as a path or `package:` name.
        baselines: a score table of rules without learning, to draw as thin lines; likewise.
    """
    info = _read_info(folder)
    done = [r for r in info["runs"] if r["status"] == sweep.DONE]
    if not done:
        raise errors.UsageError(f"{folder}: no run is done yet; see flan-jax sweep --dry_run")
    scores = scores_lib.read_scores(Path(folder) / sweep.SCORES_FILE)
    sizes = {r["size"]: r["num_parameters"] for r in done}
    several = len(info["sizes"]) > 1
    return report_lib.write_report(
        report_lib.Report(
            title=info["title"],
            subtitle=_subtitle(info, done, sizes),
            scores=scores,
            metric=info["metric"],
            study=_one_size(_read_table(study), info["sizes"]),
            baselines=_one_size(_read_table(baselines), info["sizes"]),
            size_order=info["sizes"],
            losses=_losses(folder, done, several),
            examples=_examples(folder, done[-1], scores, info["metric"]),
            facts=[
                ("runs", f"{len(done)} of {len(info['runs'])}"),
                *((f"parameters of {size}", f"{num:,}") for size, num in sizes.items()),
                ("at a time", f"{info['parallel']}, on {info['cores_per_run']} core(s) each"),
                ("machine", info["machine"]),
                *info["versions"].items(),
            ],
            timings=_timings(info, done),
            wall_s=info["wall_s"],
            config=info["config"],
        ),
        out or Path(folder) / "report",
    )


def _read_table(name: str | None) -> list[scores_lib.Score]:
    return scores_lib.read_scores(sources.resolve(name)) if name else []


def _one_size(rows: Sequence[scores_lib.Score], sizes: Sequence[str]) -> list[scores_lib.Score]:
    """Returns the rows that a sweep over these sizes has beside it.

    A sweep of one size does not name it, so a table of several is cut to that one.
    """
    if len(sizes) > 1:
        return list(rows)
    return [
        dataclasses.replace(row, settings={k: v for k, v in row.settings.items() if k != "size"})
        for row in rows
        if row.settings.get("size", sizes[0]) == sizes[0]
    ]


def _subtitle(
    info: Mapping[str, Any], done: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]
) -> str:
    named = [f"{n / 1e6:.2f} M" + (f" ({s})" if len(sizes) > 1 else "") for s, n in sizes.items()]
    parameters = " and ".join(named) if len(named) < 3 else ", ".join(named)
    seeds = sorted({r["settings"].get("seed", "0") for r in done}, key=lambda s: (len(s), s))
    text = (
        f"embedded mini collection, T5 with {parameters} parameters, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}"
    )
    left = len(info["runs"]) - len(done)
    return text + (f"; {left} of {len(info['runs'])} runs are not done" if left else "")


def _losses(
    folder: str, done: Sequence[Mapping[str, Any]], several_sizes: bool
) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Returns size -> number of tasks -> training losses, the mean over seeds."""
    found: dict[str, dict[str, list]] = {}
    for run in done:
        path = Path(folder) / run["name"] / "metrics.jsonl"
        if path.is_file():
            size = run["size"] if several_sizes else ""
            label = f"{run['settings']['num_tasks']} tasks"
            found.setdefault(size, {}).setdefault(label, []).append(curves.read_losses(path))
    return {
        size: {label: curves.mean_losses(seeds) for label, seeds in by_label.items()}
        for size, by_label in found.items()
    }


def _examples(
    folder: str, run: Mapping[str, Any], scores: Sequence[scores_lib.Score], metric: str
) -> list[report_lib.Example]:
    """Returns predictions of one run to show; none if they are not there."""
    tasks = [s for s in scores if not scores_lib.is_mean(s.subtask)]
    groups = {
        group: sorted({s.subtask for s in tasks if s.benchmark == group})
        for group in dict.fromkeys(s.benchmark for s in tasks)
    }
    predictions = Path(folder) / run["name"] / "predictions"
    return report_lib.pick_examples(predictions, groups, metric=metric)


def _timings(info: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Returns what took how long: each run where there are few, else the runs of each size."""
    built = [("build", info["build_s"])]
    if len(done) <= _FEW_RUNS:
        return built + [(r["name"], r["duration_s"]) for r in done]
    by_size: dict[str, list[float]] = {}
    for run in done:
        by_size.setdefault(run["size"], []).append(run["duration_s"])
    return built + [
        (f"{len(times)} runs of {size}, {sum(times) / len(times):.0f} s each", sum(times))
        for size, times in by_size.items()
    ]


def _read_info(out: str) -> dict[str, Any]:
    path = Path(out) / sweeps.INFO_FILE
    if not path.is_file():
        raise errors.UsageError(f"{out}: no sweep (there is no {path}); run flan-jax sweep first")
    return files.read_json(path)
