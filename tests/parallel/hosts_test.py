# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the environment says of a job's processes; `training/distributed_test.py` runs real ones."""

import subprocess
import sys

import numpy as np
import pytest

from flan_jax.core.errors import EXIT_FAILED, UsageError
from flan_jax.parallel import hosts
from tests import host_processes

GIVEN = {
    "JAX_COORDINATOR_ADDRESS": "host-0:1234",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}


def test_the_environment_says_which_process_this_is():
    assert hosts.from_environment({"HOME": "/"}) is None
    assert hosts.from_environment({**GIVEN, "FLAN_JAX_JOIN_TIMEOUT_S": "7"}) == {
        "coordinator_address": "host-0:1234",
        "num_processes": 4,
        "process_id": 3,
        "timeout_s": 7,
    }
    assert hosts.from_environment(GIVEN)["timeout_s"] == 300


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"JAX_PROCESS_ID": ""}, "JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES set but not JAX_P"),
        ({"JAX_COORDINATOR_ADDRESS": "host-0"}, "is 'host-0'; give host:port of process 0"),
        ({"JAX_COORDINATOR_ADDRESS": "1234"}, "is '1234'; give host:port"),
        ({"JAX_COORDINATOR_ADDRESS": ":1234"}, "is ':1234'; give host:port"),
        ({"JAX_NUM_PROCESSES": "two"}, "is 'two'; give the number of processes, >= 1"),
        ({"JAX_NUM_PROCESSES": "0"}, "is '0'; give the number of processes, >= 1"),
        ({"JAX_PROCESS_ID": "4"}, "is '4'; give this process's number, 0 to 3"),
        ({"JAX_PROCESS_ID": "-1"}, "is '-1'; give this process's number, 0 to 3"),
        ({"FLAN_JAX_JOIN_TIMEOUT_S": "1.5"}, "TIMEOUT_S is '1.5'; give whole seconds, >= 1"),
    ],
)
def test_wrong_variables_are_named(changed, message):
    with pytest.raises(UsageError, match=message):
        hosts.from_environment({**GIVEN, **changed})


def test_a_process_alone_waits_for_nobody():
    hosts.join()
    assert not hosts.is_shared() and hosts.is_first()
    assert hosts.agreed(True) and not hosts.agreed(False) and hosts.agreed(7) == 7
    assert hosts.where(True) == [0] and hosts.where(False) == []
    with pytest.raises(UsageError, match="mine"):
        with hosts.all_or_none():
            raise UsageError("mine")


@pytest.mark.slow  # two Python processes that import jax and wait for a second: 5 s
@pytest.mark.parametrize("index", [0, 1])
def test_who_does_not_meet_the_others_in_time_ends_in_one_line(index):
    port = host_processes.free_port()
    ended = subprocess.run(
        [sys.executable, "-c", "from flan_jax.parallel import hosts; hosts.join()"],
        env={**host_processes.environment(2, index, port), hosts.TIMEOUT_VARIABLE: "1"},
        cwd=host_processes.ROOT, stderr=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == EXIT_FAILED
    told, error = ended.stderr.splitlines()
    assert told == f"hosts: process {index} of 2, waiting for the others at localhost:{port}"
    assert error.startswith(
        f"flan-jax: error: process {index} of 2 did not meet the others at localhost:{port} "
        "within 1 s; start all 2 with the same JAX_COORDINATOR_ADDRESS"
    )


def test_a_process_alone_agrees_with_itself():
    values = np.array([True, False])
    assert hosts.shared(values) is values
    assert hosts.agreed(7) == 7 and hosts.gathered("\u00e9") == ["\u00e9"]
