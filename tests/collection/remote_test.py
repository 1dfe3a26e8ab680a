# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stores in a bucket: copied once, whole, and never trained on when they are not what was built."""

import json
import multiprocessing
import os
import shutil

import pytest
from etils import epath

from flan_jax import jobs
from flan_jax.collection import build, remote
from flan_jax.collection.store import EXAMPLES, TOKENS, Store
from flan_jax.core.errors import DataError, UsageError
from flan_jax.data.loader import TrainInput, open_train

URL = "gs://bucket/stores/mini"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "store"
    build.build(
        mixture="mini_4", out=out, vocabulary="bytes", limit=12,
        feature_lengths={"inputs": 512, "targets": 64}, module_imports=["tasks.mini.mixtures"],
    )  # fmt: skip
    return out


@pytest.fixture
def bucket(built, tmp_path, monkeypatch):
    """A folder that stands for the bucket, and an empty cache. Returns the store's folder in it."""
    place = tmp_path / "bucket" / "stores" / "mini"
    shutil.copytree(built, place)
    monkeypatch.setenv(remote.VARIABLE, str(tmp_path / "cache"))

    def opened(path: str) -> epath.Path:
        assert path.startswith("gs://bucket/")
        return epath.Path(tmp_path / "bucket" / path.removeprefix("gs://bucket/"))

    monkeypatch.setattr(remote, "_epath", opened)
    return place


def batches(store: str, num: int = 3) -> list[dict]:
    config = TrainInput(store=store, batch_size=4, window_examples=64)
    with open_train(config) as found:
        return [{k: v.tolist() for k, v in next(found).items()} for _ in range(num)]


def test_a_store_in_a_bucket_gives_the_same_batches(bucket, built, capsys):
    assert batches(URL) == batches(str(built))
    assert "copying gs://bucket/stores/mini" in capsys.readouterr().err
    Store.open(URL).verify()
    assert "copying" not in capsys.readouterr().err


def test_the_copy_serves_when_only_the_manifest_can_be_read(bucket, built):
    expected = batches(URL)
    shutil.rmtree(bucket / "tasks")
    assert batches(URL) == expected


def test_another_build_under_the_same_name_is_another_copy(bucket, tmp_path):
    first = Store.open(URL).path
    manifest = json.loads((bucket / "manifest.json").read_text())
    (bucket / "manifest.json").write_text(json.dumps(manifest | {"limit": 13}))
    assert Store.open(URL).path != first


def test_a_copy_that_was_broken_off_goes_on(bucket, monkeypatch):
    whole, copied = remote._copy_file, []

    def broken(source, target, sha256):
        if len(copied) == 5:
            raise KeyboardInterrupt
        copied.append(target)
        whole(source, target, sha256)

    monkeypatch.setattr(remote, "_copy_file", broken)
    with pytest.raises(KeyboardInterrupt):
        Store.open(URL)
    monkeypatch.setattr(remote, "_copy_file", lambda *a: (copied.append(a[1]), whole(*a)))
    Store.open(URL).verify()
    assert len(copied) == len(set(copied)) > 10


def test_what_a_killed_copy_left_goes_away(bucket):
    copy = Store.open(URL).path
    (copy / "manifest.json").unlink()
    path = damaged(copy, TOKENS)
    left = path.rename(path.with_name(f".{TOKENS}.x.tmp"))
    Store.open(URL).verify()
    assert not left.exists()


def damaged(place, name):
    return min(place.rglob(name))


@pytest.mark.parametrize("name", [TOKENS, EXAMPLES])
def test_a_changed_file_is_named_and_nothing_is_opened(bucket, name):
    path = damaged(bucket, name)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(DataError, match=f"{path.parent.parent.name}.*{name} is not the file"):
            Store.open(URL)


def test_a_truncated_and_a_missing_file_are_named(bucket):
    path = damaged(bucket, TOKENS)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="is not the file that was built"):
        Store.open(URL)
    path.unlink()
    with pytest.raises(DataError, match="tokens.bin is missing, though the manifest names it"):
        Store.open(URL)


@pytest.mark.parametrize(
    ("task", "split", "file"),
    [("../../evil", "train", TOKENS), ("a", "../train", TOKENS), ("a", "train", "../../evil")],
)
def test_no_name_in_a_manifest_leads_out_of_the_cache(bucket, tmp_path, task, split, file):
    entry = {"files": {file: {"size_bytes": 1, "sha256": "0"}}}
    (bucket / "manifest.json").write_text(
        json.dumps({"format": 1, "tasks": {task: {split: entry}}})
    )
    with pytest.raises((DataError, UsageError)):
        Store.open(URL)
    assert not list((tmp_path / "cache").rglob("evil*"))


SIZELESS = {"tokens.bin": {"size_bytes": "many", "sha256": ""}}


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"tasks": {"a": 3}}',
        json.dumps({"tasks": {"a": {"train": {"files": SIZELESS}}}}),
    ],
)
def test_a_foreign_manifest_is_refused(bucket, content):
    (bucket / "manifest.json").write_text(content)
    with pytest.raises(DataError, match="manifest of gs://bucket/stores/mini"):
        Store.open(URL)


def test_no_store_there(bucket):
    shutil.rmtree(bucket)
    with pytest.raises(UsageError, match="no token store at gs://bucket/stores/mini"):
        Store.open(URL)
    assert jobs._finished_mixtures(URL) is None


@pytest.mark.parametrize("content", ["[]", "{"])
def test_jobs_refuse_a_foreign_manifest_in_one_line(bucket, content):
    (bucket / "manifest.json").write_text(content)
    with pytest.raises(DataError, match="manifest of gs://bucket/stores/mini"):
        jobs._finished_mixtures(URL)


def test_what_cannot_be_reached_is_one_line():
    """TensorFlow, which is installed, opens no s3:// paths; it says so without any network."""
    with pytest.raises(DataError, match=r"s3://bucket/store/manifest.json cannot be read .*'s3'"):
        Store.open("s3://bucket/store")


def test_nothing_is_built_in_a_bucket(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="build it in a folder and copy that there"):
        build.build(
            mixture="mini_4", out=URL, vocabulary="bytes", module_imports=["tasks.mini.mixtures"],
            feature_lengths={"inputs": 512, "targets": 64},
        )  # fmt: skip
    assert not (tmp_path / "gs:").exists()


def test_jobs_find_the_mixtures_of_a_remote_store(bucket):
    assert "mini_4" in jobs._finished_mixtures(URL)


def _hold(folder, started, done):
    with remote.files.locked(folder, "copy"):
        started.set()
        done.wait(30)


# Another process is started.
@pytest.mark.slow
def test_two_processes_copy_one_after_the_other(bucket, monkeypatch, capsys):
    monkeypatch.setattr(remote, "_WAIT_S", 0.05)
    copy = Store.open(URL).path
    os.remove(copy / "manifest.json")
    context = multiprocessing.get_context("spawn")
    started, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(copy), started, done))
    other.start()
    assert started.wait(60)
    monkeypatch.setattr(remote.time, "sleep", lambda _: done.set() or other.join())
    Store.open(URL).verify()
    assert "another process copies" in capsys.readouterr().err
    assert other.exitcode == 0
