# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources: a malformed row is named and ends nothing, splits share nothing, hashes follow."""

import dataclasses
import functools
import json
import pickle
from pathlib import Path

import pytest

from flan_jax.collection import sources
from flan_jax.collection.parsing import Malformed
from flan_jax.core.errors import DataError, UsageError


def make_row(split, index):
    return {"text": f"{split} {index}"}


def scaled_row(factor, split, index):
    return {"text": str(factor * index)}


@pytest.fixture
def write_task(tmp_path):
    """Writes a Natural-Instructions file; keyword arguments replace its keys."""

    def write(name="task001_demo_echo", **changes):
        task = {
            "Definition": ["Repeat the word."],
            "Positive Examples": [{"input": "a", "output": "a", "explanation": "It is a."}],
            "Negative Examples": [{"input": "a", "output": "b"}],
            "Instances": [{"id": "x-0", "input": "dog", "output": ["dog", "Dog"]}],
        } | changes
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({k: v for k, v in task.items() if v is not None}))
        return str(path)

    return write


def only_row(path):
    [(index, row)] = sources.NaturalInstructionsSource(path).rows("train")
    assert index == 0
    return row


def test_generated_source_gives_its_rows_and_survives_pickling():
    source = sources.GeneratedSource(make_row, {"train": 3, "validation": 1})
    again = pickle.loads(pickle.dumps(source))
    assert again == source and hash(again) == hash(source)
    assert list(again.rows("train")) == [(i, {"text": f"train {i}"}) for i in range(3)]
    assert [again.num_rows(s) for s in ("train", "validation", "test")] == [3, 1, 0]
    assert source.missing() is None


def test_generated_fingerprint_follows_function_arguments_count_and_version():
    def fingerprint(fn=make_row, num=3, version="1"):
        return sources.GeneratedSource(fn, {"train": num}, version).fingerprint("train")

    partials = [functools.partial(scaled_row, factor) for factor in (2, 2, 3)]
    assert fingerprint() == fingerprint()
    assert fingerprint(partials[0]) == fingerprint(partials[1]) != fingerprint(partials[2])
    others = {fingerprint(num=4), fingerprint(version="2"), fingerprint(fn=scaled_row)}
    assert len(others | {fingerprint()}) == 4


def test_json_lines_source_gives_objects_by_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "x"}\n{"a": "y"}\n')
    source = sources.JsonLinesSource({"train": path})
    assert list(source.rows("train")) == [(0, {"a": "x"}), (1, {"a": "y"})]
    assert source.num_rows("train") == 2 and source.num_rows("validation") == 0


SURROGATE = "text with a lone surrogate, which UTF-8 cannot hold"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": ', "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"", "empty line"),
        (b" \t", "empty line"),
        (b'{"a": "\xff"}', "not UTF-8 text"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8 text"),
        (b'{"a": "\\ud800"}', SURROGATE),
        (b'{"\\uDFFF": ["x"]}', SURROGATE),
        (b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "JSON nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "JSON number of too many digits"),
        (b'{"a": "\x00"}', "not valid JSON"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_malformed_line_of_json_is_named_and_ends_nothing(tmp_path, line, reason):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": "x"}\n' + line + b'\n{"a": "y"}\n')
    source = sources.JsonLinesSource({"train": path})
    assert list(source.rows("train")) == [
        (0, {"a": "x"}), (1, Malformed("rows.jsonl:2", reason)), (2, {"a": "y"}),
    ]  # fmt: skip
    assert source.num_rows("train") == 2


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('\ufeff{"a": "x"}', {"a": "x"}),
        ('{"a": "x"}\r', {"a": "x"}),
        ('{"a": "1\u2028\x85\\r2"}', {"a": "1\u2028\x85\r2"}),
        ('{"a": "\\u0000"}', {"a": "\x00"}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"a": 1e999, "b": -1e-999}', {"a": float("inf"), "b": -0.0}),
        ('{"a": ""}', {"a": ""}),
        ('{"a": "%s"}' % ("x" * 10_000_000), {"a": "x" * 10_000_000}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_odd_lines_of_json_are_read_as_they_are(tmp_path, line, row):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(f"{line}\n".encode())
    assert list(sources.JsonLinesSource({"train": path}).rows("train")) == [(0, row)]


def test_a_line_that_is_not_utf8_is_named_and_ends_nothing(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_bytes(b"q\ta\tr\nq\t\xff\tr\nq\ta\tr")
    source = sources.CotTsvSource(str(path))
    row = dict(zip(source.COLUMNS, "qar", strict=True))
    assert list(source.rows("train")) == [
        (0, row), (1, Malformed("rows.tsv:2", "not UTF-8 text")), (2, row),
    ]  # fmt: skip
    assert source.num_rows("train") == 2
    with pytest.raises(DataError, match=r"/rows\.tsv:2: not UTF-8 text; convert the file to UTF-8"):
        list(sources.read_lines(path))


def test_missing_file_is_told_with_a_remedy_and_without_raising(tmp_path, monkeypatch):
    reason = sources.CotTsvSource(str(tmp_path / "no.tsv")).missing()
    assert "no.tsv does not exist" in reason and "fetch" in reason
    monkeypatch.delenv("SOME_FOLDER", raising=False)
    source = sources.CotTsvSource("$SOME_FOLDER/gsm8k_train.tsv")
    assert "SOME_FOLDER" in source.missing() and "set it" in source.missing()
    (tmp_path / "gsm8k_train.tsv").write_text("q\ta\tr\n")
    monkeypatch.setenv("SOME_FOLDER", str(tmp_path))
    assert source.missing() is None and source.num_rows("train") == 1


def test_natural_instructions_row_holds_all_outputs_and_examples(write_task):
    assert only_row(write_task()) == {
        "id": "x-0",
        "input": "dog",
        "outputs": ["dog", "Dog"],
        "definitions": ["Repeat the word."],
        "positives": [{"input": "a", "output": "a", "explanation": "It is a."}],
    }


def test_natural_instructions_reads_older_schemas(write_task):
    path = write_task(
        Definition="Repeat the word.",
        Instances=[{"input": "dog", "output": "dog"}],
        **{"Positive Examples": [{"input": "a", "output": "a"}], "Categories": "Other"},
    )
    row = only_row(path)
    assert (row["id"], row["outputs"], row["definitions"]) == ("", ["dog"], ["Repeat the word."])
    assert row["positives"] == [{"input": "a", "output": "a", "explanation": ""}]
    assert only_row(write_task(**{"Positive Examples": None}))["positives"] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Instances": None}, "'Instances' must be a list, got nothing: the key is missing"),
        ({"Instances": {}}, "'Instances' must be a list"),
        ({"Definition": None}, "'Definition' must be a text or a list of texts, got nothing"),
        ({"Definition": [" "]}, "'Definition' is empty"),
        ({"Definition": ["\ud800"]}, "definition or positive example: text with a lone surrogate"),
        ({"Positive Examples": [3]}, "positive example 0: need an object, got int"),
        ({"Positive Examples": [{"input": "x"}]}, "positive example 0: 'output' must be"),
        ({"Positive Examples": [{"output": "x"}]}, "positive example 0: 'input' must be"),
        ({"Positive Examples": 5}, "'Positive Examples' must be a list, got 5"),
    ],
)
def test_a_fault_of_the_whole_task_file_is_named(write_task, changes, message):
    path = write_task(**changes)
    with pytest.raises(DataError, match=message) as caught:
        list(sources.NaturalInstructionsSource(path).rows("train"))
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        ("x", "instance is no JSON object"),
        (None, "instance is no JSON object"),
        ({"output": ["x"]}, "no 'input'"),
        ({"input": "x"}, "no 'output'"),
        ({"input": 3, "output": "x"}, "'input' is no text"),
        ({"input": None, "output": "x"}, "'input' is no text"),
        ({"input": "x", "output": None}, "'output' is neither a text nor a list of texts"),
        ({"input": "x", "output": ["x", 1]}, "'output' is neither a text nor a list of texts"),
        ({"input": "x", "output": {"x": "y"}}, "'output' is neither a text nor a list of texts"),
        ({"input": "\udc00", "output": "x"}, SURROGATE),
        ({"input": "x", "output": ["x", "\ud800"]}, SURROGATE),
        ({"id": "\ud800", "input": "x", "output": "x"}, SURROGATE),
    ],
)
def test_a_malformed_instance_is_named_and_ends_nothing(write_task, instance, reason):
    good = {"id": "x-0", "input": "dog", "output": ["dog"]}
    source = sources.NaturalInstructionsSource(write_task(Instances=[good, instance, good]))
    first, bad, last = source.rows("train")
    assert bad == (1, Malformed("task001_demo_echo.json instance 1", reason))
    assert (first[0], last[0]) == (0, 2) and first[1] == last[1]
    assert source.num_rows("train") == 2


def test_a_task_file_with_a_byte_order_mark_is_read(write_task):
    path = Path(write_task())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert only_row(str(path))["input"] == "dog"


def test_invalid_json_task_file_names_line(tmp_path):
    path = tmp_path / "task1_x_y.json"
    path.write_text('{\n "Definition": [\n')
    with pytest.raises(DataError, match=r"task1_x_y\.json:3: not valid JSON"):
        sources.NaturalInstructionsSource(str(path)).num_rows("train")


def test_changed_file_is_read_again(write_task):
    path = write_task()
    source = sources.NaturalInstructionsSource(path)
    before = source.num_rows("train"), source.fingerprint("train")
    write_task(Instances=[{"input": str(i), "output": "x"} for i in range(3)])
    assert before[0] == 1 and source.num_rows("train") == 3
    assert source.fingerprint("train") != before[1]


def test_cot_rows_expand_line_breaks_and_nothing_else(tmp_path):
    path = tmp_path / "x_train.tsv"
    path.write_text("a\\nb\tyes\tso {it} \\t goes\n", newline="")
    [(_, row)] = sources.CotTsvSource(str(path)).rows("train")
    assert row == {"question": "a\nb", "answer": "yes", "rationale": "so {it} \\t goes"}


@pytest.mark.parametrize("line", ["q\ta", "q\ta\tr\tmore", ""])
def test_cot_line_with_other_columns_is_named_and_ends_nothing(tmp_path, line):
    path = tmp_path / "x_train.tsv"
    path.write_text(f"q\ta\tr\n{line}\nq\ta\tr\n")
    source = sources.CotTsvSource(str(path))
    rows = list(source.rows("train"))
    assert rows[1] == (1, Malformed("x_train.tsv:2", "need 3 columns between tabs"))
    assert rows[0][1] == rows[2][1] and rows[2][0] == 2 == source.num_rows("train")


@pytest.mark.parametrize("text", ["a\rb", "a\u2028b", "a\x00b", "a\x1cb", " ", ""])
def test_cot_cells_hold_any_text_but_tabs_and_line_feeds(tmp_path, text):
    path = tmp_path / "x_train.tsv"
    path.write_bytes(f"\ufeffq\t{text}\tr\r\n".encode())
    [(_, row)] = sources.CotTsvSource(str(path)).rows("train")
    assert row == {"question": "q", "answer": text, "rationale": "r"}


def write_questions(tmp_path, questions):
    path = tmp_path / "x_train.tsv"
    path.write_text("".join(f"{q}\ta{i}\tr\n" for i, q in enumerate(questions)))
    return sources.CotTsvSource(str(path))


def test_held_out_rows_share_no_question_with_train(tmp_path):
    base = write_questions(tmp_path, [f"q{i % 50}" for i in range(120)])
    source = sources.HeldOutSource(base, by="question", fraction=0.2)
    train, held = (list(source.rows(s)) for s in ("train", "validation"))
    assert {r["question"] for _, r in train}.isdisjoint(r["question"] for _, r in held)
    assert len({r["question"] for _, r in held}) == 10
    assert (len(train), len(held)) == (source.num_rows("train"), source.num_rows("validation"))
    merged = sorted([*train, *held], key=lambda pair: pair[0])
    assert merged == list(base.rows("train"))


def test_held_out_choice_depends_on_values_and_seed_not_on_order(tmp_path):
    questions = [f"q{i}" for i in range(60)]

    def held(order, **options):
        source = sources.HeldOutSource(write_questions(tmp_path, order), by="question", **options)
        return {r["question"] for _, r in source.rows("validation")}

    assert held(questions) == held(questions[::-1])
    assert held(questions) != held(questions, seed=1)
    assert len(held(questions, most=2)) == 2
    assert len(held(["one"])) == 0 and len(held(["one", "two"])) == 1


def test_malformed_rows_stay_in_train_and_are_not_counted_as_rows(tmp_path):
    base = write_questions(tmp_path, [f"q{i}" for i in range(40)])
    whole = sources.HeldOutSource(base, by="question", fraction=0.2)
    held = {row["question"] for _, row in whole.rows("validation")}
    path = tmp_path / "x_train.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "bad", *lines[1:], "also bad"]))
    again = {row["question"] for _, row in whole.rows("validation")}
    assert again == held and whole.num_rows("validation") == 8 and whole.num_rows("train") == 32
    bad = [(index, row) for index, row in whole.rows("train") if isinstance(row, Malformed)]
    assert [(index, row.where) for index, row in bad] == [
        (1, "x_train.tsv:2"),
        (41, "x_train.tsv:42"),
    ]


def test_any_value_divides_rows_and_rows_without_one_stay_in_train(tmp_path):
    path = tmp_path / "rows.jsonl"
    values = [None, 1, 1.5, [1], {"k": "v"}, "text", float("nan"), True]
    rows = [{"by": value} for value in values] + [{"bye": "x"}] * 3
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = sources.HeldOutSource(sources.JsonLinesSource({"train": path}), by="by", fraction=0.5)
    sides = [[index for index, _ in source.rows(split)] for split in ("train", "validation")]
    assert sorted(sum(sides, [])) == list(range(11)) and sides[0][-3:] == [8, 9, 10]
    assert [len(side) for side in sides] == [source.num_rows(s) for s in ("train", "validation")]
    wrong = dataclasses.replace(source, by="buy")
    with pytest.raises(UsageError, match=r"rows\.jsonl.* no row has the column 'buy' .* another"):
        wrong.num_rows("train")


def test_resolve_finds_package_files_and_refuses_unknown_packages():
    assert sources.resolve("package:flan_jax/core/rng.py").is_file()
    for missing in ("flan_jaxx", "flan_jaxx.sub", "pytest.nothing", ""):
        with pytest.raises(UsageError, match=f"no package '{missing}' can be imported; install"):
            sources.resolve(f"package:{missing}/a.txt")


def test_resolve_finds_files_of_a_package_that_cannot_be_imported(tmp_path, monkeypatch):
    package = tmp_path / "package_with_a_file"
    package.mkdir()
    (package / "__init__.py").write_text("import no_such_module\n")
    (package / "a.txt").write_text("text")
    monkeypatch.syspath_prepend(tmp_path)
    assert sources.resolve("package:package_with_a_file/a.txt") == package / "a.txt"


def test_choose_is_exact_seeded_and_fair():
    chosen = [sources.choose(100, 30, seed, "t") for seed in range(200)]
    assert all(len(c) == 30 for c in chosen)
    assert chosen[0] == sources.choose(100, 30, 0, "t") != sources.choose(100, 30, 0, "u")
    assert sources.choose(30, 30, 0, "t") is None and sources.choose(30, None, 0, "t") is None
    counts = [sum(i in c for c in chosen) for i in range(100)]
    # 200 draws at 0.3: mean 60, standard deviation 6.5.
    assert min(counts) > 30 and max(counts) < 90


def is_even(row):
    return row["n"] % 2 == 0


def test_filtered_rows_are_the_only_ones_that_count(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([*(json.dumps({"n": n}) for n in range(5)), "{broken"]) + "\n")
    base = sources.JsonLinesSource({"train": str(path)})
    source = sources.FilteredSource(base, is_even)
    kept = list(source.rows("train"))
    assert [index for index, _ in kept] == [0, 2, 4, 5]
    assert isinstance(kept[-1][1], sources.Malformed)
    assert source.num_rows("train") == 3
    assert source.fingerprint("train") != base.fingerprint("train")
    assert source.missing() is None
    gone = sources.FilteredSource(sources.JsonLinesSource({"train": "/none"}), is_even)
    assert "does not exist" in gone.missing()


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"m": 1}, "asks for 'n', which is not there"),
        ({"n": "odd"}, "fails with TypeError: not all"),
        ({"n": None}, "fails with TypeError: unsupported"),
    ],
)
def test_a_filter_that_fails_names_row_fault_and_columns(tmp_path, row, fault):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"n": 2}) + "\n" + json.dumps(row) + "\n")
    source = sources.FilteredSource(sources.JsonLinesSource({"train": str(path)}), is_even)
    with pytest.raises(DataError, match=rf"row 1 of 'train': what keeps .* {fault}.*the row has"):
        list(source.rows("train"))
