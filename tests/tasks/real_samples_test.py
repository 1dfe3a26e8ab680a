# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Real data of three families goes through the builder, and every row of it is accounted for.

It prints what became of it: `pytest -s -m large tests/tasks/real_samples_test.py`.
"""

import collections
import json
import shutil

import pytest

import tasks.mixtures  # noqa: F401 - registers
from flan_jax.collection import build, registry
from tasks import cot, niv2
from tasks.muffin import declaring
from tests.tasks import family_data, muffin_samples, sample_tasks

MIXTURE = "real_samples"
LENGTHS = {"inputs": 2048, "targets": 512}
COLUMNS = ("task", "rows in", "examples", "dropped and why", "input tokens, mean", "trimmed",
           "exemplars cut")  # fmt: skip
# What the published files hold that gives no example; anything else has to be explained first.
DROPPED = {
    "muffin.arc_challenge": {"not four choices": 7},
    "muffin.arc_easy": {"not four choices": 6},
    "muffin.openbookqa": {"answer speaks of the other options": 3},
}
# Of e2e_nlg's training rows the last 200 are in neither split, as the published counts have it.
NUM_IN_NO_SPLIT = {"muffin.e2e_nlg": 200}


@pytest.fixture
def num_rows(tmp_path, monkeypatch):
    """The number of rows by task, once all samples lie in folders as users name them."""
    shared = family_data.shared_folder() / "train"
    family_data.forget(monkeypatch, tmp_path)
    rows = {}

    monkeypatch.setenv(declaring.VARIABLE, str(tmp_path / "muffin"))
    for name, num in muffin_samples.export(tmp_path / "muffin").items():
        task = sample_tasks.NAMES.get(name, f"muffin.{name}")
        rows[task] = num - NUM_IN_NO_SPLIT.get(task, 0)

    monkeypatch.setenv(cot.VARIABLE, str(shared / "cot/flan_tsv"))
    for path in (shared / "cot/flan_tsv").glob("*_train.tsv"):
        name = f"cot.{path.name.removesuffix('_train.tsv')}"
        num = len(path.read_bytes().rstrip(b"\n").split(b"\n"))
        rows[name] = rows[f"{name}_input_inversion"] = num

    monkeypatch.setenv(niv2.VARIABLE, str(tmp_path / "niv2"))
    (tmp_path / "niv2").mkdir()
    for part in ("tasks", "variant_schema"):
        for path in (shared / "natural_instructions" / part).glob("*.json"):
            shutil.copy(path, tmp_path / "niv2")
            num = len(json.loads(path.read_text("utf-8"))["Instances"])
            rows[niv2.task_name(path.stem)] = num
    return rows


@pytest.mark.large  # renders and tokenizes a hundred thousand examples
def test_every_real_row_is_an_example_or_dropped_for_a_reason(num_rows, tmp_path):
    registry.add_mixture(MIXTURE, sorted(num_rows))
    vocabulary = family_data.shared_folder() / "vocab/t5_cc_all_32000.model"
    store = build.build(
        mixture=MIXTURE, out=tmp_path / "store", vocabulary=str(vocabulary),
        feature_lengths=LENGTHS, num_workers=2,
        module_imports=("tasks.mixtures", sample_tasks.__name__),
    )  # fmt: skip

    assert store.tasks("train") == store.tasks("validation") == tuple(sorted(num_rows))
    dropped, lines = {}, [COLUMNS]
    for task, num in sorted(num_rows.items()):
        splits = store.manifest["tasks"][task].values()
        reasons = sum((collections.Counter(split["dropped"]) for split in splits), _NONE)
        examples, tokens, trimmed, cut = (
            sum(split[name] for split in splits)
            for name in ("num_examples", "num_input_tokens", "num_trimmed", "num_shots_cut")
        )
        assert examples + reasons.total() == num, task
        if reasons:
            dropped[task] = dict(reasons)
        why = ", ".join(f"{num}: {reason}" for reason, num in reasons.items()) or "0"
        lines.append((task, num, examples, why, round(tokens / examples), trimmed, cut))
    print("", *(" | ".join(map(str, line)) for line in lines), sep="\n")
    assert dropped == DROPPED


_NONE: collections.Counter[str] = collections.Counter()
