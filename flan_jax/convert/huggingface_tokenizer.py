# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A vocabulary as the tokenizer files that transformers reads."""

from pathlib import Path

from flan_jax.collection.vocabularies import Vocabulary


def write(folder: Path, vocabulary: Vocabulary) -> None:
    """Writes the tokenizer's files."""
