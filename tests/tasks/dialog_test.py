# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dialog: which turn is asked for, how the others are listed, and what twins leave out."""

import collections
import contextlib
import json

import pytest
import tensorflow_datasets as tfds

from flan_jax.collection import registry, spec, vocabularies
from flan_jax.collection.rendering import Dropped, Rendered, render_task
from flan_jax.collection.sources import HeldOutSource
from flan_jax.collection.tfds_source import TfdsSource
from flan_jax.core.errors import DataError, UsageError
from tasks.dialog import conversations, sources
from tasks.dialog import tasks as dialog
from tests.tasks.family_data import shared_folder, write_lines
from tests.tasks.family_rendering import assert_registered, assert_renders, first_prompt

NAMES = ("wiki_dialog", "qrecc", "task_master")


def texts(num, name="t"):
    return [f"{name} says {i}." for i in range(num)]


def wiki_row(i):
    return {"utterances": ["I am an assistant.", *texts(4 + 2 * (i % 9), f"lake {i}")]}


def qrecc_rows(i):
    return [
        {"context": texts(2 * (turn - 1), f"q {i}"), "conversation_id": i, "turn_id": turn}
        for turn in range(1, 9)
    ]


def taskmaster_dialog(i):
    said = [
        {"index": n, "speaker": ("USER", "ASSISTANT")[n % 2], "text": text, "segments": []}
        for n, text in enumerate(texts(5 + i % 30, f"order {i}"))
    ]
    return {"conversation_id": f"dlg-{i}", "instruction_id": "x", "utterances": said}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Rows of all three data sets, and no TFDS data set."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv(dialog.VARIABLE, str(tmp_path))
    monkeypatch.setenv(dialog.TASKMASTER_VARIABLE, str(tmp_path / "taskmaster"))
    write_lines(tmp_path / "wiki_dialog" / "train.jsonl", map(wiki_row, range(20)))
    write_lines(tmp_path / "wiki_dialog" / "validation.jsonl", map(wiki_row, range(30, 35)))
    rows = [row for i in range(20) for row in qrecc_rows(i)]
    write_lines(tmp_path / "qrecc" / "train.jsonl", rows)
    (tmp_path / "taskmaster").mkdir()
    for name, numbers in (("a.json", range(15)), ("b.json", range(15, 20))):
        dialogs = [taskmaster_dialog(i) for i in numbers]
        (tmp_path / "taskmaster" / name).write_text(json.dumps(dialogs, indent=1))
    return tmp_path


def task(name):
    return registry.get_spec(f"dialog.{name}")


def test_three_tasks_and_their_twins_are_registered():
    assert_registered("dialog", NAMES, dialog.register)


def test_twins_have_three_tenths_of_their_tasks_rate(folder):
    rates = registry.mixture_members("dialog")
    for name in NAMES:
        forward, twin = rates[f"dialog.{name}"], rates[f"dialog.{name}_input_inversion"]
        assert twin == pytest.approx(0.3 * forward)
    sizes = [18 * 2, 18, 20]  # a tenth of the conversations is held out; late turns are two each
    expected = [size / sum(sizes) / 1.3 for size in sizes]
    found = [rates[f"dialog.{n}"] for n in ("qrecc", "task_master", "wiki_dialog")]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_template_and_setting_renders(folder, name):
    rendered = assert_renders(task(name), ("dialog", "answer"))
    rendered += assert_renders(task(f"{name}_input_inversion"), ("dialog", "answer"))
    for r in rendered:
        assert r.references == [r.targets]
        assert r.meta["num_shots"] or r.targets not in r.inputs


def test_golden_forward_prompt(folder):
    assert first_prompt(task("wiki_dialog")) == (
        "The talk up to now:\n"
        "A: lake 30 says 0.\n"
        "B: lake 30 says 1.\n"
        "A: lake 30 says 2.\n"
        "B:\n"
        "\n"
        "(What does the speaker whose turn it is reply?)",
        "lake 30 says 3.",
    )


def test_golden_inverted_prompt(folder):
    assert first_prompt(task("task_master_input_inversion")) == (
        "Give the earlier turns of the conversation in which this is said next. They should account"
        " for any details it mentions.\n\nSaid next: order 2 says 3.",
        "A: order 2 says 0.\nB: order 2 says 1.\nA: order 2 says 2.",
    )


def test_dialog_ends_with_the_mark_of_who_speaks_next():
    fields = dialog.wiki_dialog(wiki_row(8))
    *_, before, last = fields["dialog"].split("\n")
    pair = next(m for m in conversations.MARKS if m[1] == last)
    assert before.startswith(f"{pair[0]} lake 8 says ")
    assert fields["answer"].startswith("lake 8 says ")
    asked = int(before.removesuffix(".").split()[-1])
    assert fields["answer"] == f"lake 8 says {asked + 1}."


def test_speakers_are_those_named_in_the_data():
    speakers = ["USER", "user ", "ASSISTANT", "USER", "ASSISTANT"]
    turns = conversations.spoken(texts(5), speakers)
    assert turns.speakers == [0, 0, 1, 0, 1]
    marked = conversations.forward(turns, range(4, 5))["dialog"].split("\n")[-5:]
    first, second = next(m for m in conversations.MARKS if m[1] == marked[-1])
    expected = [first, first, second, first, second]
    assert [line.split(" t says")[0] for line in marked] == expected


def test_inverted_dialog_has_turns_alone():
    for i in range(60):
        row = wiki_row(i)
        forward, inverted = dialog.wiki_dialog(row), dialog.wiki_dialog_inverted(row)
        assert forward["answer"] == inverted["answer"]
        lines = inverted["dialog"].split("\n")
        assert forward["dialog"].split("\n")[-1 - len(lines) : -1] == lines
        assert all(line.endswith(".") for line in lines)
        assert f" lake {i} says 0." in lines[0] and len(lines) % 2 == 1


@pytest.mark.parametrize(
    ("mapping", "make", "allowed"),
    [
        (dialog.wiki_dialog, lambda i: {"utterances": ["Hi.", *texts(60, i)]}, range(1, 40, 2)),
        (dialog.qrecc, lambda i: {"context": texts(60, i)}, range(1, 40, 2)),
        (dialog.task_master, lambda i: taskmaster_dialog(29 + 30 * i), range(1, 20)),
    ],
)
def test_every_allowed_turn_is_asked_for_and_no_other(mapping, make, allowed):
    asked = collections.Counter()
    for i in range(800):
        asked[int(mapping(make(i))["answer"].removesuffix(".").split()[-1])] += 1
    assert sorted(asked) == list(allowed)
    assert max(asked.values()) < 3 * min(asked.values())


def test_short_conversations_are_dropped_and_empty_turns_end_one():
    for utterances in ([], ["I am an assistant."], ["I am an assistant.", "Why?"]):
        with pytest.raises(spec.Drop, match="no turn to predict"):
            dialog.wiki_dialog({"utterances": utterances})
    fields = dialog.qrecc({"context": ["Who?", "Ann.", "When?", " \n", "Where?", "Here."]})
    assert fields["answer"] == "Ann."
    fields = dialog.qrecc({"context": ["Who\nis\tit?", "Ann\n\nLee."]})
    assert fields["dialog"].count("Who is it?") == 1 and fields["answer"] == "Ann Lee."


def test_styles_are_many_and_stay_apart():
    assert len(set(conversations.MARKS)) == len(conversations.MARKS) >= 12
    assert len(set(conversations.HEADERS)) == len(conversations.HEADERS) >= 12
    assert all(mark.strip() == mark != "" for pair in conversations.MARKS for mark in pair)
    rows = [dialog.wiki_dialog(wiki_row(i))["dialog"] for i in range(1000)]
    headed = {h: sum(row.startswith(f"{h}\n") for row in rows) for h in conversations.HEADERS if h}
    assert min(headed.values()) > 30
    ends = collections.Counter(row.split("\n")[-1] for row in rows)
    assert set(ends) == {pair[1] for pair in conversations.MARKS} and min(ends.values()) > 15


def test_styles_come_back_from_t5_vocabulary():
    path = shared_folder() / "vocab/t5_cc_all_32000.model"
    vocabulary = vocabularies.load_vocabulary(str(path)).seqio
    for text in (*conversations.HEADERS, *(m for pair in conversations.MARKS for m in pair)):
        assert vocabulary.decode(vocabulary.encode(f"{text} yes")) == f"{text} yes".strip()


def test_the_same_row_gives_the_same_fields_under_every_seed(folder):
    shown = [
        [(r.index, r.targets) for r in render_task(task("qrecc"), "validation", seed)]
        for seed in (0, 1)
    ]
    assert shown[0] == shown[1] and len(shown[0]) == 4


def test_qrecc_uses_late_turns_and_holds_out_whole_conversations(folder):
    source = task("qrecc").source
    assert isinstance(source, HeldOutSource)
    sides = {s: [row for _, row in source.rows(s)] for s in spec.SPLITS}
    assert {row["turn_id"] for rows in sides.values() for row in rows} == {7, 8}
    train, held = ({row["conversation_id"] for row in sides[s]} for s in spec.SPLITS)
    assert len(train) == 18 and len(held) == 2 and not train & held


def test_row_without_turn_number_is_counted(folder):
    with open(folder / "qrecc" / "train.jsonl", "a") as file:
        file.write('{"context": ["a?", "b."], "conversation_id": 99, "turn_id": "7"}\n{broken\n')
    results = list(render_task(task("qrecc"), "train", 0))
    reasons = sorted(r.reason for r in results if isinstance(r, Dropped))
    assert reasons == ["malformed: not valid JSON", "no whole number 'turn_id'"]
    assert sum(isinstance(r, Rendered) for r in results) == 36


def test_wiki_dialog_reads_no_more_rows_than_it_needs():
    cut = dialog.WIKI_DIALOG_SPLITS["train"]
    assert cut == "train[:300000]"


def test_taskmaster_files_are_read_as_published(folder):
    sample = taskmaster_dialog(3)
    (folder / "taskmaster" / "sample.json").write_text(json.dumps(sample))
    (folder / "taskmaster" / "ontology.json").write_text("{}")
    source = sources.TaskmasterSource(f"${dialog.TASKMASTER_VARIABLE}/*.json")
    rows = dict(source.rows("train"))
    assert sorted(rows) == list(range(20)) and source.num_rows("train") == 20
    assert rows[16]["conversation_id"] == "dlg-16"
    assert rows[16]["utterances"][1] == {"speaker": "ASSISTANT", "text": "order 16 says 1."}
    assert list(source.rows("validation")) == []


@pytest.mark.parametrize(
    ("dialog_", "reason"),
    [
        ("text", "dialog is no JSON object"),
        ({"utterances": []}, "no text 'conversation_id'"),
        ({"conversation_id": "a", "utterances": "Hi."}, "no list 'utterances'"),
        (
            {"conversation_id": "a", "utterances": ["Hi."]},
            "utterance without the texts 'speaker' and 'text'",
        ),
        (
            {"conversation_id": "a", "utterances": [{"speaker": "USER", "text": None}]},
            "utterance without the texts 'speaker' and 'text'",
        ),
        (
            {"conversation_id": "a", "utterances": [{"speaker": "USER", "text": "\ud800"}]},
            "text with a lone surrogate, which UTF-8 cannot hold",
        ),
    ],
)
def test_odd_taskmaster_dialogs_are_counted(folder, dialog_, reason):
    dialogs = [taskmaster_dialog(i) for i in range(30, 36)] + [dialog_]
    (folder / "taskmaster" / "c.json").write_text(json.dumps(dialogs))
    results = [r for s in spec.SPLITS for r in render_task(task("task_master"), s, 0)]
    dropped = [r for r in results if isinstance(r, Dropped)]
    assert [(r.reason, r.where) for r in dropped] == [(f"malformed: {reason}", "c.json dialog 6")]
    assert sum(isinstance(r, Rendered) for r in results) == 26


def test_taskmaster_fingerprint_follows_content_and_names(folder):
    source = sources.TaskmasterSource(f"{folder}/taskmaster/*.json")
    first = source.fingerprint("train")
    (folder / "taskmaster" / "b.json").rename(folder / "taskmaster" / "c.json")
    second = source.fingerprint("train")
    (folder / "taskmaster" / "c.json").write_text("[]")
    assert len({first, second, source.fingerprint("train")}) == 3


def test_a_file_that_holds_no_dialogs_is_named(folder):
    (folder / "taskmaster" / "c.json").write_text("{}")
    with pytest.raises(DataError, match="c.json: need a JSON list of dialogs, got dict; keep no"):
        list(render_task(task("task_master"), "train", 0))


def test_what_is_missing_is_told_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.delenv(dialog.VARIABLE, raising=False)
    monkeypatch.delenv(dialog.TASKMASTER_VARIABLE, raising=False)
    with pytest.raises(UsageError, match="6 of the 6 tasks of 'dialog'") as caught:
        registry.mixture_members("dialog")
    message = str(caught.value)
    variables = [f"variable {v}" for v in (dialog.VARIABLE, dialog.TASKMASTER_VARIABLE)]
    for text in ("t.builder('wiki_dialog/OQ:1.0.0')", "t.builder('q_re_cc:1.0.0')", *variables):
        assert text in message
    monkeypatch.setenv(dialog.TASKMASTER_VARIABLE, str(tmp_path))
    reason = sources.TaskmasterSource(f"${dialog.TASKMASTER_VARIABLE}/*.json").missing()
    assert reason == f"no file {tmp_path}/*.json exists; put the dialogs there"


@pytest.mark.parametrize(
    ("name", "builder"), [("wiki_dialog", "wiki_dialog/OQ:1.0.0"), ("qrecc", "q_re_cc:1.0.0")]
)
def test_rows_of_the_builders_own_features_are_mapped(name, builder, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert f"'{builder}'" in task(name).source.missing()
    with tfds.testing.mock_data(num_examples=40):
        rows = [r for _, r in TfdsSource(builder, {"train": "train"}).rows("train")]
    kept = []
    for row in rows:
        with contextlib.suppress(spec.Drop):
            kept.append(task(name).map_row(row, "train", 0))
    assert len(kept) > 10 and all(f["answer"] and f["dialog"] for f in kept)
    assert isinstance(rows[0].get("turn_id", 0), int)
