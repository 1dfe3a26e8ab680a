# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The suggested layout is on the smallest slice that fits, and the fastest of those that do."""

import jax
import pytest

from flan_jax.aot import plans
from flan_jax.aot.compiling import MEMORY
from flan_jax.aot.plans import Plan
from flan_jax.core import errors
from flan_jax.parallel.mesh import MeshShape, make_mesh
from tests.aot.cases import report_of, tiny_case


def runner(needed_gib, step_s=lambda case: 1.0):
    """Returns what answers with a memory and a time that are functions of the case."""
    tried = []

    def run(case, effort):
        make_mesh(case.config.mesh, jax.devices()[: case.slice.num_devices])
        if case.config.mesh.model > case.model.config.num_heads:
            raise errors.UsageError("'heads' does not divide")
        tried.append((case.slice.name, effort, layout(case)))
        return report_of(case, effort, gib=needed_gib(case), step_s=step_s(case))

    return run, tried


def layout(case):
    return (
        case.config.mesh.model,
        case.config.num_microbatches,
        case.model.config.remat_policy,
        case.config.rules,
    )


def test_a_plan_is_laid_over_a_case():
    plan = Plan(model=2, rules="tensor", num_microbatches=4, remat_policy="minimal")
    case = plan.applied(tiny_case(mesh=MeshShape(data=8)))
    assert case.config.mesh == MeshShape(data=-1, model=2)
    assert layout(case) == (2, 4, "minimal", "tensor")
    assert plan.bindings == (
        "--gin.MeshShape.model=2 --gin.TrainConfig.rules=\"'tensor'\" "
        "--gin.TrainConfig.num_microbatches=4 --gin.REMAT_POLICY=minimal"
    )


def test_the_smallest_slice_with_room_is_taken():
    # 15.5 of 15.75 GiB would fit, but the memory mode may read that much low.
    run, tried = runner(lambda case: 62 / case.slice.num_devices)
    plan, report = plans.suggest(tiny_case("v5litepod-8"), run, "quick")
    assert report.slice == "v5litepod-8"
    assert {name for name, _, _ in tried} == {"v5litepod-1", "v5litepod-4", "v5litepod-8"}
    assert {effort for name, effort, _ in tried if name != "v5litepod-8"} == {MEMORY}
    assert plan.rules == "fsdp_tensor"


def test_the_fastest_layout_that_fits_is_taken():
    def needed(case):  # without remat it is too much
        return 20 if case.model.config.remat_policy == "none" else 5

    def step_s(case):
        slow = {"none": 1, "minimal": 2, "full": 3}[case.model.config.remat_policy]
        return slow * case.config.num_microbatches * case.config.mesh.model

    run, tried = runner(needed, step_s)
    plan, report = plans.suggest(tiny_case("v5litepod-4"), run, "quick")
    assert report.slice == "v5litepod-1"
    assert plan == Plan(model=1, num_microbatches=1, remat_policy="minimal")
    assert (1, 1, "none", "fsdp_tensor") in {found for _, _, found in tried}


def test_in_memory_mode_the_layout_of_least_work_that_fits_is_taken():
    def needed(case):  # one microbatch is too much, and to compute nothing again
        return 20 if case.config.num_microbatches < 2 or layout(case)[2] == "none" else 5

    run, tried = runner(needed)
    plan, report = plans.suggest(tiny_case("v5litepod-4"), run, "memory")
    assert report.slice == "v5litepod-1" and report.estimate is None
    assert plan == Plan(model=1, num_microbatches=2, remat_policy="minimal")
    assert {effort for _, effort, _ in tried} == {MEMORY}


def test_nothing_is_suggested_where_nothing_fits():
    run, _ = runner(lambda case: 1000)
    assert plans.suggest(tiny_case("v5litepod-8"), run, "quick") is None


def test_a_layout_that_does_not_divide_is_passed_over(capsys):
    # 4 heads do not go over 8 devices.
    run, _ = runner(lambda case: 100 if case.config.mesh.model < 8 else 1)
    assert plans.suggest(tiny_case("v5litepod-8"), run, "quick") is None
    assert "'heads' does not divide" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["v5litepod-8", "v5litepod-1"])
def test_no_slice_larger_than_the_one_named_is_tried(name):
    run, tried = runner(lambda case: 1000)
    plans.suggest(tiny_case(name), run, "quick")
    assert max(int(found.rsplit("-", 1)[1]) for found, _, _ in tried) == int(name.rsplit("-", 1)[1])
