# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks asked while a model is trained, on its mesh: what `flan-jax eval` says afterwards."""

import json
import re

import pytest

import gin
from flan_jax import benchmark_jobs, main
from flan_jax.core import files
from flan_jax.evals import scores as scores_lib
from flan_jax.evals import suite
from flan_jax.evals.suite import SuiteConfig
from flan_jax.parallel import hosts
from tests import host_processes, toy_benchmarks

pytestmark = pytest.mark.slow  # builds a store, and compiles a model's training and decoding


@pytest.fixture(autouse=True)
def clean_gin():
    yield
    gin.clear_config()


def bindings(folder):
    return [
        "--recipe", "mini", f"--gin.STORE_DIR={folder}/store", "--gin.build.limit=6",
        "--gin.MIXTURE_OR_TASK_NAME=mini_4", "--gin.BUILD_MIXTURE=mini_4",
        "--gin.BUILD_SUBMIXTURES=()",
    ]  # fmt: skip


def without_times(score):
    return (score.benchmark, score.protocol, score.subtask, score.metric, score.value, score.n)


def test_a_training_asks_them_on_its_mesh(tmp_path):
    data = toy_benchmarks.write(tmp_path / "data")
    argv = [
        "train", *bindings(tmp_path), f"--gin.MODEL_DIR={tmp_path}/model", "--gin.TRAIN_STEPS=4",
        "--gin.WARMUP_STEPS=1", "--gin.EVAL_PERIOD=2", "--gin.CHECKPOINT_PERIOD=2",
        "--gin.TrainConfig.mesh=@MeshShape()", "--gin.MeshShape.data=4", "--gin.MeshShape.model=2",
        "--gin.TrainConfig.rules='fsdp_tensor'",
        "--gin.train.benchmarks=@SuiteConfig()", "--gin.SuiteConfig.benchmarks=('toy',)",
        f"--gin.SuiteConfig.data='{data}'", "--gin.SuiteConfig.ways='both'",
        "--gin.SuiteConfig.module_imports=('tests.toy_benchmarks',)",
    ]  # fmt: skip
    assert main.main(argv) == 0
    gin.clear_config()
    folder = tmp_path / "model" / "benchmarks"
    assert sorted(path.name for path in folder.iterdir()) == ["step_2", "step_4"]
    inside = scores_lib.read_scores(folder / "step_4" / "scores.csv")
    logged = [
        json.loads(line) for line in (tmp_path / "model" / "metrics.jsonl").read_text().splitlines()
    ]
    last = [row for row in logged if row["kind"] == "eval"][-1]
    means = {f"{s.benchmark}/{s.metric}": s.value for s in inside if s.subtask == scores_lib.MEAN}
    assert last["toy/exact_match"] == means["toy/exact_match"]
    assert last["toy/accuracy"] == means["toy/accuracy"]

    out = tmp_path / "out"
    argv = [
        "eval", "--suite", "toy", "--answer_by", "both", "--data", str(data), "--out", str(out),
        "--module_import", "tests.toy_benchmarks", "--checkpoint", f"{tmp_path}/model",
        *bindings(tmp_path),
    ]  # fmt: skip
    assert main.main(argv) == 0
    outside = scores_lib.read_scores(out / "scores.csv")
    assert list(map(without_times, inside)) == list(map(without_times, outside))
    for path in (folder / "step_4" / "predictions").rglob("*.jsonl"):
        other = out / path.relative_to(folder / "step_4")
        for line, same in zip(*(p.read_text().splitlines() for p in (path, other)), strict=True):
            line, same = json.loads(line), json.loads(same)
            # Sums are made in another order on the mesh.
            assert line.pop("choice_logprobs", []) == pytest.approx(
                same.pop("choice_logprobs", []), rel=1e-4
            )
            assert line == same


@pytest.mark.large  # two starts of two processes
def test_a_training_of_two_processes_asks_them(tmp_path):
    data = toy_benchmarks.write(tmp_path / "data")
    assert main.main(["build", *bindings(tmp_path)]) == 0
    words = [
        "flan_jax", "train", *bindings(tmp_path), f"--gin.MODEL_DIR={tmp_path}/model",
        "--gin.TRAIN_STEPS=2", "--gin.WARMUP_STEPS=1", "--gin.EVAL_PERIOD=2",
        "--gin.CHECKPOINT_PERIOD=2", "--gin.TrainConfig.mesh=@MeshShape()",
        "--gin.MeshShape.data=2", "--gin.TrainConfig.rules='fsdp'",
        "--gin.train.benchmarks=@SuiteConfig()", "--gin.SuiteConfig.benchmarks=('toys',)",
        f"--gin.SuiteConfig.data='{data}'", "--gin.SuiteConfig.ways='both'",
        "--gin.SuiteConfig.module_imports=('tests.toy_benchmarks',)",
    ]  # fmt: skip
    host_processes.run(words, 2, tmp_path / "log")
    inside = scores_lib.read_scores(tmp_path / "model/benchmarks/step_2/scores.csv")
    logs = [(tmp_path / f"log.{index}").read_text() for index in range(2)]
    shown = [re.search(r"evaluation: (.*)", log).group(1) for log in logs]
    assert shown[0] == shown[1] and "toy/accuracy" in shown[0]
    gin.clear_config()
    argv = [
        "eval", "--suite", "toys", "--answer_by", "both", "--data", str(data), "--out",
        f"{tmp_path}/out", "--module_import", "tests.toy_benchmarks", "--checkpoint",
        f"{tmp_path}/model", *bindings(tmp_path),
    ]  # fmt: skip
    assert main.main(argv) == 0
    outside = scores_lib.read_scores(tmp_path / "out/scores.csv")
    assert list(map(without_times, inside)) == list(map(without_times, outside))


def test_scores_are_those_of_the_first_process(tmp_path, monkeypatch):
    config = SuiteConfig(
        benchmarks=("toy",), data=str(toy_benchmarks.write(tmp_path)),
        module_imports=("tests.toy_benchmarks",),
    )  # fmt: skip
    [part] = benchmark_jobs.read(config)
    asked = suite.prompts(part, str.split, 100)
    texts = {"predictions": ["(A)"], "scores": [0.0], "finish_reasons": ["stop"]}
    found = dict.fromkeys(range(len(asked)), texts)
    first = benchmark_jobs._finish(part, asked, found, config, tmp_path / "first", 5)
    assert suite.headline(first.scores).value == 60.0
    # Another process has not been told all answers: it neither measures nor writes.
    sent = files.dumps(benchmark_jobs._in_json(first))
    monkeypatch.setattr(hosts, "is_shared", lambda: True)
    monkeypatch.setattr(hosts, "is_first", lambda: False)
    monkeypatch.setattr(hosts, "where", lambda is_so: [])
    monkeypatch.setattr(hosts, "gathered", lambda text: [sent, text])
    other = benchmark_jobs._finish(part, asked, {}, config, tmp_path / "other", 5)
    assert other == first and not (tmp_path / "other").exists()


def test_a_benchmark_that_is_not_there_stops_the_job_at_once(tmp_path, capsys):
    argv = [
        "train", *bindings(tmp_path), f"--gin.MODEL_DIR={tmp_path}/model", "--gin.TRAIN_STEPS=4",
        "--gin.WARMUP_STEPS=1", "--gin.train.benchmarks=@SuiteConfig()",
        "--gin.SuiteConfig.benchmarks=('toyy',)", "--gin.SuiteConfig.data='nowhere'",
        "--gin.SuiteConfig.module_imports=('tests.toy_benchmarks',)",
    ]  # fmt: skip
    assert main.main(argv) == 2
    assert "unknown benchmark 'toyy'" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
