# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the tables of `facts/`, where every row names its source."""

import csv
from importlib import resources

PAPER = "Chung et al. 2022 (arXiv:2210.11416v5)"
"""How a `source` begins."""


def rows(name: str) -> list[dict[str, str]]:
    """Returns the rows of a file of `facts/`."""
    text = resources.files("flan_jax.paper").joinpath("facts", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
