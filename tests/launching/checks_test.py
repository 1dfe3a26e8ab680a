# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is known to fail far away fails here, in one line that says what to give instead."""

import dataclasses

import pytest

from flan_jax import config
from flan_jax.aot import slices
from flan_jax.core import errors
from flan_jax.launching import checks
from flan_jax.launching.job import Job
from tests.aot.cases import report_of

XL = {
    "STORE_DIR": "/gcs/data/store",
    "INITIAL_CHECKPOINT_PATH": "/gcs/ckpt/xl",
    "MODEL_DIR": "/gcs/runs/xl",
}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Nothing is kept in the home of who runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def compiler_is_there(monkeypatch):
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: name)


def job(slice_name="v4-32", num_slices=1):
    where = slices.find(slice_name, num_slices)
    return Job(name="xl", slice=where, buckets=("ckpt", "data", "runs"), model_dir="/gcs/runs/xl")


def read(job, *more, is_remote=True):
    bound = XL | dict(binding.split("=") for binding in more)
    bindings = [f"{name}={value}" for name, value in bound.items()]
    config.parse([config.recipe_file("flan_t5_xl")], bindings, roots=("train",))
    return checks.read(job, "flan_t5_xl", is_remote=is_remote)


def test_a_complete_job():
    _, found = read(job())
    assert found == [
        "configuration: flan_t5_xl reads and is complete",
        "mesh: slice 1 x data 16 x model 1 on the 16 devices of v4-32",
        "paths: MODEL_DIR, STORE_DIR, INITIAL_CHECKPOINT_PATH are in buckets",
    ]


def test_settings_that_contradict_each_other_are_one_line():
    with pytest.raises(errors.UsageError) as caught:
        read(job(), "CHECKPOINT_PERIOD=0")
    assert str(caught.value) == "checkpoint_period must be an integer >= 1, got 0"


def test_slices_that_the_mesh_has_not():
    with pytest.raises(
        errors.UsageError, match=r"num_slices 1, the job 2 .*MeshShape.num_slices=2"
    ):
        read(job(num_slices=2))
    _, found = read(job(num_slices=2), "MeshShape.num_slices=2")
    assert found[1] == "mesh: slice 2 x data 16 x model 1 on the 32 devices of 2 x v4-32"


def test_a_mesh_that_does_not_cover_the_slice():
    with pytest.raises(errors.UsageError, match="does not cover 16 device"):
        read(job(), "MeshShape.data=3")


def test_a_batch_that_does_not_divide():
    with pytest.raises(
        errors.UsageError, match="batch of 64 rows .* 128 parts of the mesh on v4-256"
    ):
        read(job("v4-256"))


@pytest.mark.parametrize("macro", ["STORE_DIR", "INITIAL_CHECKPOINT_PATH", "VOCABULARY"])
def test_a_path_that_only_this_host_has(macro):
    with pytest.raises(errors.UsageError, match=rf"{macro} is 'a/b.model'.*gs://BUCKET/b.model"):
        read(job(), f"{macro}=a/b.model")
    read(job(), f"{macro}=a/b.model", is_remote=False)


@pytest.mark.parametrize(
    "name", ["bytes", "package:mine/b.model", "gs://a/b.model", "/gcs/abc/b.model"]
)
def test_a_vocabulary_that_every_host_has(name):
    read(job(), f"VOCABULARY={name}")


def test_what_is_looked_at_in_the_buckets():
    train, _ = read(job())
    assert [step.argv[3] for step in checks.storage(job(), train)] == [
        "gs://ckpt",
        "gs://data",
        "gs://runs",
        "gs://data/store/manifest.json",
        "gs://ckpt/xl",
    ]


def test_a_step_that_fits_is_compiled_once():
    train, _ = read(job())
    efforts = []

    def compile_step(case, *, effort):
        efforts.append(effort)
        return report_of(case, effort, gib=9.5)

    for _ in range(2):
        line = checks.fit(train, job(), "flan_t5_xl", compile_step)
        assert (
            line == "memory: a step takes 9.50 GiB of the 30.75 GiB a device has, by the compiler"
        )
    assert efforts == ["quick"]


def test_results_of_another_version_are_made_anew(capsys):
    train, _ = read(job())
    path = checks.Path(checks.compiled_steps())
    path.parent.mkdir(parents=True)
    path.write_text('{"a": {"b": 1}}')
    line = checks.fit(train, job(), "xl", lambda case, *, effort: report_of(case, effort, gib=9.5))
    assert line.startswith("memory: a step takes 9.50 GiB")
    assert "of another version: begun anew" in capsys.readouterr().err


def test_a_step_that_does_not_fit():
    train, _ = read(job())
    with pytest.raises(
        errors.DoesNotFitError, match="xl needs 40.00 GiB .* v4-32, which has 30.75"
    ):
        checks.fit(train, job(), "xl", lambda case, *, effort: report_of(case, effort, gib=40))


def test_nothing_is_compiled_where_that_is_not_possible_or_not_wanted(monkeypatch):
    train, _ = read(job())
    assert checks.fit(train, job(), "xl", None) == "memory: not looked at (--no_compile)"
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'flan_jax[aot]'" in checks.fit(train, job(), "xl", pytest.fail)


def test_training_on_a_cluster_without_slices():
    _, found = read(dataclasses.replace(job(), slice=None), "STORE_DIR=stores/x", is_remote=False)
    assert found == ["configuration: flan_t5_xl reads and is complete"]
