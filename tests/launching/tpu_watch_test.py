# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""TPUs that are taken away are requested again; what failed, was stopped, or is done, is not."""

import argparse

import pytest

from flan_jax.aot import slices
from flan_jax.core import errors
from flan_jax.launching import plan as plans
from flan_jax.launching import tpu_vm, tpu_watch
from flan_jax.launching.job import Job
from tests.launching.fake_gcloud import FakeGcloud

JOB = Job(
    name="xl",
    train=("--recipe=flan_t5_xl", "--gin.MODEL_DIR=/gcs/my-runs/xl"),
    buckets=("my-runs",),
    model_dir="/gcs/my-runs/xl",
    slice=slices.find("v4-8"),
)
RUNNING, DONE = ("running", "running"), ("done", "done")
REQUESTS = ("create", "delete")


@pytest.fixture
def waits(monkeypatch):
    """The seconds that would have been waited."""
    found = []
    monkeypatch.setattr(plans, "_SLEEP", lambda _: None)
    monkeypatch.setattr(tpu_watch, "_SLEEP", found.append)
    return found


@pytest.fixture
def gcloud(tmp_path, monkeypatch, waits):
    return FakeGcloud(tmp_path, monkeypatch)


def keep_alive():
    parser = argparse.ArgumentParser()
    tpu_vm.add_arguments(parser.add_argument_group())
    words = ["--zone=us-central2-b", "--spot", "--keep_alive", "--package=flan_jax[tpu]"]
    tpu_vm.do(JOB, argparse.Namespace(do="start", **vars(parser.parse_args(words))), "start")


def requests(gcloud):
    return [verb for verb in gcloud.verbs() if verb in REQUESTS]


def test_done_is_deleted(gcloud, waits, capfd):
    gcloud.states("ABSENT", "ACTIVE")
    gcloud.workers(*RUNNING, times=3)
    gcloud.workers(*DONE)
    keep_alive()
    assert requests(gcloud) == ["create", "delete"]
    assert waits == [tpu_watch.PERIOD_S] * 3
    told = capfd.readouterr().err
    assert told.count("launch: 2 worker(s): running") == 1  # what is as before is not said again
    assert told.endswith("launch: done; xl is deleted\n")


@pytest.mark.parametrize("gone", ["SUSPENDING", "SUSPENDED"])
def test_taken_away_is_requested_again(gone, gcloud, capfd):
    # Looked for, there, at the first look, at the second: gone; looked for, there, at a look.
    gcloud.states("ABSENT", "ACTIVE", "ACTIVE", gone, gone, "ACTIVE")
    gcloud.workers(*RUNNING, times=3)
    gcloud.workers(*DONE)
    keep_alive()
    assert requests(gcloud) == ["create", "delete", "create", "delete"]
    assert f"({gone}); starting again" in capfd.readouterr().err


def test_taken_away_while_waiting_is_requested_again_at_once(gcloud, waits):
    gcloud.states("ABSENT", "PROVISIONING", "SUSPENDED", "SUSPENDED", "ACTIVE")
    gcloud.workers(*DONE)
    keep_alive()
    assert waits == [tpu_watch.PERIOD_S]
    assert requests(gcloud) == ["create", "delete", "create", "delete"]


def test_tpus_that_only_ssh_knows_to_be_gone(gcloud):
    gcloud.states("ABSENT", "ACTIVE", "ACTIVE", "SUSPENDED", "ACTIVE")
    gcloud.workers(*RUNNING, times=1)
    terminal = 'ERROR: (gcloud) This TPU has terminal state "PREEMPTED", so it cannot be used.\n'
    gcloud.answer("worker.sh status", err=terminal, code=1, times=1)
    gcloud.workers(*DONE)
    keep_alive()
    assert requests(gcloud) == ["create", "delete", "create", "delete"]


def test_a_request_that_fails_is_made_again_later_and_given_up(gcloud, waits):
    gcloud.states("FAILED:no capacity")
    with pytest.raises(errors.FlanError, match="given up after 5 requests .* no capacity"):
        keep_alive()
    assert requests(gcloud) == ["delete", "create"] * 5
    assert waits == [60, 120, 240, 480]


def test_a_machine_that_was_restarted_is_started_again(gcloud):
    gcloud.states("ACTIVE")
    gcloud.workers(*RUNNING, times=1)
    gcloud.workers("not started", "running", times=1)
    gcloud.workers(*DONE)
    keep_alive()
    assert gcloud.verbs().count("install") == gcloud.verbs().count("start") == 2
    assert requests(gcloud) == ["delete"]


def test_a_training_that_fails_keeps_its_tpus(gcloud, waits):
    gcloud.states("ACTIVE")
    gcloud.workers(*RUNNING, times=1)
    gcloud.workers("running", "failed, exit code 1")
    with pytest.raises(
        errors.FlanError, match="xl, worker 1: failed, exit code 1; its log .*TPUs of xl stay"
    ):
        keep_alive()
    assert len(waits) == 2  # at the first look its machine may have been taken away
    assert requests(gcloud) == []


def test_taken_away_while_installing_is_requested_again(gcloud):
    # Looked for, there; after the failure; looked for, there, at a look.
    gcloud.states("ABSENT", "ACTIVE", "SUSPENDED", "SUSPENDED", "ACTIVE")
    gcloud.answer("worker.sh install", err="flan-jax: error: worker 1: no\n", code=1, times=1)
    gcloud.workers(*DONE)
    keep_alive()
    assert requests(gcloud) == ["create", "delete", "create", "delete"]


def test_what_fails_while_the_tpus_are_there_is_not_tried_again(gcloud):
    gcloud.states("ABSENT", "ACTIVE")
    gcloud.answer("worker.sh install", err="flan-jax: error: worker 1: no\n", code=1)
    with pytest.raises(errors.FlanError, match="worker 1: no$"):
        keep_alive()
    assert requests(gcloud) == ["create"]


def test_a_network_that_is_away_for_a_while_ends_nothing(gcloud, waits):
    gcloud.states("ACTIVE", "ACTIVE")
    gcloud.workers(*RUNNING, times=1)
    gcloud.answer("status", err="ERROR: (gcloud) no network\n", code=1, times=3)
    gcloud.workers(*DONE)
    keep_alive()
    assert len(waits) == 4
    assert requests(gcloud) == ["delete"]


def test_stopped_by_hand_ends_it(gcloud, waits):
    gcloud.states("ACTIVE")
    gcloud.workers(*RUNNING, times=1)
    gcloud.workers("stopped, it saved", "stopped, it saved")
    with pytest.raises(errors.PreemptedError, match="stopped by hand"):
        keep_alive()
    assert len(waits) == 2  # at the first look it may have been taken away
    assert requests(gcloud) == []


def test_deleted_by_hand_ends_it(gcloud):
    gcloud.states("ABSENT", "ACTIVE", "ABSENT")
    gcloud.workers(*RUNNING)
    with pytest.raises(
        errors.FlanError, match="xl was deleted by somebody; it is not requested again$"
    ):
        keep_alive()
    assert requests(gcloud) == ["create"]


def test_workers_that_cannot_be_reached(gcloud, waits):
    gcloud.states("ACTIVE")
    gcloud.workers(*RUNNING, times=1)
    gcloud.answer("worker.sh status", err="ERROR: (gcloud) no route\n", code=1)
    with pytest.raises(errors.FlanError, match="no route; tried 10 times"):
        keep_alive()
    assert len(waits) == 10
