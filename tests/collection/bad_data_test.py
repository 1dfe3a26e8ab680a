# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bad data through the whole builder and the commands: counted, placed, or refused by name."""

import json

import pytest
import seqio

from flan_jax import main
from flan_jax.collection import build as build_lib
from flan_jax.collection import registry, sources, spec
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.store import Store
from flan_jax.commands.build import print_store
from flan_jax.core.errors import DataError, IncompleteError
from tasks import cot, niv2

TEMPLATES = TemplateGroup(
    inline=('{"id": "t", "input": "{question} {title}", "target": "{answer}"}',)
)


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """Gives each test SeqIO registries of its own."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry, "_unavailable", {})


def cot_task(folder, name, lines):
    path = folder / f"{name}_train.tsv"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return registry.add_task(cot.task_spec(name, str(path))).name


def good_lines(num):
    return [b"How much is %d?\t%d\tIt is %d." % (i, i, i) for i in range(num)]


def json_task(folder, name, rows, fields=dict, **changes):
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return registry.add_task(
        spec.TaskSpec(
            name=name, family="own", fields=fields, templates=TEMPLATES, splits=("train",),
            source=sources.JsonLinesSource({"train": path}), **changes,
        )
    ).name  # fmt: skip


def build(out, *tasks, mixture="all_of_them", **changes):
    if tasks:
        registry.add_mixture(mixture, tasks)
    arguments = {
        "mixture": mixture, "out": out, "vocabulary": "bytes",
        "feature_lengths": {"inputs": 400, "targets": 60},
    }  # fmt: skip
    return build_lib.build(**(arguments | changes))


def test_malformed_rows_are_counted_in_the_manifest_and_printed_with_the_first_places(
    tmp_path, capsys
):
    lines = good_lines(40)
    for at in (3, 9, 11, 20, 30):
        lines.insert(at, b"no tabs")
    lines.insert(5, b"q\t\xff\tr")
    name = cot_task(tmp_path, "one", lines)
    other = cot_task(tmp_path, "two", [*good_lines(20), b"q\ta"])
    store = build(tmp_path / "out", name, other)
    entry = store.manifest["tasks"][name]["train"]
    assert entry["dropped"] == {
        "malformed: need 3 columns between tabs": 5, "malformed: not UTF-8 text": 1,
    }  # fmt: skip
    assert entry["dropped_at"] == {
        "malformed: need 3 columns between tabs": [f"one_train.tsv:{n}" for n in (4, 11, 13)],
        "malformed: not UTF-8 text": ["one_train.tsv:6"],
    }
    assert "dropped_at" not in store.manifest["tasks"][name]["validation"]
    splits = store.manifest["tasks"][name].values()
    assert sum(e["num_examples"] + sum(e["dropped"].values()) for e in splits) == len(lines)
    capsys.readouterr()
    print_store(store)
    said = capsys.readouterr().err.splitlines()
    assert (
        "build: dropped 6: malformed: need 3 columns between tabs, first at one_train.tsv:4" in said
    )
    assert "build: dropped 1: malformed: not UTF-8 text, first at one_train.tsv:6" in said


def test_trimmed_inputs_are_counted_and_printed(tmp_path, capsys):
    rows = [{"question": "word " * n, "answer": "a", "title": "End."} for n in (5, 70, 90, 110)]
    name = json_task(tmp_path, "trimmed", rows, trim_field="question")
    long = json_task(tmp_path, "long", [*rows[:2], rows[3]])
    store = build(tmp_path / "out", name, long)
    entry = store.manifest["tasks"][name]["train"]
    assert (entry["num_examples"], entry["num_trimmed"], entry["dropped"]) == (4, 2, {})
    other = store.manifest["tasks"][long]["train"]
    assert (other["num_trimmed"], other["dropped"]) == (0, {"too long: input": 1})
    capsys.readouterr()
    print_store(store)
    said = capsys.readouterr().err
    assert "build: trimmed 2: an input was cut at its end to fit its length\n" in said
    assert "build: dropped 1: too long: input\n" in said


def test_a_file_of_nothing_but_malformed_rows_is_refused_with_their_number(tmp_path):
    good = cot_task(tmp_path, "good", good_lines(20))
    bad = cot_task(tmp_path, "bad", [b"\xff\xfeq\x00\t\x00", b"\x00", b"no tabs"])
    empty = cot_task(tmp_path, "empty", [])
    with pytest.raises(IncompleteError) as caught:
        build(tmp_path / "out", good, bad, empty)
    message = str(caught.value)
    assert "4 of 6 parts failed" in message
    assert (
        "cot.bad (train): no examples: 3 rows, dropped: malformed: need 3 columns between tabs (2, "
        "first at bad_train.tsv:2), malformed: not UTF-8 text (1, first at bad_train.tsv:1); mend"
    ) in message
    assert "cot.empty (train): no examples: 0 rows, dropped: none; mend" in message


def test_a_mixture_of_nothing_but_malformed_rows_is_refused(tmp_path):
    bad = cot_task(tmp_path, "bad", [b"no tabs"] * 7)
    registry.add_mixture("one", [bad])
    with pytest.raises(DataError, match="mixture 'one': every member is empty"):
        registry.mixture_members("one")
    for mixture in (bad, "one"):
        with pytest.raises(IncompleteError, match=r"no examples: 7 rows.*\(7, first at bad_train"):
            build(tmp_path / "out", mixture=mixture)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'{"Definition": ["Do."],\n "Instances": [',
            r"task1_x\.json:2: not valid JSON \(.*column",
        ),
        (b"[" * 9_000, r"task1_x\.json: JSON nested too deeply"),
        (b'{"Instances": [' + b"1" * 5_000 + b"]}", r"task1_x\.json: not valid JSON \(.*digits"),
        (b"[]", r"task1_x\.json: need a JSON object, got list"),
        (b'{"Instances": []}', r"task1_x\.json: 'Definition' must be a text or a list of texts"),
        (b'{"Definition": "\xff"}', r"task1_x\.json: not UTF-8 text \(invalid start byte"),
        ('{"Definition": "x"}'.encode("utf-16"), r"task1_x\.json: not UTF-8 text"),
        (b"", r"task1_x\.json:1: not valid JSON"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_file_that_cannot_be_read_fails_its_task_and_stops_no_other(tmp_path, content, message):
    good = cot_task(tmp_path, "good", good_lines(20))
    (tmp_path / "task1_x.json").write_bytes(content)
    bad = registry.add_task(niv2.task_spec(tmp_path / "task1_x.json")).name
    with pytest.raises(IncompleteError, match=rf"2 of 4 parts.*{bad} \(train\): /.*{message}"):
        build(tmp_path / "out", good, bad)
    assert build(tmp_path / "out", mixture=good).rates == {good: 1.0}
    instances = [{"input": f"i{i}", "output": "x"} for i in range(30)]
    mended = {"Definition": "Do it.", "Instances": instances}
    (tmp_path / "task1_x.json").write_text(json.dumps(mended))
    rates = build(tmp_path / "out").rates
    assert rates == pytest.approx({good: 18 / 45, bad: 27 / 45})


def test_missing_and_unreadable_files_are_told_apart(tmp_path):
    good, gone = (cot_task(tmp_path, name, good_lines(20)) for name in ("good", "gone"))
    (tmp_path / "gone_train.tsv").unlink()
    (tmp_path / "task1_x.json").write_text("{")
    bad = registry.add_task(niv2.task_spec(tmp_path / "task1_x.json")).name
    with pytest.raises(IncompleteError, match=rf"2 of 4 parts failed.*{bad} \(train\)") as caught:
        build(tmp_path / "out", good, gone, bad, skip_unavailable=True)
    assert gone not in str(caught.value)


def test_a_row_without_a_field_fails_its_task_in_one_line_and_stops_no_other(tmp_path):
    rows = [{"question": f"q{i}", "answer": "a", "title": "t"} for i in range(6)]
    lacking = [*rows[:4], {"question": "q", "answer": "a"}]
    unasked = json_task(tmp_path, "unasked", lacking)
    asked = json_task(tmp_path, "asked", lacking, fields=with_title)
    wrong = json_task(tmp_path, "wrong", [*rows, {"question": 3, "answer": "a", "title": "t"}])
    fine = json_task(tmp_path, "fine", rows)
    with pytest.raises(IncompleteError) as caught:
        build(tmp_path / "out", unasked, asked, wrong, fine)
    message = str(caught.value)
    assert "3 of 4 parts failed" in message and "\n" not in message and "fine" not in message
    assert "task 'asked': row 4 of 'train': its field mapping asks for 'title', which" in message
    assert "row 4 of 'train': task 'unasked': template 't' asks for {title}, the field" in message
    assert "task 'wrong': row 6 of 'train' gives a field 'question' of 3; it must be" in message


def with_title(row):
    return {"question": row["question"], "answer": row["answer"], "title": row["title"]}


@pytest.fixture
def gsm8k(tmp_path, monkeypatch):
    """A folder with one data set of chain of thought, some of its lines malformed."""
    monkeypatch.setenv(cot.VARIABLE, str(tmp_path))
    lines = [b"no tabs", *good_lines(300), b"\xff"]
    (tmp_path / "gsm8k_train.tsv").write_bytes(b"\n".join(lines))
    cot.register()
    return tmp_path


def test_commands_pass_over_malformed_rows_and_say_so(gsm8k, tmp_path, capsys):
    assert main.main(["inspect", "cot.gsm8k", "--module_import", "tasks.cot", "--num", "2"]) == 0
    shown = capsys.readouterr().out
    assert "row 0 dropped: malformed: need 3 columns between tabs" in shown
    assert "splits    train 270, validation 30" in shown
    given = ["--mixture", "cot.gsm8k", "--module_import", "tasks.cot", "--out"]
    assert main.main(["vocab", *given, str(tmp_path / "v.model"), "--size", "400"]) == 0
    lengths = ["--inputs", "600", "--targets", "200", "--vocabulary", "bytes"]
    assert main.main(["build", *given, str(tmp_path / "out"), *lengths]) == 0
    said = capsys.readouterr().err
    assert "dropped 1: malformed: not UTF-8 text, first at gsm8k_train.tsv:302" in said
    entries = Store.open(tmp_path / "out").manifest["tasks"]["cot.gsm8k"]
    assert sum(entry["num_examples"] for entry in entries.values()) == 300
