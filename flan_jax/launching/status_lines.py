# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A training's status, in lines for people."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flan_jax.core.tables import aligned
from flan_jax.launching.goodput import duration
from flan_jax.launching.run_status import RUNNING, SILENT, Status

_MOST_SCORES = 6


def shown(status: Status, folder: Path) -> Iterator[str]:
    """Yields the lines of a status: a heading, and a table of what is known."""
    yield f"{folder}: {status.health}" + (f": {status.why}" if status.why else "")
    rows = [(name, text) for name, text in _rows(status) if text]
    for line in aligned(rows, right=[]) if rows else ():
        yield f"  {line}"


def _rows(status: Status) -> Iterator[tuple[str, str]]:
    if status.step is not None:
        of = "" if status.last_step is None else f" of {status.last_step}"
        parts = [f"step {status.step}{of}"]
        parts += [] if status.progress is None else [f"{status.progress:.1%}"]
        parts += [] if status.left_s is None else [f"{duration(status.left_s)} left"]
        yield "progress", ", ".join(parts)
    speed = [] if status.step_s is None else [f"{status.step_s:.3g} s a step"]
    speed += [] if status.tokens_per_s is None else [f"{status.tokens_per_s:,.0f} tokens/s"]
    if speed:
        speed.append("MFU " + ("-" if status.mfu is None else f"{status.mfu:.1%}"))
    yield "speed", ", ".join(speed)
    if status.loss is not None:
        rate = f", learning rate {status.learning_rate:.3g}" if status.learning_rate else ""
        yield "training", f"loss {status.loss:.4g}{rate}, of step {status.logged_step}"
    scores = [f"{name} {value:.4g}" for name, value in status.scores.items()]
    more = [f"and {len(scores) - _MOST_SCORES} more"] if len(scores) > _MOST_SCORES else []
    if scores:
        names = ", ".join([*scores[:_MOST_SCORES], *more])
        yield "evaluation", f"{names}, of step {status.scores_step}"
    checkpoint = "none yet"
    if status.checkpoint_step is not None:
        checkpoint = f"step {status.checkpoint_step}"
        if status.checkpoint_age_s is not None:
            checkpoint += f", {duration(status.checkpoint_age_s)} ago"
    yield "checkpoint", checkpoint
    ended = f"; the last that ended: {status.last_ending}" if status.last_ending else ""
    yield "attempts", f"{status.num_attempts}{ended}" if status.num_attempts else ""
    at = "at" if status.health in (RUNNING, SILENT) else "was at"
    alike: dict[str, list[int]] = {}
    for index, process in status.processes.items():
        alike.setdefault(process.doing, []).append(index)
    for number, (doing, indices) in enumerate(alike.items()):
        since_s = max(status.processes[index].since_s for index in indices)
        who = "" if len(status.processes) == 1 else f"process {_ranges(indices)}: "
        yield "" if number else at, f"{who}{doing}, since {duration(since_s)}"
    if status.stacks is not None:
        yield "stacks", f"{status.stacks}, {duration(status.stacks_age_s or 0.0)} ago"


def _ranges(numbers: Sequence[int]) -> str:
    """Returns numbers for people.

    Example:
        >>> _ranges([0, 1, 2, 5, 7, 8])
        '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
