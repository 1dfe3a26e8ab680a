# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""An installed copy is whole, works from any folder, and takes no other package's name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax import config
from flan_jax.launching import shipped

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as `pip install .` lays it out, built without the network."""
    folder = tmp_path_factory.mktemp("package")
    subprocess.run(
        [
            sys.executable, "setup.py", "-q", "build",
            "--build-base", str(folder / "base"), "--build-lib", str(folder / "lib"),
        ],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "lib"


def test_every_data_file_is_installed(installed):
    patterns = ("gin/**/*.gin", "launch/**/*", "tasks/**/*.jsonl", "tasks/**/*.model",
                "flan_jax/**/*.j2", "flan_jax/**/*.csv", "flan_jax/**/*.py",
                "tasks/**/*.py")  # fmt: skip
    for pattern in patterns:
        found = [path.relative_to(ROOT) for path in ROOT.glob(pattern) if path.is_file()]
        assert found or pattern.startswith("flan_jax/**/*.csv"), pattern
        for path in found:
            if path.parts[0] in ("gin", "launch"):
                path = Path("flan_jax", f"{path.parts[0]}_files", *path.parts[1:])
            assert (installed / path).is_file(), path


def test_only_our_names_are_installed(installed):
    assert {path.name for path in installed.iterdir()} == {"flan_jax", "tasks"}


def test_an_installed_copy_finds_its_files_from_any_folder(installed, tmp_path):
    code = (
        "from flan_jax import config; from flan_jax.core import modules; "
        "from flan_jax.launching import shipped; "
        "print(config.gin_root()); print(shipped.folder()); print(shipped.checkout()); "
        "print(config.recipe_file('mini')); "
        "modules.check_tasks_package()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(installed)}, check=True,
    )  # fmt: skip
    folders = [str(installed / "flan_jax" / name) for name in ("gin_files", "launch_files")]
    assert done.stdout.splitlines()[:3] == [*folders, "None"]


def test_a_checkout_finds_its_folders():
    assert config.gin_root() == ROOT / "gin"
    assert (shipped.folder(), shipped.checkout()) == (ROOT / "launch", ROOT)


def test_another_package_called_tasks_is_refused(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("")
    code = "from flan_jax.core import modules; modules.import_tasks('tasks.mixtures', 'a test')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "rename the other one" in done.stderr
