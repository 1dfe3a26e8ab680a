# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of launch/: scripts and templates that run elsewhere."""

from pathlib import Path

import flan_jax


def folder() -> Path:
    """Returns the folder of the shipped files: the installed copy, else the checkout's."""
    package = Path(flan_jax.__file__).resolve().parent
    installed = package / "launch_files"
    return installed if installed.is_dir() else package.parent / "launch"


def checkout() -> Path | None:
    """Returns the folder of the sources if this is a checkout, from which a wheel can be built."""
    found = Path(flan_jax.__file__).resolve().parent.parent
    return found if (found / "setup.py").is_file() else None
