# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flan-jax compile`: exit codes, a line for each mistake, and the real compiler where it is."""

import importlib.util
import json
import os
import subprocess
import sys

import jax
import pytest

from flan_jax import main
from flan_jax.aot import compiling, results, what_fits
from flan_jax.aot.worker import Worker
from flan_jax.core import errors
from tests.aot.cases import report_of
from tests.aot.what_fits_test import ROOT

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="needs the TPU compiler: pip install 'flan_jax[aot]'",
)
ON_V4_8 = ("compile", "--recipe", "flan_t5_small", "--slice", "v4-8")


@pytest.fixture(autouse=True)
def same_environment(monkeypatch):
    """The command sets variables; each test has them taken back."""
    for name in (*os.environ, "LIBTPU_INIT_ARGS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


@pytest.fixture
def compiler(monkeypatch):
    """Replaces the worker: a step needs as many GiB as `needed` says."""
    needed = {"gib": 10}

    def compile_step(self, case, *, effort):
        del self
        return report_of(case, effort, gib=needed["gib"])

    monkeypatch.setattr(Worker, "compile_step", compile_step)
    return needed


def run(capsys, *argv):
    code = main.main(argv)
    return code, capsys.readouterr()


def test_a_step_that_fits(capsys, tmp_path, compiler):
    out = tmp_path / "report.json"
    code, captured = run(capsys, *ON_V4_8, "--json", str(out))
    assert code == errors.EXIT_OK
    assert captured.out.startswith("flan_t5_small on v4-8\n")
    assert "yes: 10.00 GiB a device" in captured.out
    report = results.from_json(json.loads(out.read_text()))
    assert report.fits and report.batch_size == 64 and report.name == "flan_t5_small"


def test_a_step_that_does_not_fit_ends_with_3_and_both_numbers(capsys, tmp_path, compiler):
    compiler["gib"] = 47.8
    out = tmp_path / "report.json"
    code, captured = run(capsys, *ON_V4_8, "--json", str(out))
    assert code == errors.EXIT_DOES_NOT_FIT == 3
    [line] = captured.err.splitlines()
    assert "needs 47.80 GiB or more a device, which has 30.75 GiB" in line
    assert not json.loads(out.read_text())["fits"]


def test_what_a_run_needs_but_its_step_does_not_may_be_left_out(capsys, compiler):
    # MODEL_DIR and INITIAL_CHECKPOINT_PATH are required for training.
    assert run(capsys, *ON_V4_8)[0] == errors.EXIT_OK
    code, captured = run(capsys, "train", "--recipe", "flan_t5_small")
    assert code == errors.EXIT_USAGE and "MODEL_DIR" in captured.err


def test_slices_are_joined(capsys, compiler):
    code, captured = run(capsys, *ON_V4_8, "--num_slices", "2")
    assert code == errors.EXIT_OK
    assert captured.out.startswith("flan_t5_small on 2 x v4-8\n")


def test_suggestions_come_with_the_arguments_to_give(capsys, compiler, tmp_path):
    kept = tmp_path / "kept.json"
    code, captured = run(capsys, *ON_V4_8, "--suggest", "--results", str(kept))
    assert code == errors.EXIT_OK
    assert "--gin.MeshShape.model=1" in captured.out and "--gin.REMAT_POLICY=" in captured.out
    assert json.loads(kept.read_text())
    compiler["gib"] = 1000
    code, captured = run(capsys, *ON_V4_8, "--suggest")
    assert code == errors.EXIT_DOES_NOT_FIT
    assert "fits in none of the layouts tried; give a larger slice" in captured.err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--recipe", "flan_t5_small"], "give --slice NAME"),
        (["--recipe", "flan_t5_small", "--slice", "v4-33"], "did you mean 'v4-32'"),
        (["--recipe", "flan_t5_smal", "--slice", "v4-8"], "did you mean 'flan_t5_small'"),
        (["--slice", "v4-8"], "give --recipe NAME"),
        (["--table", "docs", "--slice", "v4-8"], "--table has its own recipes"),
    ],
)
def test_mistakes_are_one_line(capsys, argv, says):
    code, captured = run(capsys, "compile", *argv)
    assert code == errors.EXIT_USAGE
    [line] = captured.err.splitlines()
    assert says in line


def test_without_libtpu_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(
        Worker, "compile_step", lambda self, case, *, effort: compiling.compile_step(case)
    )
    code, captured = run(capsys, *ON_V4_8)
    assert code == errors.EXIT_USAGE
    [line] = captured.err.splitlines()
    assert "pip install 'flan_jax[aot]'" in line


def flan_jax(*argv):
    return subprocess.run(
        [sys.executable, "-m", "flan_jax", "compile", *argv],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@needs_libtpu
@pytest.mark.aot
@pytest.mark.large
@pytest.mark.parametrize(
    "name", ["v2-32", "v3-32", "v4-32", "v5litepod-16", "v5p-32", "v6e-16", "tpu7x-16"]
)
def test_small_fits_every_generation(name):
    done = flan_jax("--recipe", "flan_t5_small", "--slice", name, "--effort", "memory")
    assert done.returncode == 0, done.stderr
    assert "yes: " in done.stdout


@needs_libtpu
@pytest.mark.aot
@pytest.mark.large
def test_the_real_compiler_makes_a_program_and_counts(tmp_path):
    out = tmp_path / "report.json"
    done = flan_jax("--recipe", "flan_t5_small", "--slice", "v4-32", "--json", str(out))
    assert done.returncode == 0, done.stderr
    report = results.from_json(json.loads(out.read_text()))
    assert report.collectives["all-gather"]["count"] > 8  # the parameters of each layer
    assert report.unknown_loops == 0
    assert report.estimate.step_s > 0
    # Scanned layers count once there, so a device's share by our count is the larger.
    assert report.compiler_flops < report.step_flops / report.num_devices


@needs_libtpu
@pytest.mark.aot
@pytest.mark.large
def test_xxl_on_four_chips_of_v4_is_refused_with_both_numbers():
    done = flan_jax("--recipe", "flan_t5_xxl", "--slice", "v4-8", "--effort", "quick")
    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert "GiB or more a device, which has 30.75 GiB" in line


@needs_libtpu
@pytest.mark.aot
@pytest.mark.large
def test_heads_that_do_not_divide_are_one_line():
    done = flan_jax(
        "--recipe", "flan_t5_small", "--slice", "v4-32", "--gin.MeshShape.model=4",
        "--gin.TrainConfig.rules='tensor'",
    )  # fmt: skip
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "'heads' of 6 does not divide over the 4 devices" in line


@needs_libtpu
@pytest.mark.aot
@pytest.mark.large
def test_cells_of_the_table_come_out_again(tmp_path):
    kept = [r for r in what_fits.read(ROOT / "docs") if r.effort == compiling.MEMORY]
    assert kept
    for report in kept[:: max(1, len(kept) // 3)]:
        made, here = (versions["libtpu"] for versions in (report.versions, compiling.versions()))
        if made != here:
            pytest.skip(f"the table is libtpu {made}'s, whose peaks need not be those of {here}")
        out = tmp_path / "report.json"
        done = flan_jax(
            "--recipe", report.name, "--slice", report.slice, "--num_slices",
            str(report.num_slices), "--effort", "memory", "--json", str(out),
            f"--gin.MeshShape.model={report.mesh['model']}",
            f"--gin.TrainConfig.rules='{report.rules}'",
        )  # fmt: skip
        assert done.returncode in (0, 3), done.stderr
        again = results.from_json(json.loads(out.read_text()))
        assert (again.fits, again.peak_bytes, again.needed_bytes) == (
            report.fits, report.peak_bytes, report.needed_bytes,
        )  # fmt: skip


def test_the_command_leaves_jax_to_the_cpu(capsys, compiler):
    run(capsys, *ON_V4_8)
    assert os.environ["JAX_PLATFORMS"] == "cpu"
    assert jax.default_backend() == "cpu"
