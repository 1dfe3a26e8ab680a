# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a launch will do, as data: shown the same whether it is then done or not; carried out."""

import dataclasses
import math
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence

from flan_jax.core import errors, files
from flan_jax.core.progress import say

_OPTION = re.compile(r"--[a-z][a-z_-]*=")
_WIDTH = 96  # of a shown command, until it is broken
_CONNECTION_BROKE = 255  # ssh's own exit code, and so that of what wraps it
_RETRY_S = 10.0  # before the second try of a command; doubled before each further one
# What lines of a program's output say why it failed, the most telling first: those of our scripts,
# those of gcloud about one of several workers, those of gcloud and kubectl.
_REASONS = (
    re.compile(r"flan-jax: error: (.*)"),
    re.compile(r"#+ (Command execution on worker .*)\. Continuing"),
    re.compile(r"(error.*)", re.IGNORECASE),
)
_MAX_REASONS = 3
_WAIT_TRIES = 5  # of a command that is repeated anyway
_SLEEP = time.sleep  # tests do not wait


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run."""

    argv: tuple[str, ...]
    why: str
    tries: int = 1  # of one that can be repeated where its connection breaks
    quiet: bool = False  # its output is of no interest unless it fails


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
                output(step.argv, step.why, tries=step.tries, show=not step.quiet)


def wait(step: Wait) -> None:
    """Repeats a command until what it prints says so."""
    end = time.monotonic() + step.timeout_s
    told = None
    while True:
        found = step.lacks(output(step.argv, step.why, tries=_WAIT_TRIES))
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
        tries: how often to try at most, where the connection breaks.
        show: also show what it writes, as it comes.

    Raises:
        UsageError: there is no such program.
        FlanError: it failed, each time.
    """
    for left in reversed(range(tries)):
        code, text, reason = _run(argv, show)
        if code == 0:
            return text
        failure = f"{why}: {argv[0]} ended with code {code}" + (f": {reason}" if reason else "")
        if left and code == _CONNECTION_BROKE:
            duration_s = _RETRY_S * 2 ** (tries - 1 - left)
            say(f"launch: {failure}; again in {duration_s:.0f} s")
            _SLEEP(duration_s)
        else:
            break
    raise errors.FlanError(failure)


def _run(argv: Sequence[str], show: bool) -> tuple[int, str, str]:
    """Returns exit code, standard output, and what all output says of a failure."""
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
    return process.returncode, text, _reason(complaints or text)


def _reason(text: str) -> str:
    """Returns why a program failed, by its output: the lines that say so, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for pattern in _REASONS:
        found = [
            match[match.lastindex or 0] for line in lines if (match := re.match(pattern, line))
        ]
        if found:
            return "; ".join(dict.fromkeys(found[-_MAX_REASONS:]))
    return lines[-1] if lines else ""


def _command_shown(argv: Sequence[str]) -> str:
    """Returns a command for a shell, in lines that are not too long."""
    lines, line = [], ""
    for word in map(_quoted, argv):
        if line and len(line) + len(word) > _WIDTH:
            lines.append(line)
            line = "  "
        line += word if not line.strip() else f" {word}"
    return " \\\n".join([*lines, line])


def _quoted(word: str) -> str:
    """Returns a word as a shell takes it; of an option only the value is quoted, if need be."""
    option = _OPTION.match(word)
    name = option[0] if option else ""
    value = word.removeprefix(name)
    if "'" in value and not set(value) & set('"$`\\!'):
        return f'{name}"{value}"'
    return name + shlex.quote(value)
