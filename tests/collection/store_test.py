# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The token store: what was written is read back; damage is noticed and named."""

import json
import os
import shutil

import numpy as np
import pytest

from flan_jax.collection import store as store_lib
from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError

EXAMPLES = {
    "a": [([5, 6, 1], [7, 1], "x"), ([9, 1], [65535, 4, 1], "line\nbreak"), ([2, 1], [1], "é")],
    "b.2": [([8, 8, 8, 1], [3, 1], "y")],
}


def write(root, tasks, dtype="<u2", split="train"):
    entries = {}
    for name, examples in tasks.items():
        folder = store_lib.task_folder(root, name, split)
        with store_lib.TaskWriter(folder, np.dtype(dtype)) as writer:
            for inputs, targets, text in examples:
                writer.add(np.array(inputs), np.array(targets), {"inputs": text})
            entries[name] = {split: writer.finish({"key": f"key of {name}"})}
    manifest = {
        "format": 1, "mixture": "ab", "rates": {"a": 0.75, "b.2": 0.25}, "tasks": entries,
        "mixtures": {"ab": {"a": 0.75, "b.2": 0.25}, "only_a": {"a": 1.0}},
        "vocabulary": {"eos_id": 1}, "feature_lengths": {"inputs": 8, "targets": 4},
        "token_dtype": dtype,
    }  # fmt: skip
    files.write_json(root / store_lib.MANIFEST, manifest)


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "store", EXAMPLES)
    return tmp_path / "store"


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_examples_are_read_back(tmp_path, dtype):
    write(tmp_path, EXAMPLES, dtype)
    store = store_lib.Store.open(tmp_path)
    for name, examples in EXAMPLES.items():
        task = store.task(name, "train")
        assert task.num_examples == len(examples)
        assert task.input_lengths.tolist() == [len(inputs) for inputs, _, _ in examples]
        assert task.target_lengths.tolist() == [len(targets) for _, targets, _ in examples]
        for index, (inputs, targets, text) in enumerate(examples):
            found = task.example(index)
            assert [part.tolist() for part in found] == [inputs, targets]
            assert all(part.dtype == np.int32 for part in found)
            assert task.text(index) == {"inputs": text}
        assert list(task.texts()) == [{"inputs": text} for _, _, text in examples]
        assert task.info["num_input_tokens"] == sum(len(inputs) for inputs, _, _ in examples)
        assert task.info["max_target_tokens"] == max(len(targets) for _, targets, _ in examples)


def test_tokens_are_flat_and_little_endian(root):
    raw = (root / "tasks/a/train/tokens.bin").read_bytes()
    assert np.frombuffer(raw, "<u2").tolist() == [5, 6, 1, 7, 1, 9, 1, 65535, 4, 1, 2, 1, 1]
    assert np.load(root / "tasks/a/train/offsets.npy").tolist() == [0, 5, 10, 13]


def test_the_token_type_holds_every_id():
    assert store_lib.token_dtype(1 << 16) == np.dtype("<u2")
    assert store_lib.token_dtype((1 << 16) + 1) == np.dtype("<u4")


def test_gather_keeps_the_order_asked_for(root):
    store = store_lib.Store.open(root)
    tokens = store.gather(
        "train", ["a", "b.2"], np.array([0, 1, 0]), np.array([5, 0, 5]), np.array([5, 6, 5])
    )
    assert tokens.tolist() == [9, 1, 65535, 4, 1, 8, 8, 8, 1, 3, 1, 9, 1, 65535, 4, 1]
    assert tokens.dtype == np.dtype("<u2")
    none = np.array([], int)
    assert store.gather("train", ["a"], none, none, none).tolist() == []


def test_no_file_stays_open(tmp_path):
    names = [f"t{i}" for i in range(20)]
    write(tmp_path, {name: EXAMPLES["a"] for name in names})
    store = store_lib.Store.open(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    tokens = store.gather("train", names, np.arange(20), np.zeros(20, int), np.full(20, 5))
    assert tokens.tolist() == [5, 6, 1, 7, 1] * 20
    store.task("t0", "train").example(1)
    store.task("t1", "train").text(1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_cut_while_the_store_is_open_is_named(root):
    store = store_lib.Store.open(root)
    os.truncate(root / "tasks/a/train/tokens.bin", 22)
    assert store.task("a", "train").example(1)[0].tolist() == [9, 1]
    with pytest.raises(DataError, match="a/train/tokens.bin ends before token 13; it was cut"):
        store.task("a", "train").example(2)


def test_ids_that_the_token_type_does_not_hold_are_refused(tmp_path):
    for ids in ([5, 65536], [-1]):
        with store_lib.TaskWriter(tmp_path, np.dtype("<u2")) as writer:
            with pytest.raises(DataError, match=f"ids {min(ids)} to {max(ids)} do not fit uint16"):
                writer.add(ids, [1], {})


def test_a_mixture_is_the_built_one_a_recorded_one_or_a_task(root):
    store = store_lib.Store.open(root)
    assert store.mixture_rates() == store.mixture_rates("ab") == {"a": 0.75, "b.2": 0.25}
    assert store.mixture_rates("only_a") == {"a": 1.0}
    assert store.mixture_rates("b.2") == {"b.2": 1.0}
    with pytest.raises(UsageError, match="unknown mixture or task 'only_b'; did you mean 'only_a'"):
        store.mixture_rates("only_b")


def test_unknown_names_are_errors(root):
    store = store_lib.Store.open(root)
    assert store.tasks("train") == ("a", "b.2") and store.tasks("validation") == ()
    with pytest.raises(UsageError, match="unknown task 'b2'; did you mean 'b.2'"):
        store.task("b2", "train")
    with pytest.raises(UsageError, match="no split 'test' in the store .*; it has train"):
        store.task("a", "test")
    with pytest.raises(UsageError, match="split 'train': example 3 does not exist, it has 3"):
        store.task("a", "train").example(3)
    with pytest.raises(UsageError, match="'..' cannot be a folder's name"):
        store_lib.task_folder(root, "..", "train")


def test_a_folder_that_is_no_store_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no token store at .*manifest.json is not there; run"):
        store_lib.Store.open(tmp_path)
    (tmp_path / "tasks").mkdir()
    with pytest.raises(UsageError, match="an unfinished build is; run `flan-jax build`"):
        store_lib.Store.open(tmp_path)


@pytest.mark.parametrize("content", ['{"format": 2}', "[]"])
def test_another_format_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UsageError, match="token store format .*, this code reads 1"):
        store_lib.Store.open(tmp_path)


@pytest.mark.parametrize("name", store_lib.DATA_FILES)
def test_a_truncated_or_missing_file_is_named_on_opening(root, name):
    path = root / "tasks/a/train" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=f"a/train/{name} has {len(content) - 1} bytes instead of"):
        store_lib.Store.open(root)
    path.unlink()
    with pytest.raises(DataError, match=f"a/train/{name} is missing"):
        store_lib.Store.open(root)


def test_a_file_of_another_build_is_named_by_verify(root, tmp_path):
    store = store_lib.Store.open(root)
    store.verify()
    changed = [(inputs[::-1], targets, text) for inputs, targets, text in EXAMPLES["a"]]
    write(tmp_path / "other", {"a": changed, "b.2": EXAMPLES["b.2"]})
    shutil.copy(tmp_path / "other/tasks/a/train/tokens.bin", root / "tasks/a/train/tokens.bin")
    with pytest.raises(DataError, match=r"a/train/tokens.bin is not the file that was built") as e:
        store_lib.Store.open(root).verify()
    assert "b.2" not in str(e.value)


def test_many_problems_are_counted(root):
    for path in root.glob("tasks/*/train/*.npy"):
        path.unlink()
    with pytest.raises(DataError, match="is missing; and 1 more; delete the folders"):
        store_lib.Store.open(root)


def test_the_fingerprint_follows_the_tokens_alone(root, tmp_path):
    def fingerprint(tasks):
        write(tmp_path / "other", tasks)
        return store_lib.Store.open(tmp_path / "other").fingerprint("train", ["b.2", "a"])

    expected = store_lib.Store.open(root).fingerprint("train", ["a", "b.2"])
    assert fingerprint(EXAMPLES) == expected
    other_texts = [(inputs, targets, "other") for inputs, targets, _ in EXAMPLES["a"]]
    assert fingerprint({**EXAMPLES, "a": other_texts}) == expected
    assert fingerprint({**EXAMPLES, "a": EXAMPLES["a"][:2]}) != expected


def test_only_a_finished_folder_of_the_same_build_counts(root):
    folder = root / "tasks/a/train"
    entry = store_lib.read_finished(folder, "key of a")
    assert entry == json.loads((folder / "done.json").read_text())
    assert store_lib.read_finished(folder, "another key") is None
    with open(folder / "tokens.bin", "ab") as file:
        file.write(b"\0")
    assert store_lib.read_finished(folder, "key of a") is None
    assert store_lib.read_finished(root / "tasks/b.2/train", "key of b.2") is not None
    (root / "tasks/b.2/train/done.json").write_text('{"key": "ke')
    assert store_lib.read_finished(root / "tasks/b.2/train", "key of b.2") is None


def test_a_writer_that_does_not_finish_leaves_no_done_file(root):
    folder = root / "tasks/a/train"
    with store_lib.TaskWriter(folder, np.dtype("<u2")) as writer:
        writer.add(np.array([1]), np.array([1]), {})
    assert not (folder / "done.json").exists()
