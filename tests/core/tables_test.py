# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text tables."""

import pytest

from flan_jax.core.tables import aligned


def test_text_stands_left_numbers_right_and_no_line_ends_in_blanks():
    rows = [("task", "rows", "note"), ("a", "12", ""), ("longer", "3,456", "x")]
    assert list(aligned(rows, right=[1])) == [
        "task     rows  note",
        "a          12",
        "longer  3,456  x",
    ]


def test_rows_must_have_as_many_cells():
    with pytest.raises(ValueError, match="zip"):
        list(aligned([("a", "b"), ("c",)], right=[]))
