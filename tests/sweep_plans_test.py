# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plans of sweeps: what runs will compute, from shapes, and what a compiler would say of them."""

import importlib.util

import pytest

import gin
from flan_jax import main, sweep_plans
from flan_jax.aot import slices
from flan_jax.aot.compiling import Estimate, Report
from flan_jax.core import errors

STEP_S = 0.5


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def gin_file(tmp_path):
    """Two sizes, twice with other seeds and once without finetuning."""
    path = tmp_path / "two.gin"
    path.write_text(
        "Sweep.title = 'T'\nSweep.recipes = ['mini_micro', 'mini']\n"
        "Sweep.grid = {'MIXTURE_OR_TASK_NAME': ['', 'mini_4'], 'SEED': [0, 1]}\n"
    )
    return str(path)


def report(case, fits=True):
    return Report(
        name=case.name, slice=case.slice.name, num_slices=1, num_devices=case.slice.num_devices,
        mesh={}, rules="", remat_policy="", num_microbatches=1, batch_size=8, row_lengths=[128, 32],
        num_params=1, effort="quick", versions={}, fits=fits, limit_bytes=32 << 30,
        peak_bytes=(3 << 30) if fits else None, needed_bytes=None if fits else 40 << 30,
        model_flops=1, step_flops=1, trace_s=0.0, compile_s=0.0,
        estimate=Estimate(compute_s=0.1, memory_s=STEP_S, ici_s=None, step_s=STEP_S, mfu=0.2)
        if fits else None,
    )  # fmt: skip


def test_runs_are_counted_from_their_shapes_and_untrained_ones_compute_nothing(gin_file, tmp_path):
    made = sweep_plans.plan(gin_file, str(tmp_path / "out"))
    assert [(run.compute is None, run.status) for run in made[:3]] == [
        (True, "pending"), (True, "pending"), (False, "pending")
    ]  # fmt: skip
    micro, mini = made[2].compute, made[6].compute
    # 1,000 steps of 8 rows of 128 + 32 positions.
    assert micro.num_positions == mini.num_positions == 1000 * 8 * 160
    assert (micro.num_params, mini.num_params) == (107_136, 312_320)
    text = sweep_plans.text(made)
    assert "312,320  1,000  1,280,000  1.11e+12" in text
    total = 2 * (micro.train_flops + mini.train_flops)
    assert f"8 of 8 runs are not done: {total:.2e} FLOPs." in text
    assert "chip-hours" not in text


def test_hours_and_cost_are_those_of_the_least_time(gin_file, tmp_path):
    where = slices.find("v4-8")  # four chips
    made = sweep_plans.plan(gin_file, str(tmp_path / "out"), slice_name="v4-8", compile_with=report)
    assert sweep_plans.misfits(made) == []
    hours = 1000 * STEP_S * 4 / 3600
    assert sweep_plans.chip_hours(made[2], where) == pytest.approx(hours)
    text = sweep_plans.text(made, where, price=3.0)
    assert "3.00 GiB" in text and "0.5 s" in text
    assert f"at least {4 * hours:.3g} chip-hours on v4-8, {4 * hours * 3:.2f} at 3 an hour" in text
    # Two jax devices are one chip there.
    v3 = slices.find("v3-8")
    assert sweep_plans.chip_hours(made[2], v3) == pytest.approx(1000 * STEP_S * 4 / 3600)


def test_what_does_not_fit_is_named(gin_file, tmp_path):
    made = sweep_plans.plan(
        gin_file, str(tmp_path / "out"), slice_name="v4-8",
        compile_with=lambda case: report(case, fits=case.name != "mini"),
    )  # fmt: skip
    large = sweep_plans.misfits(made)
    assert len(large) == 2 and all("size-mini_seed" in name for name in large)
    text = sweep_plans.text(made, slices.find("v4-8"))
    assert text.count("does not fit: 40.00 GiB of 32.00 GiB") == 2


def test_a_wrong_slice_is_named_before_anything_is_compiled(gin_file, tmp_path):
    with pytest.raises(errors.UsageError, match="v4-9.*v4-8"):
        sweep_plans.plan(gin_file, str(tmp_path), slice_name="v4-9", compile_with=report)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--slice", "v4-8"], "--slice goes with --dry_run and a --slice"),
        (["--dry_run", "--num_slices", "2"], "--num_slices goes with --dry_run and a --slice"),
        (["--dry_run", "--price", "3"], "--price goes with --dry_run and a --slice"),
        (["--dry_run", "--slice", "v4-8", "--price", "-1"], "need a number above 0, got '-1'"),
    ],
)
def test_arguments_that_go_together(gin_file, argv, message, capsys):
    assert main.main(["sweep", gin_file, *argv]) == 2
    assert message in capsys.readouterr().err


def test_the_command_prints_the_plan_and_makes_nothing(gin_file, tmp_path, capsys):
    out = tmp_path / "out"
    assert main.main(["sweep", gin_file, "--out", str(out), "--dry_run"]) == 0
    assert "8 of 8 runs are not done" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.large
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs libtpu: pip install -e .[aot]"
)
def test_the_real_compiler_is_asked_once_for_each_program(gin_file, tmp_path, capsys):
    kept = tmp_path / "kept.json"
    argv = ["sweep", gin_file, "--out", str(tmp_path / "out"), "--dry_run", "--slice", "v4-8"]
    assert main.main([*argv, "--results", str(kept)]) == 0
    assert "GiB" in capsys.readouterr().out
    assert kept.read_text().count('"num_params"') == 2
