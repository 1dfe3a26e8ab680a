# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of the layout, read from the source: imports point down, files stay small and named."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*(ROOT / "flan_jax").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*_test.py"))
MAX_LINES = 500

# A module may import modules of a lower level, or of its own folder. The longest prefix counts.
LEVELS = {
    "flan_jax.core": 0,
    "flan_jax.configuration": 1,
    "flan_jax.paper": 1,
    "flan_jax.parallel": 1,
    "flan_jax.models": 2,
    "flan_jax.evals.metrics": 2,
    "flan_jax.evals.answers": 2,
    "flan_jax.evals.answer_cues": 2,
    "flan_jax.evals.answer_numbers": 2,
    "flan_jax.collection": 2,
    "flan_jax.convert": 3,
    "flan_jax.data": 3,
    "flan_jax.inference": 3,
    "flan_jax.training": 4,
    "flan_jax.evals": 4,
    "flan_jax.aot": 5,
    "flan_jax.asking": 5,
    "flan_jax.formats": 5,
    "flan_jax.scaling": 6,
    "tasks": 5,
    "flan_jax.jobs": 6,
    "flan_jax.serving": 6,
    "flan_jax.predicting": 6,
    "flan_jax.prediction_jobs": 6,
    "flan_jax.benchmark_jobs": 6,
    "flan_jax.harness": 7,
    "flan_jax.config": 7,
    "flan_jax.launching": 8,
    "flan_jax.sweeps": 8,
    "flan_jax.sweep_jobs": 8,
    "flan_jax.sweep_points": 8,
    "flan_jax.sweep_runs": 8,
    "flan_jax.sweep_plans": 8,
    "flan_jax.reporting": 8,
    "flan_jax.commands": 9,
    "flan_jax.main": 10,
    "flan_jax.__main__": 11,
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def level(module: str) -> int | None:
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in LEVELS:
            return LEVELS[".".join(parts[:end])]
    return None


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def ours(path: Path) -> set[str]:
    modules = {module_name(p) for p in SOURCES}
    return {m for m in imports_of(path) if m in modules and m != "flan_jax"}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_down(path):
    name = module_name(path)
    own = level(name)
    if name == "flan_jax":
        assert not ours(path)
        return
    assert own is not None, f"{name} has no level; add it to LEVELS"
    folder = name.rsplit(".", 1)[0]
    for other in ours(path):
        if other.rsplit(".", 1)[0] == folder or other == folder or other.startswith(f"{name}."):
            continue
        if name.startswith("tasks.") and other.startswith("tasks"):
            continue
        assert level(other) < own, f"{name} (level {own}) imports {other} (level {level(other)})"


def test_no_import_cycles():
    graph = {module_name(p): ours(p) for p in SOURCES}
    done: set[str] = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in graph[name]:
                visit(other, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_library_never_imports_tasks():
    for path in (ROOT / "flan_jax").rglob("*.py"):
        assert not {m for m in imports_of(path) if m.split(".")[0] == "tasks"}, path


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("gin", {"flan_jax.config", "flan_jax.configuration"}),
        ("flax", {"flan_jax.models", "flan_jax.training.state"}),
        ("grain", {"flan_jax.data.loader"}),
        (
            "orbax",
            {
                "flan_jax.training.checkpoints",
                "flan_jax.training.params_files",
                "flan_jax.training.save_manager",
            },
        ),
    ],
)
def test_third_party_stays_behind_its_module(package, allowed):
    for path in SOURCES:
        name = module_name(path)
        if any(m.split(".")[0] == package for m in imports_of(path)):
            assert any(name == a or name.startswith(f"{a}.") for a in allowed), name


def test_collection_and_data_do_not_use_jax():
    for path in SOURCES:
        if module_name(path).startswith(("flan_jax.collection", "flan_jax.data", "tasks")):
            assert not {m for m in imports_of(path) if m.split(".")[0] in ("jax", "jaxlib")}, path


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_small_described_and_well_named(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES, f"{path} has more than {MAX_LINES} lines"
    assert ast.get_docstring(ast.parse(text)), f"{path} has no module docstring"
    assert text.startswith("# Copyright 2026 The flan_jax Authors.\n# SPDX-License-Identifier: ")
    assert path.stem not in {"utils", "util", "helpers", "helper", "misc", "common"}


def test_gin_folder_is_no_package():
    assert not (ROOT / "gin" / "__init__.py").exists(), "it would shadow gin-config"


def test_tests_mirror_the_source():
    folders = {p.parent.relative_to(ROOT / "tests") for p in TESTS}
    for folder in folders - {Path(".")}:
        source = ROOT / folder if folder.parts[0] == "tasks" else ROOT / "flan_jax" / folder
        assert source.is_dir(), f"tests/{folder} has no source folder"


@pytest.mark.parametrize("command", ["flan_jax.main", "flan_jax.core.progress"])
def test_help_imports_nothing_heavy(command):
    code = (
        f"import sys, {command}; "
        "heavy = {'jax', 'tensorflow', 'flax', 'grain', 'seqio', 'orbax', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "[]"
