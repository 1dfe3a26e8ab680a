# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The builder: the renderer's examples, all counted; resumable; the same bytes for any workers."""

import collections
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan_jax.collection import build as build_lib
from flan_jax.collection import registry
from flan_jax.collection import store as store_lib
from flan_jax.collection.rendering import Dropped, render_task
from flan_jax.collection.vocabularies import load_vocabulary
from flan_jax.core import files
from flan_jax.core.errors import IncompleteError, UsageError
from tests.collection.store_files import contents, written_at

LENGTHS = {"inputs": 60, "targets": 12}

# A module as a user would write it. {p} makes names unique: registries live as long as pytest.
MODULE = """
import os
import signal

from flan_jax.collection import registry, sources
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.spec import Drop, FewShot, TaskSpec

TEMPLATES = TemplateGroup(inline=(
    '{{"id": "ask", "kind": "both", "options": "no", "input": "Q: {{question}}", "target": '
    '"{{reply}}", "target_prefix": "A: "}}',
    '{{"id": "say", "kind": "zero_shot", "options": "no", "input": "{{question}}?", "target": '
    '"{{reply}}"}}',
))


def row(split, index):
    return {{"question": f"{{split}} {{index}}é", "reply": str(index * 7), "index": index}}


def fields(row):
    if row["index"] % 10 == 9:
        raise Drop("a nine")
    if row["index"] % 10 == 8:
        row["question"] = "long " * 20
    return {{"question": row["question"], "reply": row["reply"]}}


def faulty(row):
    flag = os.environ.get("TEST_FLAG")
    if flag == "raise" and row["index"] == 3:
        raise ZeroDivisionError("by three")
    if flag == "kill" and row["index"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if flag == "drop":
        raise Drop("all of them")
    return fields(row)


def spec(name, mapping=fields, num=30, **changes):
    settings = (("zs_noopt", 0.7), ("fs_noopt", 0.3))
    return TaskSpec(
        name="{p}." + name, family="test", fields=mapping, templates=TEMPLATES, settings=settings,
        source=sources.GeneratedSource(row, {{"train": num, "validation": 6}}),
        few_shot=FewShot(max_shots=2, pool_size=10), **changes,
    )


for task in (spec("a", cap=20, licence="CC0"), spec("b"), spec("c", faulty), spec("d", num=25)):
    registry.add_task(task)
registry.add_task(spec("valid", splits=("validation",)))
registry.add_mixture("{p}_all", ["{p}.a", "{p}.b", "{p}.c", "{p}.d"])
registry.add_mixture("{p}_ab", ["{p}.a", ("{p}.b", 60)])
registry.add_mixture("{p}_valid", ["{p}.valid"])
"""

_numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Imports a new module that registers tasks; its name is also the prefix of theirs."""
    name = f"build_test_tasks_{os.getpid()}_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(p=name))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(name)
    yield name
    sys.modules.pop(name)


def build(module, out, mixture="all", **changes):
    arguments = {
        "mixture": f"{module}_{mixture}", "out": out, "vocabulary": "bytes",
        "feature_lengths": LENGTHS, "seed": 3,
    }  # fmt: skip
    return build_lib.build(**(arguments | changes))


def test_a_store_holds_what_the_renderer_gives(module, tmp_path):
    store, vocabulary = build(module, tmp_path / "out"), load_vocabulary("bytes")
    for task, split in [(t, s) for t in store.tasks("train") for s in ("train", "validation")]:
        rendered, dropped = [], collections.Counter()
        for item in render_task(
            registry.get_spec(task), split, 3, feature_lengths=LENGTHS,
            count_tokens=lambda text: len(text.encode()),
        ):  # fmt: skip
            if isinstance(item, Dropped):
                dropped[item.reason] += 1
            else:
                rendered.append(item)
        built = store.task(task, split)
        assert built.info["dropped"] == dropped
        assert built.num_examples == len(rendered) > 0
        for index, item in enumerate(rendered):
            inputs, targets = built.example(index)
            assert inputs.tolist() == [*vocabulary.encode(item.inputs), 1]
            assert targets.tolist() == [*vocabulary.encode(item.targets), 1]
            assert built.text(index) == {
                "inputs": item.inputs, "targets": item.targets, "references": item.references,
                "meta": item.meta, "index": item.index,
            }  # fmt: skip
    store.verify()


def test_every_row_is_an_example_or_counted_by_its_reason(module, tmp_path):
    store = build(module, tmp_path / "out")
    for letter, num_rows in (("a", 30), ("b", 30), ("d", 25)):
        info = store.task(f"{module}.{letter}", "train").info
        assert info["num_examples"] + sum(info["dropped"].values()) == num_rows
    dropped = store.task(f"{module}.b", "train").info["dropped"]
    assert dropped == {"a nine": 3, "too long: input": 3}


def test_caps_lengths_and_limits_are_kept(module, tmp_path):
    store = build(module, tmp_path / "out")
    capped = store.task(f"{module}.a", "train")
    assert capped.num_examples <= 20 and capped.info["dropped"]["beyond the cap of 20"] == 10
    for name in store.tasks("train"):
        task = store.task(name, "train")
        assert task.input_lengths.max() <= 60 and task.target_lengths.max() <= 12
    limited = build(module, tmp_path / "limited", limit=4)
    assert {limited.task(n, "train").num_examples for n in limited.tasks("train")} == {4}


def test_the_manifest_says_what_the_store_is(module, tmp_path):
    store = build(module, tmp_path / "out", "ab", submixtures=[f"{module}_valid"])
    a, b, valid = (f"{module}.{name}" for name in ("a", "b", "valid"))
    assert store.mixture == f"{module}_ab" and store.rates == pytest.approx({a: 0.25, b: 0.75})
    assert store.mixture_rates(f"{module}_valid") == {valid: 1.0}
    assert store.tasks("train") == (a, b) and store.tasks("validation") == (a, b, valid)
    assert store.vocabulary == {
        "name": "bytes", "size": 384, "padded_size": 384, "eos_id": 1,
        "fingerprint": load_vocabulary("bytes").fingerprint,
    }  # fmt: skip
    assert store.feature_lengths == LENGTHS and store.dtype == np.dtype("<u2")
    info = store.task(a, "train").info
    assert (info["licence"], info["cap"], info["family"]) == ("CC0", 20, "test")
    assert info["num_input_tokens"] == store.task(a, "train").input_lengths.sum()


def test_the_seqio_path_gives_the_builders_examples(module, tmp_path):
    store = build(module, tmp_path / "out")
    registry.use_vocabulary("bytes")
    dataset = seqio.get_mixture_or_task(f"{module}.b").get_dataset(
        LENGTHS, "train", shuffle=False, seed=3
    )
    found = [(e["inputs"].tolist(), e["targets"].tolist()) for e in dataset.as_numpy_iterator()]
    task = store.task(f"{module}.b", "train")
    assert found == [
        tuple(part.tolist() for part in task.example(i)) for i in range(task.num_examples)
    ]


def test_a_failing_task_stops_no_other_and_is_named(module, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setenv("TEST_FLAG", "raise")
    with pytest.raises(IncompleteError) as caught:
        build(module, out)
    message = str(caught.value)
    assert "2 of 8 parts failed; the others are kept" in message
    assert f"{module}.c (train): ZeroDivisionError: by three (at " in message
    assert f"{module}.c (validation)" in message and f"{module}.d" not in message
    with pytest.raises(UsageError, match="an unfinished build is"):
        store_lib.Store.open(out)
    before = written_at(out)
    monkeypatch.delenv("TEST_FLAG")
    build(module, out)
    after = written_at(out)
    assert before.items() <= after.items()
    assert {task for task, _ in after.keys() - before.keys()} == {f"{module}.c"}
    build(module, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_a_store_stays_whole_while_another_build_in_its_folder_fails(module, tmp_path, monkeypatch):
    out = tmp_path / "out"
    build(module, out)
    before = contents(out)
    monkeypatch.setenv("TEST_FLAG", "raise")
    with pytest.raises(IncompleteError):
        build(module, out, seed=4)
    store_lib.Store.open(out).verify()
    after = contents(out)
    assert before.items() <= after.items()
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"building"}
    monkeypatch.delenv("TEST_FLAG")
    build(module, out, seed=4)
    build(module, tmp_path / "fresh", seed=4)
    assert contents(out) == contents(tmp_path / "fresh")


def test_what_a_failed_build_left_gives_way_to_the_store_that_is_there(
    module, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    build(module, out)
    before, first = contents(out), written_at(out)
    monkeypatch.setenv("TEST_FLAG", "raise")
    with pytest.raises(IncompleteError):
        build(module, out, seed=4)
    monkeypatch.delenv("TEST_FLAG")
    build(module, out)
    assert contents(out) == before and written_at(out) == first
    assert not (out / "building").exists()


def test_a_task_without_examples_is_named(module, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_FLAG", "drop")
    with pytest.raises(IncompleteError, match=r"\.c \(train\): no examples: 30 rows, dropped: all"):
        build(module, tmp_path / "out")


def test_what_is_done_and_unchanged_is_not_built_again(module, tmp_path):
    out = tmp_path / "out"
    build(module, out)
    before, first = contents(out), written_at(out)
    build(module, out)
    assert contents(out) == before and written_at(out) == first
    (out / "tasks" / f"{module}.a" / "train" / "done.json").unlink()
    with open(out / "tasks" / f"{module}.b" / "train" / "offsets.npy", "ab") as file:
        file.write(b"x")
    build(module, out)
    assert contents(out) == before
    again = {task for (task, split), time in written_at(out).items() if first[task, split] != time}
    assert again == {f"{module}.a", f"{module}.b"}


@pytest.mark.parametrize(
    "changes", [{"seed": 4}, {"feature_lengths": {"inputs": 50, "targets": 12}}, {"limit": 5}]
)
def test_another_build_in_the_same_folder_replaces_the_first(module, tmp_path, changes):
    out = tmp_path / "out"
    build(module, out)
    build(module, out, **changes)
    build(module, tmp_path / "fresh", **changes)
    assert contents(out) == contents(tmp_path / "fresh")


@pytest.mark.slow  # a second process imports seqio: about 10 s
def test_a_build_that_was_killed_goes_on_where_it_was(module, tmp_path):
    out = tmp_path / "out"
    script = (
        f"from flan_jax.collection.build import build; build(mixture='{module}_all', "
        f"out={str(out)!r}, vocabulary='bytes', feature_lengths={LENGTHS}, seed=3, "
        f"module_imports=['{module}'])"
    )
    paths = os.pathsep.join([str(tmp_path), os.getcwd()])
    environment = {**os.environ, "TEST_FLAG": "kill", "PYTHONPATH": paths}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    finished = {path.parent: path.stat().st_mtime_ns for path in out.rglob("done.json")}
    assert {path.parts[-2] for path in finished} == {f"{module}.a", f"{module}.b"}
    assert (out / "building" / "tasks" / f"{module}.c" / "train" / "tokens.bin").exists()
    build(module, out)
    for folder, time in finished.items():
        installed = out / folder.relative_to(out / "building") / "done.json"
        assert installed.stat().st_mtime_ns == time
    build(module, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.slow  # three worker processes, each importing seqio: about 20 s
def test_workers_give_the_same_bytes_and_a_dead_one_is_reported(module, tmp_path, monkeypatch):
    build(module, tmp_path / "one")
    build(module, tmp_path / "two", num_workers=2, module_imports=[module])
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    monkeypatch.setenv("TEST_FLAG", "kill")
    registry.add_mixture(f"{module}_c", [f"{module}.c"])
    with pytest.raises(IncompleteError, match=r"\.c \(train\): not built: a worker process died"):
        build(
            module, tmp_path / "dead", "c", splits=["train"], num_workers=2,
            module_imports=[module],
        )  # fmt: skip


def add_plain_task(name, vocabulary, texts):
    """Registers a task as any SeqIO user would."""

    def dataset(split, shuffle_files, seed=None):
        return tf.data.Dataset.from_tensor_slices(
            {"inputs": [text for text, _ in texts], "targets": [text for _, text in texts]}
        )

    feature = seqio.Feature(vocabulary=vocabulary, add_eos=True)
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(dataset, splits=["train"]),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={"inputs": feature, "targets": feature},
        metric_fns=[],
    )


def test_a_plain_seqio_task_joins_a_mixture(module, tmp_path):
    name, bytes_ = f"{module}.plain", load_vocabulary("bytes")
    texts = [("one é", "1"), ("x" * 60, "2"), ("three", "3" * 12), ("four", "4")]
    add_plain_task(name, bytes_.seqio, texts)
    registry.add_mixture(f"{module}_plain", [(name, 1.0), (f"{module}.a", 3.0)])
    store = build(module, tmp_path / "out", "plain")
    task = store.task(name, "train")
    assert store.rates == {name: 0.25, f"{module}.a": 0.75}
    assert task.info["dropped"] == {"too long: input": 1, "too long: target": 1}
    assert [task.text(i)["inputs"] for i in range(2)] == ["one é", "four"]
    assert [part.tolist() for part in task.example(1)] == [
        [*bytes_.encode("four"), 1], [*bytes_.encode("4"), 1],
    ]  # fmt: skip
    limited = build(module, tmp_path / "limited", "plain", limit=1)
    assert limited.task(name, "train").num_examples == 1


def test_a_plain_task_of_another_vocabulary_is_refused(module, tmp_path):
    name = f"{module}_other"
    add_plain_task(name, seqio.ByteVocabulary(extra_ids=7), [("a", "b")])
    with pytest.raises(IncompleteError, match="its inputs are tokens of another vocabulary"):
        build(module, tmp_path / "out", "other")


def test_data_that_is_not_here_stops_the_build_or_is_left_out(module, tmp_path, capsys):
    from flan_jax.collection.sources import JsonLinesSource
    from flan_jax.collection.spec import TaskSpec

    spec = registry.get_spec(f"{module}.a")
    gone = f"{module}.gone"
    registry.add_task(
        TaskSpec(
            name=gone, family="test", fields=spec.fields, templates=spec.templates,
            source=JsonLinesSource({"train": str(tmp_path / "none.jsonl")}), splits=("train",),
        )
    )  # fmt: skip
    registry.add_mixture(f"{module}_gone", [(f"{module}.a", 1.0), (gone, 1.0)])
    with pytest.raises(UsageError, match=r"1 of the 2 tasks .* cannot be read.*none.jsonl"):
        build(module, tmp_path / "out", "gone")
    store = build(module, tmp_path / "out", "gone", skip_unavailable=True)
    assert store.manifest["skipped"] == [gone] and store.rates == {f"{module}.a": 1.0}
    assert (
        f"left out 1 tasks whose data is not here, recorded in the manifest: {gone}"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"mixture": "unheard_of"}, "unknown mixture or task 'unheard_of'"),
        ({"submixtures": ["no_such"]}, "unknown mixture or task 'no_such'"),
        ({"feature_lengths": {"inputs": 9}}, "must be of 'inputs' and 'targets'"),
        ({"feature_lengths": {"inputs": 9, "targets": 1}}, "at least 2, got"),
        ({"splits": ["test"]}, r"splits must be out of .*, got \('test',\)"),
        ({"num_workers": 0}, "num_workers must be >= 1, got 0"),
        ({"limit": 0}, "limit must be >= 1 or None, got 0"),
        ({"exemplar_policy": "papr"}, "unknown exemplar policy 'papr'; did you mean 'paper'"),
        ({"vocabulary": "no.model"}, "no.model: no such file"),
        ({"module_imports": ["no_such_module"]}, "'no_such_module'"),
    ],
)
def test_a_users_mistake_is_named_before_anything_is_written(module, tmp_path, changes, message):
    arguments = {"vocabulary": "bytes", "feature_lengths": LENGTHS, "mixture": f"{module}_all"}
    with pytest.raises(UsageError, match=message):
        build_lib.build(out=tmp_path / "out", **(arguments | changes))
    assert not (tmp_path / "out").exists()


def test_a_task_without_the_splits_is_named(module, tmp_path):
    with pytest.raises(UsageError, match=r"\.valid' has none of the splits \('train',\)"):
        build(module, tmp_path / "out", "valid", splits=["train"])


def test_two_builds_do_not_write_one_store(module, tmp_path):
    with files.locked(tmp_path / "out", "build"):
        with pytest.raises(
            UsageError, match=rf"another build \(process {os.getpid()} on .*writing"
        ):
            build(module, tmp_path / "out")
    build(module, tmp_path / "out")


def test_done_files_hold_the_manifests_entries(module, tmp_path):
    store = build(module, tmp_path / "out")
    for path in (tmp_path / "out").rglob("done.json"):
        task, split = path.parts[-3:-1]
        assert json.loads(path.read_text()) == store.manifest["tasks"][task][split]
