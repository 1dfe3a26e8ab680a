# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every training input asks of its hosts and of the state it goes on from."""

from collections.abc import Mapping
from typing import Any

from flan_jax.core.errors import UsageError


def rows_of_process(batch_size: int, process_index: int, process_count: int) -> slice:
    """Returns which rows of a batch a process has.

    Raises:
        UsageError: the processes do not divide the batch, or there is no such process.
    """
    if not 0 <= process_index < process_count or batch_size % process_count:
        raise UsageError(
            f"batch_size {batch_size} cannot be shared by {process_count} processes "
            f"(this is number {process_index}); make it a multiple of their number"
        )
    per_process = batch_size // process_count
    return slice(process_index * per_process, (process_index + 1) * per_process)


def check_identity(saved: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raises a `UsageError` if a state was saved by another input than this run's."""
    for name, value in here.items():
        if saved.get(name) != value:
            raise UsageError(
                f"cannot go on with the training input: the checkpoint was made with {name} "
                f"{saved.get(name)!r}, this run has {value!r}; use the same or start in a new "
                "model directory"
            )
