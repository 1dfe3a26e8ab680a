# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command goodput: its tables, its files, and what it refuses."""

import json

import pytest

from flan_jax import main
from flan_jax.core import errors
from tests.launching.event_logs import Log, write


def test_it_shows_tables_and_writes_pictures_and_numbers(tmp_path, capsys):
    log = Log().start(0).begun(0, 0)
    for step in range(1, 9):
        log.step(step if step < 6 else step + 5, step, wait_s=0.9)
    write(tmp_path / "run", log.end(15, 75), Log(1).start(0).end(15, 75))
    main.run(["goodput", str(tmp_path / "run"), "--json", str(tmp_path / "numbers.json")])
    told = capsys.readouterr()
    assert "steps" in told.out and "preempted and saved" in told.out
    assert "step 5 of attempt 1: 6.00 s, usually 1.00 s" in told.out
    for name in ("goodput.png", "goodput.svg"):
        assert (tmp_path / "run" / name).is_file() and name in told.err
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["wall_s"] == 15 and numbers["slow_steps"][0]["step"] == 5
    main.run(["goodput", str(tmp_path / "run"), "--out", str(tmp_path / "elsewhere")])
    assert (tmp_path / "elsewhere" / "goodput.svg").is_file()


def test_a_run_that_has_just_begun_has_no_picture(tmp_path, capsys):
    write(tmp_path, Log().start(0))
    main.run(["goodput", str(tmp_path)])
    assert "no end yet" in capsys.readouterr().out
    assert not (tmp_path / "goodput.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no_such_folder"], "'no_such_folder' holds no event log .*name the MODEL_DIR"),
        (["FOLDER", "--out", "FOLDER/events/process_00000.jsonl"], "--out .* is a file"),
        (["FOLDER", "--json", "FOLDER"], "--json .* is a folder"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, words, message):
    write(tmp_path, Log().start(0).end(1, 0))
    with pytest.raises(errors.UsageError, match=message):
        main.run(["goodput", *(word.replace("FOLDER", str(tmp_path)) for word in words)])
