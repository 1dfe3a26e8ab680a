# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The step that is compiled is the one that training runs; and what is said of it."""

import dataclasses
import importlib.util

import jax
import numpy as np
import pytest

from flan_jax.aot import compiling, hlo, slices
from flan_jax.aot.compiling import OutOfMemory
from flan_jax.core import errors
from flan_jax.data import packing
from flan_jax.parallel.mesh import MeshShape, make_mesh
from flan_jax.training.loop import step_spec
from flan_jax.training.state import create_state
from flan_jax.training.step import jitted_train_step
from tests.aot.cases import fitting, not_fitting, tiny_case, with_model


def test_a_row_has_what_packing_gives():
    case = tiny_case()
    row = compiling.one_row(case.data)
    packed = packing.pack_rows(
        tokens=np.arange(1, 6), input_lengths=np.array([2, 1]), target_lengths=np.array([1, 1]),
        task_ids=np.array([0, 1]), splits=np.array([0, 2]), max_input=24, max_target=8,
    )  # fmt: skip
    assert {k: (v.shape, v.dtype) for k, v in row.items()} == {
        k: (v.shape, v.dtype) for k, v in packed.items()
    }
    decoder = compiling.one_row(dataclasses.replace(case.data, layout="decoder"))
    assert {rows.shape for rows in decoder.values()} == {(1, 32)}
    assert packing.PREFIX_FEATURE in decoder


def test_lengths_that_only_a_store_knows_are_asked_for():
    data = dataclasses.replace(tiny_case().data, feature_lengths=None)
    with pytest.raises(errors.UsageError, match="TASK_FEATURE_LENGTHS"):
        compiling.one_row(data)


# Compiles initialization and a step.
@pytest.mark.slow
def test_the_step_compiled_takes_what_training_has():
    case = tiny_case(mesh=MeshShape(data=4, model=2), rules="fsdp_tensor")
    mesh = make_mesh(case.config.mesh)
    spec = step_spec(case.model, case.config, batch_size=16, mesh=mesh)
    state, batch, _ = compiling.abstract_inputs(spec, case.data, mesh)
    real = create_state(spec.model, spec.optimizer, jax.random.key(0), mesh)
    assert jax.tree.structure(real) == jax.tree.structure(state)
    for there, here in zip(jax.tree.leaves(real), jax.tree.leaves(state), strict=True):
        assert (there.shape, there.dtype, there.sharding) == (here.shape, here.dtype, here.sharding)
    rows = {
        name: jax.device_put(np.ones(leaf.shape, leaf.dtype), leaf.sharding)
        for name, leaf in batch.items()
    }
    with jax.set_mesh(mesh):
        _, metrics = jitted_train_step(spec, mesh)(real, rows, jax.random.key(1))
    assert np.isfinite(metrics["loss"])


def test_the_report_of_a_step_that_fits():
    case = tiny_case(mesh=MeshShape(model=2), rules="tensor", num_microbatches=2)
    report = compiling.compile_step(case, compiler=fitting, devices=jax.devices())
    assert report.fits and report.needed_bytes is None
    assert (report.peak_bytes, report.limit_bytes) == (3 << 30, int(15.75 * 2**30))
    assert report.mesh == {"slice": 1, "data": 4, "model": 2}
    assert (report.rules, report.num_microbatches, report.remat_policy) == ("tensor", 2, "none")
    assert report.collectives == {"all-reduce": {"count": 1.0, "bytes": 32.0}}
    # Without remat a step has the forward pass's products three times.
    assert report.step_flops == report.model_flops
    full = with_model(case, remat_policy="full")
    again = compiling.compile_step(full, compiler=fitting, devices=jax.devices())
    assert again.model_flops == report.model_flops
    assert 1.1 < again.step_flops / again.model_flops < 4 / 3


def test_the_report_of_a_step_that_does_not_fit_has_both_numbers():
    report = compiling.compile_step(tiny_case(), compiler=not_fitting, devices=jax.devices())
    assert not report.fits and report.peak_bytes is None and report.estimate is None
    assert (report.needed_bytes, report.limit_bytes) == (24 << 30, int(15.75 * 2**30))


def test_in_memory_mode_a_refusal_tells_what_is_needed():
    asked = []

    def refusing(lowered, options):
        asked.append(options)
        raise OutOfMemory(15 << 30, 1 << 20)

    fits = compiling.compile_step(
        tiny_case(), effort="memory", compiler=refusing, devices=jax.devices()
    )
    assert asked == [{"xla_tpu_max_hbm_size_mib": "1"}]
    assert fits.fits and fits.peak_bytes == 15 << 30 and fits.estimate is None
    small = compiling.compile_step(
        tiny_case("v2-8"), effort="memory", compiler=refusing, devices=jax.devices()
    )
    assert not small.fits and small.needed_bytes == 15 << 30


# Compiles a step.
@pytest.mark.slow
def test_the_compiler_here_takes_what_was_lowered():
    report = compiling.compile_step(tiny_case(rules="fsdp"), devices=jax.devices())
    assert report.fits and report.compiler_flops > 0
    assert report.collectives["all-reduce"]["count"] > 0
    assert report.unknown_loops == 0


@pytest.mark.parametrize(
    ("message", "needed", "limit"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (24.12G) exceeds available HBM (15.75G).",
            24.12,
            15.75,
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 1.50T of 30.75G hbm. "
            "Exceeded hbm capacity by 1.47T.",
            1536,
            30.75,
        ),
    ],
)
def test_both_numbers_are_read_from_the_compilers_message(message, needed, limit):
    found = compiling.out_of_memory(message)
    assert found.needed_bytes == int(needed * 2**30)
    assert found.limit_bytes == int(limit * 2**30)


def test_another_failure_is_not_taken_for_memory():
    assert compiling.out_of_memory("INTERNAL: Mosaic failed to compile TPU kernel") is None


def test_the_estimate_is_the_slowest_of_three():
    v5e = slices.GENERATIONS["v5litepod"]
    found = compiling.estimate(
        v5e, 4, step_flops=4 * 197e12 * 0.5, model_flops=4 * 197e12 * 0.4, bytes_accessed=819e9,
        collectives={"all-reduce": hlo.Collective(3, 10e9), "all-gather": hlo.Collective(1, 20e9)},
    )  # fmt: skip
    assert found.compute_s == pytest.approx(0.5)
    assert found.memory_s == found.step_s == pytest.approx(1.0)
    assert found.ici_s == pytest.approx(40e9 / 200e9)
    assert found.mfu == pytest.approx(0.4)


def test_a_size_that_does_not_divide_is_one_clear_line():
    case = with_model(tiny_case(mesh=MeshShape(model=4), rules="tensor"), num_heads=6)
    with pytest.raises(errors.UsageError, match="'heads' of 6 does not divide over the 4 devices"):
        compiling.compile_step(case, compiler=fitting, devices=jax.devices())


def test_two_slices_need_devices_of_two():
    report = compiling.compile_step(
        tiny_case("v5litepod-4", num_slices=2), compiler=fitting, devices=jax.devices()
    )
    assert report.mesh == {"slice": 2, "data": 4, "model": 1}


def test_without_libtpu_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.UsageError, match=r"pip install 'flan_jax\[aot\]'"):
        compiling.compile_step(tiny_case())
