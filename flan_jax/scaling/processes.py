# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Commands, several at a time, each a process of its own with a log and its own cores.

Processes start afresh (jax does not survive a fork) and none outlives its parent: each holds the
other end of a pipe, and stops when that closes, however the parent ended. Ctrl-C or SIGTERM of the
parent asks all of them to save and stop.

On few cores the thread pools of several processes would fight. So each is bound to cores of its
own, from which XLA takes the size of its pool: two tiny trainings at a time on two cores took 69 s
so, and 73 s unbound (jaxlib 0.10.2).
"""

import contextlib
import dataclasses
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

from flan_jax.core import errors
from flan_jax.core.progress import say

GRACE_S = 60.0  # from the request to stop until a process is killed
_POLL_S = 0.1
_LAST_BYTES = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """One command to carry out."""

    name: str
    argv: tuple[str, ...]  # it should call `stop_with_stdin`, lest it outlive this process
    log: Path  # its output is added to this file


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ending:
    """How a command ended; as text, in a few words."""

    command: Command
    code: int  # exit code; minus the signal's number if one ended it
    duration_s: float

    @property
    def died(self) -> bool:
        """Whether it was ended from outside, before it was done or had failed."""
        return self.code < 0 or self.code == errors.EXIT_PREEMPTED

    def __str__(self) -> str:
        if self.code < 0:
            hint = " (out of memory?)" if -self.code == signal.SIGKILL else ""
            return f"its process was ended by {signal.Signals(-self.code).name}{hint}"
        said = _last_line(self.command.log).removeprefix("flan-jax: error: ")
        return f"its process ended with code {self.code}" + (f": {said}" if said else "")


def run_all(
    commands: Sequence[Command],
    *,
    num: int,
    cores: int | None = None,
    what: str,
    again: Callable[[Ending], bool] = lambda _: False,
) -> Generator[Ending, None, None]:
    """Carries out all commands, `num` at a time, in order; yields each as it ends.

    Close the generator to stop what still runs.

    Args:
        commands: what to do.
        num: how many at a time.
        cores: processor cores of each; None: an equal share, at least one.
        what: stands before the lines that this prints.
        again: whether a command that ended so is carried out once more, after those that wait,
            instead of yielded. Where memory ran out, fewer are beside it then.

    Raises:
        PreemptedError: SIGTERM came; all commands were stopped.
    """
    shares = core_shares(num, cores)
    waiting = list(reversed(commands))
    running: dict[int, _Child] = {}
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(_sigterm_noted())
        stack.callback(_stop, running)
        while waiting or running:
            if asked.is_set():
                raise errors.PreemptedError(
                    f"asked to stop with {len(running)} running and {len(waiting)} waiting; what "
                    "was finished is kept; start the same command again to go on"
                )
            for slot in range(num):
                if slot not in running and waiting:
                    command = waiting.pop()
                    say(f"{what}: {command.name} begins; log: {command.log}")
                    _start(command, shares[slot], running, slot)
            time.sleep(_POLL_S)
            for slot, child in list(running.items()):
                code = child.process.poll()
                if code is not None:
                    del running[slot]
                    child.close()
                    duration_s = time.monotonic() - child.start
                    ending = Ending(command=child.command, code=code, duration_s=duration_s)
                    if not asked.is_set() and again(ending):
                        waiting.insert(0, child.command)
                    else:
                        yield ending


def core_shares(num: int, cores: int | None = None) -> list[tuple[int, ...]]:
    """Returns the cores that each of `num` processes is bound to; () where that is not possible.

    More cores in all than there are are shared out in turn.

    Raises:
        UsageError: `num` or `cores` is impossible.
    """
    if num < 1:
        raise errors.UsageError(f"cannot run {num} at a time; give at least 1")
    if not hasattr(os, "sched_setaffinity"):
        return [()] * num
    free = sorted(os.sched_getaffinity(0))
    each = max(1, len(free) // num) if cores is None else cores
    if not 1 <= each <= len(free):
        raise errors.UsageError(
            f"cannot give each run {each} cores: this process may use {len(free)}; give 1 to "
            f"{len(free)}"
        )
    return [
        tuple(sorted(free[(slot * each + i) % len(free)] for i in range(each)))
        for slot in range(num)
    ]


def search_path() -> str:
    """Returns where this process finds its modules, wherever it was told to look for them."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)


def stop_with_stdin(grace_s: float = GRACE_S) -> None:
    """Makes this process stop as by SIGTERM when its standard input closes: its parent is gone.

    Args:
        grace_s: how long it may take then to save; it is ended after that.
    """

    def watch() -> None:
        while os.read(0, 1024):  # not sys.stdin: a thread inside that cannot be left at exit
            pass
        _stop_writing_to_pipes()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(errors.EXIT_PREEMPTED)

    threading.Thread(target=watch, name="stop_with_stdin", daemon=True).start()


def _stop_writing_to_pipes() -> None:
    """Sends output to nowhere where the parent read it: a line to nobody would end the saving."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        if stat.S_ISFIFO(os.fstat(output).st_mode):
            os.dup2(nowhere, output)
    os.close(nowhere)


@dataclasses.dataclass(frozen=True)
class _Child:
    command: Command
    process: subprocess.Popen
    start: float  # monotonic

    def close(self) -> None:
        """Lets go of the pipe; ends what a killed process left of its own."""
        self.process.stdin.close()
        if self.process.returncode < 0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


def _start(command: Command, share: tuple[int, ...], running: dict[int, _Child], slot: int) -> None:
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with open(command.log, "ab") as log, bound_to(share):
        log.write(f"$ {shlex.join(command.argv)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": search_path()},
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then asks to stop
        )
    running[slot] = _Child(command, process, time.monotonic())


def _stop(running: dict[int, _Child]) -> None:
    """Asks what still runs to save and stop; kills what does not within GRACE_S, or at Ctrl-C."""
    children = list(running.values())
    if children:
        say(f"stopping {len(children)} process(es); they save first")
    for child in children:
        child.process.terminate()
    end = time.monotonic() + GRACE_S
    try:
        for child in children:
            child.process.wait(timeout=max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        say(f"not stopped within {GRACE_S:.0f} s: killed")
    finally:
        for child in children:
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()
            child.close()


@contextlib.contextmanager
def bound_to(share: Iterable[int]) -> Iterator[None]:
    """Binds this thread, and so what it starts, to some cores for the length of the block."""
    if not share:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, share)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _sigterm_noted() -> Iterator[threading.Event]:
    """Gives an event that SIGTERM sets, so that it cannot interrupt the start of a process."""
    asked = threading.Event()
    # Python allows handlers in the main thread only; elsewhere the owner of that must act.
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, previous)


def _last_line(path: Path) -> str:
    """Returns the last line of a log, "" if there is none."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
