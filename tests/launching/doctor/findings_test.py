# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report, and that no check keeps another from being carried out."""

import importlib
import threading

from flan_jax.launching.doctor import findings
from flan_jax.launching.doctor.findings import Check, Finding, Found, ok, problem, warning


def test_a_check_that_fails_or_hangs_is_a_finding():
    def breaks():
        yield ok("one")
        raise ZeroDivisionError("division\nby zero")

    let_go = threading.Event()
    found = findings.carry_out(
        [
            Check("a", "breaking", breaks),
            Check("a", "hanging", lambda: iter(let_go.wait, None)),
            Check("a", "needy", lambda: importlib.import_module("a_module_of_nobody").all),
            Check("a", "fine", lambda: [ok("two")]),
        ],
        limit_s=0.05,
    )
    let_go.set()
    assert found[0].findings[0] == ok("one")
    assert found[0].findings[1].level == "warning"
    assert "breaking could not be checked: ZeroDivisionError" in found[0].findings[1].text
    assert found[1].findings[0].text == "hanging: no answer within 0.05 s"
    assert found[1].findings[0].level == "problem"
    [needy] = found[2].findings
    assert needy.level == "problem" and "pip install a_module_of_nobody" in needy.remedy
    assert found[3].findings == (ok("two"),)


FOUND = [
    Found(Check("disks", "one", list), (ok("fine"), warning("little\nspace", "make some"))),
    Found(Check("disks", "none", list), ()),
    Found(Check("devices", "two", list), (problem("no TPU", "plug it in"),)),
]


def test_the_report_for_people():
    assert findings.shown(FOUND).splitlines() == [
        "disks",
        "  ok       fine",
        "  warning  little space",
        "           -> make some",
        "",
        "devices",
        "  problem  no TPU",
        "           -> plug it in",
        "",
        "1 problem, 1 warning",
    ]
    assert findings.shown(FOUND[1:2]).splitlines()[-1] == "0 problems, 0 warnings"


def test_the_report_for_programs():
    report = findings.as_json(FOUND)
    assert report["problems"] == report["warnings"] == 1
    assert report["findings"][2] == {
        "group": "devices", "check": "two", "level": "problem", "text": "no TPU",
        "remedy": "plug it in",
    }  # fmt: skip
    assert Finding("ok", "fine") == ok("fine")
