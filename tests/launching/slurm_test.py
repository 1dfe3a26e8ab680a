# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The batch script for SLURM, run with a fake srun, scontrol and scancel: what an end leads to."""

import argparse
import getpass
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax.core import errors
from flan_jax.launching import plan as plans
from flan_jax.launching import shipped, slurm
from flan_jax.launching.job import Job
from tests.launching import goldens

TRAIN = ("--recipe=flan_t5_xl", "--gin.MODEL_DIR=/shared/runs/flan_t5_xl")
ODD = ("--gin.A='b c'", '--gin.D="$e"', "--gin.F=`g`", "*", "--gin.H=$(i)", "")


def job(**fields):
    settings = {"name": "flan-t5-xl", "train": TRAIN, "model_dir": "/shared/runs/flan_t5_xl"}
    return Job(**settings | fields)


def arguments(*argv, do="start"):
    parser = argparse.ArgumentParser()
    slurm.add_arguments(parser.add_argument_group())
    return argparse.Namespace(do=do, **vars(parser.parse_args(argv)))


def test_what_is_shown():
    args = arguments(
        "--nodes=2", "--partition=gpu", "--account=nlp", "--time=24:00:00",
        "--sbatch=--cpus-per-task=12",
    )  # fmt: skip
    goldens.check("slurm_2_nodes.txt", plans.shown(slurm.plan(job(), args)))


@pytest.mark.parametrize("train", [TRAIN, ODD])
def test_the_script_is_clean(train, tmp_path):
    shellcheck = Path(sys.executable).with_name("shellcheck")
    body = shipped.folder() / "slurm" / "job.sh"
    assert subprocess.run([shellcheck, body]).returncode == 0
    path = tmp_path / "job.sbatch"
    path.write_text(slurm.script(job(train=train, environment={"A": "b 'c'"}), arguments()))
    # SC2016: what stands between single quotes shall not be expanded.
    argv = [shellcheck, "--exclude=SC2016", path]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


class Cluster:
    """A node with nothing but bash, date and fakes that note how they are called."""

    def __init__(self, folder: Path):
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        self.calls = folder / "calls"
        for name in ("bash", "date"):
            (self.bin / name).symlink_to(shutil.which(name))
        self.fake("flan-jax", "")
        self.fake("scontrol", "")
        self.fake("scancel", "")

    def fake(self, name: str, does: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\necho \"{name} $*\" >> '{self.calls}'\n{does}\n")
        path.chmod(0o755)

    def start(self, job=job(), **variables: str) -> subprocess.Popen:  # noqa: B008 - frozen
        script = self.folder / "job.sbatch"
        script.write_text(slurm.script(job, arguments()))
        known = {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "n[1-2]", "PATH": str(self.bin)}
        return subprocess.Popen(
            [self.bin / "bash", script],
            env=known | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def called(self, name: str) -> list[str]:
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.split()[0] == name]


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


@pytest.mark.parametrize(
    ("code", "restarts", "again", "said"),
    [
        (0, 0, False, "done"),
        (75, 0, True, "back into the queue"),
        (75, 900, True, "back into the queue"),
        (1, 0, True, "back into the queue"),
        (1, 49, True, "back into the queue"),
        (1, 50, False, "after 50 restarts"),
        (137, 3, True, "back into the queue"),
        (2, 0, False, "not started again"),
        (3, 0, False, "not started again"),
    ],
)
def test_how_a_step_ends_decides(cluster, code, restarts, again, said):
    cluster.fake("srun", f"exit {code}")
    process = cluster.start(SLURM_RESTART_COUNT=str(restarts))
    out, _ = process.communicate(timeout=60)
    assert cluster.called("scontrol") == (["scontrol requeue 17"] if again else [])
    assert process.returncode == (0 if again else code)
    assert said in out.splitlines()[-1] and f"start {restarts + 1}:" in out
    assert not cluster.called("scancel")


def test_a_job_that_cannot_be_put_back_has_failed(cluster):
    cluster.fake("srun", "exit 75")
    cluster.fake("scontrol", "exit 1")
    process = cluster.start()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75 and "could not be put back" in out


def test_a_job_that_is_told_to_stop_saves_and_is_not_put_back(cluster, tmp_path):
    running, told = tmp_path / "running", tmp_path / "told"
    for path in (running, told):
        os.mkfifo(path)
    cluster.fake("srun", f"echo yes > '{running}'; read -r _ < '{told}'; exit 75")
    cluster.fake("scancel", f"echo TERM > '{told}'")
    process = cluster.start()
    assert running.read_text() == "yes\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert cluster.called("scancel") == ["scancel --signal=TERM 17"]
    assert not cluster.called("scontrol")
    assert process.returncode == 75 and out.splitlines()[-1].endswith("stopped, exit code 75")


def test_the_step_gets_arguments_and_variables_as_they_are(cluster):
    show = 'for last; do printf "<%s>\\n" "$last"; done; echo "A=$A cores=$SRUN_CPUS_PER_TASK"'
    cluster.fake("srun", f'{show}; echo "proxies:$http_proxy$HTTPS_PROXY"')
    started = cluster.start(
        job(train=ODD, environment={"A": "b $c 'd'"}),
        SLURM_CPUS_PER_TASK="12", http_proxy="http://p", HTTPS_PROXY="http://p",
    )  # fmt: skip
    out, _ = started.communicate(timeout=60)
    lines = out.splitlines()
    assert lines[lines.index("<flan-jax>") :][: len(ODD) + 2] == [
        "<flan-jax>",
        "<train>",
        *(f"<{argument}>" for argument in ODD),
    ]
    assert "A=b $c 'd' cores=12" in lines and "proxies:" in lines


def test_a_node_without_the_environment_says_so(cluster):
    (cluster.bin / "flan-jax").unlink()
    cluster.fake("srun", "exit 0")
    process = cluster.start()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == errors.EXIT_USAGE and "no flan-jax on PATH" in out
    assert not cluster.called("srun")


@pytest.mark.parametrize(
    ("fields", "argv", "message"),
    [
        ({"buckets": ("runs",)}, [], "mounts no buckets, and the arguments name gs://runs;"),
        ({"model_dir": "/shared/a b"}, [], "MODEL_DIR '/shared/a b' cannot be given to SLURM"),
        ({"model_dir": "/shared/%j"}, [], "cannot be given to SLURM"),
        ({"model_dir": ""}, [], "no MODEL_DIR"),
        ({}, ["--nodes=0"], "--nodes must be >= 1, got 0"),
        ({}, ["--gpus_per_node=-1"], "--gpus_per_node must be >= 1, got -1"),
        ({}, ["--partition=a\n#SBATCH --uid=0"], "is no option for sbatch here"),
        ({}, ["--sbatch=--mem=0 --exclusive"], "'--mem=0 --exclusive' is no option"),
        ({}, ["--sbatch=mem=0"], "'mem=0' is no option for sbatch"),
    ],
)
def test_mistakes_get_one_line(fields, argv, message):
    with pytest.raises(errors.UsageError, match=message):
        slurm.plan(job(**fields), arguments(*argv))


@pytest.mark.parametrize(
    ("action", "programs"),
    [
        ("status", ["squeue", "sacct"]),
        ("stop", ["scancel", "scancel"]),
        ("delete", ["scancel"]),
    ],
)
def test_other_actions_name_the_job_and_its_owner(action, programs):
    steps = slurm.plan(job(), arguments(do=action)).steps
    assert [step.argv[0] for step in steps] == programs
    for step in steps:
        assert {"--name=flan-t5-xl", f"--user={getpass.getuser()}"} <= set(step.argv)


def test_logs_are_those_of_process_0():
    (step,) = slurm.plan(job(), arguments(do="logs")).steps
    assert step.argv[-1] == "/shared/runs/flan_t5_xl/logs/process_0.log"
    assert "/logs/process_%t.log" in slurm.script(job(), arguments()).replace("$logs", "/logs")


def test_a_start_makes_the_folder_and_queues_the_script(cluster, monkeypatch, tmp_path):
    cluster.fake("sbatch", "echo Submitted batch job 17")
    monkeypatch.setenv("PATH", f"{cluster.bin}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    slurm.do(job(model_dir="runs/xl"), arguments(), "start")
    assert (tmp_path / "runs/xl/logs").is_dir()
    assert cluster.called("sbatch") == ["sbatch flan-t5-xl.sbatch"]
    assert (tmp_path / "flan-t5-xl.sbatch").read_text().startswith("#!/bin/bash\n#SBATCH --job")


def test_a_refusal_of_sbatch_is_told(cluster, monkeypatch, tmp_path):
    refusal = "sbatch: error: Batch job submission failed: Invalid account or account/partition"
    cluster.fake("sbatch", f"echo '{refusal}' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{cluster.bin}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.FlanError, match="Invalid account or account/partition"):
        slurm.do(job(model_dir="runs/xl"), arguments(), "start")


def test_the_page_shows_what_is_printed(monkeypatch, capsys):
    goldens.check_page(shipped.folder() / "slurm" / "README.md", monkeypatch, capsys)
