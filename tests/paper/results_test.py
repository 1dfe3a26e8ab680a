# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's tables as shipped: shape, sources, and agreement between the two tables."""

import pytest

from flan_jax.core import errors
from flan_jax.paper import results


def test_task_scaling_has_three_sizes_at_five_counts():
    rows = results.task_scaling()
    counts = {}
    for row in rows:
        counts.setdefault(row.params, []).append(row.num_tasks)
        assert row.source == "Chung et al. 2022 (arXiv:2210.11416v5) Table 3"
    assert counts == {size: [0, 9, 89, 282, 1836] for size in ("8B", "62B", "540B")}
    assert rows[-1].score("normalized_average") == 58.5


def test_all_models_pairs_each_model_with_its_finetuned_form():
    rows = results.all_models()
    assert len(rows) == 20
    for base, tuned in zip(rows[::2], rows[1::2], strict=True):
        assert tuned.model == f"Flan-{base.model}"
        assert (base.num_tasks, tuned.num_tasks) == (0, 1836)
        assert tuned.score("normalized_average") > base.score("normalized_average")
        assert tuned.source.endswith("Table 5")


def test_the_two_tables_agree_without_finetuning():
    table5 = {(row.model, row.params): row.scores for row in results.all_models()}
    for row in results.task_scaling():
        if row.num_tasks == 0:
            assert table5[row.model, row.params] == row.scores


def test_the_headline_is_of_the_models_of_table_5():
    rows = results.headline()
    assert [(row.model, row.prompting) for row in rows] == [
        (model, prompting)
        for model in ("PaLM", "Flan-PaLM")
        for prompting in ("direct", "CoT", "CoT + self-consistency")
    ]
    table5 = {row.model: row for row in results.all_models() if row.params == "540B"}
    for row in rows:
        assert row.num_tasks == table5[row.model].num_tasks
        if row.prompting == "direct":
            assert row.tydiqa == table5[row.model].score("tydiqa")
        if row.prompting == "CoT":
            assert row.mgsm == table5[row.model].score("mgsm") and row.tydiqa is None
    assert rows[-1].mmlu == 75.2  # of the abstract


def test_models_are_named_with_their_size_only_where_it_tells_them_apart():
    names = [results.model_name(row) for row in results.all_models()]
    assert len(set(names)) == 20
    assert {"T5-Small", "PaLM 8B", "Flan-PaLM 540B", "Flan-cont-PaLM"} <= set(names)
    assert results.named_model("flan-t5-xl").score("mmlu") == 52.4
    with pytest.raises(errors.UsageError, match="'Flan-T5-XXXL'.*'Flan-T5-XL'"):
        results.named_model("Flan-T5-XXXL")
