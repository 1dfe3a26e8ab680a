# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of prompts are read line by line, and what is wrong in one is named."""

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.inference.prompt_files import read_rows


def test_a_text_file_has_a_prompt_a_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\n\n  two\n")
    assert read_rows(str(path)) == [{"inputs": "one"}, {"inputs": "  two"}]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path, name):
    path = tmp_path / name
    path.write_text('{"inputs": "x"}' if name == "a.jsonl" else "x", encoding="utf-8-sig")
    assert read_rows(str(path)) == [{"inputs": "x"}]


def test_objects_keep_what_else_they_hold(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 7, "inputs": "x"}\n\n{"inputs": "y"}')
    assert read_rows(str(path)) == [{"id": 7, "inputs": "x"}, {"inputs": "y"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"inputs": "x"}\n\n{"input": "y"}\n', r"a\.jsonl:3: need an object with a string"),
        (b'{"inputs": 3}\n', r"a\.jsonl:1: need an object"),
        (b'["inputs"]\n', r"a\.jsonl:1: need an object"),
        (b'{"inputs": \n', r"a\.jsonl:1: not valid JSON"),
        (b"[" * 100_000, r"a\.jsonl:1: JSON that cannot be read"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"inputs": "a", "b": ["\\ud83d"]}', r"a\.jsonl:1: '\\ud83d' is no character"),
        (b"\n", "no prompt in it"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(str(path))
    with pytest.raises(UsageError, match="no prompts file"):
        read_rows(str(tmp_path / "none"))
