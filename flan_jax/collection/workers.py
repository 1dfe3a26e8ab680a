# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Jobs in several processes, each doing one job at a time.

What `concurrent.futures` does not promise: a process that dies fails its own job only, and is
replaced; all processes are stopped at once when the caller stops, by whatever exception; and none
outlives a caller that was killed.
"""

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from flan_jax.core.errors import FlanError

Job = TypeVar("Job")

_READY = "ready"


@dataclasses.dataclass(frozen=True)
class Died:
    """Stands for the result of a job whose process ended before it."""

    # By which signal, or with which exit code.
    how: str


@dataclasses.dataclass(frozen=True)
class _Raised:
    error: Exception


def run_jobs(
    function: Callable[[Job], Any],
    jobs: Sequence[Job],
    num_workers: int,
    done: Callable[[Job, Any], None],
    *,
    prepare: Callable[[], Any] | None = None,
) -> None:
    """Calls `function` with every job in one of several processes, and `done` with its result.

    Args:
        function: can be pickled, and so can what it takes and returns.
        jobs: taken in this order; they end in any.
        num_workers: processes; no more than jobs are started.
        done: called in this process with a job and its result, or `Died`.
        prepare: called in each process before `function` and its module are loaded.

    Raises:
        FlanError: a process ended before it could begin.
        Exception: what `function` or `done` raised; the other jobs are abandoned.
    """
    waiting = collections.deque(jobs)
    workers: dict[Connection, _Worker] = {}

    def start() -> None:
        worker = _Worker(function, prepare)
        workers[worker.connection] = worker

    try:
        for _ in range(min(num_workers, len(jobs))):
            start()
        while workers:
            for connection in wait(list(workers)):
                worker = workers[connection]
                try:
                    answer = worker.connection.recv()
                except (EOFError, OSError):
                    del workers[connection]
                    done(worker.job, Died(worker.ended()))
                    if waiting:
                        start()
                    continue
                if isinstance(answer, _Raised):
                    raise answer.error
                if worker.is_ready:
                    done(worker.job, answer)
                worker.is_ready = True
                if waiting:
                    worker.give(waiting.popleft())
                else:
                    worker.stop()
                    del workers[connection]
    finally:
        for worker in workers.values():
            worker.stop()


class _Worker:
    """A process, seen from its parent."""

    def __init__(self, function: Callable[[Any], Any], prepare: Callable[[], Any] | None):
        context = multiprocessing.get_context("spawn")  # a fork would copy locked threads
        self.connection, theirs = context.Pipe()
        self.job: Any = None
        self.is_ready = False
        self._process = context.Process(target=_serve, args=(theirs, prepare), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process ends the connection
        # No argument of the process, so that the parent is watched while it is loaded there.
        self._send(function)

    def give(self, job: Any) -> None:
        """Sends a job; that the process has died shows when its answer is read."""
        self.job = job
        self._send(job)

    def _send(self, value: Any) -> None:
        with contextlib.suppress(ConnectionError):
            self.connection.send(value)

    def ended(self) -> str:
        """Returns how the process ended.

        Raises:
            FlanError: it did so before it was ready.
        """
        self._process.join()
        code = self._process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if not self.is_ready:
            raise FlanError(
                f"a worker process could not start ({how}; what it printed is above); mend that, "
                "or use one process"
            )
        return how

    def stop(self) -> None:
        """Ends the process at once, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection, prepare: Callable[[], Any] | None) -> None:
    """Does one job after another for the parent; runs in the process."""
    # Ctrl-C reaches the whole process group; the parent stops this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent has ended
        call = connection.recv()
        connection.send(_READY)
        while True:
            job = connection.recv()
            try:
                answer = call(job)
            except Exception as error:  # raised again in the parent
                answer = _Raised(error)
            connection.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
