# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table "what fits where" of docs/what_fits.md: recipes on the slices around their limit.

Each cell is a compilation. They are kept in what_fits.json as they come, under keys that hold
configuration and versions, so an interrupted table goes on and a changed recipe is made anew. The
code of model and step is not in the keys: delete the file after a change of these.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from flan_jax.aot import results
from flan_jax.aot.compiling import MEMORY, Case, Report
from flan_jax.aot.plans import has_room
from flan_jax.aot.results import CompileStep, Results, gib
from flan_jax.aot.slices import find
from flan_jax.core import errors, files
from flan_jax.core.progress import say

RESULTS, PAGE = "what_fits.json", "what_fits.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """A recipe on a slice, laid out as the recipe says."""

    recipe: str
    slice: str
    num_slices: int = 1
    effort: str = MEMORY


def _cells(recipe: str, *slices: str, **others) -> list[Cell]:
    return [Cell(recipe=recipe, slice=name, **others) for name in slices]


GRID = (
    *_cells("flan_palm_540b", "v4-1024", "v4-512", "v4-256", "v5litepod-256", "v5p-256"),
    *_cells("flan_palm_540b", "v5p-128", "v6e-256"),
    *_cells("flan_u_palm_540b", "v4-1024"),
    *_cells("flan_palm_62b", "v4-128", "v4-64", "v4-32", "v5litepod-128", "v5litepod-64"),
    *_cells("flan_palm_62b", "v5p-32", "v6e-64", "v6e-32"),
    *_cells("flan_palm_8b", "v4-32", "v4-16", "v4-8", "v5litepod-32", "v5litepod-16"),
    *_cells("flan_palm_8b", "v5litepod-8", "v5p-8", "v6e-8"),
    *_cells("flan_t5_xxl", "v4-32", "v4-16", "v5litepod-32", "v5litepod-16", "v3-64", "v3-32"),
    *_cells("flan_t5_xxl", "v5p-8", "v6e-16", "v6e-8"),
    *_cells("flan_t5_xl", "v4-32", "v4-16", "v4-8", "v5litepod-32", "v5litepod-16", "v3-32"),
    *_cells("flan_t5_xl", "v5p-8", "v6e-8"),
    *_cells("flan_t5_large", "v4-16", "v4-8", "v5litepod-16", "v5litepod-8", "v3-32", "v6e-4"),
    *_cells("flan_t5_base", "v4-8", "v5litepod-8", "v5litepod-4", "v3-8", "v6e-4"),
    *_cells("flan_t5_small", "v4-8", "v5litepod-4", "v5litepod-1", "v3-8", "v2-8", "v6e-1"),
    *_cells("flan_t5_xxl", "v5litepod-16", num_slices=2),
    # The decisive ones whole.
    *_cells("flan_t5_xxl", "v5litepod-32", "v4-32", effort="quick"),
    *_cells("flan_palm_540b", "v4-1024", effort="quick"),
    *_cells("flan_t5_xxl", "v4-32", effort="default"),
    *_cells("flan_t5_xxl", "tpu7x-8"),
)


CaseOf = Callable[[str, str, int], Case]  # recipe, slice, number of slices


def make(
    folder: str,
    case_of: CaseOf,
    compile_step: CompileStep,
    grid: tuple[Cell, ...] = GRID,
) -> None:
    """Compiles the cells that are not known and writes results and table.

    Args:
        folder: where what_fits.json and what_fits.md are; the page must have the marks that the
            table stands between.
        case_of: gives the case of a recipe on so many slices of a name.
        compile_step: as for `Results`.
        grid: the cells.

    Raises:
        IncompleteError: the compiler crashed on some cells; the others are there.
    """
    page = Path(folder, PAGE)
    _parts(page)
    kept = Results(str(Path(folder, RESULTS)), compile_step)
    cases = [(cell, case_of(cell.recipe, cell.slice, cell.num_slices)) for cell in grid]
    names = [results.key(case, cell.effort) for cell, case in cases]
    failed = []
    for number, (cell, case) in enumerate(cases, start=1):
        say(f"compile: {number} of {len(grid)}: {cell.recipe} on {case.slice.shown}")
        try:
            kept.run(case, cell.effort)
        except errors.UsageError:
            raise
        except errors.FlanError as error:  # a crash of the compiler is no news of the next cell
            say(f"compile: {error}")
            failed.append(f"{cell.recipe} on {case.slice.shown}")
        else:
            before, after = _parts(page)  # it may have been edited meanwhile
            rows = table([report for name in names if (report := kept.known(name))])
            with files.atomic_open(page) as file:
                file.write(f"{before}{BEGIN}\n\n{rows}\n{END}{after}")
    kept.keep_only(names)
    if failed:
        raise errors.IncompleteError(f"{len(failed)} cells failed, first {failed[0]}")


def _parts(page: Path) -> tuple[str, str]:
    """Returns what stands on a page before and after the table."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise errors.UsageError(f"{page} must be there, with the lines {BEGIN!r} and {END!r}")
    return text.split(BEGIN)[0], text.split(END)[1]


def table(reports: list[Report]) -> str:
    """Returns the cells as tables of Markdown, those of each effort apart, with the versions."""
    parts = []
    for effort, title in (
        (MEMORY, "What is needed, by `--effort memory`."),
        ("quick", "Compiled, in quick mode."),
        ("default", "Compiled with default effort, as when training."),
    ):
        rows = [row(report) for report in reports if report.effort == effort]
        if rows:
            parts.append("\n".join([title, "", _HEADING, *rows, ""]))
    versions = {", ".join(f"{k} {v}" for k, v in r.versions.items()) for r in reports}
    return "\n".join([*parts, f"Made with {' and '.join(sorted(versions))}.", ""])


def header(report: Report) -> str:
    """Returns what the head of a recipe says of memory."""
    return (
        f"# HBM a device: {gib(report.peak_bytes)} of {gib(report.limit_bytes)} on {report.slice}, "
        "by the compiler"
    )


def read(folder: str | Path) -> list[Report]:
    """Returns the reports of a folder's what_fits.json."""
    return [results.from_json(v) for v in files.read_json(Path(folder, RESULTS)).values()]


_HEADING = (
    "| recipe | slice | devices | data x model | remat, rules | fits | peak a device | of | "
    "step, estimated |\n|---|---|---:|---:|---|---|---:|---:|---:|"
)


def row(report: Report) -> str:
    """Returns a report's row of the table."""
    return "| " + " | ".join(_columns(report)) + " |"


def _columns(report: Report) -> Iterator[str]:
    yield report.name
    yield find(report.slice, report.num_slices).shown
    yield str(report.num_devices)
    yield f"{report.mesh['data']} x {report.mesh['model']}"
    parts = "" if report.num_microbatches == 1 else f", {report.num_microbatches} microbatches"
    yield f"{report.remat_policy}, {report.rules}{parts}"
    yield ("yes" if has_room(report) else "tight") if report.fits else "**no**"
    yield gib(report.peak_bytes) if report.fits else gib(report.needed_bytes)
    yield gib(report.limit_bytes)
    yield f"{report.estimate.step_s:.2f} s" if report.estimate else ""
