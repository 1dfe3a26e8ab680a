# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax doctor`: its report and exit code, here and in an environment that lacks everything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax import main
from flan_jax.core import errors
from flan_jax.launching.doctor import devices
from flan_jax.launching.doctor.devices import Answer

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def no_tools(monkeypatch, tmp_path):
    """Hides this machine's gcloud and kubectl, and does not start jax once more."""
    monkeypatch.setenv("PATH", str(tmp_path / "no_tools"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "no_credentials"))
    answer = Answer(platform="cpu", kind="cpu", count=8, local=8)
    monkeypatch.setattr(devices, "ask", lambda environment: answer)


def run(capsys, *argv):
    code = main.main(["doctor", *argv])
    return code, capsys.readouterr()


def test_no_problem(capsys, tmp_path):
    code, captured = run(capsys, str(tmp_path / "run"), "--slice", "v4-8")
    assert code == errors.EXIT_OK, captured.out
    for line in (
        "  ok       jax computes on 8 x cpu (JAX_PLATFORMS=cpu)",
        f"  ok       MODEL_DIR {tmp_path}/run: can be made in {tmp_path}",
        "  ok       the package 'tasks' is flan_jax's own",
        "  ok       gcloud is not installed; only launch --target tpu-vm and gke need it",
        "  warning  v4-8 has 4 TPU devices, and jax here 8 of cpu",
    ):
        assert line in captured.out.splitlines()
    assert "could not be checked" not in captured.out
    assert captured.out.splitlines()[-1].startswith("0 problems, ")


def test_a_problem_is_exit_code_1_and_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/not/there.json")
    code, captured = run(capsys, "gs://bucket/run", "--store", str(tmp_path), "--json")
    assert code == errors.EXIT_FAILED
    report = json.loads(captured.out)
    problems = [row["text"] for row in report["findings"] if row["level"] == "problem"]
    assert len(problems) == report["problems"] == 3
    assert "gs://bucket/run is no folder" in problems[0]
    assert "no token store" in problems[1] and "/not/there.json" in problems[2]
    assert captured.err.strip() == (
        "flan-jax: error: 3 problem(s) found; each has its remedy beside it"
    )


def test_a_slice_that_is_not_there_is_wrong_usage(capsys):
    code, captured = run(capsys, "--slice", "v4-33")
    assert code == errors.EXIT_USAGE and captured.out == "" and "v4-32" in captured.err


def test_an_environment_without_any_package_is_examined(tmp_path):
    # -S: no site-packages, so nothing of what the checks themselves are made with.
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from flan_jax import main; "
        f"sys.exit(main.main(['doctor', {str(tmp_path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": ""},
    )  # fmt: skip
    assert done.returncode == errors.EXIT_FAILED, done.stderr
    assert (
        "  problem  requirements could not be checked: the module 'packaging' is missing\n"
        "           -> pip install flan_jax, with all that it needs; else pip install packaging\n"
    ) in done.stdout
    assert f"  ok       MODEL_DIR {tmp_path}: written to" in done.stdout
    assert len(done.stderr.splitlines()) == 1
