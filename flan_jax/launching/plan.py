# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a launch will do, as data: shown the same whether it is then done or not; carried out."""

import dataclasses
import math
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence

from flan_jax.core import errors, files
from flan_jax.core.progress import say

_WIDTH = 96  # of a shown command, until it is broken
_RETRY_S = 10.0  # before the second try of a command; doubled before each further one
_SLEEP = time.sleep  # tests do not wait


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run; its output is shown."""

    argv: tuple[str, ...]
    why: str
    tries: int = 1  # of one that may fail by a broken connection and can be repeated


@dataclasses.dataclass(frozen=True, kw_only=True)
class WriteFile:
    """A file to write."""

    path: str
    text: str
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wait:
    """A command to repeat until what it prints says that something is so."""

    argv: tuple[str, ...]
    why: str
    # What the output says: None if it is so, else in a few words what is so instead; raises
    # FlanError if it will never be.
    lacks: Callable[[str], str | None]
    period_s: float = 20.0
    timeout_s: float = math.inf
    tries: int = 3


Step = Command | WriteFile | Wait


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps in their order, and what else one should know."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


def shown(plan: Plan) -> str:
    """Returns the plan as a shell would take it, each step under a line that says what for."""
    lines = []
    for number, step in enumerate(plan.steps, 1):
        lines.append(f"# {number}. {step.why}")
        match step:
            case WriteFile():
                lines += [f"cat > {shlex.quote(step.path)} <<'END'", step.text.rstrip("\n"), "END"]
            case Wait():
                lines.append(f"# again every {step.period_s:.0f} s until it is so:")
                lines.append(_command_shown(step.argv))
            case Command():
                lines.append(_command_shown(step.argv))
    return "\n".join([*lines, *(f"# {note}" for note in plan.notes)])


def run(plan: Plan) -> None:
    """Carries out a plan.

    Raises:
        UsageError: a program is not installed.
        FlanError: a step failed; the message says which, and the last line of its output.
    """
    for number, step in enumerate(plan.steps, 1):
        say(f"launch: {number} of {len(plan.steps)}: {step.why}")
        match step:
            case WriteFile():
                with files.atomic_open(step.path) as file:
                    file.write(step.text)
            case Wait():
                wait(step)
            case Command():
                output(step.argv, step.why, tries=step.tries, show=True)


def wait(step: Wait) -> None:
    """Repeats a command until what it prints says so."""
    end = time.monotonic() + step.timeout_s
    told = None
    while True:
        found = step.lacks(output(step.argv, step.why, tries=step.tries))
        if found is None:
            return
        if time.monotonic() > end:
            raise errors.FlanError(f"{step.why}: not within {step.timeout_s:.0f} s; it is: {found}")
        if found != told:
            say(f"launch: {found}")
            told = found
        _SLEEP(step.period_s)


def output(argv: Sequence[str], why: str, *, tries: int = 1, show: bool = False) -> str:
    """Runs a program and returns what it wrote to standard output.

    Args:
        argv: the program and its arguments.
        why: what for, for messages.
        tries: how often to try at most.
        show: also show what it writes, as it comes.

    Raises:
        UsageError: there is no such program.
        FlanError: it failed, each time.
    """
    for left in reversed(range(tries)):
        code, text, last = _run(argv, show)
        if code == 0:
            return text
        failure = f"{why}: {argv[0]} ended with code {code}" + (f": {last}" if last else "")
        if left:
            duration_s = _RETRY_S * 2 ** (tries - 1 - left)
            say(f"launch: {failure}; again in {duration_s:.0f} s")
            _SLEEP(duration_s)
    raise errors.FlanError(failure)


def _run(argv: Sequence[str], show: bool) -> tuple[int, str, str]:
    """Returns exit code, standard output and the last line of all output."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,  # a program that asks something would wait for ever
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if show else subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise errors.UsageError(
            f"{argv[0]} is not installed or not on PATH; see launch/README.md"
        ) from None
    with process:
        if not show:
            text, complaints = process.communicate()
        else:
            lines, complaints = [], ""
            for line in process.stdout:
                lines.append(line)
                print(line, end="", flush=True)
            text = "".join(lines)
    said = (complaints or text).strip().splitlines()
    return process.returncode, text, said[-1].strip() if said else ""


def _command_shown(argv: Sequence[str]) -> str:
    """Returns a command for a shell, in lines that are not too long."""
    lines, line = [], ""
    for word in map(shlex.quote, argv):
        if line and len(line) + len(word) > _WIDTH:
            lines.append(line)
            line = "  "
        line += word if not line.strip() else f" {word}"
    return " \\\n".join([*lines, line])
