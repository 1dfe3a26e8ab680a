# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A tiny run to compile, and compilers that need no libtpu."""

import dataclasses

from flan_jax.aot import slices
from flan_jax.aot.compiling import MEMORY, Case, Estimate, OutOfMemory, Program, Report
from flan_jax.data.loader import TrainInput
from flan_jax.models.presets import t5_config
from flan_jax.models.t5 import T5
from flan_jax.training.optimizers import Adafactor
from flan_jax.training.schedules import Constant
from flan_jax.training.train_config import TrainConfig

HLO = "ENTRY %main (p: f32[8]) -> f32[8] {\n  ROOT %r = f32[8] all-reduce(%p), channel_id=1\n}\n"


def tiny_case(slice_name: str = "v5litepod-8", num_slices: int = 1, **config) -> Case:
    """Returns a T5 of 0.2 M parameters at 16 rows of 24 + 8 tokens."""
    optimizer = Adafactor(learning_rate=Constant(learning_rate=1e-3))
    return Case(
        name="tiny",
        model=T5(t5_config("tiny", vocab_size=256, scan_layers=True, dropout_rate=0.1)),
        data=TrainInput(store="", batch_size=16, feature_lengths={"inputs": 24, "targets": 8}),
        config=TrainConfig(optimizer=optimizer, model_dir="", train_steps=1, **config),
        slice=slices.find(slice_name, num_slices),
    )


def fitting(lowered, options) -> Program:
    """Compiles nothing: everything fits."""
    del lowered, options
    return Program(peak_bytes=3 << 30, flops=1e9, bytes_accessed=2e9, text=HLO)


def not_fitting(lowered, options) -> Program:
    """Compiles nothing: nothing fits."""
    del lowered, options
    raise OutOfMemory(24 << 30, 15 << 30)


def report_of(case: Case, effort: str, *, gib: float, step_s: float = 1.0) -> Report:
    """Returns the report of a case that would need so much memory and time; nothing is traced."""
    limit, size = case.slice.generation.hbm_bytes, int(gib * 2**30)
    fits = size <= limit
    found = Estimate(compute_s=step_s, memory_s=0.0, ici_s=None, step_s=step_s, mfu=0.5)
    data = case.slice.num_devices // case.slice.num_slices // case.config.mesh.model
    return Report(
        name=case.name, slice=case.slice.name, num_slices=case.slice.num_slices,
        num_devices=case.slice.num_devices,
        mesh={"slice": case.slice.num_slices, "data": data, "model": case.config.mesh.model},
        rules=case.config.rules, remat_policy=case.model.config.remat_policy,
        num_microbatches=case.config.num_microbatches, batch_size=case.data.batch_size,
        row_lengths=[24, 8], num_params=1234567, effort=effort, versions={"libtpu": "0.0.42.1"},
        fits=fits, limit_bytes=limit, peak_bytes=size if fits else None,
        needed_bytes=None if fits else size, model_flops=10**12, step_flops=10**12,
        compiler_flops=1e10, bytes_accessed=1e9, compiler_bytes=1e9, unknown_loops=0,
        collectives={"all-reduce": {"count": 3.0, "bytes": 1e6}},
        estimate=found if fits and effort != MEMORY else None, trace_s=1.0, compile_s=2.0,
    )  # fmt: skip


def with_model(case: Case, **fields) -> Case:
    """Returns the case with fields of its model's configuration changed."""
    config = dataclasses.replace(case.model.config, **fields)
    return dataclasses.replace(case, model=dataclasses.replace(case.model, config=config))
