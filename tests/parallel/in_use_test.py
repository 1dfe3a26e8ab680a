# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whoever has the port or the TPU gets a name."""

import os
import socket

import pytest

from flan_jax.core.errors import FlanError
from flan_jax.parallel import in_use, tpu_lock
from tests import host_processes

# As libtpu says it: with jax 0.4 (jax-ml/jax#10192) and in 2026.
IN_USE = "ABORTED: The TPU is already in use by process with pid 4242. Not attempting to load"
LOCKFILE = "ABORTED: Internal error when accessing libtpu multi-process lockfile. Run sudo rm"


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_the_holder_of_a_port_is_named(host):
    port = host_processes.free_port()
    assert in_use.port_holder(port) == ""
    ipv6 = {"family": socket.AF_INET6, "dualstack_ipv6": True} if ":" in host else {}
    with socket.create_server((host, port), **ipv6):
        assert in_use.port_holder(port).startswith(f"process {os.getpid()} (")
        with socket.create_connection(("localhost", port)) as connected:
            assert in_use.port_holder(connected.getsockname()[1]) == ""  # does not listen


@pytest.mark.parametrize(
    "text", [IN_USE, LOCKFILE, f"Unable to initialize backend 'tpu': {IN_USE}"]
)
def test_the_tpu_in_use_is_told_with_its_holder(monkeypatch, text):
    monkeypatch.setattr(tpu_lock, "holder", lambda: tpu_lock.Holder(4242, "python train.py"))
    found = in_use.tpu_error(RuntimeError(text))
    assert isinstance(found, FlanError)
    assert str(found).startswith(
        "the TPU of this host is in use by process 4242 (python train.py); wait for that process"
    )
    monkeypatch.setattr(tpu_lock, "holder", lambda: None)
    assert str(in_use.tpu_error(RuntimeError(text))).endswith("sudo rm /tmp/libtpu_lockfile")


def test_other_errors_are_left_alone():
    assert in_use.tpu_error(RuntimeError("Unable to initialize backend 'tpu': UNAVAILABLE")) is None
    assert in_use.tpu_error(RuntimeError("address already in use")) is None
