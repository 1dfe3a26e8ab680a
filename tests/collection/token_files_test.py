# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Spans of a file of tokens: whatever their order and distance, in few calls."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.collection import token_files
from flan_jax.core.errors import DataError

UINT16 = np.dtype("<u2")
TOKENS = np.arange(9000, dtype=UINT16)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("tokens") / "tokens.bin"
    TOKENS.tofile(file)
    return str(file)


@given(st.lists(st.tuples(st.integers(0, 8950), st.integers(0, 50)), max_size=30), st.booleans())
@settings(max_examples=50, deadline=None)
def test_spans_hold_what_the_file_has_there(path, spans, in_order):
    spans = sorted(spans) if in_order else spans
    found = token_files.read_spans(path, UINT16, [s for s, _ in spans], [n for _, n in spans])
    assert [span.tolist() for span in found] == [TOKENS[s : s + n].tolist() for s, n in spans]


def test_only_near_spans_are_read_together(path, monkeypatch):
    sizes, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda f, size, at: sizes.append(size) or pread(f, size, at))
    far = 30 + token_files._GAP
    token_files.read_spans(path, UINT16, [0, 5, 20, far + 1, 10], [10, 10, 10, 7, 3])
    assert sizes == [2 * 30, 2 * 7, 2 * 3]  # an earlier one is never read with a later one


def test_a_file_that_ends_before_a_span_is_named(path):
    with pytest.raises(DataError, match=r"tokens\.bin ends before token 9001; it was cut"):
        token_files.read_spans(path, UINT16, [8990, 8999], [5, 2])
