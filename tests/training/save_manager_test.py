# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A process whose part of a save has failed says so, and does not wait for the others in vain."""

import resource
import threading

import numpy as np
import orbax.checkpoint as ocp
import pytest

from flan_jax.training import save_manager
from flan_jax.training.save_manager import SaveManager


@pytest.fixture
def shared(monkeypatch):
    """Makes this process one of several, for the module."""
    monkeypatch.setattr(save_manager.hosts, "is_shared", lambda: True)


def save(manager, step):
    manager.save(step, args=ocp.args.StandardSave({"array": np.arange(1 << 16)}))


def test_what_is_saved_is_whole_when_it_is_finished(tmp_path, shared):
    with SaveManager(tmp_path) as manager:
        save(manager, 1)
        manager.finish()
        assert manager.all_steps() == [1] and manager.failure is None
        assert manager.restore(1, args=ocp.args.StandardRestore())["array"][-1] == (1 << 16) - 1


def test_a_write_that_fails_is_the_managers_failure(tmp_path, shared):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    manager = SaveManager(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(Exception, match=r"File too large"):
            save(manager, 1)
            manager.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert manager.failure is not None and manager.all_steps() == []


def test_who_failed_does_not_wait_for_the_others(tmp_path, shared, monkeypatch):
    others = threading.Event()  # which never come
    with SaveManager(tmp_path) as manager:
        monkeypatch.setattr(manager, "wait_until_finished", others.wait)
        threading.Timer(0.3, setattr, (manager, "failure", OSError("no space"))).start()
        with pytest.raises(OSError, match="no space"):
            manager.finish()
        assert not others.is_set()
        others.set()
