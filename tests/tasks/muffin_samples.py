# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Real rows of Muffin tasks, where the environment variable FLAN_JAX_SHARED_DATA names some."""

import collections
import dataclasses
import os
from pathlib import Path

import pytest

from flan_jax.collection.rendering import Dropped, Rendered, render_task
from flan_jax.collection.sources import JsonLinesSource
from flan_jax.collection.spec import TaskSpec

VARIABLE = "FLAN_JAX_SHARED_DATA"


def render_samples(task: TaskSpec) -> tuple[list[Rendered], collections.Counter]:
    """Returns what the sample's train rows give, and how many were dropped for each reason."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder of real data")
    name = task.name.removeprefix("muffin.")
    path = str(Path(folder, "train/muffin", name, "train.jsonl"))
    sample = dataclasses.replace(task, source=JsonLinesSource({"train": path}), splits=("train",))
    results = list(render_task(sample, "train", 0))
    dropped = collections.Counter(r.reason for r in results if isinstance(r, Dropped))
    return [r for r in results if isinstance(r, Rendered)], dropped
