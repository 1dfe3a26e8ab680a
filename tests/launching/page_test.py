# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""launch/README.md: its commands exist, its output is real, its estimates follow."""

import json
import re
import shlex

import pytest

from flan_jax import main
from flan_jax.aot import slices
from flan_jax.core import errors
from flan_jax.launching import shipped
from tests.launching import goldens
from tests.launching.fake_gcloud import FakeGcloud

PAGE = shipped.folder() / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.S)).replace("\\\n", " ")
LAUNCHES = [line for line in BLOCKS.splitlines() if line.startswith("flan-jax launch")]
STEPS, MFU = 38000, 0.4


@pytest.fixture(autouse=True)
def in_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(shipped.checkout())
    FakeGcloud(tmp_path, monkeypatch)  # and this Python is first on PATH


def test_the_dry_run_is_real(monkeypatch, capsys):
    goldens.check_page(PAGE, monkeypatch, capsys)


@pytest.mark.parametrize("command", LAUNCHES)
def test_every_launch_is_possible(command, monkeypatch, capsys):
    goldens.keep_environment(monkeypatch)
    words = [word for word in shlex.split(command)[1:] if word not in ("--no_compile", "--dry_run")]
    assert main.main([*words, "--no_compile", "--dry_run"]) == errors.EXIT_OK


def test_estimates_follow_from_what_was_compiled():
    compiled = json.loads((shipped.checkout() / "docs" / "what_fits.json").read_text())
    reports = {r["slice"]: r for r in compiled.values() if r["name"] == "flan_t5_xl"}
    rows = re.findall(r"^\| (v\S+) \| (\d+) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", TEXT, re.M)
    assert len(rows) == 5
    for name, chips, memory, step_s, hours, chip_hours in rows:
        found, report = slices.find(name), reports[name]
        duration_s = report["model_flops"] / (found.generation.peak_flops * found.num_devices * MFU)
        gib = [report[key] / 2**30 for key in ("peak_bytes", "limit_bytes")]
        assert memory == f"{gib[0]:.2f} of {gib[1]:.2f} GiB"
        assert step_s == f"{duration_s:.2f}"
        assert hours == f"{duration_s * STEPS / 3600:.1f}"
        assert chip_hours == f"{duration_s * STEPS / 3600 * int(chips):.0f}"


def test_files_that_it_names_exist():
    links = re.findall(r"\]\(((?!https:)[^)]+)\)", TEXT)
    assert len(links) > 5
    for link in links:
        assert (PAGE.parent / link).exists(), link
