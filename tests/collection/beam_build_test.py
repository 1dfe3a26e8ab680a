# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A build on Apache Beam's DirectRunner: the bytes of any other build, every failure told."""

import dataclasses
import importlib.util
import sys

import pytest

from flan_jax.collection import beam_build, registry
from flan_jax.collection import build as build_lib
from flan_jax.collection.sources import GeneratedSource
from flan_jax.collection.store import StoreWriteError
from flan_jax.collection.workers import Died
from flan_jax.core.errors import FlanError, IncompleteError, UsageError
from flan_jax.core.modules import import_tasks
from tests.collection.store_files import contents, written_at

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam is not installed; pip install 'flan_jax[beam,test]'",
)
LENGTHS = {"inputs": 256, "targets": 64}
DIRECT = {"beam_runner": "DirectRunner"}


def build(out, mixture="mini_4", **changes):
    import_tasks("tasks.mixtures", "a test")
    arguments = {
        "mixture": mixture, "out": out, "vocabulary": "bytes", "feature_lengths": LENGTHS,
        "limit": 5, "module_imports": ["tasks.mixtures"],
    }  # fmt: skip
    return build_lib.build(**(arguments | changes))


def test_without_beam_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        UsageError, match=r"'apache_beam' is not installed; pip install 'flan_jax\["
    ):
        build(tmp_path / "out", **DIRECT)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**DIRECT, "num_workers": 2}, "num_workers is 2, but the processes of a build on Beam"),
        ({"beam_options": ["--a=b"]}, "options for Beam, '--a=b', and no Beam runner; name one"),
    ],
)
def test_arguments_that_contradict_each_other(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        build(tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


@needs_beam
@pytest.mark.parametrize(
    ("runner", "options", "message"),
    [
        ("DirectRuner", [], "does not take the runner 'DirectRuner'"),
        ("DirectRunner", ["--direct_num_worker=2"], "did you mean 'direct_num_workers'"),
    ],
)
def test_runners_and_options_that_beam_does_not_know(tmp_path, runner, options, message):
    with pytest.raises(UsageError, match=message):
        build(tmp_path / "out", beam_runner=runner, beam_options=options)
    assert not (tmp_path / "out").exists()


@needs_beam
@pytest.mark.slow  # imports Beam and builds the same store twice
def test_the_bytes_are_those_of_any_build_and_what_is_done_stays(tmp_path):
    build(tmp_path / "here")
    build(tmp_path / "beam", **DIRECT)
    assert contents(tmp_path / "here") == contents(tmp_path / "beam")
    before = written_at(tmp_path / "beam")
    build(tmp_path / "beam", **DIRECT).verify()
    assert written_at(tmp_path / "beam") == before


@needs_beam
@pytest.mark.slow  # the runner's processes import TensorFlow
def test_the_runners_own_processes_give_the_same_bytes(tmp_path):
    build(tmp_path / "here")
    options = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    build(tmp_path / "beam", **DIRECT, beam_options=options)
    assert contents(tmp_path / "here") == contents(tmp_path / "beam")


@needs_beam
@pytest.mark.slow  # starts a runner
def test_a_task_that_fails_stops_no_other(tmp_path):
    import_tasks("tasks.mixtures", "a test")
    (name, *_) = sorted(registry.mixture_members("mini_4"))
    source = GeneratedSource(_failing_row, {"train": 3})
    failing = dataclasses.replace(
        registry.get_spec(name), name="beam_test.failing", source=source, splits=("train",)
    )
    registry.add_task(failing)
    registry.add_mixture("beam_test_all", [name, failing.name])
    with pytest.raises(IncompleteError, match=r"failing \(train\): ZeroDivisionError: row 0"):
        build(tmp_path / "out", "beam_test_all", **DIRECT)
    finished = {path.parts[-3] for path in (tmp_path / "out").rglob("done.json")}
    assert finished == {name}
    assert not list((tmp_path / "out").rglob("beam.*"))


def _failing_row(split, index):
    raise ZeroDivisionError(f"row {index}")


@dataclasses.dataclass(frozen=True)
class Doubled:
    """A result."""

    value: int


def double(job):
    if job == 3:
        raise StoreWriteError("the disk is full")
    if job == 4:
        raise ZeroDivisionError("four")
    return Doubled(2 * job)


def run_jobs(folder, jobs):
    results = {}
    beam_build.run_jobs(
        double, jobs, results.__setitem__, folder=folder, result_type=Doubled,
        runner="DirectRunner",
    )  # fmt: skip
    return results


@needs_beam
@pytest.mark.slow  # starts a runner
def test_each_result_comes_back_and_a_fault_of_the_folder_is_raised(tmp_path):
    left = tmp_path / "beam.left"  # by a build that was killed
    left.mkdir()
    assert run_jobs(tmp_path, [0, 1, 2]) == {n: Doubled(2 * n) for n in (0, 1, 2)}
    with pytest.raises(FlanError, match="the disk is full"):
        run_jobs(tmp_path, [1, 3])
    assert not list(tmp_path.iterdir())


@needs_beam
@pytest.mark.slow  # starts a runner
def test_a_job_without_a_result_has_died(tmp_path):
    died = run_jobs(tmp_path, [4])[4]
    assert isinstance(died, Died)
    assert died.how.startswith("on the DirectRunner; Beam says: ") and "four" in died.how
