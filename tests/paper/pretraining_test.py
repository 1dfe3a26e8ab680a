# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Table 2 as shipped: what was pre-trained follows from the rule, but for what its notes say."""

import pytest

from flan_jax.paper import finetuning, pretraining


def test_rows_are_those_of_table_22():
    tuned = [(row.model, row.params) for row in finetuning.finetunings()]
    assert [(row.model, row.params) for row in pretraining.pretrainings()] == tuned


@pytest.mark.parametrize(
    "row", pretraining.pretrainings(), ids=lambda row: f"{row.model} {row.params}"
)
def test_the_printed_flops_and_shares_follow_from_the_rule_but_where_a_note_says_so(row):
    is_odd = row.model == "Flan-U-PaLM"
    assert (row.rule_flops == pytest.approx(row.pretrain_flops, rel=0.02)) != is_odd
    if is_odd:
        assert row.rule_flops == pytest.approx(10 * row.pretrain_flops, rel=0.02)
    share = 100 * row.finetuning.flops / (row.pretrain_flops * (10 if is_odd else 1))
    agrees = round(share, 1) == row.percent
    assert agrees != (row.model == "Flan-T5-Large")
    assert bool(row.note) == (is_odd or not agrees)
