# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixed samples: the same whatever the order, nested, and spread over the rows."""

import hashlib

from tasks.evals.fixed_sample import fixed_sample

ROWS = [f"row {n}" for n in range(1000)]


def test_the_order_of_rows_does_not_matter():
    sample = fixed_sample(iter(ROWS), 50, str)
    assert fixed_sample(ROWS[::-1], 50, str) == sample
    assert fixed_sample(ROWS, 20, str) == sample[:20]
    assert fixed_sample(ROWS, 5000, str)[:50] == sample


def test_a_sample_is_by_sha256_and_of_the_whole_file():
    sample = fixed_sample(ROWS, 50, str)
    assert sample == sorted(ROWS, key=lambda r: hashlib.sha256(r.encode()).hexdigest())[:50]
    assert 15 <= sum(int(row.split()[1]) < 500 for row in sample) <= 35


def test_rows_of_equal_texts_stay_in_their_order():
    rows = [(n, "same") for n in range(9)]
    assert fixed_sample(rows, 4, lambda row: row[1]) == rows[:4]
