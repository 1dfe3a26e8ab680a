# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's scores of parts: whole, and with the means that its other tables print."""

import collections
import statistics

import pytest

from flan_jax.paper import parts, results


def scores_of(model, params, benchmark):
    return {
        part.part: part.score
        for part in parts.parts()
        if (part.model, part.params, part.benchmark) == (model, params, benchmark)
    }


def test_every_model_of_table_5_has_every_part():
    for row in results.all_models():
        for benchmark, num in {"bbh": 27, "bbh_cot": 27, "tydiqa": 8, "mgsm": 10}.items():
            assert len(scores_of(row.model, row.params, benchmark)) == num
    counts = collections.Counter(part.status for part in parts.parts())
    assert counts == {"printed": 1494, "solved": 10, "assumed": 8}


@pytest.mark.parametrize("benchmark", ["bbh", "bbh_cot", "tydiqa", "mgsm"])
def test_parts_have_the_mean_of_table_5(benchmark):
    """All but two: PaLM 62B and 540B, whose BBH-CoT is another one in Table 19."""
    odd = {("PaLM", "62B"): 42.3, ("PaLM", "540B"): 62.0} if benchmark == "bbh_cot" else {}
    for row in results.all_models():
        mean = statistics.fmean(scores_of(row.model, row.params, benchmark).values())
        printed = odd.get((row.model, row.params), row.score(benchmark))
        assert mean == pytest.approx(printed, abs=0.06), row.model


def test_the_files_of_bbh_have_groups_and_baselines():
    files = parts.bbh_files()
    assert {file.file for file in files} == set(scores_of("PaLM", "8B", "bbh"))
    assert collections.Counter(file.group for file in files) == {"nlp": 12, "alg": 15}
    assert statistics.fmean(file.baseline for file in files) == pytest.approx(26.0, abs=0.05)


@pytest.mark.parametrize("prompting", ["direct", "CoT"])
def test_parts_have_the_means_of_table_4(prompting):
    [row] = [r for r in results.headline() if (r.model, r.prompting) == ("Flan-PaLM", prompting)]
    scores = scores_of("Flan-PaLM", "540B", {"direct": "bbh", "CoT": "bbh_cot"}[prompting])
    for group, printed in {"nlp": row.bbh_nlp, "alg": row.bbh_alg}.items():
        own = [scores[file.file] for file in parts.bbh_files() if file.group == group]
        assert statistics.fmean(own) == pytest.approx(printed, abs=0.1)
