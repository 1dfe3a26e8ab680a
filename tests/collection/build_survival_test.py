# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Builds that are killed, told to stop, or run out of disk: what was finished stays, nothing else.

Processes here are real ones, and so are the failed writes.
"""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from flan_jax import main
from flan_jax.collection import registry
from flan_jax.collection.store import Store
from flan_jax.core.errors import EXIT_PREEMPTED, UsageError
from tasks.mini import mixtures
from tests.collection.store_files import contents

VOCABULARY = "package:tasks/mini/vocabulary/sentencepiece.model"
MIXTURE, NUM_PARTS = "mini_16", 32
TIMEOUT_S = 300

# A user's module: building its second task comes to a halt, and says so by making a file.
HALTING = """
import os, signal
from flan_jax.collection import registry, sources
from flan_jax.collection.prompts import TemplateGroup
from flan_jax.collection.spec import TaskSpec

TEMPLATES = TemplateGroup(inline=('{"id": "t", "input": "{a}", "target": "{b}"}',))

def row(split, index):
    return {"a": f"{split} {index}", "b": str(index)}

def halting(row):
    if row["b"] == "7" and "HALT" in os.environ:
        open(os.environ["HALT"], "w").close()
        signal.pause()
    return row

for name, fields in (("halting.a", dict), ("halting.b", halting)):
    source = sources.GeneratedSource(row, {"train": 20})
    registry.add_task(
        TaskSpec(name=name, family="f", source=source, fields=fields, templates=TEMPLATES,
                 splits=("train",))
    )
registry.add_mixture("halting", ["halting.a", "halting.b"])
"""


@pytest.fixture(scope="module", autouse=True)
def mini():
    mixtures.register()


@pytest.fixture
def task():
    """A task of which a few examples are built: its name and the flags for that."""
    return min(registry.mixture_members("mini_4")), "--limit", "2"


def arguments(out, mixture=MIXTURE, *more, seed=0, num_workers=1):
    lengths = ["--inputs", "128", "--targets", "32", "--vocabulary", VOCABULARY]
    return [
        "build", "--mixture", mixture, "--out", str(out), "--seed", str(seed), *lengths,
        "--workers", str(num_workers), "--module_import", "tasks.mini.mixtures", *more,
    ]  # fmt: skip


def start(argv, **environment):
    """Starts the command; its pipes are open as long as it or a process of its lives."""
    return subprocess.Popen(
        [sys.executable, "-m", "flan_jax", *argv], env={**os.environ, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def output(process):
    """Waits for the command and all processes that it started, and returns what they printed."""
    with process:
        return process.communicate(timeout=TIMEOUT_S)[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The store of an uninterrupted build, and its contents."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main.main(arguments(out)) == 0
    return out, contents(out)


def finished_parts(out):
    while True:
        try:
            return {path.parent for path in out.rglob("done.json")}
        except FileNotFoundError:  # a folder was moved into place while it was read
            continue


def is_building(process, out):
    """Whether a command has begun to write its folder: then it stands in the lock."""
    lock = out / ".lock"
    return lock.exists() and f"process {process.pid} " in lock.read_text()


def wait_until(process, condition):
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "the build makes no progress"
        time.sleep(0.002)


def check_unfinished(out, expected):
    """What counts as finished is what an uninterrupted build gives, and the store is none yet."""
    found = contents(out)
    for folder in finished_parts(out):
        at = folder.parts.index("tasks")
        for path in folder.iterdir():
            name = "/".join(path.parts[at:])
            assert found[str(path.relative_to(out))] == expected[name], name
    # Killed before it had written anything, a build is not even unfinished.
    said = "an unfinished build is" if (out / "building").is_dir() else "no token store at"
    with pytest.raises(UsageError, match=said):
        Store.open(out)


def build_with_kills(out, expected, num_kills, num_workers, seed):
    """Starts a build again and again, and kills it at that many moments before it is complete."""
    rng = random.Random(seed)
    kills = []
    while len(kills) < num_kills:
        process = start(arguments(out, num_workers=num_workers))
        wait_until(process, lambda p=process: is_building(p, out))
        wanted = len(finished_parts(out)) + rng.choice([0, 0, 1, 1, 2, 3])
        if rng.random() < 0.2:
            wanted = NUM_PARTS  # while the parts are moved into place
        wait_until(process, lambda n=wanted: len(finished_parts(out)) >= n)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        printed = output(process)
        if not (out / "manifest.json").exists():
            assert process.returncode == -signal.SIGKILL, printed
            check_unfinished(out, expected)
            kills.append(len(finished_parts(out)))
        elif len(kills) < num_kills:
            assert contents(out) == expected
            shutil.rmtree(out)  # complete too early: from the start
    assert main.main(arguments(out)) == 0
    assert contents(out) == expected
    print(f"{num_workers} workers: killed with {kills} of {NUM_PARTS} parts finished")


@pytest.mark.slow  # two commands, each importing seqio: about 15 s
def test_a_build_killed_at_random_moments_ends_in_the_same_bytes(tmp_path, whole):
    build_with_kills(tmp_path / "out", whole[1], 2, 1, seed=3)


@pytest.mark.slow  # a command and two workers, each importing seqio: about 15 s
def test_a_build_by_workers_that_is_killed_ends_in_the_same_bytes(tmp_path, whole):
    build_with_kills(tmp_path / "out", whole[1], 1, 2, seed=2)


@pytest.mark.large  # forty-four processes that import seqio: about 5 minutes
@pytest.mark.parametrize(("num_kills", "num_workers"), [(20, 1), (8, 2)])
def test_a_build_killed_many_times_ends_in_the_same_bytes(tmp_path, whole, num_kills, num_workers):
    build_with_kills(tmp_path / "out", whole[1], num_kills, num_workers, seed=1)


class Killed(BaseException):
    """Ends a build in this process where a signal would end a real one."""


def kill():
    raise Killed


def stop_at(patch, number, stop):
    """Calls `stop` just before a change of the next build's folder, counted from 1."""
    count = 0

    def stopping(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == number:
                stop()
            return function(*args, **kwargs)

        return call

    for name in ("replace", "unlink", "rmdir", "mkdir"):
        patch.setattr(os, name, stopping(getattr(os, name)))


@pytest.mark.slow  # two short builds for each of some sixty moments: about 10 s
@pytest.mark.parametrize("old_seed", [None, 4], ids=["first build", "build that replaces another"])
def test_a_build_stopped_before_any_change_of_its_folder_goes_on(
    tmp_path, monkeypatch, task, old_seed
):
    fresh, before = tmp_path / "fresh", tmp_path / "before"
    assert main.main(arguments(fresh, *task)) == 0
    old, new = {}, contents(fresh)
    before.mkdir()
    if old_seed is not None:
        assert main.main(arguments(before, *task, seed=old_seed)) == 0
        old = contents(before)
    opened = []
    for number in range(1, 1000):
        out = tmp_path / f"out{number}"
        shutil.copytree(before, out)
        with monkeypatch.context() as patch:
            stop_at(patch, number, kill)
            try:
                main.main(arguments(out, *task))
                break
            except Killed:
                pass
        seed = None
        with contextlib.suppress(UsageError):
            seed = Store.open(out).manifest["seed"]
            expected = old if seed == old_seed else new
            assert expected.items() <= contents(out).items()
        opened.append(seed)
        assert main.main(arguments(out, *task)) == 0
        assert contents(out) == new
    assert number > 20
    # The old store, if there is one, stays up to the last moves, which no store outlives.
    assert list(dict.fromkeys(opened)) == ([old_seed, None, 0] if old else [None, 0])
    assert not old or opened.count(None) < 8


def test_a_build_that_is_told_to_stop_keeps_what_is_done(tmp_path, task, monkeypatch, capsys):
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    assert main.main(arguments(fresh, *task)) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 14, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert main.main(arguments(out, *task)) == EXIT_PREEMPTED
    assert "what was finished is kept; start the same command again" in capsys.readouterr().err
    assert len(finished_parts(out)) == 1
    check_unfinished(out, contents(fresh))
    assert main.main(arguments(out, *task)) == 0
    assert contents(out) == contents(fresh)


@pytest.mark.slow  # two commands and two workers, each importing seqio: about 20 s
def test_a_build_that_is_told_to_stop_stops_its_workers_whatever_they_do(tmp_path):
    (tmp_path / "halting_tasks.py").write_text(HALTING)
    out, halted = tmp_path / "out", tmp_path / "halted"
    argv = [
        "build", "--mixture", "halting", "--out", str(out), "--vocabulary", "bytes",
        "--inputs", "60", "--targets", "10", "--module_import", "halting_tasks",
    ]  # fmt: skip
    paths = os.pathsep.join([str(tmp_path), os.getcwd()])
    process = start([*argv, "--workers", "2"], PYTHONPATH=paths, HALT=str(halted))
    wait_until(process, lambda: halted.exists() and len(finished_parts(out)) == 1)
    process.send_signal(signal.SIGTERM)
    printed = output(process)  # once no process is left to print
    assert process.returncode == EXIT_PREEMPTED, printed
    assert "Traceback" not in printed
    assert len(finished_parts(out)) == 1
    process = start(argv, PYTHONPATH=paths)
    printed = output(process)
    assert process.returncode == 0, printed
    assert Store.open(out).tasks("train") == ("halting.a", "halting.b")


@contextlib.contextmanager
def files_of_at_most(num_bytes):
    """Makes writes past that many bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("num_bytes", [100, 3_000, 30_000])
def test_a_write_that_fails_ends_the_build_in_one_line_and_harms_nothing(
    tmp_path, capsys, num_bytes
):
    out = tmp_path / "out"
    assert main.main(arguments(out, "mini_4")) == 0
    before = contents(out)
    capsys.readouterr()
    with files_of_at_most(num_bytes):
        assert main.main(arguments(out, "mini_8")) == 1
    said = capsys.readouterr().err
    [line] = [line for line in said.splitlines() if "error" in line]
    assert line.startswith(f"flan-jax: error: file too large while writing {out}/building/tasks/")
    assert line.endswith("what is finished is kept: raise the limit (ulimit -f) and build again")
    Store.open(out).verify()
    after = contents(out)
    assert before.items() <= after.items()
    done = {name for name in after if name.endswith("done.json")}
    for name in after.keys() - before.keys():
        assert f"{os.path.dirname(name)}/done.json" in done, "half-written parts are removed"
    assert main.main(arguments(out, "mini_8")) == 0


def test_a_manifest_that_cannot_be_written_harms_nothing(tmp_path, task, capsys):
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    assert main.main(arguments(fresh, *task)) == 0
    sizes = sorted((path.stat().st_size, path.name) for path in fresh.rglob("*") if path.is_file())
    assert sizes[-1][1] == "manifest.json"
    assert main.main(arguments(out, *task, seed=4)) == 0
    before = contents(out)
    with files_of_at_most(sizes[-1][0] - 1):
        assert main.main(arguments(out, *task)) == 1
    assert f"file too large while writing {out}/building/manifest.json" in capsys.readouterr().err
    assert before.items() <= contents(out).items()
    Store.open(out).verify()
    assert main.main(arguments(out, *task)) == 0
    assert contents(out) == contents(fresh)
