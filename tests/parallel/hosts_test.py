# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Joining the others, and agreeing; `training/distributed_test.py` has whole trainings."""

import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from flan_jax.core.errors import EXIT_FAILED, UsageError
from flan_jax.parallel import hosts
from tests import host_processes


@pytest.mark.parametrize("variable", ["FLAN_JAX_JOIN_TIMEOUT_S", "FLAN_JAX_SILENCE_TIMEOUT_S"])
@pytest.mark.parametrize("value", ["1.5", "0", "soon"])
def test_wrong_timeouts_are_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=f"{variable} is '{value}'; give whole seconds, >= 1"):
        hosts.join()


def test_pathways_needs_its_package(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "proxy,cpu")
    with pytest.raises(UsageError, match="pip install pathwaysutils"):
        hosts.join()


def test_a_process_alone_waits_for_nobody():
    hosts.join()
    assert not hosts.is_shared() and hosts.is_first()
    assert hosts.agreed(True) and not hosts.agreed(False) and hosts.agreed(7) == 7
    assert hosts.where(True) == [0] and hosts.where(False) == []
    with pytest.raises(UsageError, match="mine"):
        with hosts.all_or_none():
            raise UsageError("mine")


JOIN = """
import sys, time
from flan_jax.core import errors
from flan_jax.parallel import hosts
try:
    hosts.join({"store": sys.argv[1]})
except errors.FlanError as error:
    print(f"flan-jax: error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow  # two Python processes that import jax and wait for a second: 5 s
@pytest.mark.parametrize("index", [0, 1])
def test_who_does_not_meet_the_others_in_time_ends_in_one_line(index):
    port = host_processes.free_port()
    ended = subprocess.run(
        [sys.executable, "-c", JOIN, "abc"],
        env={**host_processes.environment(2, index, port), hosts.TIMEOUT_VARIABLE: "1"},
        cwd=host_processes.ROOT, stderr=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == EXIT_FAILED
    told, error = ended.stderr.splitlines()
    assert told == (
        f"hosts: process {index} of 2 (JAX_COORDINATOR_ADDRESS), waiting for the others at "
        f"localhost:{port}"
    )
    want = (
        "process 1 of 2 did not come within 1 s; start the same command on every host",
        f"process 1 of 2 cannot reach process 0 at localhost:{port} within 1 s: connection refused",
    )
    assert error.startswith(f"flan-jax: error: {want[index]}")


def test_hosts_that_differ_in_devices_are_named(monkeypatch):
    def has(*counts):
        devices = [
            types.SimpleNamespace(process_index=i) for i, n in enumerate(counts) for _ in range(n)
        ]
        monkeypatch.setattr(jax, "devices", lambda: devices)
        hosts._check_devices([f"h{index}" for index in range(len(counts))])

    has(4, 4, 4)
    with pytest.raises(UsageError, match=r"process 1 \(h1\) has 3, the others 4; .*lost a chip"):
        has(4, 3, 4)


def test_a_process_alone_agrees_with_itself():
    values = np.array([True, False])
    assert hosts.shared(values) is values
    assert hosts.agreed(7) == 7 and hosts.gathered("\u00e9") == ["\u00e9"]
