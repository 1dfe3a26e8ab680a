# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shared test setup: eight virtual CPU devices, strict rank promotion, no network."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"  # before jax is imported: tests never touch an accelerator
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import socket

import jax
import pytest

NUM_DEVICES = 8

jax.config.update("jax_num_cpu_devices", NUM_DEVICES)
jax.config.update("jax_numpy_rank_promotion", "raise")

_LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0", ""}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Makes any connection that leaves this machine an error."""
    connect = socket.socket.connect

    def guarded(self, address):
        if isinstance(address, tuple) and address[0] not in _LOCAL:
            raise AssertionError(f"a test tried to reach {address[0]!r}; tests use no network")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
