# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of benchmarks found, and read as they are or refused by name and line."""

import json
import re

import pytest

from flan_jax.core import errors
from flan_jax.evals import public_files


def test_the_first_file_that_is_there_is_found(tmp_path):
    (tmp_path / "b.csv").write_text("")
    (tmp_path / "c.csv").write_text("")
    (tmp_path / "a.csv").mkdir()  # a folder is no file
    assert public_files.find(tmp_path, "a.csv", "b.csv", "c.csv") == tmp_path / "b.csv"
    text = f"no file {tmp_path / 'x'} (nor y, z): of somebody; put it there, or give --data"
    with pytest.raises(errors.UsageError, match=re.escape(text)):
        public_files.find(tmp_path, "x", "y", "z", what="of somebody")


def test_files_of_installed_packages():
    found = public_files.installed("numpy", "__init__.py")
    assert found is not None and found.is_file()
    assert public_files.installed("numpy", "no_such_file") is None
    assert public_files.installed("no_such_package", "__init__.py") is None


def test_cells_stay_as_they_are(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'"two\nlines, ""quoted""",None,NA,"",  x \nq,1,2,3,4\n')
    assert list(public_files.read_csv(path, 5)) == [
        (f"{path}:1", ['two\nlines, "quoted"', "None", "NA", "", "  x "]),
        (f"{path}:3", ["q", "1", "2", "3", "4"]),
    ]
    path.write_text("text,score\nNA,1\n")
    assert list(public_files.read_csv_table(path)) == [
        (f"{path}:2", {"text": "NA", "score": "1"})
    ]  # fmt: skip
    path.write_text('"a\t2,125\t \n')
    assert list(public_files.read_tsv(path, 3)) == [(f"{path}:1", ['"a', "2,125", " "])]
    path.write_text('{"a": 1}\n\n{"b": null}\n')
    assert list(public_files.read_json_lines(path)) == [
        (f"{path}:1", {"a": 1}), (f"{path}:3", {"b": None})
    ]  # fmt: skip


def test_empty_lines_are_no_rows(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a,b\r\n\r\n1,2\r\n\r\n")
    assert list(public_files.read_csv(path, 2)) == [
        (f"{path}:1", ["a", "b"]), (f"{path}:3", ["1", "2"])
    ]  # fmt: skip
    assert list(public_files.read_csv_table(path)) == [(f"{path}:3", {"a": "1", "b": "2"})]
    path.write_bytes(b"a\tb\n\n\t\n\n")
    assert list(public_files.read_tsv(path, 2)) == [
        (f"{path}:1", ["a", "b"]),
        (f"{path}:3", ["", ""]),
    ]


@pytest.mark.parametrize(
    ("read", "content", "text"),
    [
        (lambda p: public_files.read_csv(p, 2), b"a,b\na\n", ":2: need 2 columns, found 1"),
        (lambda p: public_files.read_csv(p, 2), b'"a,b\n', ":1: not valid CSV"),
        (lambda p: public_files.read_csv(p, 2), b"\xff,b\n", ":1: not UTF-8"),
        (public_files.read_csv_table, b"a,b\n1,2,3\n", ":2: need 2 columns, found 3"),
        (lambda p: public_files.read_tsv(p, 2), b"a\tb\nc\n", ":2: need 2 columns, found 1"),
        (lambda p: public_files.read_tsv(p, 2), b"\xffa\tb\n", ":1: not UTF-8"),
        (public_files.read_json_lines, b"{}\n[1]\n", ":2: need a JSON object, found list"),
        (public_files.read_json_lines, b'{"a": \n', ":1: not valid JSON"),
        (public_files.read_json, b"{", ":1: not valid JSON"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(tmp_path, read, content, text):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(errors.DataError, match=re.escape(f"{path}{text}")):
        list(read(path))


@pytest.mark.parametrize("holder", [{}, {"a": 1}, {"a": None}, ["a"], None, json.loads('"a"')])
def test_a_text_is_needed(holder):
    with pytest.raises(errors.DataError, match="f:1: need a text 'a'"):
        public_files.text_of(holder, "a", "f:1")
    assert public_files.text_of({"a": ""}, "a", "f:1") == ""
