# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All benchmarks together: suites whole, an oracle's scores, tiny models on the real files."""

import json

import pytest

import gin
from flan_jax import asking, main
from flan_jax.evals import benchmark, suite
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.suite import SuiteConfig
from tasks.evals import benchmarks
from tests import tiny_checkpoints
from tests.tasks.evals import multilingual_data, writing
from tests.tasks.family_data import shared_folder

T5_VOCABULARY = "vocab/t5_cc_all_32000.model"
# Real files of these are in the folder of real data, but for TyDiQA's.
ON_REAL_FILES = (
    "mmlu", "mmlu_cot", "mmlu_zero_shot", "mmlu_zero_shot_cot", "mmlu_cloze", "bbh", "bbh_cot",
    "bbh_zero_shot", "bbh_zero_shot_cot", "mgsm", "mgsm_direct", "mgsm_en_cot", "mgsm_zero_shot",
    "mgsm_zero_shot_cot", "mgsm_en", "gsm8k", "gsm8k_zero_shot", "gsm8k_zero_shot_cot",
    "gsm8k_self_consistency", "winogender", "real_toxicity_prompts", "open_ended",
)  # fmt: skip


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def data(tmp_path):
    """Writes files of the paper's suite, in the layouts of their authors."""
    folder = tmp_path / "data"
    writing.write_mmlu(folder / "mmlu")
    writing.write_bbh(folder / "bbh")
    multilingual_data.write_mgsm(folder / "mgsm")
    multilingual_data.write_gsm8k(folder / "gsm8k")
    multilingual_data.write_tydiqa(folder / "tydiqa")
    return folder


def test_suites_name_what_there_is():
    for name in benchmarks.SUITES:
        assert benchmark.choose([name])
    paper = benchmark.choose(["paper"])
    assert [each.name for each in paper] == list(benchmarks.PAPER)
    assert all(each.paper_column for each in paper)


def test_an_oracle_scores_100_in_the_papers_suite(data, tmp_path, monkeypatch, capsys):
    parts = suite.read(SuiteConfig(benchmarks=("paper",), data=str(data)))
    targets = {
        subtask.prompt(question): question.target
        for part in parts
        for subtask, question in part.questions()
    }
    checkpoint = tiny_checkpoints.ours(tmp_path / "model", vocabulary="bytes")

    def knows(engine, prompts, decodings, **how):
        for i, tokens in prompts.items():
            text = targets[engine.vocabulary.decode(list(tokens)[:-1])]
            yield i, {"predictions": [text], "scores": [0.0], "finish_reasons": ["stop"]}

    monkeypatch.setattr(asking, "answers", knows)
    out = tmp_path / "out"
    argv = [
        "eval", "--suite", "paper", "--data", str(data), "--out", str(out), "--checkpoint",
        checkpoint, "--max_input_length", "20000", "--paper_model", "Flan-T5-Small",
    ]  # fmt: skip
    assert main.main(argv) == 0
    scores = scores_lib.read_scores(out / "scores.csv")
    means = {(s.benchmark, s.metric): s for s in scores if s.subtask == scores_lib.MEAN}
    headlines = {name: "exact_match" for name in benchmarks.PAPER}
    headlines["tydiqa"] = "squad_em_multilingual"
    assert {name: means[name, metric].value for name, metric in headlines.items()} == dict.fromkeys(
        benchmarks.PAPER, 100.0
    )
    assert {name: means[name, metric].n for name, metric in headlines.items()} == {
        "mmlu": 57, "mmlu_cot": 57, "bbh": 27, "bbh_cot": 27, "tydiqa": 8, "mgsm": 10
    }  # fmt: skip
    assert means["normalized_average", "normalized_average"].value == 100.0
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[:2] == ["normalized_average_direct", "100.00"]
    report = (out / "report.md").read_text()
    assert "Flan-T5-Small" in report and "normalized" in report.lower()


@pytest.mark.large  # minutes: a tiny model answers to every form on the real files
@pytest.mark.parametrize("family", ["t5", "decoder"])
def test_tiny_models_answer_on_the_real_files(family, tmp_path, monkeypatch):
    shared = shared_folder()
    monkeypatch.setenv("FLAN_JAX_TOXICITY_SCORER", f"{__name__}:never_toxic")
    vocabulary = str(shared / T5_VOCABULARY)
    config = {"t5": tiny_checkpoints.T5_CONFIG, "decoder": tiny_checkpoints.DECODER_CONFIG}[family]
    config = type(config)(**{**vars(config), "vocab_size": 32_128})
    checkpoint = tiny_checkpoints.ours(tmp_path / "model", config, vocabulary)
    out = tmp_path / "out"
    argv = [
        "eval", "--suite", ",".join(ON_REAL_FILES), "--data", str(shared / "eval"), "--out",
        str(out), "--checkpoint", checkpoint, "--max_input_length", "1024", "--num_examples", "1",
        "--answer_by", "both",
    ]  # fmt: skip
    for name in ON_REAL_FILES:
        if name.startswith("mmlu"):
            argv += ["--split", f"{name}=test"]
    assert main.main(argv) == 0
    means = {s.benchmark for s in scores_lib.read_scores(out / "scores.csv")}
    assert means >= set(ON_REAL_FILES)
    for path in (out / "predictions").rglob("*.jsonl"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            assert row["too_long"] or row["predictions"] or row["choice_logprobs"]


def never_toxic(texts):
    """Scores texts as a local classifier would."""
    return [0.0 for _ in texts]
