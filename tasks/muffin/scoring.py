# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Postprocessors of Muffin tasks whose metrics need the answer itself, not the mark of an option.

With enumerated options a target is a mark such as "(B)", "ii" or "3", and another example's mark
for the same answer is another one. A style's marks follow the options' fixed order, so the answer
is found again from the style that the example records.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from flan_jax.collection import options as options_lib
from flan_jax.evals import answers

Example = Mapping[str, Any]

NO_YES = ("no", "yes")
COMMITMENTS = ("Yes", "No", "It's impossible to say")
SIMILARITIES = ("0", "1", "2", "3", "4", "5")


def no_yes(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the text, or the "no" or "yes" that its mark stands for."""
    del is_target
    return chosen(text, example, NO_YES)


def commitment(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the text, or the answer of CommitmentBank that its mark stands for."""
    del is_target
    return chosen(text, example, COMMITMENTS)


def similarity(text: str, example: Example | None = None, is_target: bool = False) -> str:
    """Returns the text, or the number from 0 to 5 that its mark stands for."""
    del is_target
    return chosen(text, example, SIMILARITIES)


def multirc(
    text: str, example: Example | None = None, is_target: bool = False
) -> tuple[Hashable, str]:
    """Returns (the question's key, "no" or "yes"), as `corpus_metrics.multirc_f1` wants it.

    The key is the example's `group`; None where it has none.
    """
    return recorded(example, "group"), no_yes(text, example, is_target)


def chosen(text: str, example: Example | None, options: Sequence[str]) -> str:
    """Returns the option whose mark `text` is in the example's option style, else `text` itself.

    Letter case, brackets and a final period around a mark do not matter.
    """
    text = answers.whole_text(text)
    style = options_lib.STYLES.get(recorded(example, "option_style") or "")
    if style is None or not style.enumerated:
        return text
    marks = {_bare(style.mark(i)): option for i, option in enumerate(options)}
    return marks.get(_bare(text), text)


def recorded(example: Example | None, name: str) -> Any:
    """Returns an entry of the example's metadata; None if it has none.

    An entry stands beside the text, or in `meta`, which may be JSON (as SeqIO gives it).
    """
    example = example or {}
    value = example.get(name)
    if value is None:
        meta = example.get("meta") or {}
        value = (json.loads(meta) if isinstance(meta, str | bytes) else meta).get(name)
    return value.decode() if isinstance(value, bytes) else value


def _bare(mark: str) -> str:
    return mark.casefold().strip("()[]. ")
