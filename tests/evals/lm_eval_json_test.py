# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables become results of lm-evaluation-harness and come back as they were; its own are read."""

import dataclasses
import json
import re

import pytest

from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import lm_eval_json
from flan_jax.evals.scores import Score, write_scores
from flan_jax.harness import __main__ as command_line

BASE = Score(
    model="xl", step=1000, benchmark="mmlu", protocol="5-shot direct; validation; generate",
    subtask="anatomy", metric="exact_match", value=66.6667, n=3, stderr=33.3333,
)  # fmt: skip


def row(**changes):
    return dataclasses.replace(BASE, **changes)


TABLE = [
    BASE,
    row(metric="exact_match/flexible", value=100.0, stderr=0.0),
    row(metric="unparsed", value=0.0),
    row(subtask="law", value=12.5, n=8),
    row(subtask="_mean", value=39.5833, n=2, stderr=27.0833),
    row(subtask="_mean.stem", value=66.6667, n=1, stderr=None),
    row(protocol="5-shot direct; validation; rank", metric="accuracy", value=25.0, n=4),
    row(protocol="5-shot direct; validation; rank", metric="accuracy/by_token", value=50.0, n=4),
    row(benchmark="gsm8k", protocol="8-shot CoT; test; generate", subtask="gsm8k", n=1319),
    row(benchmark="held_in", protocol="greedy", subtask="wmt", metric="bleu", value=31.2, n=5),
    row(benchmark="average", protocol="", subtask="_mean", metric="normalized", value=-3.25, n=6),
]


def test_results_have_the_harness_form():
    found = lm_eval_json.to_results(TABLE)
    name = "mmlu_anatomy (5-shot direct; validation; generate)"
    assert found["results"][name] == {
        "name": name, "alias": name,
        "exact_match,none": 0.666667, "exact_match_stderr,none": 0.333333,
        "exact_match,flexible": 1.0, "exact_match_stderr,flexible": 0.0,
        "unparsed,none": 0.0, "unparsed_stderr,none": 0.333333,
    }  # fmt: skip
    ranked = found["results"]["mmlu_anatomy (5-shot direct; validation; rank)"]
    assert ranked["acc,none"] == 0.25 and ranked["acc,by_token"] == 0.5
    assert found["results"]["gsm8k"]["exact_match,none"] == 0.666667
    assert found["n-samples"]["gsm8k"] == {"original": 1319, "effective": 1319}
    assert found["n-shot"]["gsm8k"] == 8 and "held_in_wmt" not in found["n-shot"]
    assert found["results"]["held_in_wmt"]["bleu,none"] == 31.2
    group = "mmlu (5-shot direct; validation; generate)"
    assert found["groups"][group] == found["results"][group]
    assert found["results"]["mmlu_stem (5-shot direct; validation; generate)"][
        "exact_match_stderr,none"
    ] == "N/A"  # fmt: skip
    assert found["group_subtasks"][group] == [name, name.replace("anatomy", "law")]
    assert found["config"]["model"] == found["model_name"] == "xl"
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("settings", [{}, {"num_tasks": "64", "seed": "0"}])
def test_a_table_comes_back_as_it_was(tmp_path, capsys, settings):
    before, results, after = tmp_path / "a.csv", tmp_path / "a.json", tmp_path / "b.csv"
    write_scores(before, [dataclasses.replace(r, settings=settings) for r in TABLE])
    assert command_line.main(["convert", str(before), str(results)]) == 0
    assert command_line.main(["convert", str(results), str(after)]) == 0
    assert after.read_bytes() == before.read_bytes()
    assert "b.csv is written" in capsys.readouterr().err


# In the form that release 0.4.13 writes; numbers are made up.
THEIRS = {
    "results": {
        "m_law": {
            "name": "m_law", "alias": " - law", "sample_len": 4,
            "acc,none": 0.75, "acc_stderr,none": 0.25, "acc_norm,none": 0.5,
            "acc_norm_stderr,none": 0.2886751,
        },
        "m_humanities": {"alias": " - humanities", "acc,none": 0.75, "acc_stderr,none": 0.25},
        "m": {"alias": "m", "acc,none": 0.75, "acc_stderr,none": 0.25, "sample_count": {}},
        "sums": {"exact_match,strict-match": 0.125, "exact_match_stderr,strict-match": "N/A"},
        "text": {"word_perplexity,none": 1352.5, "word_perplexity_stderr,none": "N/A"},
    },
    "group_subtasks": {"m": ["m_humanities"], "m_humanities": ["m_law"]},
    "n-shot": {"m": 0, "m_law": 5, "sums": 8},
    "n-samples": {"m_law": {"original": 9, "effective": 4}, "sums": {"effective": 16}},
    "config": {"model": "hf", "model_args": "pretrained=x"},
    "model_name": "x",
}  # fmt: skip


def test_the_harnesss_own_results_become_rows():
    rows = [
        (r.benchmark, r.protocol, r.subtask, r.metric, r.value, r.n, r.stderr)
        for r in lm_eval_json.to_scores(THEIRS)
    ]
    assert rows == [
        ("m", "5-shot", "m_law", "accuracy", 75.0, 4, 25.0),
        ("m", "5-shot", "m_law", "acc_norm", 50.0, 4, pytest.approx(28.86751)),
        ("m", "", "_mean.m_humanities", "accuracy", 75.0, 1, 25.0),
        ("m", "0-shot", "_mean", "accuracy", 75.0, 1, 25.0),
        ("sums", "8-shot", "sums", "exact_match/strict-match", 12.5, 16, None),
        ("text", "", "text", "word_perplexity", 1352.5, 0, None),
    ]
    assert {(r.model, r.step) for r in lm_eval_json.to_scores(THEIRS)} == {("x", 0)}


def changed(**changes):
    return THEIRS | {"results": {"m_law": THEIRS["results"]["m_law"] | changes}}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "no object 'results'; give a results_"),
        ({"results": {"m": 3}}, "results: no object 'm'"),
        (changed(**{"acc,none": "high"}), "m_law: acc,none: need a number, found 'high'"),
        (changed(**{"acc,none": 75.0}), "m_law: acc,none: need a fraction from 0 to 1, found 75.0"),
        (changed(**{"acc_stderr,none": True}), "need a number, found True"),
    ],
)
def test_what_is_no_result_is_refused(found, message):
    with pytest.raises(DataError, match=re.escape(message)):
        lm_eval_json.to_scores(found)


def test_results_are_of_one_run():
    with pytest.raises(UsageError, match="of 2 runs .xl at step 1000, xl at step 2000."):
        lm_eval_json.to_results([BASE, row(step=2000)])
    with pytest.raises(UsageError, match="of 0 runs"):
        lm_eval_json.to_results([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.csv", "b.csv"], "convert a.csv b.csv: give a .csv and then a .json file"),
        (["a.csv"], "convert a.csv: give a .csv"),
        (["none.csv", "b.json"], "no table of scores 'none.csv'"),
        (["none.json", "b.csv"], "no results 'none.json'"),
    ],
)
def test_what_cannot_be_converted_is_told_in_a_line(arguments, message, capsys):
    assert command_line.main(["convert", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_no_two_have_one_name():
    rows = [
        row(subtask="_mean.law"),
        row(subtask="law"),
        row(benchmark="mmlu_law", subtask="_mean"),
    ]
    found = lm_eval_json.to_results(rows)
    assert len(found["results"]) == 3
    both = [row(benchmark="gsm8k", subtask=name) for name in ("gsm8k", "_mean")]
    assert set(lm_eval_json.to_results(both)["results"]) == {"gsm8k_gsm8k", "gsm8k"}
    assert sorted(r.subtask for r in lm_eval_json.to_scores(found)) == ["_mean", "_mean.law", "law"]
