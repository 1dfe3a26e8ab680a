# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What launches print, kept as files under golden/ for people to read and for tests to compare.

FLAN_JAX_WRITE_GOLDENS=1 pytest tests/launching    writes what is printed now; read the diff
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    """Asserts that a text is that of golden/NAME."""
    path = FOLDER / name
    if os.environ.get("FLAN_JAX_WRITE_GOLDENS"):
        path.write_text(f"{text}\n")
    assert f"{text}\n" == path.read_text()
