# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiles in a process of its own, so that a crash of the compiler does not end the command."""

import multiprocessing
from multiprocessing.connection import Connection

from flan_jax.aot import compiling
from flan_jax.aot.compiling import Case, Report
from flan_jax.core import errors


class Worker:
    """Compiles cases one after the other; the process starts with the first. Close it."""

    def __init__(self, target=None):
        self._target = target or _serve
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def compile_step(self, case: Case, *, effort: str) -> Report:
        """Returns `compiling.compile_step`'s report.

        Raises:
            FlanError: as `compiling.compile_step`, or the compiler crashed.
        """
        if self._process is None:
            # Spawned: a fork would inherit jax's threads.
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=self._target, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        try:
            self._pipe.send((case, effort))
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code, self._process = self._process.exitcode, None
            raise errors.FlanError(
                f"the TPU compiler crashed ({_ending(code)}) on {case.name} for {case.slice.shown} "
                f"at effort {effort!r}; try another effort, mesh or remat policy"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the process, whatever it does."""
        if self._process is not None:
            self._process.kill()  # at a milder signal libtpu prints its stack
            self._process.join()
            self._process = None


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _serve(pipe: Connection) -> None:
    while True:
        try:
            case, effort = pipe.recv()
        except EOFError:  # the command is gone
            return
        try:
            pipe.send(compiling.compile_step(case, effort=effort))
        except errors.FlanError as error:
            pipe.send(error)
