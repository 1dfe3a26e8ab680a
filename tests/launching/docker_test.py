# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile passes its linter, and its context has what the package is made of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = ROOT / "launch" / "docker" / "Dockerfile"
LINES = DOCKERFILE.read_text().splitlines()


def lint(path):
    hadolint = Path(sys.executable).with_name("hadolint")
    return subprocess.run([hadolint, "--no-color", path], capture_output=True, text=True)


def test_the_linter_finds_nothing():
    done = lint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (r"FROM python:\S+", "FROM python", "DL3006"),  # no tag
        ("USER 1000", "USER root", "DL3002"),
        ("pip install --no-cache-dir", "pip install", "DL3042"),
    ],
)
def test_the_linter_would_find(tmp_path, old, new, rule):
    worse, found = re.subn(old, new, DOCKERFILE.read_text())
    assert found
    (tmp_path / "Dockerfile").write_text(worse)
    assert rule in lint(tmp_path / "Dockerfile").stdout


def test_each_accelerator_is_an_extra():
    extras = re.findall(r'^    "(\w+)": \["jax\[', (ROOT / "setup.py").read_text(), re.MULTILINE)
    named = re.findall(r"ACCELERATOR=(\w+)", DOCKERFILE.read_text())
    assert set(named) == set(extras) == {"tpu", "gpu"}


def test_the_context_is_what_the_package_is_made_of():
    lines = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines and all((ROOT / name).exists() for name in kept)
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert kept == folders | {"gin", "launch", "setup.py", "README.md", "LICENSE"}


def test_a_container_is_the_command_line():
    assert LINES[-1] == 'ENTRYPOINT ["flan-jax"]'
