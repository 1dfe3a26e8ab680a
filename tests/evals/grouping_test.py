# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names in a store become groups of tasks and functions, or a clear error."""

import numpy as np
import pytest

from flan_jax.collection import store as store_lib
from flan_jax.core import errors, files
from flan_jax.evals import answers, grouping, metrics

TASKS = {
    "add": ("held_in", ["train", "validation"]),
    "copy": ("held_in", ["train", "validation"]),
    "sort": ("held_out_skill", ["validation"]),
    "only_train": ("held_in", ["train"]),
}


@pytest.fixture
def store(tmp_path):
    tasks = {}
    for name, (category, splits) in TASKS.items():
        tasks[name] = {}
        for split in splits:
            folder = store_lib.task_folder(tmp_path, name, split)
            with store_lib.TaskWriter(folder, np.dtype("<u2")) as writer:
                writer.add(np.array([5, 1]), np.array([6, 1]), {"inputs": "a", "targets": "b"})
                tasks[name][split] = writer.finish(
                    {
                        "category": category,
                        "metrics": [] if name == "copy" else ["exact_match"],
                        "postprocessor": None,
                    }
                )
    manifest = {
        "format": store_lib.FORMAT, "mixture": "all", "rates": {"add": 0.5, "only_train": 0.5},
        "mixtures": {"two": {"add": 0.5, "sort": 0.5}}, "tasks": tasks, "token_dtype": "<u2",
    }  # fmt: skip
    files.write_json(tmp_path / store_lib.MANIFEST, manifest)
    return store_lib.Store.open(tmp_path)


def test_by_default_each_category_is_a_group(store):
    assert grouping.choose_groups(store, "validation", None) == {
        "held_in": ("add", "copy"),
        "held_out_skill": ("sort",),
    }


def test_names_may_be_mixtures_categories_or_tasks(store):
    groups = grouping.choose_groups(store, "validation", ["two", "held_in", "sort", "all"])
    assert groups == {
        "two": ("add", "sort"),
        "held_in": ("add", "copy"),
        "sort": ("sort",),
        "all": ("add",),  # its other task has no validation split
    }
    named = grouping.choose_groups(store, "validation", {"mine": ["two", "copy"], "other": "add"})
    assert named == {"mine": ("add", "copy", "sort"), "other": ("add",)}


def test_unknown_and_empty_groups_are_errors(store):
    with pytest.raises(errors.UsageError, match="unknown mixture, category or task: 'twoo'.*'two'"):
        grouping.choose_groups(store, "validation", ["twoo"])
    with pytest.raises(errors.UsageError, match="group 'only_train' has no task .*'validation'"):
        grouping.choose_groups(store, "validation", ["only_train"])
    with pytest.raises(errors.UsageError, match="of group 'mine': 'held_out'.*'held_out_skill'"):
        grouping.choose_groups(store, "validation", {"mine": ["two", "held_out"]})
    with pytest.raises(errors.UsageError, match="unknown split 'valid'.*'validation'"):
        grouping.choose_groups(store, "valid", None)
    with pytest.raises(errors.UsageError, match="the groups are empty; name one"):
        grouping.choose_groups(store, "validation", {})


def test_scoring_follows_the_store(store):
    scoring = grouping.scoring(store, "validation", "add")
    assert [metric.name for metric in scoring.metrics] == ["exact_match"]
    assert scoring.postprocessor is answers.whole_text
    assert grouping.scoring(store, "validation", "copy") is None


@pytest.mark.parametrize("name", ["rouge_l", "flan_jax.evals.metrics:rouge_l"])
def test_our_metrics_are_found_by_either_name(name):
    metric = grouping.resolve_metric(name)
    assert metric.name == "rouge_l"
    assert metric.per_example is metrics.METRICS["rouge_l"]
    assert metric.over_all is metrics.rouge_l


def test_a_users_functions_are_imported():
    metric = grouping.resolve_metric("statistics:median")
    assert (metric.name, metric.per_example) == ("median", None)
    assert metric.over_all([1, 2, 9]) == 2
    assert grouping.resolve_postprocessor("string:Formatter.format").__name__ == "format"
    ours = grouping.resolve_postprocessor("flan_jax.evals.answers:cot_answer")
    assert ours is grouping.resolve_postprocessor("cot_answer") is answers.cot_answer


@pytest.mark.parametrize(
    ("resolve", "name", "message"),
    [
        (grouping.resolve_metric, "rouge", "unknown metric 'rouge'; .*'rouge_l'.*module:function"),
        (grouping.resolve_metric, "no_such_module:f", "'no_such_module:f' cannot be imported"),
        (grouping.resolve_metric, "math:f.<locals>.g", "not a lambda or an inner function"),
        (grouping.resolve_metric, "math:pi", "'math:pi' is not a function but float"),
        (grouping.resolve_postprocessor, "cot", "unknown postprocessor 'cot'; .*'cot_answer'"),
    ],
)
def test_names_that_give_no_function_are_errors(resolve, name, message):
    with pytest.raises(errors.UsageError, match=message):
        resolve(name)
