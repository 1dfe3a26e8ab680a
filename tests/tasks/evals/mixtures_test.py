# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks are SeqIO tasks by the names their files have, and what is right scores 100 there."""

import pytest
import seqio

from flan_jax.collection import registry
from flan_jax.evals import benchmark, seqio_tasks
from tasks.evals import benchmarks, mixtures
from tests.tasks.evals import multilingual_data, writing
from tests.tasks.family_data import shared_folder

MIXTURES = 19
# Folder of files -> benchmarks that are read from it.
ASKED = {
    name: each.folder
    for name, each in benchmark.registered().items()
    if name not in mixtures.LEFT_OUT
}


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """Gives each test SeqIO registries of its own, reading bytes."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry.VOCABULARY, "name", "bytes")
    seqio_tasks._subtasks.cache_clear()


def score_of_what_is_right(task, split):
    """Returns the headline of a model that goes on as the exemplars do, as `Evaluator` takes it."""
    targets, predictions = [], []
    for example in task.get_dataset(None, split, shuffle=False).as_numpy_iterator():
        said = example["targets_pretokenized"].decode()
        targets.append(task.postprocess_fn(said, example=example, is_target=True))
        predictions.append(task.postprocess_fn(said, example=example, is_target=False))
    assert targets
    return next(iter(task.metric_fns[0](targets, predictions).values()))


def check(folder, name, splits, num_subtasks):
    """Checks the subtasks' names in splits, and the scores of some subtasks in the first."""
    known = benchmark.registered()[name]
    for split in splits:
        found = known.load(folder / known.folder, split)
        assert {subtask.name for subtask in found} == set(known.subtasks), (name, split)
    for subtask in known.subtasks[:num_subtasks]:
        task = seqio.get_mixture_or_task(f"eval.{name}.{subtask}")
        assert score_of_what_is_right(task, splits[0]) == 100.0, task.name


@pytest.mark.parametrize("name", ASKED)
def test_the_files_have_the_subtasks_and_an_oracle_scores_100(tmp_path, monkeypatch, name):
    write = {
        "mmlu": writing.write_mmlu, "bbh": writing.write_bbh, "mgsm": multilingual_data.write_mgsm,
        "gsm8k": multilingual_data.write_gsm8k, "tydiqa": multilingual_data.write_tydiqa,
    }  # fmt: skip
    write[ASKED[name]](tmp_path / ASKED[name])
    monkeypatch.setenv(seqio_tasks.FOLDER_VARIABLE, str(tmp_path))
    mixtures.register()
    check(tmp_path, name, benchmark.registered()[name].splits, 2)


def test_all_are_registered_that_seqio_can_ask():
    assert mixtures.register() == mixtures.LEFT_OUT
    assert seqio.MixtureRegistry.names() == {f"eval.{name}" for name in ASKED}
    assert len(ASKED) == MIXTURES and set(benchmarks.PAPER) <= set(ASKED)
    assert {name for name in mixtures.LEFT_OUT if name.endswith("_self_consistency")}
    mixture = seqio.get_mixture_or_task("eval.mmlu_cot")
    assert len(mixture.tasks) == 57
    assert set(mixture.tasks[0].splits) == {"validation", "test"}


@pytest.mark.slow  # reads whole benchmarks
@pytest.mark.parametrize("name", [name for name in ASKED if not name.startswith("tydiqa")])
def test_the_real_files_have_the_subtasks_and_an_oracle_scores_100(monkeypatch, name):
    folder = shared_folder() / "eval"
    monkeypatch.setenv(seqio_tasks.FOLDER_VARIABLE, str(folder))
    mixtures.register()
    check(folder, name, ["test"], 1)
