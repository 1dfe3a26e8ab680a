# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Errors a user may meet, and the exit code that each one ends a command with.

Code that finds a user's mistake raises one of these with a message in three parts: what is wrong,
the value and where it came from, what to do. The command line prints that message as one line.
Anything else that escapes is a defect of ours and keeps its stack trace.
"""

import difflib
import traceback
from collections.abc import Iterable

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DOES_NOT_FIT = 3
EXIT_INCOMPLETE = 4
EXIT_PREEMPTED = 75
EXIT_INTERRUPTED = 130  # by Ctrl-C, as shells have it

EXIT_CODES = {
    EXIT_OK: "done",
    EXIT_FAILED: "failed",
    EXIT_USAGE: "wrong usage or configuration",
    EXIT_DOES_NOT_FIT: "does not fit in memory",
    EXIT_INCOMPLETE: "incomplete: some members or runs failed, the rest is done",
    EXIT_PREEMPTED: "preempted and saved: restart me",
}


class FlanError(Exception):
    """A failure with a message for the user; the command exits with `exit_code`."""

    exit_code = EXIT_FAILED


class UsageError(FlanError, ValueError):
    """Wrong usage or configuration: the user can fix it and try again."""

    exit_code = EXIT_USAGE


class DataError(FlanError, ValueError):
    """Input data is malformed; the message names file, line and what is wrong."""


class DoesNotFitError(FlanError):
    """A program needs more memory than its devices have."""

    exit_code = EXIT_DOES_NOT_FIT


class IncompleteError(FlanError):
    """Some members or runs failed while the rest is done."""

    exit_code = EXIT_INCOMPLETE


class PreemptedError(BaseException):
    """Asked to stop (SIGTERM); what was finished is kept and a restart continues from it.

    Like `KeyboardInterrupt` it is no `Exception`: whoever catches those must not go on working.
    """

    exit_code = EXIT_PREEMPTED


def ending(error: BaseException) -> tuple[str, int]:
    """Returns what to tell of an error that ends a command, in one line, and the exit code.

    Args:
        error: one of this module's, a `KeyboardInterrupt` or an `OSError`.

    Example:
        >>> ending(UsageError("no zone; give --zone ZONE"))
        ('flan-jax: error: no zone; give --zone ZONE', 2)
    """
    if isinstance(error, KeyboardInterrupt):
        return "flan-jax: interrupted; what was finished is kept", EXIT_INTERRUPTED
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"flan-jax: error: {error.strerror or error}{where}", EXIT_FAILED
    kind = "stopped" if isinstance(error, PreemptedError) else "error"
    return f"flan-jax: {kind}: {error}", error.exit_code


def closest(name: str, known: Iterable[str], num: int = 3) -> list[str]:
    """Returns up to `num` known names nearest to `name`, best first.

    A name that contains `name`, or that `name` contains, counts as near even when its spelling
    differs a lot in length (`cot` finds `flan_cot`).
    """
    known = sorted(set(known))
    lowered = {candidate.lower(): candidate for candidate in reversed(known)}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=num, cutoff=0.5)
    inside = [k for k in lowered if name.lower() in k or k in name.lower()] if name else []
    return [lowered[k] for k in dict.fromkeys([*near, *sorted(inside, key=len)])][:num]


def in_words(error: BaseException) -> str:
    """Returns what an error of a user's code is, with its place and the notes it was given."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    notes = "".join(f", {note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error} (at {frame.filename}:{frame.lineno}{notes})"


def unknown_name(
    kind: str, name: str, known: Iterable[str], remedy: str = "", *, place: object = None
) -> UsageError:
    """Returns the error for a name that is not among the `known` ones of this `kind`.

    Args:
        kind: what it should be a name of.
        name: the name given.
        known: the names there are; the closest three are named.
        remedy: what else to say, at the end.
        place: where the name was given, to begin with; such as `run.gin:3`.

    Example:
        >>> print(unknown_name("mixture", "flam2022", ["flan2022", "cot"]))
        unknown mixture 'flam2022'; did you mean 'flan2022'?
    """
    known = sorted(set(known))
    near = closest(name, known)
    if near:
        hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
    elif known:
        shown = known[:10]
        hint = "known: " + ", ".join(shown) + (", ..." if len(known) > len(shown) else "")
    else:
        hint = "none is known"
    before, after = f"{place}: " if place else "", f" {remedy}" if remedy else ""
    return UsageError(f"{before}unknown {kind} {name!r}; {hint}{after}")
