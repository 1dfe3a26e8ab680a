# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A crash of the compiler is an error of ours, and the next case is compiled all the same."""

import os
import signal

import pytest

from flan_jax.aot.worker import Worker
from flan_jax.core import errors
from tests.aot.cases import tiny_case


def serve(pipe):
    """Crashes on one slice, refuses another, and answers for all others with their name."""
    while True:
        try:
            case, effort = pipe.recv()
        except EOFError:
            return
        if case.slice.name == "v4-8":
            os.kill(os.getpid(), signal.SIGSEGV)
        if case.slice.name == "v4-16":
            pipe.send(errors.UsageError("does not divide"))
        else:
            pipe.send(f"{case.slice.name} {effort}")


# Starts two processes that import jax.
@pytest.mark.slow
def test_a_crash_is_told_and_the_next_case_runs():
    worker = Worker(serve)
    assert worker.compile_step(tiny_case("v4-32"), effort="quick") == "v4-32 quick"
    with pytest.raises(errors.FlanError, match=r"crashed \(signal 11\) on tiny for v4-8"):
        worker.compile_step(tiny_case("v4-8"), effort="quick")
    with pytest.raises(errors.UsageError, match="does not divide"):
        worker.compile_step(tiny_case("v4-16"), effort="quick")
    assert worker.compile_step(tiny_case("v4-64"), effort="memory") == "v4-64 memory"
    worker.close()
    worker.close()  # once is enough
