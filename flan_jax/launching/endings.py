# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the processes of one job ended: what it means for the job, and which of them was the cause.

When one process dies the others cannot go on and end too, each with a word about the one that it
lost. So a job has as many last words as processes, and only some of them say what happened: those
of a process about itself.
"""

import dataclasses
import re
import signal
from collections.abc import Sequence

from flan_jax.core import errors

DONE, PREEMPTED, CRASHED, USAGE = "done", "preempted", "crashed", "usage"

# How the command line begins its last line, see flan_jax/main.py.
_ERROR, _STOPPED = "flan-jax: error: ", "flan-jax: stopped: "
# How the C++ below jax begins the line with which it aborts a process; a stack trace follows.
_FATAL = re.compile(r"F\d{4} [\d:.]+ +\d+ [\w./]+:\d+\] ")
# A line of a process that begins so is about that process; see parallel/lifeline.py.
_ABOUT = re.compile(r"(?:the other processes gave this one up: )?process (\d+)\b")
# What a user would do next, which is done for them.
_AGAIN = re.compile(r"(;|, and|, then) start the same command again\b.*$")
_MAX_WORDS = 20
# What nothing here can mend: another start would end the same.
_HOPELESS = (errors.EXIT_USAGE, errors.EXIT_DOES_NOT_FIT)
_ASKED = (errors.EXIT_PREEMPTED, -signal.SIGTERM)  # the latter before it had anything to save


class LastWords:
    """What the lines of one process say about its end."""

    def __init__(self):
        self.last = ""  # the last line that is not empty
        self.fatal = ""  # the first one that the runtime aborted with
        self.said: list[str] = []  # what the command line said in the end, and other threads of it

    def add(self, line: str) -> None:
        """Takes the next line."""
        line = line.rstrip()
        if not line:
            return
        self.last = line
        if (fatal := _FATAL.match(line)) is not None:
            self.fatal = self.fatal or line[fatal.end() :]
        for start in (_ERROR, _STOPPED):
            if line.startswith(start) and len(self.said) < _MAX_WORDS:
                self.said.append(_AGAIN.sub("", line.removeprefix(start)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class End:
    """The end of one process."""

    index: int  # its number in the job
    code: int  # exit code; minus the signal's number if one ended it
    time_s: float  # when it was noticed, on any clock that all ends of a job share
    words: LastWords
    killed: bool = False  # by us, as it did not end by itself when others had


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the ends of a job's processes mean together."""

    kind: str  # DONE, PREEMPTED (all was saved), CRASHED, or USAGE (do not start it again)
    cause: str  # in one line; "" if done


def judge(ends: Sequence[End]) -> Verdict:
    """Returns what the ends of all processes of a job here mean."""
    if all(end.code == 0 for end in ends):
        return Verdict(DONE, "")
    first = min(ends, key=lambda end: (_rank(end), not _own(end), end.time_s))
    if any(end.code in _HOPELESS for end in ends):
        kind = USAGE
    elif first.code in _ASKED and not first.killed:
        kind = PREEMPTED
    else:
        kind = CRASHED
    return Verdict(kind, _cause(first, len(ends)))


def _rank(end: End) -> int:
    """Returns how near an end is to the cause, 0 for the nearest."""
    if end.killed:
        return 6
    if end.code in _HOPELESS:
        return 0
    if end.code in _ASKED:
        return 3
    if end.code == 0:
        return 7
    # The runtime aborts a process that has lost another, or that leaves while others do not.
    if end.code < 0 and end.code != -signal.SIGABRT:
        return 1
    if _own(end):
        return 2
    return 5 if end.words.said else 4


def _own(end: End) -> str:
    """Returns what a process said about itself, "" if nothing."""
    for text in end.words.said:
        about = _ABOUT.match(text)
        if about is None or int(about[1]) == end.index:
            return text
    return ""


def _cause(end: End, num: int) -> str:
    name = "the process" if num == 1 else f"process {end.index}"
    said = _own(end) or next(iter(end.words.said), "")
    if said and (end.code > 0 or end.code == -signal.SIGABRT):
        return said if num == 1 or _ABOUT.match(said) else f"{name}: {said}"
    if end.code < 0:
        number = -end.code
        ended = f"{name} was ended by {signal.Signals(number).name}"
        if number in (signal.SIGKILL, signal.SIGTERM):  # it could say nothing about that
            return ended + (" (out of memory?)" if number == signal.SIGKILL else "")
    else:
        ended = f"{name} ended with code {end.code}"
    last = end.words.fatal or end.words.last
    return ended + (f": {last}" if last else "")
