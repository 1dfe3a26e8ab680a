# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Program synthesis: code repair and contest problems out of files, and their twins."""

import pytest

from flan_jax.collection import registry, spec
from flan_jax.collection.rendering import Dropped, Rendered, render_task
from flan_jax.core.errors import UsageError
from tasks import paper
from tasks.program_synthesis import tasks as programs
from tests.tasks.family_data import write_lines
from tests.tasks.family_rendering import assert_registered, assert_renders, first_prompt

NAMES = (*(f"dr_repair_{form}" for form in programs.REPAIR_FORMS), "dmcc_python")
SLOTS = ("question", "answer")


def repair_line(i):
    return f"int f{i}()\\n  retrn {i};\\n\tint f{i}()\\n  return {i};\\n\n"


def contest_row(i):
    return {
        "inputs": f"[code]Read a number and print it plus {i}.[BEGIN]",
        "targets": f"  \nn = int(input())\nif n:\n  print(n + {i})[DONE]\n\n\n\n",
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The five files."""
    monkeypatch.setenv(programs.VARIABLE, str(tmp_path))
    for form in programs.REPAIR_FORMS:
        path = tmp_path / f"dr_repair_{form}.tsv"
        path.write_text("".join(repair_line(i) for i in range(20)))
    write_lines(tmp_path / "dmcc_python.jsonl", map(contest_row, range(20)))
    return tmp_path


def task(name):
    return registry.get_spec(f"program_synthesis.{name}")


def test_five_tasks_and_their_twins_are_registered():
    assert_registered("program_synthesis", NAMES, programs.register)


def test_twins_have_three_tenths_of_their_tasks_rate(folder):
    rates = registry.mixture_members("program_synthesis")
    for name in NAMES:
        assert rates[f"program_synthesis.{name}"] == pytest.approx(1 / 6.5)
        twin = rates[f"program_synthesis.{name}_input_inversion"]
        assert twin == pytest.approx(paper.INVERTED_RATE / 6.5)


@pytest.mark.parametrize("name", NAMES)
def test_every_template_and_setting_renders(folder, name):
    for r in assert_renders(task(name), SLOTS):
        assert r.targets not in r.inputs
    for r in assert_renders(task(f"{name}_input_inversion"), SLOTS):
        assert r.targets not in r.inputs


def test_golden_repair_prompt_and_its_twin(folder):
    assert first_prompt(task("dr_repair_plain_code")) == (
        "Code repair: given a piece of a program that does not work, produce the piece as it should"
        " be.\n\nint f12()\n  retrn 12;",
        "int f12()\n  return 12;",
    )
    assert first_prompt(task("dr_repair_plain_code_input_inversion")) == (
        "Bug injection: given code that is correct, produce the same code with a mistake such as"
        " programmers make.\n\nint f12()\n  return 12;",
        "int f12()\n  retrn 12;",
    )


def test_golden_contest_prompt_and_its_twin(folder):
    assert first_prompt(task("dmcc_python")) == (
        "Read a number and print it plus 3.\n\n"
        "Write a Python program that solves the problem above.",
        "n = int(input())\nif n:\n  print(n + 3)",
    )
    assert first_prompt(task("dmcc_python_input_inversion")) == (
        "You set problems for contests, and this is your reference solution: n = int(input())\n"
        "if n:\n  print(n + 3)\n\nNow write the problem.",
        "Read a number and print it plus 3.",
    )


def test_contest_marks_and_line_breaks_go_and_the_rest_stays():
    fields = programs.contest(
        {"inputs": "Sum [code] of two.", "targets": "\n  x = 1\n  y = 2\n\n\n\n"}
    )
    assert fields == {"question": "Sum [code] of two.", "answer": "  x = 1\n  y = 2"}
    assert programs.contest(contest_row(3)) == {
        "question": "Read a number and print it plus 3.",
        "answer": "n = int(input())\nif n:\n  print(n + 3)",
    }


def test_validation_shares_no_program_and_no_problem_with_train(folder):
    lines = [f"broken {i}\\n\tfixed {i % 50}\n" for i in range(200)]
    (folder / "dr_repair_no_errors.tsv").write_text("".join(lines))
    rows = [{"inputs": f"problem {i % 50}", "targets": f"program {i}"} for i in range(200)]
    write_lines(folder / "dmcc_python.jsonl", rows)
    for name, column in (("dr_repair_no_errors", "fixed"), ("dmcc_python", "inputs")):
        train, held = ([row[column] for _, row in task(name).source.rows(s)] for s in spec.SPLITS)
        assert (len(train), len(held)) == (180, 20) and not set(train) & set(held)


def test_bad_rows_are_counted_with_their_reasons(folder):
    path = folder / "dr_repair_error_comments.tsv"
    path.write_text(
        path.read_text() + "one column\nsame\tsame\\n\n\tfixed\nbroken\t \nputs(\\d)\ta\n"
    )
    assert reasons("dr_repair_error_comments") == [
        "broken and fixed code are the same",
        "empty answer",
        "empty question",
        "malformed: a backslash that begins none of \\n \\t \\r \\\\",
        "malformed: need 2 columns between tabs",
    ]
    path = folder / "dmcc_python.jsonl"
    path.write_text(path.read_text() + '{"inputs": "[code][BEGIN]", "targets": "a"}\n{\n')
    assert reasons("dmcc_python") == ["empty question", "malformed: not valid JSON"]


def reasons(name):
    results = [r for s in spec.SPLITS for r in render_task(task(name), s, 0)]
    assert sum(isinstance(r, Rendered) for r in results) == 20
    return sorted(r.reason for r in results if isinstance(r, Dropped))


def test_what_is_missing_is_told_with_its_remedy(folder, monkeypatch):
    (folder / "dmcc_python.jsonl").unlink()
    with pytest.raises(UsageError, match="2 of the 10 tasks.*dmcc_python.jsonl does not exist"):
        registry.mixture_members("program_synthesis")
    monkeypatch.delenv(programs.VARIABLE)
    with pytest.raises(UsageError, match="FLAN_JAX_PROGRAM_DIR names, which is not set; set it"):
        list(render_task(task("dr_repair_plain_code"), "train", 0))
