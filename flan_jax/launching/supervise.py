# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the processes of one training on this host, and starts them again until it is done.

    MODEL_DIR/logs/process_<i>.log    what process i printed, all attempts
    MODEL_DIR/launch.jsonl            one line at the start and one at the end of each attempt

The processes of a job end together (one that has lost another cannot go on), so they are also
started together. Preempted, they start again at once; after a crash they wait, each time twice as
long until a new checkpoint is made; what another start cannot mend (wrong usage, no memory) ends
it, and so do `max_failures` attempts in a row without a new checkpoint. No process outlives this
one, however it ends: they save and stop.

Where each host of a job has a supervisor of its own (a TPU slice), each runs one process:

    python -m flan_jax.launching.supervise --model_dir DIR [--process_id I] -- --recipe NAME ...

What follows `--` are the arguments of `flan-jax train`. Exit codes: 0 done, 1 given up, 2 and 3 as
the training's, 75 asked to stop and saved, 130 the same by Ctrl-C.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.core import errors, files, ranges
from flan_jax.core.progress import say
from flan_jax.launching import endings
from flan_jax.launching.endings import End, LastWords
from flan_jax.launching.lines import LineFile
from flan_jax.parallel.environments import VARIABLES
from flan_jax.scaling import processes

LOGS, JOURNAL = "logs", "launch.jsonl"
MAX_FAILURES = 5
# Until processes are told to stop that do not end by themselves: after one saved or was done, and
# after one died. The others know of a death within seconds.
SAVING_S, DYING_S = 300.0, 15.0
_TERMINATING_S = 5.0  # from then until they are killed
_LONGEST_WAIT_S = 300.0
_POLL_S = 0.1
_CHECKPOINT = "checkpoint_"  # as training/checkpoints.py names them, which needs jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Supervised:
    """A job's part on this host."""

    argv: tuple[str, ...]  # what each process runs, from `training`
    model_dir: Path  # of this training
    num_processes: int = 1  # here; of more than one this is the whole job
    process_id: int = 0  # of the first one here, in the whole job
    max_failures: int = MAX_FAILURES  # attempts in a row without a new checkpoint
    cores: int | None = None  # of each process; None: an equal share
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)  # besides ours

    def __post_init__(self):
        ranges.check("launch", "[1, inf)", max_failures=self.max_failures)
        if self.num_processes > 1 and self.process_id:
            raise errors.UsageError(
                f"{self.num_processes} processes here are the whole job: process_id is 0, not "
                f"{self.process_id}"
            )


def training(arguments: Sequence[str]) -> tuple[str, ...]:
    """Returns the command of one process, from the arguments of `flan-jax train`."""
    return (sys.executable, "-m", "flan_jax", "train", *arguments, "--stop_with_stdin")


def supervise(job: Supervised) -> None:
    """Runs a job until it is done.

    Raises:
        UsageError: another supervisor runs it, or the training says that it is misconfigured.
        DoesNotFitError: it needs more memory.
        PreemptedError: SIGTERM came; what runs has saved.
        KeyboardInterrupt: the same by Ctrl-C.
        FlanError: given up.
    """
    shares = processes.core_shares(job.num_processes, job.cores)
    with contextlib.ExitStack() as stack:
        if job.process_id == 0:
            stack.enter_context(files.locked(job.model_dir / LOGS, "launch"))
        asked = stack.enter_context(_requests())
        journal = LineFile(journal_of(job.model_dir, job.process_id))
        # For all attempts: what one could not write the next one may.
        logs = [
            LineFile(job.model_dir / LOGS / f"process_{job.process_id + slot}.log")
            for slot in range(job.num_processes)
        ]
        for file in (journal, *logs):
            stack.callback(file.write, now=True)
        attempt = sum(r.get("event") == "attempt_start" for r in read_journal(journal.path))
        failures = 0
        while True:
            attempt += 1
            before = newest_step(job.model_dir)
            _record(journal, "attempt_start", attempt, num_processes=job.num_processes, step=before)
            ends = _attempt(job, attempt, shares, asked, journal, logs)
            verdict = endings.judge(ends)
            step = newest_step(job.model_dir)
            _record(
                journal, "attempt_end", attempt, kind=verdict.kind, cause=verdict.cause, step=step,
                codes=[end.code for end in ends], num_processes=job.num_processes,
            )  # fmt: skip
            if verdict.kind == endings.DONE:
                say(f"launch: done, in {attempt} attempt(s)")
                return
            if verdict.kind == endings.USAGE:
                fits = all(end.code != errors.EXIT_DOES_NOT_FIT for end in ends)
                raise (errors.UsageError if fits else errors.DoesNotFitError)(verdict.cause)
            asked.check(step)
            progressed = step is not None and (before is None or step > before)
            failures = 0 if progressed else failures + (verdict.kind == endings.CRASHED)
            if failures >= job.max_failures:
                raise errors.FlanError(
                    f"given up after {failures} attempts in a row without a new checkpoint; the "
                    f"last: {verdict.cause}; see {job.model_dir / LOGS}"
                )
            wait_s = wait_before_next_s(verdict.kind, failures)
            say(
                f"launch: attempt {attempt} {verdict.kind}: {verdict.cause}; newest checkpoint: "
                f"{'none' if step is None else step}; starting again"
                + (f" in {wait_s:.0f} s" if wait_s else "")
            )
            asked.wait(wait_s, (journal, *logs))
            asked.check(step)


def wait_before_next_s(kind: str, failures: int) -> float:
    """Returns how long to wait before the next attempt.

    Args:
        kind: how the last one ended.
        failures: attempts in a row that crashed and made no new checkpoint.
    """
    if kind == endings.PREEMPTED:
        return 0.0
    return min(2.0 ** max(0, failures - 1), _LONGEST_WAIT_S)


def newest_step(model_dir: Path) -> int | None:
    """Returns the step of the newest finished checkpoint; None if there is none."""
    names = (path.name.removeprefix(_CHECKPOINT) for path in model_dir.glob(f"{_CHECKPOINT}*"))
    return max((int(digits) for digits in names if digits.isdigit()), default=None)


def journal_of(model_dir: Path, process_id: int = 0) -> Path:
    """Returns the file where the supervisor of this process notes its attempts."""
    path = model_dir / JOURNAL
    return path if process_id == 0 else path.with_suffix(f".{process_id}{path.suffix}")


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Returns the records of a journal; a line that is not whole is left out."""
    found = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return found


def _record(journal: LineFile, event: str, attempt: int, **fields: Any) -> None:
    record = {"time": round(time.time(), 3), "event": event, "attempt": attempt, **fields}
    journal.add(files.dumps(record).encode())
    journal.write(now=True)


class _Requests:
    """What this process was asked by SIGTERM or Ctrl-C: to stop, or twice: at once."""

    def __init__(self):
        self.signals: list[int] = []

    def check(self, step: int | None) -> None:
        """Raises what ends this process if it was asked to stop."""
        if not self.signals:
            return
        if self.signals[0] == signal.SIGINT:
            raise KeyboardInterrupt
        saved = "nothing was saved yet" if step is None else f"the newest checkpoint is step {step}"
        raise errors.PreemptedError(f"asked to stop; {saved}; start the same command again")

    def wait(self, duration_s: float, written: Sequence[LineFile]) -> None:
        """Returns after that time, or when asked to stop."""
        end = time.monotonic() + duration_s
        while time.monotonic() < end and not self.signals:
            time.sleep(_POLL_S)
            for file in written:
                file.write()


@contextlib.contextmanager
def _requests() -> Iterator[_Requests]:
    asked = _Requests()
    # Python allows handlers in the main thread only; elsewhere the owner of that must act.
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(n, lambda got, _: asked.signals.append(got)) for n in numbers]
    try:
        yield asked
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


class _Child:
    """A process of the job, its log, and its last words."""

    def __init__(
        self,
        job: Supervised,
        index: int,
        environment: Mapping[str, str],
        log: LineFile,
        header: str,
    ):
        self.index, self.words, self.code, self.killed = index, LastWords(), None, False
        self.time_s = math.inf  # when it ended
        self._log = log
        log.add(f"=== {header}: {shlex.join(job.argv)}".encode())
        self._is_shown = index == job.process_id
        self._process = subprocess.Popen(
            job.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": processes.search_path(), **environment},
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._process.stdout as lines:
            for line in lines:
                text = line.decode(errors="replace")
                self._log.add(line)
                self.words.add(text)
                if self._is_shown:
                    with contextlib.suppress(OSError):  # a terminal that is gone stops no training
                        sys.stderr.write(text)
                        sys.stderr.flush()

    def poll(self) -> None:
        """Notices that it ended, writes its log."""
        if self.code is None and (code := self._process.poll()) is not None:
            self.close(code)
        self._log.write()

    def send(self, number: int) -> None:
        """Sends a signal, if it still runs."""
        if self.code is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it now."""
        if self.code is None:
            self.killed = True
            self._process.kill()
            self.close(self._process.wait())

    def close(self, code: int) -> None:
        """Lets go of its pipes, and ends what a killed process left of its own."""
        self.code, self.time_s = code, time.monotonic()
        self._process.stdin.close()
        if code < 0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(timeout=_TERMINATING_S)
        self._log.write(now=True)

    def end(self) -> End:
        """Returns how it ended."""
        return End(
            index=self.index, code=self.code, time_s=self.time_s, words=self.words,
            killed=self.killed,
        )  # fmt: skip


def _attempt(
    job: Supervised,
    attempt: int,
    shares: Sequence[tuple[int, ...]],
    asked: _Requests,
    journal: LineFile,
    logs: Sequence[LineFile],
) -> list[End]:
    """Starts the processes, waits until all have ended, returns how."""
    num = job.num_processes
    say(f"launch: attempt {attempt}, {num} process(es), logs in {job.model_dir / LOGS}")
    address = f"localhost:{_free_port()}"
    children: list[_Child] = []
    try:
        for slot in range(num):
            index = job.process_id + slot
            values = (address, str(num), str(index))
            environment = dict(job.environment)
            if num > 1:
                environment |= zip(VARIABLES, values, strict=True)
            now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            with processes.bound_to(shares[slot]):
                header = f"attempt {attempt}, process {index}, {now}"
                children.append(_Child(job, index, environment, logs[slot], header))
        _wait(children, asked, journal)
    finally:
        for child in children:
            child.kill()
    return [child.end() for child in children]


def _wait(children: Sequence[_Child], asked: _Requests, journal: LineFile) -> None:
    """Returns when all have ended: by themselves, or stopped some time after the first one."""
    limit_s, known, told = math.inf, 0, False
    while any(child.code is None for child in children):
        time.sleep(_POLL_S)
        journal.write()
        for child in children:
            child.poll()
        codes = [child.code for child in children if child.code is not None]
        if asked.signals and not told:
            say("launch: asked to stop; the training saves first")
            told, limit_s = True, min(limit_s, time.monotonic() + SAVING_S)
            for child in children:
                child.send(signal.SIGTERM)
        if len(codes) > known:
            known = len(codes)
            well = all(code in (errors.EXIT_OK, errors.EXIT_PREEMPTED) for code in codes)
            limit_s = min(limit_s, time.monotonic() + (SAVING_S if well else DYING_S))
        if len(asked.signals) > 1:
            return
        if time.monotonic() > limit_s:
            late = [child.index for child in children if child.code is None]
            if told:
                say(f"launch: killing process(es) {', '.join(map(str, late))}: still not ended")
                return
            told, limit_s = True, time.monotonic() + _TERMINATING_S
            for child in children:
                child.send(signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flan_jax.launching.supervise",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model_dir", type=Path, required=True, help="the training's MODEL_DIR")
    parser.add_argument("--num_processes", type=int, default=1, metavar="N")
    parser.add_argument("--process_id", type=int, default=0, metavar="I")
    parser.add_argument("--max_failures", type=int, default=MAX_FAILURES, metavar="N")
    parser.add_argument("--cores", type=int, metavar="C")
    parser.add_argument("train", nargs="+", help="the arguments of flan-jax train, after --")
    options = vars(parser.parse_args(argv))
    try:
        supervise(Supervised(argv=training(options.pop("train")), **options))
    except (errors.FlanError, errors.PreemptedError, KeyboardInterrupt, OSError) as error:
        line, code = errors.ending(error)
        print(line, file=sys.stderr)
        return code
    return errors.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
