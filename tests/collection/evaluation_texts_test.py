# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of evaluation files of every kind, each with the place it has in its file."""

import json

import pytest

from flan_jax.collection import evaluation_texts
from flan_jax.core.errors import DataError

SQUAD = {"version": "1", "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": []}]}]}


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        (
            "a.jsonl",
            '\ufeff{"q": "é", "n": 3, "deep": {"a": ["x", "y"], "b": " "}}\r\n\n["z"]\n"w"',
            [(":1", "é", "x", "y"), (":3", "z"), (":4", "w")],
        ),
        ("bbh.json", json.dumps({"canary": "no", "examples": [{"input": "i", "target": "t"}]}),
         [(".examples[0]", "i", "t")]),
        ("squad.json", json.dumps(SQUAD), [(".data[0]", "t", "c")]),
        ("list.json", '[{"a": "b"}, "c", {"n": 1}]', [("[0]", "b"), ("[1]", "c")]),
        ("one.json", '{"a": "b", "c": ["d"]}', [("", "b", "d")]),
        ("a.csv", 'q,a\n"two\nlines, ""quoted""",x\n"",last\n',
         [(":1", "q", "a"), (":2", 'two\nlines, "quoted"', "x"), (":4", "last")]),
        ("a.tsv", 'a "b\\nc\td\n\t\ne', [(":1", 'a "b\nc', "d"), (":3", "e")]),
        ("a.txt", "one\ttab\n\ntwo\n", [(":1", "one\ttab"), (":3", "two")]),
    ],
)  # fmt: skip
def test_rows_of_a_file(tmp_path, name, content, rows):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    found = [(row.where, *row.texts) for row in evaluation_texts.read_rows(path)]
    assert found == [(f"{path}{place}", *texts) for place, *texts in rows]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": "b"}\n{"a"\n', "a.jsonl:2: not valid JSON"),
        ("a.json", b"{", "a.json:1: not valid JSON"),
        ("a.csv", b'a,b\n"c"d,e\n', "a.csv:2: not valid CSV"),
        ("a.csv", b'a\n"b\n', "a.csv:2: not valid CSV"),
        ("a.tsv", b"a\n\xff\n", "a.tsv:2: not UTF-8"),
        ("a.txt", b"\xff", "a.txt:1: not UTF-8"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(evaluation_texts.read_rows(path))


def test_folders_are_searched_and_files_named_once(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.json", "a.tsv", "deep/c.txt", "LICENSE", "d.parquet"):
        (tmp_path / name).touch()
    found = evaluation_texts.find_files([tmp_path / "b.json", tmp_path])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["b.json", "a.tsv", "deep/c.txt"]
