# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The NLP tasks of Muffin, all themes together; importing this registers them."""

from flan_jax.collection import registry
from tasks.muffin import (
    classification,
    closed_book,
    common_sense,
    inference,
    paraphrase,
    reading,
    structure,
    summarization,
    text_formatting,
    translation,
)

THEMES = (
    reading,
    closed_book,
    inference,
    common_sense,
    classification,
    paraphrase,
    summarization,
    translation,
    structure,
    text_formatting,
)
NAMES = [registry.add_task(spec).name for theme in THEMES for spec in theme.TASKS]
