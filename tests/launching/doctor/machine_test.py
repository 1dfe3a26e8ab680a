# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Memory, shared memory and limits, as other machines would have them."""

import collections
import resource
import shutil

from flan_jax.launching.doctor import machine

MEMINFO = "MemTotal:       33554432 kB\nMemFree: 1 kB\nMemAvailable:   16777216 kB\n"


def test_memory():
    [found] = machine.memory(MEMINFO, ())
    assert found.text == "32.0 GiB of memory, 16.0 GiB of it free"
    [found] = machine.memory(MEMINFO, ("max\n",))
    assert "container" not in found.text
    [found] = machine.memory(MEMINFO, ("9223372036854771712\n", str(4 << 30)))
    assert found.text.endswith("of which this container may use 4.0 GiB")


def test_limits_of_control_groups(tmp_path):
    assert machine.memory_limits(tmp_path) == ()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("7\n")
    assert machine.memory_limits(tmp_path) == ("max\n", "7\n")


def test_shared_memory(monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(64 << 20, 0, 64 << 20))
    [found] = machine.shared_memory()
    assert found.level == "warning" and "/dev/shm has 64 MiB" in found.text
    assert "--shm-size" in found.remedy
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(8 << 30, 0, 0))
    assert [f.text for f in machine.shared_memory()] == ["/dev/shm has 8.0 GiB"]


def test_open_files():
    [found] = machine.open_files(256)
    assert found.level == "warning" and found.remedy == "ulimit -n 1024"
    assert [f.level for f in machine.open_files(1024)] == ["ok"]
    [found] = machine.open_files(resource.RLIM_INFINITY)
    assert found.level == "ok" and "any number of files" in found.text


def test_locked_memory():
    [found] = machine.locked_memory(64 << 10, 4)
    assert found.level == "warning" and "LimitMEMLOCK=infinity" in found.remedy
    assert list(machine.locked_memory(64 << 10, 0)) == []  # no TPU here
    assert list(machine.locked_memory(resource.RLIM_INFINITY, 4)) == []


def test_this_machine():
    assert machine.num_cores() >= 1
    assert [f.level for f in machine.cores(2)] == ["ok"]
