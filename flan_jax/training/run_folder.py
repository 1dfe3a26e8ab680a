# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run's folder belongs to one process at a time, and to one configuration for good.

    MODEL_DIR/.lock            held by the process that writes there
    MODEL_DIR/settings.json    what decides the results, written by the first start
    MODEL_DIR/config.gin       the operative Gin configuration of the latest start

Two processes in one folder, or a run that goes on with other settings than it began with, would
spoil it without a sign; both are refused. Another number of steps, another mesh or other periods
are no other settings (`MAY_CHANGE` of each class).
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from flan_jax.core import errors, files, settings

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
        UsageError: another process holds the folder, or it holds a run with other settings.
    """
    first = jax.process_index() == 0
    with files.locked(model_dir, "run") if first else contextlib.nullcontext():
        path = Path(model_dir) / SETTINGS_FILE
        if path.is_file():
            _check(model_dir, files.read_json(path), dict(description))
        if first:
            for name in (SETTINGS_FILE, CONFIG_FILE):
                files.clear_temporary(Path(model_dir) / name)
            files.write_json(path, description)
            if gin_text:
                with files.atomic_open(Path(model_dir) / CONFIG_FILE) as file:
                    file.write(gin_text)
        yield


def _check(model_dir: str, there: Any, here: dict[str, Any]) -> None:
    found = list(settings.differences(there, here))
    if found:
        more = f"; and {len(found) - _NUM_NAMED} more" if len(found) > _NUM_NAMED else ""
        raise errors.UsageError(
            f"{model_dir} holds a run with other settings: {'; '.join(found[:_NUM_NAMED])}{more}; "
            "go on with those, or choose another MODEL_DIR"
        )
