# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A program compiled ahead is the one that is called, and a signal ends the wait for it."""

import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import pytest

from flan_jax.core.errors import EXIT_PREEMPTED
from flan_jax.training.compilation import compile_ahead


@pytest.fixture
def compiled():
    """The names of programs compiled, and of the threads that did it."""
    found = []

    def listen(event, duration, **facts):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append((facts["fun_name"], threading.current_thread().name))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def test_the_call_finds_the_program_compiled(compiled):
    def triple(x):
        return 3 * x

    jitted, x = jax.jit(triple, donate_argnums=0), jnp.arange(4.0)
    compiled.clear()
    compile_ahead(jitted, x)
    assert compiled == [("jit(triple)", "compilation")]
    assert jitted(x).tolist() == [0, 3, 6, 9]
    assert len(compiled) == 1


def test_an_error_of_the_compiler_comes_to_the_caller():
    class Broken:
        def lower(self, *args):
            return self

        def compile(self):
            raise RuntimeError("RESOURCE_EXHAUSTED: no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        compile_ahead(Broken())


_PROGRAM = """
import signal, sys, time
from flan_jax.core import errors
from flan_jax.training.compilation import compile_ahead

class Slow:
    def lower(self):
        return self
    def compile(self):
        print("compiling", flush=True)
        time.sleep(60)

def stop(*_):
    raise errors.PreemptedError("asked to stop")

signal.signal(signal.SIGTERM, stop)
try:
    compile_ahead(Slow())
except errors.PreemptedError as error:
    print("stopped", flush=True)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow  # a process with jax
def test_a_signal_ends_the_wait_and_the_process_leaves_the_compiler_behind():
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "compiling\n"
            start = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == EXIT_PREEMPTED
            assert time.monotonic() - start < 15
            assert process.stdout.read() == "stopped\n"
        finally:
            process.kill()
