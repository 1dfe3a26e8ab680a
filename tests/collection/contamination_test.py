# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contamination check: made-up overlaps are found with their places, near misses are not."""

import argparse
import csv
import json

import numpy as np
import pytest

from flan_jax import main
from flan_jax.collection import contamination, word_grams
from flan_jax.collection import store as store_lib
from flan_jax.collection.contamination import EvaluationIndex, FileOverlap, Passage
from flan_jax.collection.evaluation_texts import EvaluationRow
from flan_jax.commands import contamination as command
from flan_jax.core import files
from flan_jax.core.errors import UsageError


def some_words(prefix, num):
    return [f"{prefix}{i}" for i in range(num)]


# Twenty words that only this question has, and a row that is short.
QUESTION = " ".join(some_words("q", 20))
SHORT = "Which bird cannot fly backwards?"
ROWS = [
    EvaluationRow("e.jsonl:1", (QUESTION, "yes")),
    EvaluationRow("e.jsonl:2", (SHORT, "no")),
    EvaluationRow("e.jsonl:3", ("too short", "no")),
]


def make_store(root, tasks):
    """Writes a store; `tasks` is (task, split) -> [(inputs, targets), ...]."""
    entries: dict = {}
    for (name, split), examples in tasks.items():
        folder = store_lib.task_folder(root, name, split)
        with store_lib.TaskWriter(folder, np.dtype("<u2")) as writer:
            for number, (inputs, targets) in enumerate(examples):
                text = {"inputs": inputs, "targets": targets, "index": number}
                writer.add([5, 1], [6, 1], text)
            entries.setdefault(name, {})[split] = writer.finish({"key": name})
    manifest = {
        "format": 1, "mixture": "all", "rates": {}, "mixtures": {}, "tasks": entries, "seed": 0,
        "vocabulary": {}, "feature_lengths": {}, "token_dtype": "<u2",
    }  # fmt: skip
    files.write_json(root / store_lib.MANIFEST, manifest)
    return store_lib.Store.open(root)


def check(tmp_path, examples, rows=ROWS, n=13):
    store = make_store(tmp_path / "store", {("t", "train"): examples})
    (task,), evaluations = contamination.check(store, EvaluationIndex([("e.jsonl", rows)], n))
    return task, evaluations


def test_an_overlap_is_counted_and_shown_as_long_as_it_is(tmp_path):
    shared = " ".join(some_words("q", 20)[3:18])
    examples = [("nothing here", "no"), (f"Read: {shared}; then answer.", "no"), ("a", "b")]
    task, evaluations = check(tmp_path, examples)
    assert (task.num_examples, task.num_overlapping, task.num_rows) == (3, 1, 1)
    assert task.share == pytest.approx(1 / 3)
    assert task.passages == (Passage(15, shared, 1, "inputs", "e.jsonl:1"),)
    assert evaluations == [FileOverlap("e.jsonl", 3, 1, 1)]


def test_a_passage_ends_where_the_evaluation_text_does(tmp_path):
    task, _ = check(tmp_path, [(f"{QUESTION} unheard of", f"{SHORT} Unheard of.")])
    assert [passage.num_words for passage in task.passages] == [20, 5]


@pytest.mark.parametrize(
    "text",
    [
        " ".join(some_words("q", 12)),  # a word too few
        " ".join(some_words("q", 20)[:12] + ["other"] + some_words("q", 20)[12:]),
        " ".join(reversed(some_words("q", 20))),
        "Which bird cannot fly",
        "Which small bird cannot fly backwards?",
        "too short",
        "",
    ],
)
def test_near_misses_are_no_overlap(tmp_path, text):
    task, _ = check(tmp_path, [(text, text), (text, "x")])
    assert (task.num_overlapping, task.num_rows, task.passages) == (0, 0, ())


def test_no_gram_runs_over_the_end_of_a_text_on_either_side(tmp_path):
    q = some_words("q", 20)
    rows = [EvaluationRow("e:1", (" ".join(q[:7]), " ".join(q[7:])))]
    halves = (" ".join(q[:7]), " ".join(q[7:14]))
    # The evaluation row's second text has 13 words, so its first is not looked for alone.
    task, _ = check(tmp_path, [halves, halves[::-1], (" ".join(q[:19]), "")], rows)
    assert task.num_overlapping == 0
    task, _ = check(tmp_path / "other", [(" ".join(q), "")], rows)
    assert (task.num_overlapping, task.passages[0].num_words) == (1, 13)


def test_case_punctuation_and_unicode_form_do_not_hide_an_overlap(tmp_path):
    rows = [
        EvaluationRow("e:1", ("École: " + QUESTION,)),
        EvaluationRow("e:2", ("今日はいい天気",)),
    ]
    shown = "E\u0301COLE — " + ", ".join(some_words("Q", 13))
    task, _ = check(tmp_path, [("x", shown), ("「今日は、いい天気」", "y")], rows)
    assert (task.num_overlapping, task.num_rows) == (2, 2)
    assert [p.num_words for p in task.passages] == [14, 7]
    assert task.passages[0].part == "targets" and task.passages[0].text.startswith("école q0 q1")


def test_short_rows_are_found_whole_at_any_length_from_the_least(tmp_path):
    rows = [
        EvaluationRow(f"e:{num}", (" ".join(some_words(f"r{num}x", num)),)) for num in range(13)
    ]
    examples = [(f"a {row.texts[0]} b", "") for row in rows]
    task, (overlap,) = check(tmp_path, examples, rows)
    assert task.num_overlapping == task.num_rows == overlap.num_hit == 8  # 5 to 12 words
    assert overlap.num_too_short == 5
    assert [p.row for p in task.passages] == ["e:12", "e:11", "e:10"]


def test_every_row_that_shares_an_n_gram_is_counted_once(tmp_path):
    rows = [EvaluationRow(f"e:{i}", (f"{QUESTION} end {i}", QUESTION)) for i in range(40)]
    task, (overlap,) = check(tmp_path, [(QUESTION, QUESTION)] * 3, rows)
    assert (task.num_overlapping, task.num_rows, overlap.num_hit) == (3, 40, 40)
    assert task.passages[0].num_words == 20


def test_the_longest_passages_are_shown_whatever_the_order(tmp_path):
    rows = [EvaluationRow(f"e:{i}", (" ".join(some_words(f"r{i}x", 30)),)) for i in range(6)]
    lengths = [14, 29, 16, 30, 13, 20]
    texts = [" ".join(some_words(f"r{i}x", 30)[:length]) for i, length in enumerate(lengths)]
    task, _ = check(tmp_path, [(text, "") for text in texts], rows)
    assert [(p.num_words, p.row) for p in task.passages] == [(30, "e:3"), (29, "e:1"), (20, "e:5")]
    assert [p.example for p in task.passages] == [3, 1, 5]
    # Two passages side by side in one text are two, not one of both lengths.
    task, _ = check(tmp_path / "joined", [(" ".join(texts), "")], rows)
    assert [p.num_words for p in task.passages] == [30, 29, 20]


def test_batches_change_nothing(tmp_path, monkeypatch):
    examples = [
        (f"{i} {QUESTION if i % 7 == 3 else 'x'}", SHORT if i == 5 else "") for i in range(50)
    ]
    whole, _ = check(tmp_path / "whole", examples)
    monkeypatch.setattr(contamination, "_BATCH_CHARACTERS", 40)
    small, _ = check(tmp_path / "small", examples)
    assert whole == small and whole.num_overlapping == 8


def test_colliding_hashes_are_not_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(
        word_grams, "window_hashes",
        lambda sums, factors, n: np.zeros(max(len(factors) - n + 1, 0), np.uint64),
    )  # fmt: skip
    others = " ".join(some_words("x", 60))
    task, _ = check(tmp_path, [(others, QUESTION), (others, SHORT), (others, others)])
    assert (task.num_overlapping, task.num_rows) == (2, 2)


def test_splits_are_apart_and_an_empty_one_is_no_fault(tmp_path):
    tasks = {("a", "train"): [(QUESTION, "")], ("a", "validation"): [], ("b", "train"): [("", "")]}
    store = make_store(tmp_path, tasks)
    index = EvaluationIndex([("e", ROWS)])
    found, _ = contamination.check(store, index)
    assert [(t.task, t.split, t.num_overlapping) for t in found] == [
        ("a", "train", 1), ("a", "validation", 0), ("b", "train", 0),
    ]  # fmt: skip
    assert found[1].share == 0.0
    found, (overlap,) = contamination.check(store, index, ["validation"])
    assert [t.split for t in found] == ["validation"] and overlap.num_hit == 0
    assert contamination.check(make_store(tmp_path / "none", {}), index)[0] == []


def test_rows_that_cannot_be_looked_for_are_refused():
    with pytest.raises(UsageError, match="none of the 1 evaluation rows has a text of 5 words"):
        EvaluationIndex([("e", ROWS[2:])])
    with pytest.raises(UsageError, match="none of the 0 evaluation rows"):
        EvaluationIndex([])
    with pytest.raises(UsageError, match="n must be at least 5 words, got 4"):
        EvaluationIndex([("e", ROWS)], 4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = {
        ("dirty", "train"): [(f"A {QUESTION}", "b"), ("c", "d")],
        ("clean", "train"): [("a", "")],
    }
    make_store(tmp_path / "store", tasks)
    with open("e.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"q": row.texts[0], "a": row.texts[1]}) + "\n" for row in ROWS)
    return tmp_path


def test_the_command_prints_a_table_and_writes_csv_and_json(folder, capsys):
    words = ["contamination", "store", "--against", "e.jsonl", "--out"]
    assert main.main([*words, "found.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["dirty", "train", "2", "1", "50.000", "1"]
    assert ["e.jsonl", "3", "1", "1"] in [line.split() for line in lines]
    assert f"  {QUESTION}" in lines
    assert lines[-1].startswith(
        "1 of 3 examples, in 1 of 2 parts, share 13 words in a row with 1 of"
    )
    with open("found.csv", newline="") as file:
        clean, dirty = csv.DictReader(file)
    assert (clean["task"], clean["num_overlapping"], clean["longest_words"]) == ("clean", "0", "")
    assert (dirty["share"], dirty["longest_words"], dirty["longest_row"]) == (
        "0.500000", "20", "e.jsonl:1",
    )  # fmt: skip
    assert main.main([*words, "found.json", "--n", "21", "--split", "train"]) == 0
    found = json.loads((folder / "found.json").read_text())
    assert found["n"] == 21 and found["mixture"] == "all"
    # The question is shorter than 21 words, so it is looked for whole.
    assert [task["num_overlapping"] for task in found["tasks"]] == [0, 1]
    assert found["tasks"][1]["passages"][0]["num_words"] == 20


def test_the_commands_numbers_are_those_of_the_check():
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)  # it has numbers of its own, so that --help imports nothing
    assert parser.parse_args(["s", "--against", "e"]).n == contamination.NUM_WORDS
    assert command._LEAST_WORDS == contamination.MIN_WORDS


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--against", "none.jsonl"], 2, "no evaluation file or folder 'none.jsonl'; correct"),
        (["--against", "store/tasks/dirty/train/tokens.bin"], 2, "cannot tell what its rows are"),
        (["--against", "empty"], 2, "folder 'empty' has no evaluation file; name one with"),
        (["--against", "e.jsonl", "--n", "4"], 2, "--n: need a whole number >= 5, got '4'"),
        (["--against", "e.jsonl", "--split", "trian"], 2, "unknown split 'trian'; did you mean"),
        (["--against", "e.jsonl", "--out", "a.txt"], 2, "--out 'a.txt': name a file that ends in"),
        (["--against", "e.jsonl", "--out", "e.jsonl/a.csv"], 2, "e.jsonl is a file, not a folder"),
        (["--against", "cut.jsonl"], 1, "cut.jsonl:2: not valid JSON"),
        ([], 2, "required: --against"),
    ],
)
def test_mistakes_are_one_line(folder, capsys, arguments, code, message):
    (folder / "empty").mkdir()
    (folder / "cut.jsonl").write_text('{"a": "b"}\n{"a": \n')
    assert main.main(["contamination", "store", *arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
