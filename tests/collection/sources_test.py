# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources: every malformed row is named, splits do not overlap, fingerprints follow content."""

import functools
import json
import pickle

import pytest

from flan_jax.collection import sources
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


def test_json_lines_source_names_file_and_line_of_a_bad_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "x"}\n{"a": "y"}\n')
    source = sources.JsonLinesSource({"train": path})
    assert list(source.rows("train")) == [(0, {"a": "x"}), (1, {"a": "y"})]
    assert source.num_rows("train") == 2 and source.num_rows("validation") == 0
    path.write_text('{"a": "x"}\n{"a": \n')
    with pytest.raises(DataError, match=r"rows\.jsonl:2: not valid JSON"):
        list(source.rows("train"))
    path.write_text('{"a": "x"}\n[1]\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:2: need a JSON object, got list"):
        list(source.rows("train"))


def test_lines_that_are_not_utf8_are_named(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_bytes(b"q\ta\tr\nq\t\xff\tr\n")
    with pytest.raises(DataError, match=r"rows\.tsv:2: not UTF-8 text .* convert"):
        list(sources.CotTsvSource(str(path)).rows("train"))


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
        ({"Instances": ["x"]}, "instance 0: need an object, got str"),
        ({"Instances": [{"output": ["x"]}]}, "instance 0: 'input' must be a text, got nothing"),
        ({"Instances": [{"input": "x"}]}, "instance 0: 'output' must be a text or a list"),
        ({"Instances": [{"input": "x", "output": [1]}]}, r"instance 0: 'output' .* got \[1\]"),
        ({"Instances": [{"input": 3, "output": "x"}]}, "instance 0: 'input' must be a text, got 3"),
        ({"Definition": None}, "'Definition' must be a text or a list of texts, got nothing"),
        ({"Definition": [" "]}, "'Definition' is empty"),
        ({"Positive Examples": [{"input": "x"}]}, "positive example 0: 'output' must be"),
        ({"Positive Examples": 5}, "'Positive Examples' must be a list, got 5"),
    ],
)
def test_malformed_natural_instructions_names_file_place_and_fault(write_task, changes, message):
    path = write_task(**changes)
    with pytest.raises(DataError, match=f"task001_demo_echo.json: .*{message}|{message}") as caught:
        list(sources.NaturalInstructionsSource(path).rows("train"))
    assert str(caught.value).startswith(path)


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
def test_cot_line_with_other_columns_is_named(tmp_path, line):
    path = tmp_path / "x_train.tsv"
    path.write_text(f"q\ta\tr\n{line}\n")
    source = sources.CotTsvSource(str(path))
    with pytest.raises(DataError, match=r"x_train\.tsv:2: need 3 columns .* got \d"):
        list(source.rows("train"))


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


def test_resolve_finds_package_files_and_refuses_unknown_packages():
    assert sources.resolve("package:flan_jax/core/rng.py").is_file()
    with pytest.raises(UsageError, match="no package 'flan_jaxx' can be imported; install"):
        sources.resolve("package:flan_jaxx/a.txt")


def test_choose_is_exact_seeded_and_fair():
    chosen = [sources.choose(100, 30, seed, "t") for seed in range(200)]
    assert all(len(c) == 30 for c in chosen)
    assert chosen[0] == sources.choose(100, 30, 0, "t") != sources.choose(100, 30, 0, "u")
    assert sources.choose(30, 30, 0, "t") is None and sources.choose(30, None, 0, "t") is None
    counts = [sum(i in c for c in chosen) for i in range(100)]
    # 200 draws at 0.3: mean 60, standard deviation 6.5.
    assert min(counts) > 30 and max(counts) < 90
