# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiles a program before it is called, so that its time is known and a signal can end the wait.

XLA does not come back to Python while it compiles, for minutes where a model is large, and Python
runs no signal handler meanwhile. So a thread compiles, and the main thread waits where they run.
"""

import atexit
import os
import sys
import threading

from jax.stages import Wrapped

from flan_jax.core import errors


def compile_ahead(jitted: Wrapped, *args) -> None:
    """Compiles what a call of `jitted` with such arguments needs; the call then finds it compiled.

    Args:
        jitted: what `jax.jit` returned.
        *args: arguments of the call; none is donated here.

    Raises:
        PreemptedError: from a signal handler. The compilation is left to itself, and the process
            ends when it comes to its end, without waiting for it.
    """
    lowered = jitted.lower(*args)
    failures: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            lowered.compile()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failures.append(error)
        finally:
            done.set()

    threading.Thread(target=work, name="compilation", daemon=True).start()
    try:
        done.wait()
    except errors.PreemptedError as error:
        atexit.register(_leave, done, error.exit_code)
        raise
    if failures:
        raise failures[0]


def _leave(done: threading.Event, code: int) -> None:
    """Ends the process where a compilation still runs: it could not be torn down under it."""
    if not done.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
