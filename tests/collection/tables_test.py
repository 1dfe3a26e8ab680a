# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two-column files: any text comes back from its escaped form, and odd lines are counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.collection import tables
from flan_jax.collection.parsing import Malformed
from flan_jax.collection.tables import TwoColumnTsv


def escape(text):
    """As the module's docstring tells users to."""
    text = text.replace("\\", "\\\\").replace("\r", "\\r")
    return text.replace("\n", "\\n").replace("\t", "\\t")


def source(path):
    return TwoColumnTsv(str(path), ("broken", "fixed"))


def test_escapes_of_program_code(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('int a;\\n\\tputs("x\\\\n")\tint a;\\n\\tputs("x\\\\n");\n')
    row = {"broken": 'int a;\n\tputs("x\\n")', "fixed": 'int a;\n\tputs("x\\n");'}
    assert list(source(path).rows("train")) == [(0, row)]
    assert list(source(path).rows("validation")) == []


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_any_text_comes_back(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("tables") / "any.tsv"
    lines = ["\t".join(map(escape, pair)) + "\n" for pair in pairs]
    path.write_bytes("".join(lines).encode())
    expected = [(i, {"broken": a, "fixed": b}) for i, (a, b) in enumerate(pairs)]
    assert list(source(path).rows("train")) == expected


def test_odd_lines_stand_in_their_place(tmp_path):
    path = tmp_path / "odd.tsv"
    path.write_bytes(b"a\tb\none\n\na\tb\tc\nprintf(\\d)\tb\nb\tend\\\n\xff\tb\nc\td\n")
    rows = dict(source(path).rows("train"))
    assert rows[0] == {"broken": "a", "fixed": "b"} and rows[7] == {"broken": "c", "fixed": "d"}
    columns, escapes = "need 2 columns between tabs", tables.UNKNOWN_ESCAPE
    reasons = [columns, columns, columns, escapes, escapes, "not UTF-8 text"]
    expected = [Malformed(f"odd.tsv:{i}", reason) for i, reason in enumerate(reasons, start=2)]
    assert [rows[i] for i in range(1, 7)] == expected
    assert source(path).num_rows("train") == 2


def test_fingerprint_and_what_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "a.tsv"
    path.write_text("a\tb\n")
    first = source(path).fingerprint("train")
    path.write_text("a\tbc\n")
    assert source(path).fingerprint("train") != first and source(path).missing() is None
    assert "gone.tsv does not exist" in source(tmp_path / "gone.tsv").missing()
    monkeypatch.delenv("DEMO_TABLES", raising=False)
    assert "DEMO_TABLES names, which is not set" in source("$DEMO_TABLES/a.tsv").missing()


@pytest.mark.parametrize(
    ("cell", "text"), [("", ""), (r"\\\\n", "\\\\n"), (r"\q", None), ("\\", None)]
)
def test_unescape(cell, text):
    assert tables.unescape(cell) == text
