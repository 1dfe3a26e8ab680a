# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Importing the modules that register tasks, by name, and TensorFlow without its chatter."""

import contextlib
import importlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import flan_jax
from flan_jax.core import imports
from flan_jax.core.errors import UsageError

_TASKS = "tasks"


def import_tasks(name: str, origin: str) -> None:
    """Imports a module that registers tasks; `origin` says who asked for it.

    Raises:
        UsageError: it does not import, or `tasks` is another package of that name.
    """
    if name.split(".")[0] == _TASKS:
        check_tasks_package()
    import_tensorflow()
    imports.import_module(name, origin)


def check_tasks_package() -> None:
    """Refuses a package called `tasks` that is not this project's."""
    expected = Path(flan_jax.__file__).resolve().parent.parent / _TASKS / "__init__.py"
    spec = importlib.util.find_spec(_TASKS)
    # A folder without an __init__.py is found too, and has no origin.
    found = spec and (spec.origin or ", ".join(spec.submodule_search_locations or ()))
    if not found or Path(found).resolve() != expected:
        raise UsageError(
            f"the package 'tasks' found is {found or 'missing'}, not flan_jax's own {expected}; "
            "rename the other one, or run from a folder without it"
        )


def import_tensorflow() -> None:
    """Imports TensorFlow, which SeqIO needs, without the notes that it cannot be told to leave.

    On a machine without CUDA it says so several times before its log level is read. Any other line
    is passed on.
    """
    if "tensorflow" in sys.modules:
        return
    with tempfile.TemporaryFile() as caught:
        with _error_output_to(caught.fileno()):
            importlib.import_module("tensorflow")
        caught.seek(0)
        lines = caught.read().decode(errors="replace").splitlines()
    for line in lines:
        if not any(note in line for note in _NOTES):
            print(line, file=sys.stderr)


_NOTES = (
    "All log messages before absl::InitializeLog() is called",
    "Could not find cuda drivers on your machine",
    "oneDNN custom operations are on",
)


@contextlib.contextmanager
def _error_output_to(descriptor: int):
    """Sends what is written to file descriptor 2, by C++ too, to another one."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        os.dup2(descriptor, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
