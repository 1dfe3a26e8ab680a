# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table goes on where it was stopped, and docs/what_fits.md and recipes show what is kept."""

import re
from pathlib import Path

import pytest

from flan_jax import config
from flan_jax.aot import slices, what_fits
from flan_jax.aot.what_fits import Cell
from flan_jax.core import errors
from tests.aot.cases import report_of, tiny_case

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = f"# Title\n\nText.\n\n{what_fits.BEGIN}\nold\n{what_fits.END}\n\nMore.\n"
GRID = (
    Cell(recipe="tiny", slice="v4-8"),
    Cell(recipe="tiny", slice="v5litepod-4"),
    Cell(recipe="tiny", slice="v4-8", effort="quick"),
)


def case_of(recipe, slice_name, num_slices):
    assert recipe == "tiny"
    return tiny_case(slice_name, num_slices)


class Compiler:
    """Gives a report of 20 GiB for each case, and fails where it is told to."""

    def __init__(self, fails_on=None):
        self.calls, self._fails_on = [], fails_on

    def __call__(self, case, *, effort):
        if case.slice.name == self._fails_on:
            raise errors.FlanError("the TPU compiler crashed")
        self.calls.append((case.slice.name, effort))
        return report_of(case, effort, gib=20)


def test_the_table_is_written_between_its_marks_and_goes_on(tmp_path):
    page = tmp_path / "what_fits.md"
    page.write_text(PAGE)
    first = Compiler(fails_on="v5litepod-4")
    with pytest.raises(errors.IncompleteError, match="1 cells failed, first tiny on v5litepod-4"):
        what_fits.make(str(tmp_path), case_of, first, GRID)
    assert first.calls == [("v4-8", "memory"), ("v4-8", "quick")]
    second = Compiler()
    what_fits.make(str(tmp_path), case_of, second, GRID)
    assert second.calls == [("v5litepod-4", "memory")]
    text = page.read_text()
    assert text.startswith("# Title\n\nText.\n\n") and text.endswith("\n\nMore.\n")
    assert "old" not in text
    layout = "4 | 4 x 1 | none, replicated"
    assert f"| tiny | v4-8 | {layout} | yes | 20.00 GiB | 30.75 GiB | 1.00 s |" in text
    assert f"| tiny | v5litepod-4 | {layout} | **no** | 20.00 GiB | 15.75 GiB |  |" in text
    tight = report_of(case_of("tiny", "v4-8", 1), "memory", gib=30)
    assert "| tight | 30.00 GiB | 30.75 GiB |" in what_fits.row(tight)
    what_fits.make(str(tmp_path), case_of, Compiler(), GRID[:1])
    assert [report.slice for report in what_fits.read(tmp_path)] == ["v4-8"]


def test_a_page_without_marks_is_refused(tmp_path):
    with pytest.raises(errors.UsageError, match=r"what_fits.md must be there, with the lines"):
        what_fits.make(str(tmp_path), case_of, Compiler(), GRID)


def test_the_page_shows_the_results_that_are_kept():
    page = (ROOT / "docs" / what_fits.PAGE).read_text(encoding="utf-8")
    page = page.split(what_fits.BEGIN)[1].split(what_fits.END)[0]
    reports = what_fits.read(ROOT / "docs")
    assert reports
    for report in reports:
        assert what_fits.row(report) in page
    rows = [line for line in page.splitlines() if line.startswith("| ") and " GiB |" in line]
    assert len(rows) == len(reports)


def test_every_cell_has_a_recipe_and_a_slice():
    assert len(set(what_fits.GRID)) == len(what_fits.GRID)
    for cell in what_fits.GRID:
        assert cell.recipe in config.recipes()
        slices.find(cell.slice, cell.num_slices)


def test_what_recipes_say_of_memory_is_in_the_table():
    recipes: dict[str, set[str]] = {}
    for report in what_fits.read(ROOT / "docs"):
        if report.fits:
            recipes.setdefault(what_fits.header(report), set()).add(report.name)
    found = 0
    for path in sorted((ROOT / "gin" / "recipes").glob("flan_*.gin")):
        text = path.read_text(encoding="utf-8")
        for line in re.findall(r"^# HBM a device.*$", text, re.MULTILINE):
            # cont-PaLM 62B is PaLM 62B by another start.
            assert path.stem.replace("cont_", "") in recipes.get(line, ()), f"{path.name}: {line}"
            slice_name = re.search(r" on ([\w-]+),", line)[1]
            assert re.search(rf"^# Hardware: TPU {slice_name}\b", text, re.MULTILINE), path.name
            found += 1
    assert found
