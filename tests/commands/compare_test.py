# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax compare`: the printed table, the file, and mistakes as one line."""

import csv
import json

import pytest

from flan_jax import main
from flan_jax.core import errors


@pytest.fixture
def folders(tmp_path):
    """Two evaluations of one benchmark: A is right once in four questions, B always."""
    for side in "ab":
        path = tmp_path / side / "predictions" / "gsm8k" / "test.generate" / "gsm8k.jsonl"
        path.parent.mkdir(parents=True)
        lines = [
            {
                "id": str(number), "prompt_sha256": f"{side if number == 0 else ''}{number}",
                "exact_match": 100.0 * (side == "b" or number == 1),
            }
            for number in range(4)
        ]  # fmt: skip
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(capsys, *argv):
    code = main.main(["compare", *map(str, argv)])
    return code, capsys.readouterr()


def test_the_table_is_printed_and_written(capsys, folders):
    out = folders / "compared.csv"
    code, captured = run(capsys, folders / "a", folders / "b", "--out", out)
    assert code == errors.EXIT_OK
    head, line = captured.out.splitlines()
    assert head.startswith("benchmark") and head.endswith("McNemar p")
    assert line.split()[:7] == [
        "gsm8k", "test.generate", "exact_match", "4", "25.0", "100.0", "+75.0"
    ]  # fmt: skip
    assert "1 of 4 questions were asked by different prompts" in captured.err
    [row] = csv.DictReader(out.read_text().splitlines())
    assert (row["difference"], row["only_b"], row["mcnemar_p"]) == ("75", "3", "0.25")


def test_mistakes_are_one_line(capsys, folders):
    for argv, said in (
        ([folders / "a", folders / "nowhere"], "no predictions of benchmarks in"),
        ([folders / "a", folders / "b", "--out", folders], "is a folder; name a file in it"),
        ([folders / "a"], "the following arguments are required: B"),
    ):
        code, captured = run(capsys, *argv)
        assert code == errors.EXIT_USAGE and said in captured.err
        assert captured.err.startswith("flan-jax: error: ")
        assert len(captured.err.splitlines()) == 1
