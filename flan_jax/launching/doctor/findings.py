# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a check found, carrying out checks, and the report for people and for programs.

A check is a function without arguments that returns findings; what it reads was given to it, so
that each is tried on environments that are not there. None can end the others: one that fails is a
finding itself.
"""

import dataclasses
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

_LIMIT_S = 120.0  # of a check; starting a TPU has a shorter one of its own

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is so, and what to do if it should not be."""

    level: str  # OK; WARNING: it may be meant so; PROBLEM: something will fail
    text: str
    remedy: str = ""


@dataclasses.dataclass(frozen=True)
class Check:
    """Something to look at."""

    group: str  # the heading it stands under
    name: str
    find: Callable[[], Iterable[Finding]]


@dataclasses.dataclass(frozen=True)
class Found:
    """The findings of one check."""

    check: Check
    findings: tuple[Finding, ...]


def ok(text: str) -> Finding:
    """Returns that all is well."""
    return Finding(OK, text)


def warning(text: str, remedy: str) -> Finding:
    """Returns that something may be wrong, or was meant so."""
    return Finding(WARNING, text, remedy)


def problem(text: str, remedy: str) -> Finding:
    """Returns that something is wrong."""
    return Finding(PROBLEM, text, remedy)


def carry_out(checks: Iterable[Check], limit_s: float = _LIMIT_S) -> list[Found]:
    """Carries out all checks; one that does not end in time (a dead mount) is left behind."""
    return [Found(check, _of(check, limit_s)) for check in checks]


def _of(check: Check, limit_s: float) -> tuple[Finding, ...]:
    findings: list[Finding] = []

    def find() -> None:
        try:
            findings.extend(check.find())
        except ModuleNotFoundError as error:
            findings.append(
                problem(
                    f"{check.name} could not be checked: the module {error.name!r} is missing",
                    f"pip install flan_jax, with all that it needs; else pip install {error.name}",
                )
            )
        except Exception as error:  # noqa: BLE001 - what this machine lacks may be anything
            reason = f"{type(error).__name__}: {error}"
            findings.append(
                warning(f"{check.name} could not be checked: {reason}", "look at it by hand")
            )

    thread = threading.Thread(target=find, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        return (
            *findings,
            problem(f"{check.name}: no answer within {limit_s:g} s", "see what keeps it there"),
        )
    return tuple(findings)


def count(found: Sequence[Found], level: str) -> int:
    """Returns how many findings are of this level."""
    return sum(finding.level == level for each in found for finding in each.findings)


def shown(found: Sequence[Found]) -> str:
    """Returns the report for people: a line a finding, under the headings of the groups."""
    lines, group = [], None
    for each in found:
        if each.check.group != group:
            group = each.check.group
            lines += [group] if not lines else ["", group]
        for finding in each.findings:
            lines.append(f"  {finding.level:<8} {_one_line(finding.text)}")
            if finding.remedy:
                lines.append(f"           -> {_one_line(finding.remedy)}")
    lines += ["", f"{_number(found, PROBLEM)}, {_number(found, WARNING)}"]
    return "\n".join(lines)


def as_json(found: Sequence[Found]) -> dict[str, Any]:
    """Returns the report for programs, as JSON values."""
    rows = [
        {"group": each.check.group, "check": each.check.name, **dataclasses.asdict(finding)}
        for each in found
        for finding in each.findings
    ]
    return {
        "findings": rows,
        "problems": count(found, PROBLEM),
        "warnings": count(found, WARNING),
    }


def _number(found: Sequence[Found], level: str) -> str:
    number = count(found, level)
    return f"{number} {level}" + ("" if number == 1 else "s")


def _one_line(text: str) -> str:
    return " ".join(text.split())
