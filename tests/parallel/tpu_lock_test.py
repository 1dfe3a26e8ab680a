# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who has the TPU: found by a real lock of a real process, and by /proc as others show theirs."""

import os
import subprocess
import sys

import pytest

from flan_jax.parallel import tpu_lock
from flan_jax.parallel.tpu_lock import Holder

LOCKING = """
import fcntl, sys; file = open(sys.argv[1], "w"); {lock}
print("ready", flush=True); sys.stdin.read()
"""


@pytest.mark.parametrize("lock", ["fcntl.flock(file, 2)", ""])
def test_the_process_is_named(tmp_path, lock):
    path = str(tmp_path / "lockfile")
    assert tpu_lock.holder([path]) is None
    code = [sys.executable, "-c", LOCKING.format(lock=lock), path]
    pipe = subprocess.PIPE
    with subprocess.Popen(code, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        found = tpu_lock.holder([path])
        assert found.pid == process.pid and "import fcntl, sys;" in found.command
        assert str(found).startswith(f"process {process.pid} ({sys.executable} -c")
        assert tpu_lock.holder([str(tmp_path / "other")]) is None
        process.stdin.close()
        process.wait()
    assert tpu_lock.holder([path]) is None  # the file alone holds nothing


def test_this_process_is_no_other(tmp_path):
    with open(tmp_path / "lockfile", "w"):
        assert tpu_lock.holder([str(tmp_path / "lockfile")]) is None


def test_the_lock_of_another_user_is_seen(tmp_path, monkeypatch):
    path = tmp_path / "lockfile"
    path.write_text("")
    inode = os.stat(path).st_ino
    (tmp_path / "locks").write_text(
        "1: POSIX  ADVISORY  WRITE 70 08:01:12345678 0 EOF\n"
        f"2: -> FLOCK  ADVISORY  WRITE {inode} 08:01:{inode} 0 EOF\n"  # waits
        f"3: FLOCK  ADVISORY  WRITE 72 08:01:{inode} 0 EOF\n"
    )
    for pid in (70, inode, 72):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
    (tmp_path / "72" / "cmdline").write_bytes(b"python\0-m\0theirs\0")

    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "listdir", refuse)  # root may read everything
    assert tpu_lock.holder([str(path)], proc=tmp_path) == Holder(72, "python -m theirs")
    # Another file of the same number, on another file system.
    monkeypatch.undo()
    assert tpu_lock.holder([str(path)], proc=tmp_path) is None
