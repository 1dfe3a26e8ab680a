# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parameters that lie over several real processes: the loss curve of one process."""

import jax
import numpy as np
import pytest

from tests.training import distributed_test
from tests.training.distributed_test import Jobs

STEPS = 5  # a checkpoint after the third and the last


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    made = Jobs(tmp_path_factory.mktemp("jobs"))
    distributed_test.write_store(made.store)
    return made


@pytest.fixture(scope="module")
def alone(jobs):
    """The same training on one device of this process."""
    (jobs.root / "alone").mkdir()
    distributed_test.host(
        jobs.store, jobs.root / "alone", STEPS, 0, "replicated", 1, jax.devices()[:1]
    )
    return jobs.losses("alone")


def check(jobs, alone, rules, count, num_model):
    name = f"{rules}.{count}.{num_model}"
    jobs.run(name, count, num_steps=STEPS, rules=rules, num_model=num_model)
    assert jobs.given(name) == jobs.given("alone") == jobs.expected(STEPS)
    np.testing.assert_allclose(jobs.losses(name), alone, rtol=2e-6)


@pytest.mark.large  # two Python processes that import jax and train
def test_tensor_parallel_over_two_processes(jobs, alone):
    check(jobs, alone, "tensor", count=2, num_model=2)


@pytest.mark.large  # two or four processes each
@pytest.mark.parametrize(
    ("rules", "count", "num_model"),
    [
        ("fsdp", 2, 1),
        ("fsdp", 4, 1),
        ("tensor", 4, 2),
        ("fsdp_tensor", 4, 2),
        ("fsdp_tensor_2d", 4, 2),
    ],
)
def test_any_preset_over_two_and_four_processes(jobs, alone, rules, count, num_model):
    check(jobs, alone, rules, count, num_model)


@pytest.mark.large  # two starts
def test_a_checkpoint_goes_on_under_other_presets_and_numbers_of_processes(jobs, alone):
    jobs.run("moved", 2, num_steps=3, rules="fsdp")
    jobs.run("moved", 4, num_steps=STEPS, rules="tensor", num_model=2)
    assert jobs.given("moved") == jobs.expected(STEPS)
    np.testing.assert_allclose(jobs.losses("moved"), alone, rtol=2e-6)
