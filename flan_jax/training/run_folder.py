# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run's folder belongs to one job at a time, and to one configuration for good.

    MODEL_DIR/.lock            held by the process that writes there, process 0 of several
    MODEL_DIR/settings.json    what decides the results, written by the first start
    MODEL_DIR/config.gin       the operative Gin configuration of the latest start

Two jobs in one folder, or a run that goes on with other settings than it began with, would
spoil it without a sign; both are refused. Another number of steps, another mesh or other periods
are no other settings (`MAY_CHANGE` of each class).
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from flan_jax.core import errors, files, settings
from flan_jax.parallel import hosts

SETTINGS_FILE = "settings.json"
CONFIG_FILE = "config.gin"
_NUM_NAMED = 5  # differences that the message shows before it only counts them


@contextlib.contextmanager
def claimed(model_dir: str, description: Mapping[str, Any], gin_text: str = "") -> Iterator[None]:
    """Holds a run's folder while inside, made if absent.

    Args:
        model_dir: the folder.
        description: what decides the run's results, from `settings.describe`.
        gin_text: the operative configuration, for people; none is written if empty.

    Raises:
        UsageError: another job holds the folder, or it holds a run with other settings.
    """
    with contextlib.ExitStack() as stack:
        with hosts.all_or_none():
            if hosts.is_first():
                stack.enter_context(files.locked(model_dir, "run"))
                _begin(Path(model_dir), dict(description), gin_text)
        with hosts.all_or_none():
            if not hosts.is_first():
                _follow(Path(model_dir), dict(description))
        yield


def _begin(folder: Path, description: dict[str, Any], gin_text: str) -> None:
    """Compares the run with what the folder holds, and writes it down."""
    if (folder / SETTINGS_FILE).is_file():
        _check(folder, description)
    for name in (SETTINGS_FILE, CONFIG_FILE):
        files.clear_temporary(folder / name)
    files.write_json(folder / SETTINGS_FILE, description)
    if gin_text:
        with files.atomic_open(folder / CONFIG_FILE) as file:
            file.write(gin_text)


def _follow(folder: Path, description: dict[str, Any]) -> None:
    """Compares the run with what process 0 wrote down just now."""
    if not (folder / SETTINGS_FILE).is_file():
        raise errors.UsageError(
            f"process {jax.process_index()} does not see {folder / SETTINGS_FILE} of process 0; "
            "choose a MODEL_DIR that all hosts share"
        )
    _check(folder, description)


def _check(folder: Path, here: dict[str, Any]) -> None:
    there = files.read_json(folder / SETTINGS_FILE)
    found = list(settings.differences(there, here))
    if found:
        more = f"; and {len(found) - _NUM_NAMED} more" if len(found) > _NUM_NAMED else ""
        raise errors.UsageError(
            f"{folder} holds a run with other settings: {'; '.join(found[:_NUM_NAMED])}{more}; "
            "go on with those, or choose another MODEL_DIR"
        )
