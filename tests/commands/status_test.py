# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command status: what it prints, watches and asks for, and that it is quick."""

import json
import subprocess
import sys
import time

import pytest

from flan_jax import main
from flan_jax.commands import status
from flan_jax.core import errors
from flan_jax.training import profiling
from tests.launching.event_logs import Log, write


@pytest.fixture
def running(tmp_path):
    now = time.time()
    write(tmp_path, Log().start(now - 9).begun(now - 5, 0, last_step=50).step(now - 1, 1))
    return tmp_path


@pytest.fixture
def finished(tmp_path):
    write(tmp_path, Log().start(0).begun(1, 0, last_step=1).step(2, 1).end(3, 0))
    return tmp_path


def test_for_people_and_for_programs(running, capsys):
    main.run(["status", str(running)])
    assert capsys.readouterr().out.startswith(f"{running}: running\n  progress    step 1 of 50, ")
    main.run(["status", str(running), "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["health"], found["step"], found["mfu"]) == ("running", 1, None)


def test_it_watches_until_the_training_is_finished(running, capsys, monkeypatch):
    looks = []

    def later(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            write(running, Log().start(0).begun(1, 0, last_step=1).step(2, 1).end(3, 0))

    monkeypatch.setattr(time, "sleep", later)
    main.run(["status", str(running), "--watch", "2.5", "--json"])
    lines = [json.loads(line)["health"] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["running", "running", "finished"] and looks == [2.5, 2.5]


def test_ctrl_c_ends_watching_well(running, monkeypatch):
    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    main.run(["status", str(running), "--watch", "1"])


def test_a_profile_is_asked_for(running, capsys):
    assert status.PROFILE_REQUEST == profiling.REQUEST_FILE
    assert status.PROFILES_FOLDER == profiling.PROFILES_FOLDER
    main.run(["status", str(running), "--profile", "5"])
    assert json.loads((running / "profile_request.json").read_text()) == {"num_steps": 5}
    assert "asked for a profile of 5 step(s)" in capsys.readouterr().err


def test_no_profile_of_what_does_not_run(finished):
    with pytest.raises(errors.UsageError, match=r"--profile 5: .* not running \(finished\)"):
        main.run(["status", str(finished), "--profile", "5"])
    assert not (finished / "profile_request.json").exists()


@pytest.mark.parametrize("words", [["--profile", "0"], ["--watch", "0"], ["--watch", "soon"]])
def test_wrong_use(finished, words):
    with pytest.raises(errors.UsageError, match="need a"):
        main.run(["status", str(finished), *words])


def test_it_imports_nothing_heavy(finished):
    code = (
        "import sys; from flan_jax import main; main.run(sys.argv[1:]); heavy = {'jax', "
        "'tensorflow', 'flax', 'grain', 'seqio', 'orbax', 'matplotlib', 'tensorboard', 'numpy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, "status", str(finished)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
