# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A job on Cloud TPU VMs, by a gcloud that answers as it would when things go wrong."""

import re
from pathlib import Path

import pytest

import flan_jax
from flan_jax import main
from flan_jax.core import errors
from flan_jax.launching import plan as plans
from flan_jax.launching import tpu_watch
from tests.launching import goldens
from tests.launching.fake_gcloud import FakeGcloud

ROOT = Path(__file__).resolve().parents[2]
TRAINING = (
    "--recipe=flan_t5_xl",
    "--gin.MODEL_DIR=gs://my-runs/xl",
    "--gin.STORE_DIR=gs://my-runs/stores/flan2022",
    "--gin.INITIAL_CHECKPOINT_PATH=gs://t5-data/pretrained_models/t5x/t5_1_1_lm100k_xl/"
    "checkpoint_1100000",
)
V4_32 = ("--slice=v4-32", "--zone=us-central2-b")
RUNNING = ("running",) * 4
QUOTA = (
    "ERROR: (gcloud.compute.tpus.queued-resources.create) RESOURCE_EXHAUSTED: Quota limit "
    "'TPUV4PerProjectPerZone' has been exceeded. Limit: 0 in zone us-central2-b.\n"
    "- '@type': type.googleapis.com/google.rpc.QuotaFailure\n"
)
NO_TYPE = (
    "ERROR: (gcloud.compute.tpus.queued-resources.create) INVALID_ARGUMENT: Cloud TPU received an "
    'invalid argument. AcceleratorType "v4-32" is not available in zone us-central2-b.\n'
)


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Nothing waits; variables that the command sets are taken back; the home is another."""
    goldens.keep_environment(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)


@pytest.fixture
def waits(monkeypatch):
    """The seconds that would have been waited."""
    found = []
    monkeypatch.setattr(plans, "_SLEEP", found.append)
    monkeypatch.setattr(tpu_watch, "_SLEEP", found.append)
    return found


@pytest.fixture
def gcloud(tmp_path, monkeypatch, waits):
    return FakeGcloud(tmp_path, monkeypatch)


def launch(*arguments):
    words = ("launch", "--target=tpu-vm", "--no_compile", "--package=flan_jax[tpu]", *arguments)
    return main.main([*words, *TRAINING])


def last_line(capfd):
    return capfd.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("tpu_vm_v4_32.txt", V4_32),
        (
            "tpu_vm_v5litepod_16_spot.txt",
            ("--slice=v5litepod-16", "--zone=us-west4-a", "--project=my-project", "--spot",
             "--max_wait_h=12", "--network=tpus", "--vm_service_account=tpu@x.iam", "--name=try-1"),
        ),
        (
            "tpu_vm_2_slices.txt",
            ("--slice=v4-32", "--num_slices=2", "--zone=us-central2-b", "--reserved",
             "--env=FLAN_JAX_COORDINATOR_PORT=8476", "--compile_cache=none"),
        ),
    ],
)  # fmt: skip
def test_what_a_dry_run_shows(file, arguments, gcloud, capsys):
    words = ("launch", "--target=tpu-vm", "--no_compile", "--dry_run", *arguments, *TRAINING)
    assert main.main(words) == 0
    text = capsys.readouterr().out.rstrip("\n")
    goldens.check(file, text.replace(f"flan_jax-{flan_jax.__version__}-", "flan_jax-VERSION-"))
    assert gcloud.calls() == []


@pytest.mark.parametrize("action", ["status", "logs", "stop", "delete"])
def test_what_a_dry_run_of_an_action_shows(action, gcloud, capsys):
    assert launch(*V4_32, f"--do={action}", "--dry_run") == 0
    goldens.check(f"tpu_vm_{action}.txt", capsys.readouterr().out.rstrip("\n"))
    assert gcloud.calls() == []


def test_a_start_from_nothing(gcloud, capfd, waits):
    gcloud.states("ABSENT", "ACCEPTED", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE")
    gcloud.workers(*RUNNING)
    assert launch(*V4_32) == 0
    assert gcloud.verbs() == [
        "ls", "ls", "ls", "ls", "describe", "create", *["describe"] * 4, "scp", "install", "start",
        "status",
    ]  # fmt: skip
    assert waits == [20.0] * 3
    told = capfd.readouterr().err
    assert "launch: the request is in the queue: no such TPUs are free yet (WAITING_FOR" in told
    assert "launch: started; look at it with --do status" in told
    start = next(call for call in gcloud.calls() if "worker.sh start" in call[-1])
    assert "--worker=all" in start
    assert start[-1] == (
        "--command=bash flan_jax_worker.sh start xl 0 /gcs/my-runs/xl "
        "JAX_COMPILATION_CACHE_DIR=/gcs/my-runs/compile_cache -- --recipe=flan_t5_xl "
        "--gin.MODEL_DIR=/gcs/my-runs/xl --gin.STORE_DIR=/gcs/my-runs/stores/flan2022 "
        "--gin.INITIAL_CHECKPOINT_PATH=/gcs/t5-data/pretrained_models/t5x/t5_1_1_lm100k_xl/"
        "checkpoint_1100000"
    )


def test_each_slice_is_started_with_its_number(gcloud):
    gcloud.states("ACTIVE")
    gcloud.workers(*RUNNING)
    assert launch(*V4_32, "--num_slices=2") == 0
    starts = [call for call in gcloud.calls() if "worker.sh start" in call[-1]]
    assert [call[4] for call in starts] == ["xl-0", "xl-1"]
    assert [call[-1].split()[4] for call in starts] == ["0", "1"]
    assert all(call[-1].endswith(" --gin.MeshShape.num_slices=2") for call in starts)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("ACTIVE", []),
        ("WAITING_FOR_RESOURCES", []),
        ("SUSPENDED", ["delete", "create"]),
        ("FAILED:no capacity", ["delete", "create"]),
    ],
)
def test_what_is_there_already_is_used_or_replaced(state, expected, gcloud):
    gcloud.states(state, "ACTIVE")
    gcloud.workers(*RUNNING)
    assert launch(*V4_32) == 0
    assert [verb for verb in gcloud.verbs() if verb in ("create", "delete")] == expected


def test_the_tpus_of_another_job_are_not_used(gcloud, capfd):
    node = '"tpu": {"nodeSpec": [{"node": {"acceleratorType": "v4-8"}}]}'
    gcloud.answer("describe", out=f'{{"state": {{"state": "ACTIVE"}}, {node}}}')
    assert launch(*V4_32) == errors.EXIT_USAGE
    assert "there is a xl already, a v4-8 and no v4-32; give another --name" in last_line(capfd)


@pytest.mark.parametrize(
    ("of", "said", "expected"),
    [
        ("create", QUOTA, r"TPUV4PerProjectPerZone.*; ask for more at .*quotas"),
        ("create", NO_TYPE, r'"v4-32" is not available in zone.*accelerator-types list'),
        (
            "create",
            "ERROR: (gcloud) SERVICE_DISABLED: Cloud TPU API has not been used in project 1\n",
            r"run: gcloud services enable tpu.googleapis.com",
        ),
        ("create", "ERROR: (gcloud) PERMISSION_DENIED: no\n", r"roles .* launch/README.md"),
        (
            "describe",
            "ERROR: (gcloud) You do not currently have an active account selected.\nPlease run:\n",
            r"run: gcloud auth login",
        ),
        (
            "ls+manifest.json",
            "ERROR: (gcloud.storage.ls) One or more URLs matched no objects.\n",
            r"is the token store built\? .*matched no objects.*must be there first",
        ),
        (
            "ls+gs://my-runs",
            "ERROR: (gcloud.storage.ls) gs://my-runs not found: 404.\n",
            r"is the bucket my-runs there.*not found: 404",
        ),
        (
            "install",
            "flan-jax: error: worker 2 of 4: cannot install flan_jax[tpu]\n"
            "##### Command execution on worker 2 failed with exit status 1. Continuing.\n",
            r"install and mount on all workers of xl: .* code 1: worker 2 of 4: cannot install",
        ),
        (
            "worker.sh start",
            "flan-jax: error: worker 1 of 4: failed, exit code 2: flan-jax: error: unknown macro\n",
            r"worker 1 of 4: failed, exit code 2: flan-jax: error: unknown macro",
        ),
    ],
)
def test_a_failure_of_gcloud_is_one_line_with_a_remedy(of, said, expected, gcloud, capfd):
    gcloud.answer(of, err=said, code=1)
    gcloud.states("ABSENT", "ACTIVE")
    gcloud.workers(*RUNNING)
    assert launch(*V4_32) == errors.EXIT_FAILED
    line = last_line(capfd)
    assert line.startswith("flan-jax: error: ")
    assert re.search(expected, line), line


def test_a_broken_connection_is_tried_again(gcloud, waits):
    gcloud.states("ACTIVE")
    gcloud.answer(
        "worker.sh install", err="ERROR: (gcloud) [/usr/bin/ssh] 255\n", code=255, times=2
    )
    gcloud.workers(*RUNNING)
    assert launch(*V4_32) == 0
    assert gcloud.verbs().count("install") == 3
    assert waits == [10.0, 20.0]


def test_what_runs_there_is_stopped_on_all_slices_before_it_is_started(gcloud):
    gcloud.states("ACTIVE")
    gcloud.workers(*RUNNING)
    assert launch(*V4_32, "--num_slices=2") == 0
    verbs = [verb for verb in gcloud.verbs() if verb in ("stop", "start")]
    assert verbs == ["stop"] * 4 + ["start"] * 2


def test_workers_that_begin_late_are_waited_for(gcloud, waits):
    gcloud.states("ACTIVE")
    gcloud.workers("running", "stopping", times=2)
    gcloud.workers("running", "running")
    assert launch(*V4_32) == 0
    assert waits == [20, 20]


def test_wheels_are_copied_and_installed_by_their_names(gcloud, tmp_path, capfd):
    ours, mine = tmp_path / "flan_jax-1.whl", tmp_path / "mine-2.whl"
    ours.touch()
    words = (f"--package={ours}[tpu]", f"--package={mine}", "--package=seqio", *V4_32, *TRAINING)
    launch_it = ["launch", "--target=tpu-vm", "--no_compile", *words]
    assert main.main(launch_it) == errors.EXIT_USAGE
    assert f"--package: there is no file '{mine}'" in last_line(capfd)
    mine.touch()
    gcloud.states("ACTIVE")
    gcloud.workers("running")
    assert main.main(launch_it) == 0
    copy = next(call for call in gcloud.calls() if "scp" in call)
    assert copy[5:7] == [str(ours), str(mine)]
    install = next(call[-1] for call in gcloud.calls() if "worker.sh install" in call[-1])
    assert install.endswith(" 'flan_jax-1.whl[tpu]' mine-2.whl seqio")


def test_tpus_taken_away_while_waiting(gcloud, capfd):
    gcloud.states("ABSENT", "PROVISIONING", "SUSPENDED")
    assert launch(*V4_32) == errors.EXIT_FAILED
    assert "the TPUs were taken away" in last_line(capfd)


def test_a_request_that_fails(gcloud, capfd):
    gcloud.states("ABSENT", "FAILED:There is no more capacity in the zone")
    assert launch(*V4_32) == errors.EXIT_FAILED
    line = last_line(capfd)
    assert "the request failed (FAILED: There is no more capacity in the zone)" in line
    assert "longer --max_wait_h" in line


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (3, 3), (1, 1)])
def test_a_training_that_fails_at_once(code, expected, gcloud, capfd):
    gcloud.states("ACTIVE")
    gcloud.workers("running", f"failed, exit code {code}")
    assert launch(*V4_32) == expected
    assert f"xl, worker 1: failed, exit code {code}; its log says why" in last_line(capfd)


def test_a_worker_that_says_nothing(gcloud, capfd):
    gcloud.states("ACTIVE")
    gcloud.answer("worker.sh status", out="flan-jax worker 2 of 4: running\n")
    assert launch(*V4_32) == errors.EXIT_FAILED
    assert "xl: no word from worker(s) 0, 1, 3 of 4" in last_line(capfd)


def test_the_state_of_a_job(gcloud, capfd):
    gcloud.states("ACTIVE")
    gcloud.workers("running", "failed, exit code 1")
    assert launch(*V4_32, "--do=status") == 0
    assert capfd.readouterr().out == (
        "xl: the TPUs are there (ACTIVE)\n"
        "xl, worker 0: running\n"
        "xl, worker 1: failed, exit code 1\n"
    )


def test_nothing_is_asked_of_workers_that_are_not_there(gcloud, capfd):
    gcloud.states("WAITING_FOR_RESOURCES")
    assert launch(*V4_32, "--do=stop") == 0
    assert "no such TPUs are free yet" in capfd.readouterr().out
    assert gcloud.verbs() == ["describe"]


def test_stopping_asks_all_slices_before_it_waits(gcloud):
    gcloud.states("ACTIVE")
    assert launch(*V4_32, "--num_slices=2", "--do=stop") == 0
    said = [(call[4], call[-1].split()[-1]) for call in gcloud.calls() if "worker.sh" in call[-1]]
    assert said == [("xl-0", "--no-block"), ("xl-1", "--no-block"), ("xl-0", "xl"), ("xl-1", "xl")]


def test_deleting(gcloud, capfd):
    gcloud.states("SUSPENDED")
    assert launch(*V4_32, "--do=delete") == 0
    assert "deleting the queued resource xl with xl" in capfd.readouterr().err
    assert gcloud.verbs() == ["describe", "delete"]
    assert {"--force", "--quiet"} <= set(gcloud.calls()[-1])


def test_gin_files_of_this_host_are_copied(gcloud, tmp_path):
    own = tmp_path / "own.gin"
    own.write_text("SEED = 3\n")
    gcloud.states("ACTIVE")
    gcloud.workers("running")
    assert launch(*V4_32, f"--gin_file={own}") == 0
    copy = next(call for call in gcloud.calls() if call[:2] == ["storage", "cp"])
    assert copy == ["storage", "cp", str(own), "gs://my-runs/xl/gin/own.gin"]
    start = next(call[-1] for call in gcloud.calls() if "worker.sh start" in call[-1])
    assert " --gin_file=/gcs/my-runs/xl/gin/own.gin " in start


def test_a_gin_file_with_includes_of_this_host(gcloud, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.gin").write_text("include 'runs/adafactor.gin'\ninclude 'beside.gin'\n")
    (tmp_path / "beside.gin").write_text("SEED = 3\n")
    assert launch(*V4_32, "--gin_file=own.gin") == errors.EXIT_USAGE
    assert "own.gin includes 'beside.gin', which the hosts" in last_line(capfd)
    assert launch(*V4_32, "--gin_file=own.gin", f"--gin_search_paths={tmp_path}") == 2
    assert f"--gin_search_paths: the hosts of --target tpu-vm do not have {tmp_path}" in (
        last_line(capfd)
    )
