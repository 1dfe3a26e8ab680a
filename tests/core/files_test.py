# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files are written whole or not at all, folders by one process; bad JSON names file and line."""

import hashlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys

import pytest

from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), files.atomic_open(path) as file:
        file.write("half of the new one")
        raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            with files.atomic_open(path) as file:
                file.write("x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path) and path.read_text() == "old"


def test_what_a_killed_write_left_can_be_cleared(tmp_path):
    path = tmp_path / "a.txt"
    files.write_json(path, 1)
    code = (
        "import os, sys; from flan_jax.core import files\n"
        "with files.atomic_open(sys.argv[1]) as file:\n"
        "    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2 and files.read_json(path) == 1
    files.clear_temporary(tmp_path / "b.txt")
    assert len(list(tmp_path.iterdir())) == 2
    files.clear_temporary(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "out"
    with pytest.raises(RuntimeError, match="stop"), files.atomic_folder(path, "--out") as folder:
        (folder / "a").write_text("half")
        raise RuntimeError("stop")
    assert list(path.parent.iterdir()) == []
    path.mkdir()
    with files.atomic_folder(path, "--out") as folder:
        (folder / "a").write_text("whole")
        assert list(path.iterdir()) == []
    assert (path / "a").read_text() == "whole"
    with pytest.raises(UsageError, match="--out .*out' is not empty"):
        with files.atomic_folder(path, "--out"):
            raise AssertionError("the block must not run")
    assert [p.name for p in path.parent.iterdir()] == ["out"]


def test_writes_create_folders_and_round_trip(tmp_path):
    path = tmp_path / "deep" / "b.json"
    files.write_json(path, {"b": 1, "a": ["é", None]})
    assert files.read_json(path) == {"a": ["é", None], "b": 1}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    assert path.stat().st_mode & 0o444 == 0o444


def test_one_process_holds_a_folder_until_it_ends_however_it_ends(tmp_path):
    script = (
        "import sys; from flan_jax.core import files\n"
        "with files.locked(sys.argv[1], 'build'): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError) as caught, files.locked(tmp_path, "build"):
            pass
        assert str(caught.value) == (
            f"another build (process {holder.pid} on {socket.gethostname()}) is writing "
            f"{tmp_path}; wait for it, stop it, or choose another folder"
        )
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    for _ in range(2):
        with files.locked(tmp_path, "build"):
            assert (tmp_path / ".lock").read_text().count("process") == 1


def test_a_folder_on_a_full_disk_can_be_held(tmp_path):
    script = (
        "import resource, sys; from flan_jax.core import files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "with files.locked(sys.argv[1], 'build'): print('held')"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("held\n", "")


def test_only_a_plain_file_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "dev").symlink_to("/dev")
    descriptors = ["/dev/stdout", "/dev/null", "/dev/new", "/dev/fd/1", "/proc/self/fd/1"]
    for path in (*descriptors, tmp_path / "pipe", tmp_path / "link", tmp_path / "dev" / "null"):
        with pytest.raises(UsageError, match=re.escape(f"--out '{path}' is no plain file")):
            files.check_file(path, "--out")
    (tmp_path / "a").write_text("")
    (tmp_path / "to_a").symlink_to("a")
    for name in ("a", "to_a", "b", "new/b"):
        files.check_file(tmp_path / name, "--out")


def test_what_is_read_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("")
    (tmp_path / "to_a").symlink_to("a")
    (tmp_path / "b").write_text("")
    for path in ("a", "./a", "to_a", tmp_path / "a"):
        with pytest.raises(UsageError, match=f"--out '{path}' is the file of --in; name another"):
            files.check_apart(path, "--out", "a", "--in")
    files.check_apart("b", "--out", "a", "--in")
    files.check_apart("new", "--out", "a", "--in")
    files.check_apart("a", "--out", "absent", "--in")


def test_bad_json_names_file_and_line(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"a": 1,\n oops}')
    with pytest.raises(DataError, match=r"c\.json:2: not valid JSON"):
        files.read_json(path)
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match="not UTF-8"):
        files.read_json(path)


def test_sha256_of_a_file(tmp_path):
    path = tmp_path / "d"
    path.write_bytes(b"x" * 3_000_000)
    assert files.sha256_file(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
