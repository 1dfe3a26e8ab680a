# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A plan is shown as a shell takes it, and a step that fails says which and why."""

import subprocess
import sys

import pytest

from flan_jax.core import errors
from flan_jax.launching import plan as plans
from flan_jax.launching.plan import Command, Plan, Wait, WriteFile


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that would have been waited."""
    found = []
    monkeypatch.setattr(plans, "_SLEEP", found.append)
    return found


def python(code, **fields):
    return Command(argv=(sys.executable, "-c", code), why="try python", **fields)


_WORDS = ("word $x 'y'", "--command=it's", "--a=b c", "--a=", '"', "!'", "`'", "\\'", "-x=y z")


def test_an_option_is_quoted_as_people_do():
    argv = ("gcloud", "--command=bash it 'a b'", "--zone=us", "--why=b c")
    plan = Plan(steps=(Command(argv=argv, why="say"),))
    shown = plans.shown(plan).splitlines()[1]
    assert shown == """gcloud --command="bash it 'a b'" --zone=us --why='b c'"""


def test_what_is_shown_is_what_a_shell_runs(tmp_path):
    path = tmp_path / "a file"
    plan = Plan(
        steps=(
            WriteFile(path=str(path), text="it's $HOME\n`x`\n", why="write"),
            Command(argv=("printf", r"%s\n", *_WORDS * 9), why="say"),
        ),
        notes=("a note",),
    )
    text = plans.shown(plan)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert path.read_text() == "it's $HOME\n`x`\n"
    assert done.stdout == "".join(f"{word}\n" for word in _WORDS * 9)
    assert max(map(len, text.splitlines())) <= 100
    assert text.splitlines()[0] == "# 1. write"
    assert text.splitlines()[-1] == "# a note"


def test_a_plan_is_carried_out_in_order(tmp_path, capfd):
    path = tmp_path / "new" / "file"
    read = f"print(open({str(path)!r}).read())"
    plan = Plan(steps=(WriteFile(path=str(path), text="there", why="write"), python(read)))
    plans.run(plan)
    out, err = capfd.readouterr()
    assert out == "there\n"
    assert err == "launch: 1 of 2: write\nlaunch: 2 of 2: try python\n"
    plans.run(Plan(steps=(python("print('nobody reads this')", quiet=True),)))
    assert capfd.readouterr().out == ""


def test_a_failing_command_is_named_with_its_last_line(tmp_path):
    never = WriteFile(path=str(tmp_path / "never"), text="", why="never")
    fail = python("import sys; print('first'); sys.exit('no quota\\n')")
    with pytest.raises(errors.FlanError, match="^try python: .*python.* ended with code 1: no quo"):
        plans.run(Plan(steps=(fail, never)))
    assert not (tmp_path / "never").exists()


def test_a_broken_connection_is_tried_again(tmp_path, waits):
    count = tmp_path / "count"
    code = (
        f"import pathlib, sys; p = pathlib.Path({str(count)!r}); "
        "n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1)); "
        "sys.exit(255 if n < 2 else 0)"
    )
    plans.run(Plan(steps=(python(code, tries=3),)))
    assert count.read_text() == "xxx"
    assert waits == [10, 20]
    count.unlink()
    with pytest.raises(errors.FlanError, match="code 255"):
        plans.run(Plan(steps=(python(code, tries=2),)))


def test_another_failure_is_not_tried_again(waits):
    with pytest.raises(errors.FlanError, match="code 1$"):
        plans.run(Plan(steps=(python("import sys; sys.exit(1)", tries=3),)))
    assert waits == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Creating...", "ERROR: (gcloud) NOT_FOUND: none", "- '@type': y"], "ERROR: .*none"),
        (["##### Command execution on worker 2 failed with exit status 1. Continuing.", "ERROR: x"],
         "Command execution on worker 2 failed with exit status 1"),
        (["flan-jax: error: worker 1: no pip", "ERROR: x", "flan-jax: error: worker 3: no"],
         "worker 1: no pip; worker 3: no"),
        (["one", "two", ""], "two"),
    ],
)  # fmt: skip
def test_the_lines_that_say_why_are_shown(lines, expected):
    code = f"import sys; print(chr(10).join({lines!r})); sys.exit(1)"
    with pytest.raises(errors.FlanError, match=f"code 1: {expected}$"):
        plans.run(Plan(steps=(python(code, quiet=True),)))


def test_a_program_that_is_not_there():
    with pytest.raises(errors.UsageError, match="no-such-program is not installed"):
        plans.output(("no-such-program",), "try")


def test_waiting_until_it_is_so(waits, capfd):
    states = iter(["WAITING", "WAITING", "PROVISIONING", None])
    argv = (sys.executable, "-c", "print('state')")
    plans.wait(Wait(argv=argv, why="wait", lacks=lambda text: next(states), period_s=7))
    assert waits == [7, 7, 7]
    assert capfd.readouterr().err == "launch: WAITING\nlaunch: PROVISIONING\n"


def test_waiting_ends(waits):
    step = Wait(argv=("true",), why="wait for it", lacks=lambda _: "QUEUED", timeout_s=-1)
    with pytest.raises(errors.FlanError, match="wait for it: not within -1 s; it is: QUEUED"):
        plans.wait(step)
