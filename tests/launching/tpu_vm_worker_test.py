# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the script of a worker does, among programs that only note that they were called."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax.launching import shipped, supervise

SCRIPT = shipped.folder() / "tpu_vm" / "flan_jax_worker.sh"
SCRIPTS = sorted(shipped.folder().rglob("*.sh"))
# Notes its name and words, each between angle brackets; then does what NAME.sh says, if anything.
_NOTING = """#!/bin/sh
name=${0##*/}
{ printf '%s' "$name"; for word; do printf ' <%s>' "$word"; done; echo; } >>"$FAKES/calls"
[ -f "$FAKES/$name.sh" ] && . "$FAKES/$name.sh"
exit 0
"""
_NAMES = (
    "curl", "python3", "uv", "sudo", "systemctl", "systemd-run", "journalctl", "gcsfuse",
    "mountpoint", "ls", "sleep", "lsb_release",
)  # fmt: skip
_METADATA = """case $* in
  *agent-worker-number) echo 2 ;;
  *worker-network-endpoints) echo a:b:10.0.0.1,a:b:10.0.0.2,a:b:10.0.0.3,a:b:10.0.0.4 ;;
esac
"""
# As root it may call these programs alone, lest the test change this machine.
_SUDO = 'case $1 in systemctl | systemd-run | journalctl) exec "$@" ;; esac\n'
_PROPERTIES = """case $* in
  *LoadState*) echo {load} ;; *ActiveState*) echo {active} ;;
  *SubState*) echo {sub} ;; *ExecMainStatus*) echo {code} ;; *ExecMainCode*) echo {how} ;;
esac
"""


class Fakes:
    """The programs that the script calls, in a folder of their own."""

    def __init__(self, folder: Path):
        self._folder, self.home = folder, folder / "home"
        bin_folder = folder / "bin"
        uv_folder = self.home / ".flan_jax" / "uv" / "bin"
        bin_folder.mkdir()
        uv_folder.mkdir(parents=True)
        for name in _NAMES:
            path = (uv_folder if name == "uv" else bin_folder) / name
            path.write_text(_NOTING)
            path.chmod(0o755)
        self.does("curl", _METADATA)
        self.does("sudo", _SUDO)
        self.does("mountpoint", "exit 1")
        self.unit()

    def does(self, name: str, text: str) -> None:
        """Makes a program do more than note its call."""
        (self._folder / f"{name}.sh").write_text(text)

    def unit(self, load="loaded", active="active", sub="running", code=0, how=1) -> None:
        """Makes systemd say this of the job's unit."""
        text = _PROPERTIES.format(load=load, active=active, sub=sub, code=code, how=how)
        self.does("systemctl", text)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Returns exit code, output and complaints of the script."""
        done = subprocess.run(
            ["bash", SCRIPT, *arguments],
            capture_output=True,
            text=True,
            env={
                "PATH": f"{self._folder / 'bin'}:/usr/bin:/bin",
                "HOME": str(self.home),
                "FAKES": str(self._folder),
            },
        )
        return done.returncode, done.stdout, done.stderr

    def calls(self, name: str) -> list[str]:
        """Returns the words of all calls of a program."""
        lines = (self._folder / "calls").read_text().splitlines()
        return [line.removeprefix(f"{name} ") for line in lines if line.split()[0] == name]


@pytest.fixture
def fakes(tmp_path):
    return Fakes(tmp_path)


def test_there_are_scripts():
    assert SCRIPT in SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert done.stdout == "" and done.returncode == 0


def test_installing(fakes):
    package = "flan_jax-0.1.0-py3-none-any.whl[tpu]"
    code, out, err = fakes.run("install", "--bucket=my-runs", "--bucket=t5-data", package)
    assert (code, out, err) == (0, "flan-jax worker 2 of 4: installed\n", "")
    assert fakes.calls("python3") == []
    venv = fakes.home / ".flan_jax" / "venv"
    assert fakes.calls("uv") == [
        f"<venv> <--quiet> <--python> <3.11> <--allow-existing> <{venv}>",
        f"<pip> <install> <--quiet> <--python> <{venv}> <--reinstall-package> <flan_jax> "
        f"<{package}>",
    ]
    mounts = fakes.calls("gcsfuse")
    assert [mount.split()[-2:] for mount in mounts] == [
        ["<my-runs>", "</gcs/my-runs>"],
        ["<t5-data>", "</gcs/t5-data>"],
    ]
    for option in (
        "--implicit-dirs", "--rename-dir-limit=200000", "--metadata-cache-ttl-secs=0",
        "--metadata-cache-negative-ttl-secs=0",
    ):  # fmt: skip
        assert f"<{option}>" in mounts[0]
    assert "<mkdir> <--parents> </gcs/my-runs>" in fakes.calls("sudo")


def test_uv_is_installed_where_it_is_missing(fakes):
    uv = fakes.home / ".flan_jax" / "uv"
    (uv / "bin" / "uv").rename(uv / "kept")
    fakes.does("python3", f"mv '{uv}/kept' '{uv}/bin/uv'\n")
    assert fakes.run("install", "flan_jax[tpu]")[0] == 0
    assert fakes.calls("python3") == [
        f"<-m> <pip> <install> <--quiet> <--target> <{uv}> <uv>=0.8,<1>"
    ]


def test_a_bucket_is_mounted_once(fakes):
    fakes.does("mountpoint", "exit 0")
    assert fakes.run("install", "--bucket=my-runs", "flan_jax[tpu]")[0] == 0
    assert fakes.calls("gcsfuse") == []


def test_a_mount_whose_process_died_is_mounted_anew(fakes):
    fakes.does("mountpoint", "exit 0")
    fakes.does("ls", "exit 2")
    assert fakes.run("install", "--bucket=my-runs", "flan_jax[tpu]")[0] == 0
    assert "<umount> <--lazy> </gcs/my-runs>" in fakes.calls("sudo")
    assert len(fakes.calls("gcsfuse")) == 1


@pytest.mark.parametrize(
    ("program", "text", "expected"),
    [
        ("uv", "[ $1 = pip ] && exit 1", "cannot install flan_jax[tpu]"),
        ("uv", "[ $1 = venv ] && exit 1", "cannot make a Python 3.11 environment"),
        ("gcsfuse", "exit 1", "cannot mount gs://my-runs; the TPUs' service account needs roles/"),
    ],
)
def test_what_fails_is_said_with_the_worker(program, text, expected, fakes):
    fakes.does(program, text)
    code, out, err = fakes.run("install", "--bucket=my-runs", "flan_jax[tpu]")
    assert code == 1 and out == ""
    assert err.startswith(f"flan-jax: error: worker 2 of 4: {expected}")
    assert len(err.splitlines()) == 1


def test_a_step_that_fails_unexpectedly_is_named(fakes):
    fakes.does("curl", "exit 22")
    code, _, err = fakes.run("status", "xl")
    assert code != 0
    assert "flan-jax: error: a worker: failed: " in err


def test_starting(fakes):
    arguments = ("--recipe=mini", "--gin.A='b c'", '--gin.D={"e": $f}')
    code, out, err = fakes.run("start", "xl", "3", "/gcs/r/xl", "A=b c", "D=", "--", *arguments)
    assert (code, out, err) == (0, "flan-jax worker 2 of 4: running\n", "")
    (started,) = fakes.calls("systemd-run")
    before, after = started.split(" <--> ", 1)
    assert "<--unit=flan-jax-xl>" in before
    assert "<--setenv=A=b c> <--setenv=D=>" in before
    assert "<--property=KillMode=mixed>" in before
    assert "<--property=OOMPolicy=continue>" in before
    # The third worker of the fourth slice of four workers each.
    assert after == (
        f"<{fakes.home}/.flan_jax/venv/bin/python> <-m> <flan_jax.launching.supervise> "
        "<--model_dir=/gcs/r/xl> <--process_id=14> <--> <--recipe=mini> <--gin.A='b c'> "
        '<--gin.D={"e": $$f}>'  # one for systemd
    )
    assert fakes.calls("systemctl")[:2] == ["<stop> <flan-jax-xl>", "<reset-failed> <flan-jax-xl>"]


def test_the_supervisor_takes_what_it_is_started_with(fakes, monkeypatch):
    assert fakes.run("start", "xl", "1", "/gcs/r/xl", "--", "--recipe=mini", "--gin.A=b")[0] == 0
    (started,) = fakes.calls("systemd-run")
    words = re.findall(r"<(.*?)>", started.split("supervise> ")[1])
    found = []
    monkeypatch.setattr(supervise, "supervise", found.append)
    assert supervise.main(words) == 0
    assert found[0].process_id == 6 and found[0].model_dir == Path("/gcs/r/xl")
    assert found[0].argv == supervise.training(["--recipe=mini", "--gin.A=b"])


def test_a_training_that_ends_at_once_is_a_failure(fakes):
    fakes.unit(active="failed", sub="failed", code=2)
    fakes.does("journalctl", "echo 'flan-jax: error: unknown macro'")
    code, _, err = fakes.run("start", "xl", "0", "/gcs/r/xl", "--", "--recipe=mini")
    assert code == 1
    assert err == (
        "flan-jax: error: worker 2 of 4: failed, exit code 2: flan-jax: error: unknown macro\n"
    )


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ({}, "running"),
        ({"sub": "exited"}, "done"),
        ({"active": "failed", "sub": "failed", "code": 1}, "failed, exit code 1"),
        ({"active": "failed", "sub": "failed", "code": 75}, "stopped, it saved"),
        ({"active": "failed", "sub": "failed", "code": 2, "how": 2}, "failed, exit code 130"),
        ({"active": "deactivating", "sub": "stop-sigterm"}, "stopping"),
        ({"load": "not-found", "active": "inactive", "sub": "dead"}, "not started"),
    ],
)
def test_states(unit, expected, fakes):
    fakes.unit(**unit)
    assert fakes.run("status", "xl") == (0, f"flan-jax worker 2 of 4: {expected}\n", "")


def test_stopping(fakes):
    assert fakes.run("stop", "xl", "--no-block")[0] == 0
    assert fakes.calls("systemctl")[-1] == "<stop> <--no-block> <flan-jax-xl>"
    fakes.unit(load="not-found")
    assert fakes.run("stop", "xl") == (0, "flan-jax worker 2 of 4: not started\n", "")


def test_an_unknown_action(fakes):
    code, _, err = fakes.run("restart")
    assert code == 1
    assert "unknown action 'restart'; give install, start, status or stop" in err
