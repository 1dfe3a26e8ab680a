# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders: tried, not believed; what a mounted bucket refuses, and what is left behind: nothing."""

import errno
import os
from pathlib import Path

import pytest

from flan_jax.core import files
from flan_jax.launching.doctor import folders

MOUNTS = r"""rootfs / ext4 rw 0 0
runs /gcs/runs fuse.gcsfuse rw,nosuid 0 0
other /gcs/runs/deep\040er nfs4 rw 0 0
below /gcs tmpfs rw 0 0
broken
"""


def told(findings):
    return [(f.level, f.text, f.remedy) for f in findings]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/gcs/runs/a", ("/gcs/runs", "fuse.gcsfuse")),
        ("/gcs/runs", ("/gcs/runs", "fuse.gcsfuse")),
        ("/gcs/runs_of_others", ("/gcs", "tmpfs")),
        ("/gcs/runs/deep er/b", ("/gcs/runs/deep er", "nfs4")),
    ],
)
def test_the_mount_of_a_path(path, expected):
    assert folders.mount_of(path, MOUNTS) == expected
    assert folders.mount_of("/home", MOUNTS) == ("/", "ext4")
    assert folders.mount_of(path, "") == ("/", "")


def test_space(tmp_path):
    def levels(free):
        return [f.level for f in folders.space("disk", tmp_path / "new", lambda path: free)]

    assert levels(50 << 30) == ["ok"]
    assert levels(1 << 30) == ["warning"]
    assert levels(1 << 20) == ["problem"]
    [found] = folders.space("disk", tmp_path / "not" / "there")
    assert str(tmp_path / "not" / "there") in found.text


def test_a_folder_is_tried_and_left_as_it_was(tmp_path):
    assert told(folders.writable("MODEL_DIR", tmp_path, MOUNTS)) == [
        ("ok", f"MODEL_DIR {tmp_path}: written to", "")
    ]
    [found] = folders.writable("MODEL_DIR", tmp_path / "a" / "b", MOUNTS)
    assert found.text.endswith(f"can be made in {tmp_path}")
    assert not list(tmp_path.iterdir())


def test_a_mounted_bucket_that_renames_no_folder(tmp_path, monkeypatch):
    mounts = f"runs {tmp_path} fuse.gcsfuse rw 0 0"
    written, renamed = folders.writable("MODEL_DIR", tmp_path, mounts)
    assert f"in fuse.gcsfuse mounted at {tmp_path}: written to" in written.text
    assert renamed.level == "ok" and "folders can be renamed" in renamed.text

    def refuse(self, target):
        raise OSError(errno.EMFILE, "Too many open files", str(target))

    monkeypatch.setattr(Path, "rename", refuse)
    [_, found] = folders.writable("MODEL_DIR", tmp_path, mounts)
    assert found.level == "problem" and "Too many open files" in found.text
    assert "--rename-dir-limit" in found.remedy
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    [found] = folders.writable("MODEL_DIR", tmp_path / "file" / "run", MOUNTS)
    assert found.level == "problem" and "is a file" in found.text

    def read_only(**kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(folders.tempfile, "mkdtemp", read_only)
    [found] = folders.writable("MODEL_DIR", tmp_path, "")
    assert found.level == "problem" and "Read-only file system" in found.text
    [found] = folders.writable("MODEL_DIR", tmp_path, f"b {tmp_path} fuse.gcsfuse ro 0 0")
    assert "roles/storage.objectUser" in found.remedy


def test_a_mount_that_has_died(tmp_path, monkeypatch):
    def died(self):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(Path, "exists", died)
    [found] = folders.writable("MODEL_DIR", tmp_path, "")
    assert found.level == "problem" and "Transport endpoint is not connected" in found.text
    assert "mount it again" in found.remedy


def test_the_folder_of_a_run(tmp_path):
    assert told(folders.model_dir(str(tmp_path))) == []
    [(level, text, remedy)] = told(folders.model_dir("gs://runs/xl"))
    assert level == "problem" and "gs://runs/xl is no folder" in text and "gcsfuse" in remedy
    with files.locked(tmp_path, "run"):
        [(level, text, _)] = told(folders.model_dir(str(tmp_path)))
        assert level == "warning" and f"another run (process {os.getpid()} on" in text
    assert told(folders.model_dir(str(tmp_path))) == []


def test_the_compile_cache(tmp_path):
    [found] = folders.compile_cache("", "")
    assert "each start compiles anew" in found.text
    [found] = folders.compile_cache("gs://runs/cache", "")
    assert found.level == "ok"
    (tmp_path / "jit_step-1234-cache").write_bytes(b"x" * (3 << 20))
    (tmp_path / "jit_step-1234-atime").write_bytes(b"x" * 8)
    written, kept = folders.compile_cache(str(tmp_path), "")
    assert written.level == "ok" and kept.text.endswith(": 1 program(s), 0.0 GiB")


def test_a_token_store(tmp_path):
    [found] = folders.token_store(str(tmp_path))
    assert found.level == "problem" and "no token store at" in found.text
