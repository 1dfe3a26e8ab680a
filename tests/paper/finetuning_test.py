# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's finetunings as shipped: those of Table 5, with steps and FLOPs that agree."""

import pytest

from flan_jax.paper import finetuning, results


def test_finetunings_are_those_of_table_5():
    tuned = [(row.model, row.params) for row in results.all_models() if row.num_tasks]
    assert [(row.model, row.params) for row in finetuning.finetunings()] == tuned
    xxl = finetuning.finetunings()[4]
    assert (xxl.batch_size, xxl.dropout_rate, xxl.learning_rate) == (64, 0.05, 5e-4)
    assert (xxl.train_steps, xxl.released_step) == (14_000, 1_114_000)


@pytest.mark.parametrize("row", finetuning.finetunings(), ids=lambda row: row.model + row.params)
def test_released_steps_count_on_from_the_adapted_checkpoint(row):
    if row.architecture == "enc-dec":
        assert row.released_step == 1_100_000 + row.train_steps
    else:
        assert row.released_step is None


@pytest.mark.parametrize("row", finetuning.finetunings(), ids=lambda row: row.model + row.params)
def test_the_flops_of_table_2_follow_from_table_22(row):
    """All but U-PaLM's, whose printed FLOPs are of 21k steps."""
    steps = 21_000 if row.model == "Flan-U-PaLM" else row.train_steps
    assert row.rule_flops * steps / row.train_steps == pytest.approx(row.flops, rel=0.02)
    assert bool(row.note) == (row.model == "Flan-U-PaLM")
